"""Learn the right next token, and leave the order of all others as the base has it.

The KL of ``kl.py``, over the vocabulary without the target, each side made to sum to one there: the new task may raise its
token as much as it likes, and only what it does to the others costs something. Source: arXiv 2605.29498.
"""

from __future__ import annotations

import torch

from utils.training.remedies.batch import Batch
from utils.training.remedies.kl import divergence
from utils.training.remedies.remedy import Remedy


def loss(batch: Batch, weight: float) -> torch.Tensor:
    # A logit so low has no share left, and unlike -inf no gradient that is no number.
    tuned, base = (side.scatter(1, batch.targets[:, None], -1e9) for side in (batch.logits, batch.base_logits))
    return batch.loss + weight * divergence(tuned, base)


KL_OFF_TARGET = Remedy(
    "kl_off_target",
    "KL beside the target",
    weight=1.0,
    most=10,
    unit="times the KL",
    needs="the base at each step",
    paper="arXiv 2605.29498",
    loss=loss,
)
