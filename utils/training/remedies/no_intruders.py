"""After the training: find the directions that are new among a weight's largest ones, and take a share of them out.

An intruder is a large singular vector of base + adapter that is like none of the base's. Source: Shuttleworth et al. 2024, arXiv
2410.21228. peft's ``reduce_intruder_dimension`` does this for [out, in] weights and leaves a second adapter; GPT-2 stores
[in, out]. What is left is written as the best adapter of the same rank.
"""

from __future__ import annotations

import torch
from peft.tuners.lora import LoraLayer

from utils.training.remedies.remedy import Remedy
from utils.training.remedies.training import Training

TOP, ALIKE = 10, 0.5  # directions looked at; cosine from which one is the base's own: the defaults of peft


def without_intruders(base: torch.Tensor, change: torch.Tensor, share: float) -> torch.Tensor:
    """The change [out, in] of a weight ``base`` [out, in], less ``share`` of each intruder in their sum."""
    known = torch.linalg.svd(base, full_matrices=False).U
    left, size, right = torch.linalg.svd(base + change, full_matrices=False)
    new = (left[:, :TOP].T @ known).abs().amax(1) < ALIKE
    left, size, right = left[:, :TOP][:, new], size[:TOP][new], right[:TOP][new]
    return change - share * (left * size) @ right


@torch.no_grad()
def after(training: Training, weight: float) -> None:
    for layer in training.model.modules():
        if not isinstance(layer, LoraLayer):
            continue
        for name in layer.active_adapters:
            a, b, scale = layer.lora_A[name].weight, layer.lora_B[name].weight, layer.scaling[name]
            base = layer.get_base_layer().weight
            change = without_intruders(base.T if layer.fan_in_fan_out else base, scale * b @ a, weight)
            left, size, right = torch.linalg.svd(change / scale, full_matrices=False)
            root = size[: len(a)].sqrt()
            b.copy_(left[:, : len(a)] * root)
            a.copy_(root[:, None] * right[: len(a)])


NO_INTRUDERS = Remedy(
    "no_intruders",
    "new directions taken out",
    weight=0.5,
    unit="of each taken out",
    paper="arXiv 2410.21228",
    after=after,
    lora_only=True,
)
