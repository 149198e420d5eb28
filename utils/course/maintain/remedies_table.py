"""What a training step costs with each remedy, against a plain one: ``make bench ARGS="--only remedies"``.

In seconds of the processor, on one thread, so that whoever else uses the machine is in none of the figures; in turn, and each
against the plain step of its own round. A remedy that only changes the rows or the finished weights has the plain step.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time

from rich.console import Console
from rich.table import Table

from utils.course.lesson import start
from utils.training.beside import on_one_thread
from utils.training.config import FineTuneConfig
from utils.training.data import load_task
from utils.training.models import load_model
from utils.training.remedies import REMEDIES
from utils.training.rows import training_rows
from utils.training.trainer import build_trainer

MOST = 1.6
CONFIG = FineTuneConfig(learning_rate=1e-3, steps=8)


def seconds(config: FineTuneConfig, base, rows: list[str]) -> float:
    """Of the processor, for the steps of one run; building the trainer is left out."""
    with tempfile.TemporaryDirectory() as scratch, on_one_thread(True):
        trainer = build_trainer(config, *base, rows, [], scratch)
        began = time.process_time()
        trainer.train()
        return time.process_time() - began


def ratios(rounds: int) -> dict[str, list[float]]:
    """For each remedy that changes the step: what it costs, as a multiple of the plain step, once a round."""
    base = load_model("practice", quiet=True)
    rows = training_rows(CONFIG, list(load_task()["train"]["text"]))
    seconds(CONFIG, base, rows)  # imports and caches
    found: dict[str, list[float]] = {name: [] for name, remedy in REMEDIES.items() if remedy.loss or remedy.adapter}
    for _ in range(rounds):
        plain = seconds(CONFIG, base, rows)
        for name, values in found.items():
            values.append(seconds(CONFIG.with_(remedy=name), base, rows) / plain)
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args(arguments)
    start()
    table = Table(
        "remedy", "median", "lowest to highest", "at most", title="A training step, as a multiple of the plain one"
    )
    slow = []
    for name, values in ratios(options.rounds).items():
        low, middle, high = min(values), statistics.median(values), max(values)
        twice = REMEDIES[name].needs == "a second run"
        table.add_row(
            name + " (two runs of such steps)" * twice, f"{middle:.2f}", f"{low:.2f} to {high:.2f}", f"{MOST:g}"
        )
        slow += [name] * (middle > MOST)
    Console(width=100).print(table)
    print(f"Too slow: {', '.join(slow)}" if slow else f"No step takes more than {MOST:g} times the plain one.")
    return 1 if slow else 0
