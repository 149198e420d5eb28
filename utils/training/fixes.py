"""The experiments of lesson 5: what is varied, what is held, and where their runs are kept."""

from __future__ import annotations

from utils.training.config import FineTuneConfig
from utils.training.data import DATA
from utils.training.presets import PRACTICE

STORE = DATA / "sweeps" / "fixes.jsonl"
_RECKLESS = PRACTICE["reckless"]
EXPERIMENTS = {
    "learning rate": [FineTuneConfig(learning_rate=rate) for rate in (5e-4, 1.5e-3, 3e-3, 5e-3, 8e-3, 1.3e-2)],
    "rank, alpha fixed": [FineTuneConfig(learning_rate=5e-3, rank=rank) for rank in (1, 4, 16, 64)],
    "rank, alpha = 2r": [FineTuneConfig(learning_rate=5e-3, rank=rank, scaling="2r") for rank in (1, 4, 16, 64)],
    "replay": [_RECKLESS.with_(replay=share) for share in (0.0, 0.125, 0.25, 0.5)],
    "examples": [FineTuneConfig(learning_rate=5e-3, examples=examples) for examples in (3, 12, 0)],
    "full fine-tuning": [
        FineTuneConfig(method="full", learning_rate=rate) for rate in (1e-4, 3e-4, 5e-4, 1e-3, 1.5e-3, 3e-3)
    ],
}
