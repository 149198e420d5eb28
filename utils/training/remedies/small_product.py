"""Keep the change of the weights small: its squared norm is added to the loss.

With LoRA that is the norm of scale * B A, and not of B and A; with full fine-tuning, the distance to the base's weights (L2-SP,
Li et al. 2018, arXiv 1802.01483). With full fine-tuning AdamW's decay pulls to zero instead; with LoRA it
shrinks A and B, and so the change.
"""

from __future__ import annotations

import torch
from peft.tuners.lora import LoraLayer

from utils.training.remedies.batch import Batch
from utils.training.remedies.remedy import Remedy


def squared_norm(model: torch.nn.Module, base: torch.nn.Module) -> torch.Tensor:
    """The sum of squares of all that the weights have changed by, a scalar with its gradient."""
    layers = [layer for layer in model.modules() if isinstance(layer, LoraLayer)]
    if not layers:
        own = dict(base.named_parameters())
        return sum((weight - own[name].detach()).square().sum() for name, weight in model.named_parameters())
    # |BA|^2 is the trace of (B'B)(AA'): two matrices of rank by rank, and never the large product.
    total = torch.zeros((), device=next(model.parameters()).device)
    for layer in layers:
        for name in layer.active_adapters:
            a, b = layer.lora_A[name].weight, layer.lora_B[name].weight
            total = total + layer.scaling[name] ** 2 * ((b.T @ b) * (a @ a.T)).sum()
    return total


def loss(batch: Batch, weight: float) -> torch.Tensor:
    return batch.loss + weight * squared_norm(batch.model, batch.base)


SMALL_PRODUCT = Remedy(
    "small_product",
    "small change of the weights",
    weight=2e-3,
    most=0.05,
    unit="times the squared norm",
    paper="arXiv 1802.01483",
    loss=loss,
)
