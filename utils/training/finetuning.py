"""One call from settings to a measured run: TRL's SFTTrainer, peft's LoraConfig, and the monitor, put together.

    result = finetune(FineTuneConfig(learning_rate=5e-3))

Lesson 03 builds the same thing by hand, cell by cell. The same seed gives the same curve.
"""

from __future__ import annotations

import gc
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from weakref import WeakKeyDictionary

import torch
from datasets import DatasetDict
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback

from capability_guard import fade
from capability_guard.curve import Checkpoint
from capability_guard.forward import without_adapter
from capability_guard.monitor import RegressionMonitor
from capability_guard.probes import Probe, load_probes
from utils.training.answers import answer
from utils.training.beside import Beside, has_a_core_to_spare, on_one_thread
from utils.training.config import FineTuneConfig
from utils.training.data import QUESTIONS, everyday_texts, load_task
from utils.training.models import load_model, parameter_counts, probe_source, weight_sums, working_copy
from utils.training.remedies import Training
from utils.training.results import RunResult
from utils.training.rows import training_rows
from utils.training.trainer import build_trainer, ready_to_fade, twin_of

LIVE_PROBES = 32  # a checkpoint on these costs a few hundredths of a second; the verdict uses every probe
LIVE_TEXTS = 6
SMALL = 10_000_000  # parameters: below that, a second thread helps a training step little, and measuring beside it much

# Two runs at once would draw from the one sequence of random numbers that a process has, and fight for its cores.
_one_at_a_time = threading.RLock()


class Cancelled(Exception):
    """Somebody asked the run to end. What it had measured by then went to ``on_checkpoint``."""


