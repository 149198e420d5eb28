"""Each token's loss times the model's own probability of it: what it cannot imagine yet pulls no harder than the rest.

The weight mixes this with the plain loss, and 1 is DFT as published: Wu et al. 2025, arXiv 2508.05629. TRL ships that as
``SFTConfig(loss_type="dft")``, inside the part of its trainer that the course leaves out for speed; a test holds both equal.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from utils.training.remedies.batch import Batch
from utils.training.remedies.remedy import Remedy


def loss(batch: Batch, weight: float) -> torch.Tensor:
    nats = F.cross_entropy(batch.logits, batch.targets, reduction="none")
    return torch.lerp(batch.loss, (nats * (-nats).exp().detach()).mean(), weight)


DFT = Remedy("dft", "DFT loss", weight=1.0, unit="share of the loss", paper="arXiv 2508.05629", loss=loss)
