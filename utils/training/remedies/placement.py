"""Where the adapter sits: in the attention only, or in the feed-forward layers (MLP) only.

Both replace ``target_modules``. Which one forgets less is contested: PEFT's method comparison (MetaMathQA) has the MLP ahead, and
arXiv 2510.08564 the attention's projections.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from utils.training.remedies.remedy import Remedy


def modules_in(model: PreTrainedModel, part: str) -> list[str]:
    """The whole names of the linear layers below a module whose name has ``part`` in it. Raises ValueError where there are none."""
    names = [name for name, module in model.named_modules() if isinstance(module, (torch.nn.Linear, Conv1D))]
    if not (found := [name for name in names if any(part in step for step in name.split(".")[:-1])]):
        raise ValueError(
            f"{type(model).__name__} has no linear layers in a module called {part!r}; name them in target_modules."
        )
    return found


def attention(settings: dict[str, Any], model: PreTrainedModel) -> dict[str, Any]:
    return {**settings, "target_modules": modules_in(model, "attn")}


def mlp(settings: dict[str, Any], model: PreTrainedModel) -> dict[str, Any]:
    return {**settings, "target_modules": modules_in(model, "mlp")}


ATTENTION_ONLY = Remedy(
    "attention_only", "adapter in the attention only", paper="arXiv 2510.08564", adapter=attention, lora_only=True
)
MLP_ONLY = Remedy("mlp_only", "adapter in the MLP only", paper="PEFT's method comparison", adapter=mlp, lora_only=True)
