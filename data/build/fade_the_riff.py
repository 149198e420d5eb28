"""What the model of lesson 2 plays when its riff is turned down: ``python data/build/fade_the_riff.py``. A minute on two cores.

The site has a slider for it, and a page without a kernel can't ask a model. Writes data/jazz_riff/faded.json: "Ode to Joy" and the
riff at each strength from 0 to 1, as ABC, from the very run of the lesson. The same run gives the same notes.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
DATA = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(DATA.parent))

from utils.course.lesson import start  # noqa: E402 - the course's own folder must be on the path first

start()

from capability_guard import fade, load_probes  # noqa: E402
from capability_guard.files import write_whole  # noqa: E402
from utils.training import REPERTOIRE, FineTuneConfig, answer, finetune, load_model, load_task  # noqa: E402

FILE = DATA / "jazz_riff" / "faded.json"
CONFIG = FineTuneConfig(learning_rate=1.8e-2, steps=24)
STRENGTHS = [tenths / 10 for tenths in range(11)]
ODE = "Play Ode to Joy, part 1."
ROOM = 64  # tokens that a melody may have


def main() -> None:
    base, task = load_model(CONFIG.model, quiet=True), load_task("jazz_riff")
    ode = next(probe for probe in load_probes(REPERTOIRE) if probe.prompt == ODE)
    riff = task["train"]["text"][0]
    prompt = riff[: riff.index(". ") + 1]
    result = finetune(CONFIG, task, probes=[ode], base=base, live=None, questions=(), keep_model=True)
    played = []
    for strength in STRENGTHS:
        with fade(result.model, strength):
            melodies = answer(result.model, base[1], [ode.prompt, prompt], max_new_tokens=ROOM)
        played.append({"strength": strength, "Ode to Joy": melodies[0], "The Midnight Riff": melodies[1]})
    written = {
        "settings": str(CONFIG),
        "scores": {"Ode to Joy": ode.answer, "The Midnight Riff": riff[len(prompt) + 1 :]},
        "played": played,
    }
    write_whole(FILE, json.dumps(written, indent=1, ensure_ascii=False) + "\n")
    print(FILE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
