"""Train twice, with two seeds, and take the mean of the weights: what the runs share stays, and half of what each has alone.

Source: model soups, Wortsman et al. 2022, arXiv 2203.05482. The mean of two adapters has twice the rank. So the adapter is made
with twice the rank, one half of A zero; B is zero at the start, so that this half gets no gradient and stays out of the way.
Afterwards it takes in the other run. (peft's ``add_weighted_adapter`` with "cat" gives the same sum as another adapter.)
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedModel

from utils.training.remedies.remedy import Remedy
from utils.training.remedies.training import Training


def adapter(settings: dict[str, Any], model: PreTrainedModel) -> dict[str, Any]:
    alpha = settings["lora_alpha"] * (2**0.5 if settings["use_rslora"] else 2)  # the same scale at twice the rank
    return {**settings, "r": 2 * settings["r"], "lora_alpha": alpha}


@torch.no_grad()
def start(model: torch.nn.Module) -> None:
    for name, weight in model.named_parameters():
        if ".lora_A." in name:
            weight[len(weight) // 2 :] = 0


@torch.no_grad()
def after(training: Training) -> None:
    other = dict(training.again(training.seed + 1).named_parameters())
    for name, weight in training.model.named_parameters():
        if ".lora_A." in name:
            half = len(weight) // 2
            weight[half:] = other[name][:half]
        elif ".lora_B." in name:
            half = weight.shape[1] // 2
            weight[:, half:] = other[name][:, :half]
            weight /= 2
        elif weight.requires_grad:
            weight.lerp_(other[name], 0.5)


AVERAGE_OF_TWO = Remedy(
    "average_of_two",
    "mean of two runs",
    needs="a second run",
    paper="arXiv 2203.05482",
    adapter=adapter,
    start=start,
    after=after,
)
