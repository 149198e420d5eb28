"""From settings to a measured run: a config, a fine-tuned copy of a model, what it learned and what it forgot.

Reading order: ``config`` (one run's settings), ``data`` and ``models`` (what is trained, on what), ``rows`` and ``trainer`` (in
which order, and how), ``finetuning`` (trainer and monitor put together), ``remedies`` (one idea each against forgetting),
``results`` (what a run measured), ``presets`` and ``fixes`` (settings that the lessons use), ``sweeps`` (many runs, none done
twice), ``fader``, ``snapshots`` and ``moved`` (a run's weights). Nothing here draws.
"""

from utils.training.answers import answer
from utils.training.config import FineTuneConfig
from utils.training.data import DATA, GENERAL, QUESTIONS, REPERTOIRE, everyday_texts, load_task
from utils.training.fader import STRENGTHS, Fader
from utils.training.finetuning import default_probes, finetune
from utils.training.fixes import EXPERIMENTS, STORE
from utils.training.machine import HOW_TO_GET, estimate, free_memory, real_model, suitable_model
from utils.training.models import default_targets, fan_in_fan_out, load_model, model_folder, resolve_name, working_copy
from utils.training.moved import movement
from utils.training.presets import preset
from utils.training.remedies import REMEDIES, Remedy, register
from utils.training.results import RunResult
from utils.training.snapshots import Snapshots, StartFrom
from utils.training.sweeps import at_same_learning, means, sweep
from utils.training.trainer import lora_config

__all__ = [
    "DATA",
    "EXPERIMENTS",
    "GENERAL",
    "HOW_TO_GET",
    "QUESTIONS",
    "REMEDIES",
    "REPERTOIRE",
    "STORE",
    "STRENGTHS",
    "Fader",
    "FineTuneConfig",
    "Remedy",
    "RunResult",
    "Snapshots",
    "StartFrom",
    "answer",
    "at_same_learning",
    "default_probes",
    "default_targets",
    "estimate",
    "everyday_texts",
    "fan_in_fan_out",
    "finetune",
    "free_memory",
    "load_model",
    "load_task",
    "lora_config",
    "means",
    "model_folder",
    "movement",
    "preset",
    "real_model",
    "register",
    "resolve_name",
    "suitable_model",
    "sweep",
    "working_copy",
]
