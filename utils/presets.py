"""The named settings that the lessons refer to, for the practice model and for real ones.

The figures that justify each are measured by ``data/measure_practice_gpt2.py`` and stand in the model card.
"""

from __future__ import annotations

from utils.config import FineTuneConfig

PRACTICE = {
    "careful": FineTuneConfig(learning_rate=1.5e-3),
    "reckless": FineTuneConfig(learning_rate=1.3e-2),
    "replay rescue": FineTuneConfig(learning_rate=1.3e-2, replay=0.25),
}
# Real models are slower and stronger: fewer steps of fewer rows, and checkpoints further apart.
_REAL = FineTuneConfig(lora_dropout=0.05, target_modules="q_proj,v_proj", steps=24, batch_size=4, evaluate_every=6)
REAL = {
    "careful": _REAL.with_(learning_rate=5e-4),
    "reckless": _REAL.with_(learning_rate=5e-3),
    "replay rescue": _REAL.with_(learning_rate=5e-3, replay=0.25),
}


def preset(name: str, model: str = "practice") -> FineTuneConfig:
    """The settings called ``name`` ("careful", "reckless" or "replay rescue") for a model.

    Raises ValueError naming the presets there are.
    """
    presets = PRACTICE if model == "practice" else REAL
    if name not in presets:
        raise ValueError(f"{name!r} is not a preset; use one of {', '.join(presets)}.")
    config = presets[name].with_(model=model)
    return config.with_(target_modules="c_attn") if "gpt2" in model else config
