"""The runs of one model as arrays, and the numbers that a contrast is made of."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from utils.training.config import FineTuneConfig
from utils.training.sweeps import Point


class Table:
    """Every run of one model as arrays, by setting: ``change`` [seeds, probes] is 1 where a probe was lost, -1 where it was
    gained; ``learned`` (per cent of the loss) and ``kl`` (nats per token) are [seeds]; ``curve`` is [seeds, checkpoints, 3]:
    step, per cent learned, points of retention lost.

    Raises ValueError where a setting lacks a seed that another has, or was asked other probes: they would not pair.
    """

    def __init__(self, points: Iterable[Point]) -> None:
        runs: dict[FineTuneConfig, dict[int, Point]] = {}
        for point in points:
            runs.setdefault(point.config.with_(seed=0), {})[point.config.seed] = point
        self.seeds = sorted({seed for by_seed in runs.values() for seed in by_seed})
        self.change, self.learned, self.kl, self.curve = {}, {}, {}, {}
        asked = {point.probes for by_seed in runs.values() for point in by_seed.values()}
        if len(asked) > 1:
            raise ValueError(f"These runs were asked {len(asked)} different sets of probes; run them again together.")
        for config, by_seed in runs.items():
            if missing := [seed for seed in self.seeds if seed not in by_seed]:
                raise ValueError(f"{config} was not run with seed {missing[0]}; run it, or leave that seed out.")
            same = [by_seed[seed] for seed in self.seeds]
            self.change[config] = np.array([_bits(p.before) - _bits(p.after) for p in same])
            self.learned[config] = 100 * np.array([p.learned for p in same])
            self.kl[config] = np.array([p.kl[-1] for p in same])
            self.curve[config] = np.array([_curve(p) for p in same])
        self.probes = next(iter(self.change.values())).shape[1] if runs else 0

    def sample(self, seeds: Sequence[int] | None = None, probes: Sequence[int] | None = None) -> Sample:
        """The runs with these seeds and probes (by position; one may come twice), or with all of them."""
        return Sample(
            self,
            np.arange(len(self.seeds)) if seeds is None else np.asarray(seeds, int),
            None if probes is None else np.asarray(probes, int),
        )


@dataclass(frozen=True)
class Sample:
    """What the contrasts are computed from: a table, and which of its seeds and probes to look at.

    ``probes`` is seen by ``lost`` and by what uses it. The figures of the loss and of the curves are means over ``seeds`` alone.
    """

    table: Table
    seeds: np.ndarray
    probes: np.ndarray | None = None

    def lost(self, config: FineTuneConfig) -> float:
        """Points of retention lost: per cent of the probes."""
        change = self.table.change[config][self.seeds]
        return 100 * float((change if self.probes is None else change[:, self.probes]).mean())

    def learned(self, config: FineTuneConfig) -> float:
        """Per cent by which held-out new-task loss fell."""
        return float(self.table.learned[config][self.seeds].mean())

    def kl(self, config: FineTuneConfig) -> float:
        """KL to the base model at the end, nats per token."""
        return float(self.table.kl[config][self.seeds].mean())

    def interpolate(self, curve: Sequence[FineTuneConfig], at: float, of: str = "learned") -> float:
        """Points that a group of settings loses where its ``of`` is just ``at``: by a straight line between settings.

        NaN beyond its ends, where there is nothing to read off. The settings are taken in the order of what they learned, not
        of their rates: where two learned equally much and lost differently, what is read off near them is uncertain. Loss
        grows faster and faster, so that a line between two settings lies above what one between them would lose.
        """
        x, y = zip(*sorted((getattr(self, of)(config), self.lost(config)) for config in curve), strict=True)
        return float(np.interp(at, x, y)) if x[0] <= at <= x[-1] else math.nan

    def excess(self, config: FineTuneConfig, curve: Sequence[FineTuneConfig]) -> float:
        """Points lost beyond what ``curve`` loses where it learned as much."""
        return self.lost(config) - self.interpolate(curve, self.learned(config))

    def learned_within(self, curve: Sequence[FineTuneConfig], budget: float) -> float:
        """Per cent that a group of settings, from its lowest rate up, has learned where it first loses ``budget`` points."""
        steps = [(self.lost(config), self.learned(config)) for config in curve]
        for (lost, learned), (more, next_learned) in zip(steps, steps[1:], strict=False):
            if lost <= budget < more:
                return learned + (next_learned - learned) * (budget - lost) / (more - lost)
        return steps[-1][1] if steps[-1][0] <= budget else math.nan

    def learns_most(self, curve: Sequence[FineTuneConfig]) -> FineTuneConfig:
        """The setting that somebody would choose who looks at the new task only."""
        return max(curve, key=self.learned)

    def kept(self, config: FineTuneConfig, budget: float) -> tuple[float, float]:
        """(per cent learned, points lost) of the checkpoint that ``max_drop=budget`` would bring back, mean over the seeds.

        Until the budget is first exceeded, the checkpoint that has learned most. Over seeds only: a curve keeps shares, no probes.
        """
        chosen = []
        for curve in self.table.curve[config][self.seeds]:
            over = np.nonzero(curve[:, 2] > budget)[0]
            within = curve[: over[0]] if len(over) else curve
            chosen.append(within[within[:, 1].argmax()])
        learned, lost = np.array(chosen)[:, 1:].mean(axis=0)
        return float(learned), float(lost)

    def peak(self, config: FineTuneConfig) -> float:
        """Points lost at the worst checkpoint beyond those lost at the last one, mean over the seeds.

        Over seeds only. It cannot be negative, and noise raises it: so its p against zero comes out too small, and its interval,
        which is symmetric, reaches below zero, where nothing can lie. Read its size, not its p.
        """
        lost = self.table.curve[config][self.seeds][:, :, 2]
        return float((lost.max(axis=1) - lost[:, -1]).mean())

    def share_lost_by(self, config: FineTuneConfig, step: int) -> float:
        """Of the points lost at the end, the share (0 to 1) that was lost by a step; means over the seeds, and over seeds only."""
        curve = self.table.curve[config][self.seeds].mean(axis=0)
        return float(curve[curve[:, 0] == step][0, 2] / curve[-1, 2])

    def correlation(self, of: str, configs: Sequence[FineTuneConfig]) -> float:
        """Spearman's rank correlation, over settings, of ``of`` ("kl" or "learned") and points lost."""
        ranks = [rankdata([measure(config) for config in configs]) for measure in (getattr(self, of), self.lost)]
        return float(np.corrcoef(*ranks)[0, 1])


def _bits(outcomes: str) -> np.ndarray:
    return np.frombuffer(outcomes.encode(), np.uint8).astype(np.int8) - ord("0")


def _curve(point: Point) -> list[tuple[float, float, float]]:
    start = point.held_out[0]
    return [(step, 100 * (1 - loss / start), 100 * (point.retention[0] - kept))
            for step, loss, kept in zip(point.steps, point.held_out, point.retention, strict=True)]  # fmt: skip
