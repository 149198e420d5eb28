"""Measure the grid of runs that the playground shows faintly behind the learner's own: ``python data/build/build_playground_grid.py``.

Every learning rate with every rank, with and without replay, on the practice model, seed 0. About four minutes on two cores;
it can be interrupted, and goes on.
"""

from __future__ import annotations

import os
import sys
from itertools import product
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
DATA = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(DATA.parent))

from utils.course.lesson import start  # noqa: E402
from utils.training.config import FineTuneConfig  # noqa: E402 - the course's own folder must be on the path first
from utils.training.sweeps import sweep  # noqa: E402

LEARNING_RATES = (3e-4, 7e-4, 1.5e-3, 3e-3, 5e-3, 8e-3, 1.3e-2, 2e-2)
RANKS = (1, 4, 16, 64)
REPLAY = (0.0, 0.25)

if __name__ == "__main__":
    start()
    grid = [FineTuneConfig(learning_rate=rate, rank=rank, replay=replay)
            for rate, rank, replay in product(LEARNING_RATES, RANKS, REPLAY)]  # fmt: skip
    sweep(grid, seeds=(0,), store=DATA / "sweeps" / "playground.jsonl")
