"""Carry out the experiments: every run of every claim, through the sweep, into tables under ``data/claims/``."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from datasets import Dataset, DatasetDict

from utils.claims import experiments as x
from utils.training.config import FineTuneConfig
from utils.training.data import DATA, load_task, replay_texts
from utils.training.finetuning import finetune
from utils.training.models import load_model
from utils.training.results import RunResult
from utils.training.sweeps import Point, sweep

FOLDER = DATA / "claims"


def with_everything(config: FineTuneConfig) -> RunResult:
    """A run measured each time with every probe and on every held-out dialogue, not with the few that draw a live curve."""
    return finetune(config, live=None, questions=())


def recover(config: FineTuneConfig) -> RunResult:
    """Damage the model by the reckless run, then train what is left of it: on ``config.examples`` original rows, drawn
    by the seed from those set aside for replay; with 0, on the new task again. "Before" is the damaged model."""
    damaged = finetune(x.RECKLESS.with_(seed=config.seed, evaluate_every=40), questions=(), keep_model=True).model
    task = load_task()
    if config.examples:
        task = DatasetDict(train=Dataset.from_dict({"text": replay_texts()}), held_out=task["held_out"])
    # Into a fresh model: the damaged one shares the base model's frozen weights, and its trainer has wrapped its forward pass.
    model, tokenizer = load_model(config.model, quiet=True)
    model.load_state_dict(copy.deepcopy(damaged).merge_and_unload().state_dict())
    return finetune(config, task=task, base=(model, tokenizer), live=None, questions=())


@dataclass(frozen=True)
class Runs:
    """One table: which settings with which seeds, and how one of them is run."""

    store: Path
    configs: Sequence[FineTuneConfig]
    seeds: Sequence[int]
    run: Callable[[FineTuneConfig], RunResult] = with_everything

    def carry_out(self, seeds: Sequence[int] | None = None, jobs: int | None = None) -> list[Point]:
        """Every point of the table; those that are not stored yet are run."""
        return sweep(self.configs, seeds or self.seeds, store=self.store, jobs=jobs, run=self.run)


def plan(folder: Path = FOLDER) -> dict[str, Runs]:
    """The tables of all claims, kept in ``folder``."""
    practice, smollm2 = x.SEEDS["practice"], x.SEEDS["smollm2"]
    return {
        "practice": Runs(folder / "practice.jsonl", x.MAIN, practice),
        "dense": Runs(folder / "dense.jsonl", tuple(x.DENSE.values()), practice),
        "recovery": Runs(folder / "recovery.jsonl", tuple(x.RECOVER.values()), practice, recover),
        "practice-small": Runs(folder / "practice-small.jsonl", x.SMALL_RUNS, practice),
        "smollm2": Runs(folder / "smollm2.jsonl", x.SMOL_RUNS, smollm2),
    }
