"""Measure the grid of runs that the playground shows faintly behind the learner's own: ``python data/build_playground_grid.py``.

Every learning rate with every rank, with and without replay, on the practice model, seed 0. About four minutes on two cores.
"""

from __future__ import annotations

import json
import os
import sys
from itertools import product
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
DATA = Path(__file__).resolve().parent
sys.path.insert(0, str(DATA.parent))

from tqdm import tqdm  # noqa: E402 - the course's own folder must be on the path first

from utils.config import FineTuneConfig  # noqa: E402
from utils.finetune import finetune  # noqa: E402
from utils.lesson import start  # noqa: E402

LEARNING_RATES = (3e-4, 7e-4, 1.5e-3, 3e-3, 5e-3, 8e-3, 1.3e-2, 2e-2)
RANKS = (1, 4, 16, 64)
REPLAY = (0.0, 0.25)


def main() -> None:
    start()
    runs = []
    for learning_rate, rank, replay in tqdm(list(product(LEARNING_RATES, RANKS, REPLAY)), desc="runs"):
        result = finetune(FineTuneConfig(learning_rate=learning_rate, rank=rank, replay=replay), questions=())
        if not result.diverged:
            runs.append({"settings": str(result.config), "learned": round(result.learned, 4),
                         "forgotten": round(result.forgotten, 2)})  # fmt: skip
    path = DATA / "playground-grid.json"
    draft = path.with_suffix(".tmp")
    draft.write_text(
        json.dumps({"versions": result.versions, "machine": result.machine, "runs": runs}, indent=1) + "\n"
    )
    os.replace(draft, path)
    print(f"Wrote {path.name}: {len(runs)} runs.")


if __name__ == "__main__":
    main()
