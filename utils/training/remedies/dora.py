"""DoRA: the adapter turns each weight column, and a trained number says how long it is. As peft has it.

Source: Liu et al. 2024, arXiv 2402.09353. No single factor turns DoRA down, so the fader merges it first and mixes whole weights.
"""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedModel

from utils.training.remedies.remedy import Remedy


def adapter(settings: dict[str, Any], model: PreTrainedModel) -> dict[str, Any]:
    return {**settings, "use_dora": True}


DORA = Remedy("dora", "DoRA", paper="arXiv 2402.09353", adapter=adapter, lora_only=True)
