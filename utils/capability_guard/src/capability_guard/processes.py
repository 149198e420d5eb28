"""Several processes that train one model: what the first one says, in all of them."""

from __future__ import annotations

from typing import Any

import torch.distributed as dist


def processes() -> int:
    """How many processes train this model: 1 outside ``torchrun`` and ``accelerate launch``.

    >>> processes()
    1
    """
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def from_the_first(value: Any) -> Any:
    """What the first process says, in all of them. Every process must call this, or those that do will wait for ever.

    value: anything that can be pickled; of the other processes it is not looked at.

    >>> from_the_first("stop at step 20")
    'stop at step 20'
    """
    if processes() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def is_split(model: Any) -> bool:
    """Whether the model's parameters are split over processes, by FSDP of either kind: then no process has all of them.

    By the model itself: a launcher may split it without an argument of the trainer's saying so.

    >>> is_split(model)
    False
    """
    if any(type(module).__name__ == "FullyShardedDataParallel" for module in model.modules()):
        return True
    return any(any(place.is_shard() for place in getattr(p, "placements", ())) for p in model.parameters())
