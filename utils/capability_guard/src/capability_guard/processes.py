"""Several processes that train one model: what one of them says, in all of them, and no wait without an end.

They speak over a line of their own, on the CPU: it carries a few numbers, a GPU's own line may wait half an hour for a process that is
gone, and this one says at once whose connection broke.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch.distributed as dist

PATIENCE = timedelta(minutes=10)  # for a process that is alive and late, as one that writes a large checkpoint is
# How the libraries below say that another process is gone.
GONE = re.compile(
    r"gloo|connection (closed|reset|refused)|broken pipe|timed? ?out|monitoredBarrier|socket|NCCL|remote process", re.I
)
_lines: list[tuple[Any, Any]] = []  # (the processes that it is of, the line)


class ProcessLost(RuntimeError):
    """Another process that trains the same model is gone, or did not come.

    >>> raise ProcessLost("Process 1 is gone.")
    Traceback (most recent call last):
    capability_guard.processes.ProcessLost: Process 1 is gone.
    """


def processes() -> int:
    """How many processes train this model: 1 outside ``torchrun`` and ``accelerate launch``.

    >>> processes()
    1
    """
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def own_number() -> int:
    """Which of them this one is, from 0.

    >>> own_number()
    0
    """
    return dist.get_rank() if processes() > 1 else 0


def from_the_first(value: Any) -> Any:
    """What the first process says, in all of them. Every process must call this, or those that do wait for the others.

    value: anything that can be pickled; of the other processes it is not looked at. Raises ProcessLost.

    >>> from_the_first("stop at step 20")
    'stop at step 20'
    """
    if processes() == 1:
        return value
    box = [value]
    with all_there("said what to do"):
        dist.broadcast_object_list(box, src=0, group=_line())
    return box[0]


def gathered(value: Any) -> list[Any]:
    """What every process says, in their order, in all of them. Raises ProcessLost.

    >>> gathered(0.5)
    [0.5]
    """
    if processes() == 1:
        return [value]
    found = [None] * processes()
    with all_there("gave its figures"):
        dist.all_gather_object(found, value, group=_line())
    return found


def meet(step: int) -> None:
    """Wait until every process is here, and no longer than ``PATIENCE``. step: of the training. Raises ProcessLost.

    >>> meet(step=20)
    """
    if processes() > 1:
        with all_there(f"came to the measurement at step {step}"):
            dist.monitored_barrier(_line(), timeout=PATIENCE)


@contextmanager
def all_there(what: str) -> Iterator[None]:
    """Within, a process that is gone becomes one sentence. what: what it should have done.

    >>> with all_there("came to the measurement at step 20"):
    ...     raise RuntimeError("[gloo] Rank 1 failed to pass monitoredBarrier in 600000 ms")
    Traceback (most recent call last):
    capability_guard.processes.ProcessLost: Process 1 is gone or hangs: it never came to the measurement at step 20. Read what it said
    last, and start the run again from its last checkpoint.
    """
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, ProcessLost) or not GONE.search(str(error)):
            raise
        others = [number for number in re.findall(r"rank (\d+)", str(error), re.I) if int(number) != own_number()]
        who = f"Process {others[0]}" if others else "Another process"
        raise ProcessLost(
            f"{who} is gone or hangs: it never {what}. Read what it said last, and start the run again from its last checkpoint."
        ) from error


def _line() -> Any:
    """The processes' own line, made when they first speak: they all do so at the same point."""
    now = dist.group.WORLD
    if not _lines or _lines[0][0] is not now:  # none yet, or those of processes that were ended and started anew
        _lines[:] = [(now, dist.new_group(backend="gloo", timeout=PATIENCE))]
    return _lines[0][1]


def is_split(model: Any) -> bool:
    """Whether the model's parameters are split over processes (FSDP of either kind, tensor parallelism, ZeRO-3): then no process
    has all of them, and all must take part in each forward pass.

    By the model itself: a launcher may split it without an argument of the trainer's saying so.

    >>> is_split(model)
    False
    """
    if any(type(module).__name__ == "FullyShardedDataParallel" for module in model.modules()):
        return True
    return is_zero3(model) or any(
        any(place.is_shard() for place in getattr(p, "placements", ())) for p in model.parameters()
    )


def is_zero3(model: Any) -> bool:
    """Whether DeepSpeed ZeRO-3 has split the model's parameters.

    >>> is_zero3(model)
    False
    """
    return any(hasattr(p, "ds_numel") for p in model.parameters())
