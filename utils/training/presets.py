"""The named settings that the lessons refer to, for the practice model and for real ones, each with its claim.

The figures that justify each are measured by ``data/build/measure_practice_gpt2.py`` and stand in the model card.
"""

from __future__ import annotations

from utils.training.config import FineTuneConfig
from utils.training.models import SHIPPED

PRACTICE = {
    "careful": FineTuneConfig(learning_rate=1.5e-3),
    "reckless": FineTuneConfig(learning_rate=1.3e-2),
    "replay rescue": FineTuneConfig(learning_rate=1.3e-2, replay=0.25),
    "tiny rank, huge scale": FineTuneConfig(learning_rate=5e-3, rank=1),
    "full fine-tuning": FineTuneConfig(method="full", learning_rate=1.5e-3),
}
# What to predict before each: the claim that its run puts to the test.
PREDICT = {
    "careful": "A low learning rate with LoRA. Predict: what share of the old answers survives?",
    "reckless": "Nearly nine times the learning rate. Predict: the new task is learned better, and at what price?",
    "replay rescue": "The reckless rate, but a quarter of each batch are old questions. Predict: how much do they win back?",
    "tiny rank, huge scale": "Rank 1 is the smallest adapter, yet at alpha 16 its scale is 16. Predict: does a small rank "
    "protect? Then move the rank to 64, and compare.",
    "full fine-tuning": "Every weight is trained, at the careful rate. Predict: will it lose more than LoRA did at this rate?",
}
# Real models are slower and stronger: fewer steps of fewer rows, and checkpoints further apart.
_REAL = FineTuneConfig(target_modules="q_proj,v_proj", steps=24, batch_size=4, evaluate_every=6)
REAL = {
    "careful": _REAL.with_(learning_rate=5e-4),
    "reckless": _REAL.with_(learning_rate=5e-3),
    "replay rescue": _REAL.with_(learning_rate=5e-3, replay=0.25),
    "tiny rank, huge scale": _REAL.with_(learning_rate=2e-3, rank=1),
    "full fine-tuning": _REAL.with_(method="full", learning_rate=5e-4),
}


def preset(name: str, model: str = "practice") -> FineTuneConfig:
    """The settings called ``name`` for a model: "careful", "reckless", "replay rescue", "tiny rank, huge scale" or
    "full fine-tuning".

    Raises ValueError naming the presets there are.
    """
    presets = PRACTICE if model in SHIPPED else REAL
    if name not in presets:
        raise ValueError(f"{name!r} is not a preset; use one of {', '.join(presets)}.")
    config = presets[name].with_(model=model)
    return config.with_(target_modules="c_attn") if "gpt2" in model else config
