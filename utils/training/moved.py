"""How far did the weights move? The tuned model against the untouched one, matrix by matrix."""

from __future__ import annotations

import copy

import torch
from transformers import PreTrainedModel


def movement(tuned: torch.nn.Module, base: PreTrainedModel) -> dict[str, float]:
    """For each weight matrix, the size of its change as a share of its own size (Frobenius norms): 0.1 is a tenth.

    tuned: a fine-tuned copy of ``base``, an adapter in it or not; it is left as it is. A LoRA adapter's product counts as
    part of the matrix beside which it stands. Raises ValueError when the two are not the same model.
    """
    if hasattr(tuned, "merge_and_unload"):
        tuned = copy.deepcopy(tuned).merge_and_unload()
    before, after = dict(base.named_parameters()), dict(tuned.named_parameters())
    if before.keys() != after.keys():
        odd = min(before.keys() ^ after.keys())
        raise ValueError(f"The two models differ in {odd!r}; compare a model with its own untouched base.")
    with torch.no_grad():
        return {name: ((after[name].to(old.device) - old).norm() / old.norm()).item()
                for name, old in before.items() if old.dim() == 2}  # fmt: skip
