"""Carry out the league: each training once, and all that only changes finished weights read off it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import torch

from capability_guard import fade
from capability_guard.asking import ask, encode_probes, kl_divergence, retention, score
from capability_guard.curve import Checkpoint
from capability_guard.encoding import context_length, encode
from capability_guard.monitor import KL_POSITIONS
from capability_guard.weights import Weights, put_back, trained_weights
from utils.claims import league
from utils.claims.runs import FOLDER, Runs
from utils.claims.samples import Table
from utils.claims.verdicts import Verdict, decide, tables_of
from utils.training.beside import on_one_thread
from utils.training.config import FineTuneConfig
from utils.training.data import load_task
from utils.training.finetuning import SMALL, base_model, default_probes, finetune
from utils.training.remedies import Training
from utils.training.results import RunResult, by_setting
from utils.training.sweeps import Point, load, sweep

SECONDS = {"practice": 5.0, "practice-small": 3.0, "smollm2": 85.0}  # a training and its measuring, on one of two cores
TO_READ = {"practice": 0.9, "practice-small": 0.6, "smollm2": 25.0}  # one more strength of it


def trained_as(config: FineTuneConfig) -> FineTuneConfig:
    """The run that has to be trained for these settings: as trained, and without a remedy that only comes after that."""
    cure, trained = config.cure, config.as_trained
    only_after = cure is not None and not any((cure.rows, cure.adapter, cure.start, cure.loss))
    return trained.with_(remedy="") if only_after else trained


def read_off(configs: Sequence[FineTuneConfig]) -> list[RunResult]:
    """Train what these settings have in common, and measure it as each of them leaves it."""
    trained = trained_as(configs[0])
    result = finetune(trained, live=None, questions=(), keep_model=True, beside=False)
    if result.diverged:
        return [replace(result, config=config, model=None) for config in configs]
    weights = trained_weights(result.model)
    found = []
    for config in configs:
        if config == trained:
            found.append(replace(result, model=None))
            continue
        with on_one_thread(result.parameters < SMALL), _as_left_by(config, result, weights):
            found.append(_measured(config, result))
    return found


@contextmanager
def _as_left_by(config: FineTuneConfig, result: RunResult, weights: Weights) -> Iterator[None]:
    """The trained model, changed by what comes after the training, for the length of a block."""
    base, tokenizer = base_model(config.model)
    if config.remedy != result.config.remedy:
        config.at("after")(Training(base, tokenizer, config.seed, model=result.model))
    with fade(result.model, config.strength, base=base if config.method == "full" else None):
        yield
    put_back(result.model, weights)


def _measured(config: FineTuneConfig, result: RunResult) -> RunResult:
    """The result, as the model is now: every probe, and the loss and the KL on all held-out dialogues."""
    began, asked = time.perf_counter(), _asked(config.model)
    tokenizer = base_model(config.model)[1]
    now = score(result.model, asked.held_out, keep=KL_POSITIONS)
    right = [bool(x) for x in ask(result.model, tokenizer, asked.tokens).correct]
    first = result.checkpoints[0]
    last = Checkpoint(
        config.steps, result.seconds, sum(right) / len(right), retention(asked.probes, right), held_out_loss=now.mean_loss,
        original_loss=first.original_loss, kl=kl_divergence(asked.base, now.log_probabilities),
    )  # fmt: skip
    seconds = time.perf_counter() - began  # of the measuring: nothing was trained for it
    return replace(result, config=config, model=None, checkpoints=[first, last], after=right, seconds=seconds)


@dataclass(frozen=True)
class _Asked:
    probes: list
    tokens: object
    held_out: list
    base: torch.Tensor


@lru_cache(maxsize=2)
def _asked(name: str) -> _Asked:
    model, tokenizer = base_model(name)
    probes, longest = [probe for probe in default_probes(name) if probe.measure != "loss"], context_length(model)
    held_out = encode(tokenizer, list(load_task()["held_out"]["text"]), longest)
    base = score(model, held_out, keep=KL_POSITIONS).log_probabilities
    return _Asked(probes, encode_probes(tokenizer, probes, longest), held_out, base)


class LeagueRuns(Runs):
    """One table of the league."""

    def carry_out(self, seeds: Sequence[int] | None = None, jobs: int | None = None) -> list[Point]:
        """Every point of the table; those that are not stored yet are run, each training with all that is read off it."""
        return sweep(self.configs, seeds or self.seeds, store=self.store, jobs=jobs, run=read_off, together=trained_as)

    def estimate(self) -> tuple[int, int, float]:
        """(trainings, figures, seconds of one core) that are not stored yet."""
        known = {point.config for point in load(self.store)} if self.store.exists() else set()
        missing = [c.with_(seed=seed) for c in self.configs for seed in self.seeds if c.with_(seed=seed) not in known]
        trainings = {trained_as(config) for config in missing}
        extra = len(set(missing) - trainings)
        twice = sum(config.remedy == "average_of_two" for config in trainings)
        seconds = sum(SECONDS[c.model] for c in trainings) + twice * SECONDS["practice"]
        return len(trainings), len(missing), seconds + sum(TO_READ[c.model] for c in missing[:extra])


def league_stores(folder: Path = FOLDER) -> dict[str, Path]:
    """Where each table of the league is kept; unlike ``league_plan``, it reads none of them."""
    return {name: folder / f"{name}.jsonl" for name in ("league", "league-small", "league-smollm2")}


def league_plan(folder: Path = FOLDER) -> dict[str, LeagueRuns]:
    """The tables of the league, kept in ``folder``. SmolLM2's remedies are known once the practice model's runs are there."""
    stores = league_stores(folder)
    practice = LeagueRuns(stores["league"], league.PRACTICE, league.SEEDS)
    return {
        "league": practice,
        "league-small": LeagueRuns(stores["league-small"], league.PRACTICE_SMALL, league.SEEDS),
        "league-smollm2": LeagueRuns(stores["league-smollm2"], league.on_smollm2(_best(practice)), league.SEEDS),
    }


def _best(practice: LeagueRuns) -> list[str]:
    """The rows of the league that SmolLM2 is to try: by the rule, from whole runs only."""
    if not practice.store.exists() or practice.estimate()[1] > _diverged(practice):
        return []
    return league.best(Table(with_every_seed(load(practice.store), practice.seeds)).sample())


def _diverged(runs: LeagueRuns) -> int:
    """Runs that are stored as diverged: they are no points, and are not missing."""
    with runs.store.open(encoding="utf-8") as lines:
        return sum('"diverged"' in line for line in lines)


def estimate(folder: Path, jobs: int) -> list[str]:
    """What each table of the league still has to run, in a line."""
    lines = []
    for name, runs in league_plan(folder).items():
        trainings, figures, seconds = runs.estimate()
        lines.append(
            f"{name}: {trainings} trainings for {figures} figures to go, about {seconds / 60 / jobs:.0f} minutes."
        )
    return lines


def decide_league(points: Sequence[Point]) -> dict[str, Verdict]:
    """Claims 9 to 13. Without SmolLM2's runs its contrasts are "not measured"."""
    whole = []
    for smollm2 in (False, True):
        whole += with_every_seed([p for p in points if (p.config.model == "smollm2") == smollm2], league.SEEDS)
    return decide(tables_of(whole), league.LEAGUE)


def with_every_seed(points: Sequence[Point], seeds: Sequence[int]) -> list[Point]:
    """Of these seeds, without the settings of which one diverged or is not there: they would not pair."""
    groups = by_setting([point for point in points if point.config.seed in seeds]).values()
    return [point for group in groups if {p.config.seed for p in group} == set(seeds) for point in group]
