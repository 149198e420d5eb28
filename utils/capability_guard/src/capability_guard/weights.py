"""Copies of the weights that are trained, and how to put them back."""

from __future__ import annotations

import torch

Weights = dict[str, torch.Tensor]  # name of a parameter -> its values


def trained_weights(model: torch.nn.Module) -> Weights:
    """A copy of each parameter that is being trained, by name: with LoRA, of the adapter."""
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


def put_back(model: torch.nn.Module, weights: Weights) -> None:
    """Write ``weights`` into the parameters of the same names. Raises ValueError if they are not this model's."""
    parameters = dict(model.named_parameters())
    for name, kept in weights.items():
        if name not in parameters or parameters[name].shape != kept.shape:
            raise ValueError(f"The weights {name!r} are not of this model; use those of a run with the same settings.")
    with torch.no_grad():
        for name, kept in weights.items():
            parameters[name].copy_(kept)
