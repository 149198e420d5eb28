"""Stay close to what the base would say: its KL divergence, on the new task's own rows, is added to the loss.

KL(base || tuned) in nats per token, as the course's curves show it: no old data, one more forward pass a step.
Sources: Li and Hoiem 2016, Learning without Forgetting, arXiv 1606.09282, who distil the old model on the new task's inputs. ASFT,
arXiv 2509.23753, adds such a term to the DFT loss; here it goes to cross-entropy. RL's Razor, arXiv 2509.04259: this KL goes with
forgetting.
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
    paper="arXiv 1606.09282",
    loss=loss,
)
