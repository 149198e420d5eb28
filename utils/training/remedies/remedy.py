"""What a remedy is: one idea of how to forget less, and the moments of a run at which it may act."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel

from utils.training.remedies.batch import Batch


@dataclass(frozen=True)
class Remedy:
    """One idea. Give it at least one of five functions; each gets the weight last, where the remedy has one.

    name: as in ``FineTuneConfig(remedy=...)``. title: a few words for a legend. paper: where it comes from.
    weight: how much of it by default; None for what one does or leaves. most: the largest weight. unit: what the weight counts.
    needs: what it takes besides the new task's rows, for a table; "" for nothing.

    rows(training, weight): the texts of the whole run in order, in place of ``training.rows()``.
    adapter(settings, model): other arguments for peft's LoraConfig. start(model): changes weights before the first step, in place.
    loss(batch, weight): what is minimised in place of ``batch.loss``, a scalar in nats per token.
    after(training, weight): changes the weights of ``training.model`` after the last step, in place.
    lora_only: whether it says nothing where every weight is trained.
    Raises ValueError, in one sentence, for what makes no remedy.
    """

    name: str
    title: str
    weight: float | None = None
    most: float = 1.0
    unit: str = ""
    needs: str = ""
    paper: str = ""
    rows: Callable[..., list[str]] | None = None
    adapter: Callable[[dict[str, Any], PreTrainedModel], dict[str, Any]] | None = None
    start: Callable[[torch.nn.Module], None] | None = None
    loss: Callable[[Batch, float], torch.Tensor] | None = None
    after: Callable[..., None] | None = None
    lora_only: bool = False

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ValueError(
                f"The remedy's name is {self.name!r}; give letters, digits and _, so that it can be pasted."
            )
        if not any((self.rows, self.adapter, self.start, self.loss, self.after)):
            raise ValueError(f"{self.name} changes nothing; give it one of rows, adapter, start, loss, after.")
        if self.weight is not None and not 0 < self.weight <= self.most:
            raise ValueError(
                f"The weight of {self.name} is {self.weight!r}; give more than 0 and at most {self.most:g}."
            )
        if self.loss and self.weight is None:
            raise ValueError(f"{self.name} changes the loss and has no weight; give a default, such as weight=1.")

    def checked(self, weight: float | None) -> float | None:
        """The weight that a run gets: the default in place of None. Raises ValueError for one that is out of range."""
        if self.weight is None and weight is not None:
            raise ValueError(f"remedy_weight is {weight!r} and {self.name} has no weight; leave it out.")
        weight = self.weight if weight is None else weight
        if weight is not None and not (math.isfinite(weight) and 0 <= weight <= self.most):
            raise ValueError(
                f"remedy_weight is {weight!r}; for {self.name} it must be at least 0 and at most {self.most:g}."
            )
        return weight

    def at(self, moment: str, weight: float | None) -> Callable | None:
        """The function for a moment ("rows", "adapter", ...) with its weight filled in; None where nothing is to be done.

        A weight of 0 is the plain run, to the last bit.
        """
        function = getattr(self, moment)
        if function is None or weight == 0:
            return None
        if weight is None or moment in ("adapter", "start"):
            return function
        return lambda context: function(context, weight)
