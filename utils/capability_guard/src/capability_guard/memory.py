"""Memory that runs out while a model is asked: told from other errors, and met by asking half as much at once."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar
from weakref import WeakKeyDictionary

import torch

from capability_guard.encoding import TOKENS_A_BATCH, Batch
from capability_guard.forward import input_device
from capability_guard.jsonl import DataError
from capability_guard.processes import processes

# What a CPU's allocator and the libraries of a GPU say in a plain RuntimeError.
SAYS = ("out of memory", "not enough memory", "can't allocate memory", "ALLOC_FAILED")
LESS = "load the model in fewer bits (--dtype bfloat16, --quantization 4bit)"
MOST_TOKENS = 8192  # a GPU is busy with so many, and more of them only take memory
SHARE = 0.4  # of a GPU's memory beside the weights that a batch may take, as far as it can be told beforehand
_fits: WeakKeyDictionary = WeakKeyDictionary()  # model -> tokens that fit into memory, since more did not

T = TypeVar("T")
Item = TypeVar("Item")


def ran_out(error: BaseException) -> bool:
    """Whether an error says that there was no more memory, on a GPU or on the CPU.

    >>> ran_out(RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory: you tried to ..."))
    True
    >>> ran_out(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    False
    """
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in SAYS)


def tokens_at_once(model: torch.nn.Module) -> int:
    """How many tokens of a batch suit this model here: few on a CPU, and on a GPU what a share of its memory holds.

    Of its whole memory without what is in use by models here, so that it is always the same for one model on one kind of GPU. Where
    others use the GPU, too, and memory runs out, it is halved.

    >>> tokens_at_once(model.cpu())
    384
    """
    device = input_device(model)
    if device.type != "cuda":
        return min(TOKENS_A_BATCH, _fits.get(model, TOKENS_A_BATCH))
    size = sum(p.numel() * p.element_size() for p in model.parameters() if p.device == device)
    room = torch.cuda.get_device_properties(device).total_memory - size
    return min(tokens_that_fit(model.config, room * SHARE), _fits.get(model, MOST_TOKENS))


def tokens_that_fit(config: object, room: float) -> int:
    """How many tokens go through a model of these settings in ``room`` bytes, as a power of two from 128 to 8,192.

    Counted are a layer's own activations, which are all that is there at once without gradients: about six times the width and
    three times the width of the feed-forward layer, and four bytes each. The output layer is read in parts.

    >>> from types import SimpleNamespace
    >>> wide = SimpleNamespace(hidden_size=4096, intermediate_size=11008)  # a model of 7 B
    >>> tokens_that_fit(wide, 20e9), tokens_that_fit(wide, 0.5e9)
    (8192, 2048)
    """
    width = getattr(config, "hidden_size", None) or getattr(config, "n_embd", None) or 4096
    inner = getattr(config, "intermediate_size", None) or getattr(config, "n_inner", None) or 4 * width
    tokens = max(128, min(MOST_TOKENS, int(room / (4 * (6 * width + 3 * inner)))))
    return 2 ** int(math.log2(tokens))


def read_in_parts(
    model: torch.nn.Module, batches: Sequence[Batch], read: Callable[[Batch], T]
) -> Iterator[tuple[Batch, T]]:
    """(batch, what was read of it), one after the other. Where memory runs out, it is halved; and so are those that follow.

    Raises DataError where not even one row fits. Where several processes ask together, memory that runs out is an error: one
    process alone must not go another way.

    >>> from capability_guard.encoding import encode
    >>> def read(batch):
    ...     if len(batch.rows) > 1:
    ...         raise torch.OutOfMemoryError("CUDA out of memory")
    ...     return "read"
    >>> [(batch.rows, found) for batch, found in read_in_parts(model, encode(tokenizer, ["Tea.", "Make a cup of tea."]), read)]
    [([0], 'read'), ([1], 'read')]
    """
    waiting = list(batches)[::-1]
    while waiting:
        batch = waiting.pop()
        if len(batch.rows) > 1 and batch.ids.numel() > _fits.get(model, math.inf):
            waiting += _halves(batch)[::-1]
            continue
        try:
            found = read(batch)
        except (RuntimeError, MemoryError) as error:
            if not ran_out(error) or processes() > 1:
                raise
            found = None
        if found is not None:
            yield batch, found
            continue
        free()  # not in the except clause, where the error still holds what did not fit
        if len(batch.rows) == 1:
            raise DataError(f"Memory ran out on a single row of {batch.ids.shape[1]} tokens; shorten it, or {LESS}.")
        _fits[model] = batch.ids.numel() // 2
        waiting += _halves(batch)[::-1]


def in_halves(model: torch.nn.Module, items: Sequence[Item], do: Callable[[Sequence[Item]], list[T]]) -> list[T]:
    """``do`` of all items, or where memory runs out of each half of them. Raises DataError where it does for a single one.

    >>> def do(some):
    ...     if len(some) > 2:
    ...         raise MemoryError
    ...     return [10 * x for x in some]
    >>> in_halves(model, [1, 2, 3, 4, 5], do)
    [10, 20, 30, 40, 50]
    """
    try:
        return do(items)
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error) or processes() > 1:
            raise
    free()
    if len(items) == 1:
        raise DataError(f"Memory ran out over a single answer; {LESS}.")
    half = (len(items) + 1) // 2
    return in_halves(model, items[:half], do) + in_halves(model, items[half:], do)


def free() -> None:
    """Give back what is no longer needed, after memory ran out.

    >>> free()
    """
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _halves(batch: Batch) -> list[Batch]:
    """The same rows in two batches, each no wider than its own rows are."""
    half = (len(batch.rows) + 1) // 2
    found = []
    for part in (slice(None, half), slice(half, None)):
        width = int(batch.mask[part].sum(1).max())
        found.append(
            Batch(batch.ids[part, :width], batch.labels[part, :width], batch.mask[part, :width], batch.rows[part])
        )
    return found
