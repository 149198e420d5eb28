"""The statistics of "before and after": each figure here compares the same probes, measured twice.

An outcome is lost (right before, wrong after), gained (the other way round) or unchanged. Bounds are one-sided, each at a
level of its own, because a gate asks one thing: did it get worse, and by how much at most?
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.optimize import brentq
from scipy.stats import beta, binomtest, norm, ttest_1samp

# An integral over probabilities, as a sum at 241 normal quantiles: dense in the tails, and exact to four digits.
NORMAL = np.linspace(-8, 8, 241)
GRID, WEIGHTS = norm.cdf(NORMAL), norm.pdf(NORMAL) / norm.pdf(NORMAL).sum()
MOST = 1_000_000  # probes; who would need more than this needs another question


def mcnemar(lost: int, gained: int, alternative: str = "two-sided") -> float:
    """p of the exact McNemar test: if nothing happened, each changed probe is as likely to have been lost as gained.

    alternative: "greater" tests for a loss, "less" for a gain. No probe changed: 1.
    """
    return float(binomtest(lost, lost + gained, alternative=alternative).pvalue) if lost + gained else 1.0


def holm(values: Sequence[float]) -> list[float]:
    """p-values corrected for there being several (Holm 1979), in the order given.

    Whatever the tests have to do with each other, the chance of even one false alarm among them stays at its level.
    """
    corrected, highest = [0.0] * len(values), 0.0
    for rank, i in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        highest = max(highest, min(1.0, (len(values) - rank) * values[i]))
        corrected[i] = highest
    return corrected


def most_lost(probes: int, lost: float, gained: float, level: float) -> float:
    """Upper bound of the true drop, as a share (-1 to 1): the drop is higher with a chance of at most ``level``.

    Two exact Clopper-Pearson bounds, one for the share of probes that change and one for the share of losses among
    those, are melded: the bound is a quantile of their product. It is below 0 exactly when McNemar's exact test finds a
    gain at ``level``, and where nothing changed it is the binomial bound for "none in n". lost and gained may be
    fractions, for planning. Source: Fay and Lumbard 2020, doi 10.1002/sim.8829.
    """
    changed = lost + gained
    if lost >= probes:
        return 1.0
    if gained == 0:  # all changes are losses: a plain binomial share
        return float(beta.ppf(1 - level, changed + 1, probes - changed))
    # A true drop below 0 has the fewest changes that fit, one above 0 the most.
    better = beta.sf(0.5, lost + 1, gained) < level
    a, b = (changed, probes - changed + 1) if better else (changed + 1, probes - changed)
    share = beta.ppf(GRID, a, b) if b else np.ones_like(GRID)

    def chance(drop: float) -> float:  # that the drop is this much or more
        return float(WEIGHTS @ beta.sf((1 + drop / share) / 2, lost + 1, gained))

    edges = (-1.0, 0.0) if better else (0.0, 1.0)
    return float(brentq(lambda drop: chance(drop) - level, *edges, xtol=1e-7))


def least_lost(probes: int, lost: float, gained: float, level: float) -> float:
    """Lower bound of the true drop: a gain is a loss seen from the other side."""
    return -most_lost(probes, gained, lost, level)


def probes_to_pass(probes: int, lost: int, gained: int, budget: float, level: float) -> int | None:
    """About how many probes would show that the drop is within ``budget`` (a share), if they behaved like these.

    None when the drop that was seen is itself not within the budget, or when ``MOST`` would not do.
    """
    return _smallest(probes, lambda k: most_lost(probes * k, lost * k, gained * k, level) <= budget)


def probes_to_block(probes: int, lost: int, gained: int, level: float) -> int | None:
    """About how many probes would show that something was lost, if they behaved like these. None: no number would."""
    if lost <= gained:
        return None
    return _smallest(
        probes, lambda k: mcnemar(math.floor(lost * k + 1e-9), math.ceil(gained * k - 1e-9), "greater") <= level
    )


def _smallest(probes: int, enough) -> int | None:
    """The smallest number of probes, at least as many as there are, for which ``enough(number / probes)``."""
    high = probes
    while not enough(high / probes):
        high *= 2
        if high > MOST:
            return None
    low = max(probes, high // 2)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle / probes) else (middle + 1, high)
    return high


def mean_rise(rises: Sequence[float], level: float) -> tuple[float, float, float, float]:
    """(mean, lower bound, upper bound, p) of paired differences: Student's t, with ``level`` beyond each bound.

    p tests for a rise. Differences that are all alike have no spread: both bounds are then the mean, and p is 0 or 1.
    """
    values = np.asarray(rises, float)
    mean = float(values.mean())
    if len(values) < 2 or np.ptp(values) == 0:
        return mean, mean, mean, 0.0 if mean > 0 else 1.0
    test = ttest_1samp(values, 0, alternative="greater")
    interval = ttest_1samp(values, 0).confidence_interval(1 - 2 * level)
    return mean, float(interval.low), float(interval.high), float(test.pvalue)


def fewest_texts(level: float) -> int:
    """Fewer paired differences than this cannot speak at ``level``: even if each had risen, the sign test would not."""
    return max(2, math.ceil(math.log2(1 / level)))


def unpaired(
    before: float, after: float, error_before: float, error_after: float, level: float
) -> tuple[float, float, float, float]:
    """(drop, lower bound, upper bound, p) of two shares, 0 to 1, with their standard errors, when no pairs are known (normal)."""
    drop, error = before - after, math.hypot(error_before, error_after)
    if error == 0:
        return drop, drop, drop, 0.0 if drop > 0 else 1.0
    reach = float(norm.isf(level)) * error
    return drop, drop - reach, drop + reach, float(norm.sf(drop / error))
