"""One step's batch, as a remedy that changes the loss sees it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import torch


class Batch:
    """The tokens that are trained on in one step, the padding left out: n of them, with a vocabulary of v.

    model: what is being trained. base: the model that the run started from, in evaluation mode. A LoRA run shares its weights,
    so that it costs no memory; at work, ``with model.disable_adapter():`` asks the same one.
    loss: of the new task, nats per token, with its gradient.
    """

    def __init__(
        self, model: torch.nn.Module, base: torch.nn.Module, inputs: Mapping[str, Any], outputs: Any, loss: torch.Tensor
    ):
        self.model, self.base, self.loss = model, base, loss
        self._inputs, self._logits = inputs, outputs.logits
        self._trained_on = inputs["labels"][:, 1:] != -100  # the token at a position is predicted from those before it

    @cached_property
    def targets(self) -> torch.Tensor:
        """[n]: the right next tokens."""
        return self._inputs["labels"][:, 1:][self._trained_on]

    @cached_property
    def logits(self) -> torch.Tensor:
        """[n, v]: of the model that is trained, with their gradient."""
        return self._logits[:, :-1][self._trained_on]

    @cached_property
    def base_logits(self) -> torch.Tensor:
        """[n, v]: of the base, without gradient. One more forward pass, made only if it is asked for."""
        with torch.no_grad():
            asked = {name: self._inputs[name] for name in ("input_ids", "attention_mask") if name in self._inputs}
            return self.base(**asked, use_cache=False).logits[:, :-1][self._trained_on]
