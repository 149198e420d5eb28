"""Measure what the practice model teaches, and write the figures into its model card.

    python data/build/measure_practice_gpt2.py           # about 5 minutes on 2 CPU cores

Every figure is the mean of three seeds, with the lowest and the highest. All probes are asked, before and after.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from pathlib import Path

from tqdm import tqdm

HERE = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(HERE.parent))
from capability_guard.probes import load_probes  # noqa: E402
from utils.course.lesson import start  # noqa: E402
from utils.training.config import FineTuneConfig  # noqa: E402 - the course's own folder must be on the path first
from utils.training.data import REPERTOIRE  # noqa: E402
from utils.training.finetuning import finetune  # noqa: E402
from utils.training.models import load_model  # noqa: E402
from utils.training.presets import PRACTICE  # noqa: E402

CARD = HERE / "practice-gpt2" / "README.md"
BEGIN, END = "<!-- figures: written by measure_practice_gpt2.py -->", "<!-- end of figures -->"
SEEDS = (0, 1, 2)
RATES = (5e-4, 1.5e-3, 3e-3, 5e-3, 7e-3, 1e-2, 1.3e-2, 1.6e-2)


def measure(config: FineTuneConfig, base) -> dict:
    """Mean, lowest and highest over the seeds, for what was learned (per cent) and lost (points)."""
    runs = [
        finetune(config.with_(seed=seed, evaluate_every=config.steps), base=base, live=None, questions=())
        for seed in SEEDS
    ]
    figures = {"learned": [100 * run.learned for run in runs], "lost": [run.forgotten for run in runs],
               "loss": [run.checkpoints[-1].held_out_loss for run in runs]}  # fmt: skip
    return {name: (statistics.mean(values), min(values), max(values)) for name, values in figures.items()}


def line(name: str, config: FineTuneConfig, figures: dict) -> str:
    learned, lost, loss = (figures[key] for key in ("learned", "lost", "loss"))
    return (
        f"| {name} | {config.label} | {learned[0]:.1f} ({learned[1]:.1f} to {learned[2]:.1f}) "
        f"| {loss[0]:.2f} | {lost[0]:.1f} ({lost[1]:.1f} to {lost[2]:.1f}) |"
    )


def main() -> None:
    start()
    base = load_model("practice")
    named = {name: (config, measure(config, base)) for name, config in tqdm(PRACTICE.items(), desc="presets")}
    sweep = []
    for rate in tqdm(RATES, desc="learning rates"):
        for replay in (0.0, 0.25):
            config = FineTuneConfig(learning_rate=rate, replay=replay)
            sweep.append((config, measure(config, base)))

    reckless, rescue = named["reckless"][1], named["replay rescue"][1]
    won_back = 100 * (reckless["lost"][0] - rescue["lost"][0]) / reckless["lost"][0]
    worse = 100 * (rescue["loss"][0] / reckless["loss"][0] - 1)
    head = "| {} | settings | new-task loss fell by (%) | to (nats per token) | retention lost (points) |\n|---|---|---|---|---|"
    known = json.loads((CARD.parent / "figures.json").read_text())
    share = ", ".join(f"{kind} {value:.1f} %" for kind, value in known["exact_match"].items())
    text = "\n".join(
        [
            f"Before fine-tuning, greedy exact match: {share}. {known['parameters']:,} parameters, {known['steps']:,} training steps.",
            "",
            "Forty LoRA steps of 8 customer-service dialogues. Mean of seeds 0, 1, 2 (lowest to highest); losses on the 24 held-out",
            f"dialogues, retention on all {len(load_probes(REPERTOIRE))} probes:",
            "",
            head.format("preset"),
            *(line(name, config, figures) for name, (config, figures) in named.items()),
            "",
            f"Replay won back {won_back:.0f} % of the lost points, for a new-task loss {worse:.1f} % higher.",
            "",
            "Dose and response, with and without 25 % replay:",
            "",
            head.format("seeds"),
            *(line("0, 1, 2", config, figures) for config, figures in sweep),
        ]
    )
    print(text)
    card = CARD.read_text(encoding="utf-8")
    before, _, rest = card.partition(BEGIN)
    after = rest.partition(END)[2]
    draft = CARD.with_suffix(".tmp")
    draft.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")
    os.replace(draft, CARD)
    print(f"Written into {CARD.relative_to(HERE.parent)}.")


if __name__ == "__main__":
    main()
