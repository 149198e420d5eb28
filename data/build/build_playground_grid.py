"""Measure the grid of runs that the playground shows faintly behind the learner's own: ``python data/build/build_playground_grid.py``.

Every learning rate with every rank, with and without replay, on the practice model, seed 0; then each of them once more, turned
down after the training, for its fade path. About ten minutes on two cores; it can be interrupted, and goes on.
"""

from __future__ import annotations

import json
import os
import sys
from itertools import product
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
DATA = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(DATA.parent))

from joblib import Parallel, delayed  # noqa: E402

from utils.course.lesson import start  # noqa: E402
from utils.training.config import FineTuneConfig  # noqa: E402 - the course's own folder must be on the path first
from utils.training.fader import Fader  # noqa: E402
from utils.training.finetuning import finetune  # noqa: E402
from utils.training.sweeps import sweep  # noqa: E402

LEARNING_RATES = (3e-4, 7e-4, 1.5e-3, 3e-3, 5e-3, 8e-3, 1.3e-2, 2e-2)
RANKS = (1, 4, 16, 64)
REPLAY = (0.0, 0.25)

STRENGTHS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
PATHS = DATA / "sweeps" / "playground-fade.jsonl"


def fade_path(config: FineTuneConfig) -> dict:
    """[strength, share learned, points lost] of a run that is trained again, at each strength."""
    start()
    fader = Fader.of(finetune(config, questions=(), kl=False, keep_model=True), questions=())
    found = [(strength, fader.at(strength)) for strength in STRENGTHS]
    return {"config": str(config), "fade": [[s, round(at.learned, 4), round(at.forgotten, 2)] for s, at in found]}


if __name__ == "__main__":
    start()
    grid = [FineTuneConfig(learning_rate=rate, rank=rank, replay=replay)
            for rate, rank, replay in product(LEARNING_RATES, RANKS, REPLAY)]  # fmt: skip
    points = sweep(grid, seeds=(0,), store=DATA / "sweeps" / "playground.jsonl")
    lines = PATHS.read_text(encoding="utf-8").splitlines() if PATHS.exists() else []
    known = {json.loads(line)["config"] for line in lines}
    missing = [point.config for point in points if str(point.config) not in known]
    with PATHS.open("a", encoding="utf-8") as file:
        for path in Parallel(n_jobs=2, return_as="generator_unordered")(delayed(fade_path)(one) for one in missing):
            print(json.dumps(path), file=file, flush=True)