def finetune(
    config: FineTuneConfig,
    task: DatasetDict | None = None,
    probes: Sequence[Probe] | None = None,
    *,
    base: tuple[PreTrainedModel, PreTrainedTokenizerBase] | None = None,
    replay: Sequence[str] | None = None,
    live: int | None = LIVE_PROBES,
    early: Sequence[int] = (),
    kl: bool = True,
    max_drop: float | None = None,
    questions: Sequence[str] = QUESTIONS,
    callbacks: Sequence[TrainerCallback] = (),
    on_checkpoint: Callable[[Checkpoint], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    keep_model: bool = False,
    beside: bool | None = None,
) -> RunResult:
    """Fine-tune a copy of the model and measure what it learns and what it forgets, from step 0.

    task: splits "train" and "held_out" with a column "text"; by default the customer-service dialogues.
    probes, replay: by default those that suit ``config.model``. Replay texts are never measured.
    base: (model, tokenizer) to start from, left untouched; by default ``config.model`` is loaded once and kept.
    live: probes a checkpoint, or None for all of them. early: more steps to measure at. kl: whether to measure it.
    max_drop: stop at this many points, best weights restored.
    callbacks: more of the trainer's own callbacks. keep_model: put the tuned model into ``result.model``.
    cancelled: asked before each forward pass; once it says True, the run ends right there and raises Cancelled.
    beside: measure in a second thread while the training goes on, which calls ``on_checkpoint`` there; by default a small model
    does, where there is a core for it and no drop budget. No figure depends on it.
    A second call in another thread waits for the first: the same seed must give the same curve.
    Raises ValueError or DataError, in one sentence, for settings that cannot work together or a base with an adapter.
    """
    began = time.perf_counter()
    model, tokenizer = base or _untouched(config.model)
    if hasattr(model, "peft_config"):
        raise ValueError(
            "The base model has an adapter in it already, left by an earlier trainer; load it afresh with load_model."
        )
    probes = probes if probes is not None else default_probes(config.model)
    task = task if task is not None else _customer_service()
    around = _around(config, (model, tokenizer), list(task["train"]["text"]), probes, replay, cancelled)
    rows = _rows(config, around)
    texts = {
        "train_texts": list(task["train"]["text"]),
        "held_out_texts": list(task["held_out"]["text"]),
        "original_texts": everyday_texts(),
    }
    if live is not None:
        texts = {name: lines[:LIVE_TEXTS] for name, lines in texts.items()}
    known = _baselines.setdefault(model, {})
    key = (weight_sums(model), tuple(probes), live, kl, *(tuple(lines) for lines in texts.values()))
    first = known.get(key)
    if first is not None and on_checkpoint is not None:
        on_checkpoint(replace(first.checkpoint, seconds=0.0))  # known already, so it is told before anything is built

    def tell(checkpoint: Checkpoint) -> None:
        if checkpoint.step or first is None:
            on_checkpoint(checkpoint)

    monitor = RegressionMonitor(
        tokenizer,
        probes,
        **texts,
        every=config.evaluate_every,
        early=early,
        kl=kl,
        live=live,
        max_drop=max_drop,
        baseline=first,
        on_checkpoint=None if on_checkpoint is None else tell,
    )
    result = RunResult(config, questions=list(questions))
    small = model.num_parameters() < SMALL and model.device.type == "cpu"
    if beside is None:
        beside = small and max_drop is None and has_a_core_to_spare()

    # The run draws its random numbers in a branch of its own: nobody else's sequence moves.
    with _one_at_a_time, on_one_thread(small), torch.random.fork_rng(), old_objects_left_alone(), \
            tempfile.TemporaryDirectory() as scratch:  # fmt: skip
        result.answers_before = answer(model, tokenizer, questions) if questions else []
        watch = Beside(monitor, twin_of(config, model)) if beside else monitor
        trainer = build_trainer(config, model, tokenizer, rows, [watch, *callbacks], scratch)
        if cancelled is not None:
            for one in (trainer.model, watch.twin) if beside else (trainer.model,):
                _stop_when(cancelled, one)
        result.trainable, result.parameters = parameter_counts(trainer.model)
        tuned = trainer.model
        try:
            trainer.train()
        except KeyboardInterrupt:
            result.stopped = f"interrupted at step {trainer.state.global_step}"
            if monitor.checkpoints:
                watch.on_train_end(trainer.args, trainer.state, trainer.control, model=trainer.model)
        else:
            if tuned := _changed_after(config, around, trainer.model):  # the curve ends with the weights that are left
                last = watch if tuned is trainer.model else monitor  # a merged adapter has no place in the twin
                last.on_train_end(trainer.args, trainer.state, trainer.control, model=tuned)
            tuned = tuned or trainer.model
        finally:
            if beside:
                watch.close()
        result.answers_after = answer(tuned, tokenizer, questions) if questions else []

    known[key] = monitor.baseline
    judged = [
        i for i, right in enumerate(monitor.before) if right is not None
    ]  # loss probes have a curve, and no verdict
    result.checkpoints = monitor.checkpoints
    result.before, result.after = ([bool(side[i]) for i in judged] for side in (monitor.before, monitor.after))
    result.probes, result.capabilities = [probes[i].prompt for i in judged], [probes[i].capability for i in judged]
    result.stopped = result.stopped or monitor.stopped
    result.seconds_measuring = watch.waited if beside else monitor.seconds_measuring
    result.seconds = time.perf_counter() - began
    if keep_model:
        result.model = tuned
    return result


def _rows(config: FineTuneConfig, around: Training) -> list[str]:
    """The texts of the run in order: a remedy's own, or the plain ones."""
    make = config.at("rows")
    return make(around) if make else around.rows()


def _around(
    config: FineTuneConfig,
    base: tuple[PreTrainedModel, PreTrainedTokenizerBase],
    new_task: Sequence[str],
    probes: Sequence[Probe],
    replay: Sequence[str] | None,
    cancelled: Callable[[], bool] | None,
) -> Training:
    """What a remedy may know of the run."""

    def rows(share: float = 0.0, texts: Sequence[str] = ()) -> list[str]:
        return training_rows(config, new_task, replay, (share, texts))

    def again(seed: int) -> torch.nn.Module:
        other = config.with_(seed=seed)
        order = _rows(other, _around(other, base, new_task, probes, replay, cancelled))
        with torch.enable_grad(), tempfile.TemporaryDirectory() as scratch:  # a remedy changes weights without it
            trainer = build_trainer(other, *base, order, [], scratch)
            if cancelled is not None:
                _stop_when(cancelled, trainer.model)
            trainer.train()
        return trainer.model

    return Training(*base, config.seed, [probe.prompt for probe in probes if probe.prompt], rows, again)


def _changed_after(config: FineTuneConfig, around: Training, model: torch.nn.Module) -> torch.nn.Module | None:
    """What the remedy and the fader make of the trained model; None where they leave it as it is."""
    if not all(weight.isfinite().all() for weight in model.parameters()):
        return None  # it diverged: there is nothing to mend
    around.model = model
    if change := config.at("after"):
        change(around)
    if config.strength == 1:
        return model if change else None
    model = ready_to_fade(model)
    fade(model, config.strength, base=None if hasattr(model, "peft_config") else around.base)
    return model


def _stop_when(cancelled: Callable[[], bool], model: torch.nn.Module) -> None:
    """Ask before each forward pass: training, measuring and answering all end within one of them."""

    def check(*_) -> None:
        if cancelled():
            raise Cancelled

    without_adapter(model).register_forward_pre_hook(check)  # ``generate`` calls this one


@contextmanager
def old_objects_left_alone() -> Iterator[None]:
    """The trainer collects garbage once, among a million objects of imported libraries: a tenth of a short run."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


# Step 0 of the same weights on the same probes is the same figure: it is measured once for each base model.
_baselines: WeakKeyDictionary = WeakKeyDictionary()
_first_sums: WeakKeyDictionary = (
    WeakKeyDictionary()
)  # what the weights of a cached model summed to when it was first used


# What a process needs again and again is read once. Models are kept one at a time: the next one may be large.
@lru_cache(maxsize=1)
def base_model(name: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    return load_model(name, quiet=True)


def base_to_ask(name: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """``base_model`` for a thread that asks it: the same weights in modules of its own, because asking hangs something on
    them, and another thread may ask or copy the model meanwhile."""
    model, tokenizer = base_model(name)
    return working_copy(model, share_weights=True), tokenizer


def _untouched(name: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """``base_model``, loaded anew if its weights have changed: runs with LoRA share its memory, so that merging the
    adapter of a kept model writes into it."""
    model, tokenizer = base_model(name)
    sums = weight_sums(model)
    if _first_sums.setdefault(model, sums) != sums:
        base_model.cache_clear()
        model, tokenizer = base_model(name)
        _first_sums[model] = weight_sums(model)
    return model, tokenizer


@lru_cache(maxsize=1)
def _customer_service() -> DatasetDict:
    return load_task("customer_service")


def default_probes(name: str) -> list[Probe]:
    """The practice models are asked their repertoire; any other model, general knowledge."""
    return list(_probes(probe_source(name)))


@lru_cache(maxsize=2)
def _probes(source: Path) -> tuple[Probe, ...]:
    return tuple(load_probes(source))
