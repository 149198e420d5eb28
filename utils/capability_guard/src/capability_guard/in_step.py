"""Ask a model whose parameters are split over processes: all of them take part in each forward pass, in step.

What is asked next may hang on what was said: a probe that is not right is looked at again, an answer ends where the model ends it.
Two processes compute the same, but for the last bit of a number. So what they go by is what the first one found, in all of them; else
one of them would one day wait for a forward pass that the others do not make.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from capability_guard.processes import all_there, from_the_first, is_split, processes

T = TypeVar("T")
_together: ContextVar[bool] = ContextVar("together", default=False)


def together() -> bool:
    """Whether several processes ask one model in step just now.

    >>> together()
    False
    """
    return _together.get()


def agreed(value: T) -> T:
    """What the first process found, where several ask in step; else what was found here.

    >>> agreed([1, 2])
    [1, 2]
    """
    return from_the_first(value) if together() else value


@contextmanager
def in_step(model: torch.nn.Module) -> Iterator[torch.nn.Module]:
    """The model to ask, which all processes must then do alike. One that is not split is asked by each process by itself.

    Afterwards each process has its own part of the parameters again, and nothing else. Raises ProcessLost.

    >>> with in_step(model) as whole:
    ...     whole is model
    True
    """
    if processes() == 1 or not is_split(model):
        yield model
        return
    with ExitStack() as stack, all_there("took part in a forward pass"):
        inner = model
        if type(model).__name__ == "FullyShardedDataParallel":
            # The first kind of FSDP gathers by its wrapper's forward, and ``generate`` is the inner model's. So what the outermost
            # wrapper holds itself is gathered for the time of asking; those inside gather by themselves.
            stack.enter_context(type(model).summon_full_params(model, recurse=False, writeback=False))
            inner = model.module
        handle = inner.register_forward_hook(_the_first_ones_logits)
        token = _together.set(True)
        try:
            yield inner
        finally:
            _together.reset(token)
            handle.remove()
            for module in model.modules():
                if hasattr(module, "reshard"):  # FSDP 2, which keeps the outermost part whole after a forward pass
                    module.reshard()


def _the_first_ones_logits(module: torch.nn.Module, given: Any, said: Any) -> Any:
    logits = said.logits.detach().contiguous()
    dist.broadcast(logits, src=0)
    said.logits = logits
    return said
