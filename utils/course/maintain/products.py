"""How long the matrix products of a training step take by themselves: the floor under the time of a step."""

from __future__ import annotations

import time

import torch
from torch.utils._python_dispatch import TorchDispatchMode

PRODUCTS = ("aten.mm", "aten.addmm", "aten.bmm", "aten.baddbmm", "aten._scaled_dot_product")


class Products(TorchDispatchMode):
    """Notes each matrix product that is computed inside the block, attention's among them, with its arguments.

    >>> with Products() as products:
    ...     _ = torch.ones(2, 3) @ torch.ones(3, 4) + 1
    >>> len(products.calls)
    1
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if str(func).startswith(PRODUCTS):
            self.calls.append((func, args, kwargs or {}))
        return func(*args, **(kwargs or {}))

    def seconds(self) -> float:
        """What they take once more, one after the other, and nothing else."""
        with torch.no_grad():
            began = time.perf_counter()
            for func, args, kwargs in self.calls:
                func(*args, **kwargs)
            return time.perf_counter() - began
