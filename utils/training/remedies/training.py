"""What surrounds a run, as a remedy that changes its rows or its weights sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass
class Training:
    """base, tokenizer: what the run starts from; not to be changed. seed: the run's. asked: the prompts that it is measured on.

    rows(share, texts): the texts of the whole run in order, of which ``share`` are drawn from ``texts``, evenly over the batches.
    model: what was trained, once it is. again(seed): the same run with another seed, trained now; its model.
    """

    base: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    seed: int
    asked: Sequence[str] = ()
    rows: Callable[..., list[str]] | None = None
    again: Callable[[int], torch.nn.Module] | None = None
    model: torch.nn.Module | None = None
