"""Measure the three runs that the quiz shows as A, B and C: data/quiz-runs/*.json.

python data/build/build_quiz_runs.py        # about a minute on two CPU cores
"""

import sys
from pathlib import Path

DATA = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(DATA.parent))

from utils.training.finetuning import finetune  # noqa: E402
from utils.training.presets import preset  # noqa: E402

for letter, name in (("A", "reckless"), ("B", "careful"), ("C", "replay rescue")):
    result = finetune(preset(name), live=None)  # every probe at every checkpoint
    print(letter, result.config.label, f"learned {result.learned:.1%}, forgot {result.forgotten:.1f} points")
    result.save(DATA / "quiz-runs" / f"{letter}.json")
