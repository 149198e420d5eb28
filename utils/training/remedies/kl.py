"""Stay close to what the base would say: its KL divergence, on the new task's own rows, is added to the loss.

KL(base || tuned) in nats per token, as the course's curves show it: no old data, one more forward pass a step.
Sources: ASFT, arXiv 2509.23753, where a KL to the base anchors the DFT loss; Shenfeld et al. 2025, RL's Razor, arXiv
2509.04259, where the KL on the new task goes with forgetting.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from utils.training.remedies.batch import Batch
from utils.training.remedies.remedy import Remedy


def divergence(tuned: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
    """KL(base || tuned), the mean over tokens, from the logits [n, v] of each."""
    return F.kl_div(tuned.log_softmax(-1), base.log_softmax(-1), reduction="batchmean", log_target=True)


def loss(batch: Batch, weight: float) -> torch.Tensor:
    return batch.loss + weight * divergence(batch.logits, batch.base_logits)


KL = Remedy(
    "kl",
    "KL to the base",
    weight=0.3,
    most=3,
    unit="times the KL",
    needs="the base at each step",
    paper="arXiv 2509.23753",
    loss=loss,
)
