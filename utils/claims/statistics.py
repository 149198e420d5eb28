"""From the runs to a decision: an interval, a p-value, and the rule that was stated beforehand.

What is asked of all probes at the end is resampled over seeds and probes: ``lost``, and what is made of it. What comes from the
loss or from within a run (``learned``, ``kl``, ``kept``, ``peak``, ``share_lost_by``) has no probes to resample: seeds only.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import DegenerateDataWarning, bootstrap, t

from utils.claims.experiments import Claim, Contrast
from utils.claims.samples import Sample, Table

LEVEL = 0.05
RESAMPLES = 999


@dataclass(frozen=True)
class Finding:
    """What one contrast came to: the effect with its 95 % interval, p and Holm's corrected p, the outcome in a word.

    by_seed: the same number for each seed alone, which is its spread. A contrast that does not count has no ``adjusted``.
    beyond: what the claim asks the whole number to exceed. effect, low, high and by_seed are what is left after taking it off.
    """

    asks: str
    unit: str
    model: str
    counts: bool
    effect: float
    low: float
    high: float
    p: float
    by_seed: tuple[float, ...]
    adjusted: float = math.nan
    outcome: str = ""
    beyond: float = 0.0

    def whole(self) -> tuple[float, float, float]:
        """(effect, low, high) as one reads them: with ``beyond`` added again."""
        return self.effect + self.beyond, self.low + self.beyond, self.high + self.beyond


def interval(table: Table, measure: Callable[[Sample], float], seed: int = 0) -> tuple[float, float, float, float]:
    """(effect, low, high, p): the measure on all runs, its 95 % interval, and p for "there is nothing", two-sided.

    Seeds and probes are both samples, of all the seeds and questions that might have been. Each is bootstrapped by itself
    (scipy), the two variances are added, and Satterthwaite's degrees of freedom say how heavy the tails are: with three
    seeds, heavy. A measure that looks at no probes has no variance from them: its interval is over seeds only. A bootstrap of n
    comes out (n - 1) / n too small, which is put right. Resamples of which the measure says nothing (NaN) are left out. Where
    nothing varied at all, the interval is that of "none in n probes", exactly.
    """
    effect = measure(table.sample())
    if not math.isfinite(effect):
        return math.nan, math.nan, math.nan, math.nan
    rng = np.random.default_rng(seed)
    parts = []
    for n, resample in (
        (len(table.seeds), lambda i: table.sample(seeds=i)),
        (table.probes, lambda i: table.sample(probes=i)),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DegenerateDataWarning)  # nothing varies: the variance is 0, as it should be
            values = bootstrap(
                (np.arange(n),), lambda i, resample=resample: measure(resample(i)), vectorized=False,
                n_resamples=RESAMPLES, method="percentile", rng=rng,
            ).bootstrap_distribution  # fmt: skip
        parts.append((np.nanvar(values) * n / (n - 1), n - 1))
    variance = sum(v for v, _ in parts)
    if variance < 1e-12:
        most = 100 * (1 - (LEVEL / 2) ** (1 / table.probes))
        return effect, effect - most, effect + most, float(abs(effect) < 1e-9)
    freedom = variance**2 / sum(v**2 / df for v, df in parts)
    half = t.ppf(1 - LEVEL / 2, freedom) * math.sqrt(variance)
    return effect, effect - half, effect + half, float(2 * t.sf(abs(effect) / math.sqrt(variance), freedom))


def outcome(contrast: Contrast, low: float, high: float, effect: float, adjusted: float) -> str:
    """The rule at the top of ``experiments.py``, for one contrast."""
    if not math.isfinite(effect):
        return "not comparable"
    if -contrast.matters < low and high < contrast.matters:
        return "too small to matter"
    if adjusted < LEVEL and abs(effect) >= contrast.matters:
        return "differs" if contrast.predicts == "none" else "shown" if effect > 0 else "opposite"
    return "open"


def verdict(claim: Claim, outcomes: Sequence[str]) -> str:
    """One of "supported", "qualified" or "not shown": the rule for a claim, from the outcomes of its contrasts that count.

    What was not measured, for want of a model, neither supports a claim nor qualifies it.
    """
    wanted = [c.wanted for c in claim.contrasts if c.counts]
    met = [found == want for found, want in zip(outcomes, wanted, strict=True) if found != "not measured"]
    return "supported" if met and all(met) else "qualified" if any(met) else "not shown"
