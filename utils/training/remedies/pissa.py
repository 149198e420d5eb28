"""PiSSA: the adapter begins as the largest singular values of each weight, which are taken out of the weight. As peft has it.

The frozen weights are then no longer the base's: ``disable_adapter`` is not the base. Here whoever needs it asks the model that
the run started from, and the fader merges first. Source: Meng et al. 2024, arXiv 2404.02948.
"""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedModel

from utils.training.remedies.remedy import Remedy


def adapter(settings: dict[str, Any], model: PreTrainedModel) -> dict[str, Any]:
    return {**settings, "init_lora_weights": "pissa"}


PISSA = Remedy("pissa", "PiSSA", paper="arXiv 2404.02948", adapter=adapter, lora_only=True)
