"""Copies of the weights that are trained, and how to put them back.

Of a model that is split over processes, each of them copies its own part, and puts that back.
"""

from __future__ import annotations

import torch

Weights = dict[str, torch.Tensor]  # name of a parameter -> its values


def trained_weights(model: torch.nn.Module) -> Weights:
    """A copy of each parameter that is being trained, by name: with LoRA, of the adapter.

    >>> sum(p.numel() for p in trained_weights(model.requires_grad_(False)).values())  # all frozen: nothing is trained
    0
    """
    # detach alone would share its memory with the parameter, and change as that is trained.
    with torch.no_grad():
        return {name: own_part(p).detach().clone() for name, p in model.named_parameters() if p.requires_grad}


def put_back(model: torch.nn.Module, weights: Weights) -> None:
    """Write ``weights`` into the parameters of the same names. Raises ValueError if they are not this model's.

    >>> weights = trained_weights(model)
    >>> _ = torch.nn.init.zeros_(model.lm_head.weight)  # a training run that went wrong
    >>> put_back(model, weights)
    >>> bool(model.lm_head.weight.any())
    True
    """
    # All are looked at before any is written, so that an error leaves no model of two halves.
    with torch.no_grad():
        parts = {name: own_part(p) for name, p in model.named_parameters()}
        for name, kept in weights.items():
            if name not in parts or parts[name].shape != kept.shape:
                raise ValueError(
                    f"The weights {name!r} are not of this model; use those of a run with the same settings."
                )
        for name, kept in weights.items():
            parts[name].copy_(kept)


def own_part(parameter: torch.Tensor) -> torch.Tensor:
    """What this process has of a parameter, in the same memory: all of it, or its part where it is split.

    >>> own_part(model.lm_head.weight).shape == model.lm_head.weight.shape
    True
    """
    return parameter.to_local() if hasattr(parameter, "to_local") else parameter
