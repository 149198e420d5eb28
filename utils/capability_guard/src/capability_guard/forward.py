"""One forward pass of a model, disturbing nothing: in evaluation mode, without gradients, only where it is scored."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import torch

from capability_guard.encoding import IGNORE, Batch


@contextmanager
def undisturbed(model: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards every module is back in the mode that it was in."""
    training = [module for module in model.modules() if module.training]
    if training:  # not so inside another ``undisturbed``
        model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module in training:
            module.training = True


def scored_logits(model: torch.nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """(logits, targets) at the positions that predict a scored token: [rows, positions, vocabulary], [rows, positions].

    Only those positions go through the output layer: with a vocabulary of 50,000 that is most of the memory.
    """
    targets = batch.labels[:, 1:]
    columns = (targets != IGNORE).any(dim=0).nonzero().squeeze(1)
    inputs = {"input_ids": batch.ids.to(model.device), "attention_mask": batch.mask.to(model.device)}
    if "logits_to_keep" in _forward_parameters(type(without_adapter(model))):
        logits = model(**inputs, logits_to_keep=columns.to(model.device), use_cache=False).logits
    else:
        logits = model(**inputs, use_cache=False).logits[:, columns.to(model.device)]
    return logits.float(), targets[:, columns].to(model.device)


def without_adapter(model: torch.nn.Module) -> torch.nn.Module:
    """The model that peft's wrapper holds, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


@lru_cache(maxsize=8)
def _forward_parameters(kind: type[torch.nn.Module]) -> set[str]:
    return set(inspect.signature(kind.forward).parameters)
