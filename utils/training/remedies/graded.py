"""After the training: turn the lower layers down more than the upper ones, and the last one not at all.

The first layer keeps 1 - weight of its change, and from there the share rises in a straight line. Lower layers are thought to hold
what all tasks share. Source: LiNeS, Wang et al. 2024, arXiv 2410.17146.
"""

from __future__ import annotations

import re

import torch

from capability_guard.fading.turning import mixed, parts_of
from utils.training.remedies.remedy import Remedy
from utils.training.remedies.training import Training


def factors(paths: list[str], weight: float) -> list[float]:
    """What is kept of the change of each weight, by its name: layers are numbered there. What stands before them counts as the
    first, and what stands after them as the last."""
    numbers = [int(found[1]) if (found := re.search(r"\.(\d+)\.", path)) else None for path in paths]
    last = max((number for number in numbers if number is not None), default=0)
    shares, layer = [], 0
    for number in numbers:
        layer = number if number is not None else (last if layer == last else layer)
        shares.append(1 - weight * (1 - layer / last) if last else 1.0)
    return shares


@torch.no_grad()
def after(training: Training, weight: float) -> None:
    parts = parts_of(training.model, None if hasattr(training.model, "peft_config") else training.base)
    for part, share in zip(parts, factors([part.path for part in parts], weight), strict=True):
        part.weight.copy_(mixed(part.base, part.weight, share))


GRADED = Remedy(
    "graded",
    "lower layers turned down",
    weight=0.5,
    unit="taken from the first layer",
    paper="arXiv 2410.17146",
    after=after,
)
