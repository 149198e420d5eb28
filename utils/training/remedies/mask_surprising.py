"""Do not train on the tokens that surprise the base most; the weight is the share of each batch's tokens that is left out.

A share of each batch, whatever its level; the paper masks above a fixed perplexity. What surprises most moves the weights
furthest. Text without it keeps old skills as a model's own text does: Wu et al. 2025, arXiv 2501.14315.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from utils.training.remedies.batch import Batch
from utils.training.remedies.remedy import Remedy


def loss(batch: Batch, weight: float) -> torch.Tensor:
    surprise = F.cross_entropy(batch.base_logits, batch.targets, reduction="none")
    kept = surprise <= surprise.quantile(1 - weight)
    return F.cross_entropy(batch.logits[kept], batch.targets[kept])


MASK_SURPRISING = Remedy(
    "mask_surprising",
    "surprising tokens masked",
    weight=0.3,
    most=0.9,
    unit="of the tokens",
    needs="the base at each step",
    paper="arXiv 2501.14315",
    loss=loss,
)
