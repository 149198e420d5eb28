"""Run the sweeps that lessons 5 and 6 read: ``python data/build/sweep_fixes.py``. About five minutes on two cores; resumable."""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from utils.course.lesson import start  # noqa: E402
from utils.training.fixes import EXPERIMENTS, STORE  # noqa: E402 - the course's own folder must be on the path first
from utils.training.sweeps import sweep  # noqa: E402

if __name__ == "__main__":
    start()
    for name, configs in EXPERIMENTS.items():
        print(name)
        sweep(configs, store=STORE)
