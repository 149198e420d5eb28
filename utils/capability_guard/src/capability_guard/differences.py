"""The mean of paired differences that are neither right nor wrong: losses of texts, and shares of what is right.

Student's t trusts that a few differences show how far all of them scatter. Where one text in twenty gets much worse and the
others stay, a sample may hold none of those, look perfectly quiet, and be certified: with 20 texts that happens one time in
three. So the sample is joined by one difference that was not seen and is as bad as any may be (``reach``), and the bound is
that of the mean if each of them may weigh more or less than it should (weights drawn as the Bayesian bootstrap draws them).
Where all differences are 0 or ``reach`` this is Clopper and Pearson's exact bound, and its p is McNemar's exact one. That it
holds for every shape within the reach is a conjecture which no case that was tried has broken. Source: Learned-Miller and
Thomas 2019, arXiv 1905.06208.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.optimize import brentq

# No text's loss is taken to move by more than so many times the budget, unless one is seen to: no bound on a mean can do
# without such a limit. The fewest texts that can pass follow from it, as the fewest probes follow from a budget of 5 points.
TIMES = 20


def mean_rise(rises: Sequence[float], level: float, reach: float) -> tuple[float, float, float, float]:
    """(mean, lower bound, upper bound, p) of paired differences; each bound is wrong with a chance of at most ``level``.

    p tests for a rise. reach: how far from 0 a difference may lie that was not seen; no less than the largest that was.

    >>> [round(x, 3) for x in mean_rise([0.0] * 59, level=0.05, reach=1.0)]  # none of 59 rose: 0.05 is just ruled out
    [0.0, -0.05, 0.05, 1.0]
    >>> round(mean_rise([1.0] * 6 + [0.0] * 54, level=0.05, reach=1.0)[3], 3)  # six lost and none gained: 1 in 64
    0.016
    """
    values = np.asarray(rises, float)
    # In units of the largest and without what is nothing beside it, so that no square is too large or too small for a float.
    unit = max(reach, float(np.abs(values).max()))
    values = values / unit
    values[np.abs(values) < 1e-12] = 0.0
    low, high = -_upper(-values, level), _upper(values, level)
    return float(values.mean() * unit), low * unit, high * unit, _chance(np.append(-values, 1.0))


def fewest_to_pass(share: float, level: float) -> int:
    """So many differences of 0 show that their mean is at most this share of the reach.

    >>> fewest_to_pass(1 / TIMES, 0.05), fewest_to_pass(0.1, 0.05)
    (59, 29)
    """
    return math.ceil(math.log(level) / math.log1p(-share)) if 0 < share < 1 else 1


def _upper(values: np.ndarray, level: float) -> float:
    """The mean that the weighted one exceeds with a chance of ``level``; the values are joined by 1, the worst there is."""
    joined = np.append(values, 1.0)
    least = float(joined.min())
    return 1.0 if least == 1.0 else brentq(lambda mean: _chance(joined - mean) - level, least, 1.0, xtol=1e-8)


def _chance(values: np.ndarray) -> float:
    """The chance that these, with random weights that are all alike on average (Dirichlet), have a mean of 0 or more.

    Such weights are exponential variables divided by their sum, so it is the chance that a sum of these is 0 or more: by
    Lugannani and Rice's saddlepoint formula, which is right to two parts in a hundred. Source: 1980, doi 10.2307/1426607.
    """
    low, high = float(values.min()), float(values.max())
    if low >= 0 or high <= 0:
        return float(low >= 0)

    def slope(at: float) -> float:  # of the cumulant generating function, -sum(log(1 - at * value)); it only rises
        return float((values / (1 - at * values)).sum())

    ends = (1 - 1e-10) / low, (1 - 1e-10) / high
    if slope(ends[0]) >= 0 or slope(ends[1]) <= 0:
        return float(slope(ends[0]) >= 0)
    at = brentq(slope, *ends, xtol=1e-9 * min(-ends[0], ends[1]), rtol=1e-9)
    curve = values / (1 - at * values)
    far = math.copysign(math.sqrt(max(0.0, 2 * float(np.log1p(-at * values).sum()))), at)
    if abs(far) < 1e-4:  # at the mean itself both parts of the formula are infinite, and their difference is this
        skew = 2 * float((curve**3).sum()) / float((curve**2).sum()) ** 1.5
        return 0.5 - skew / (6 * math.sqrt(2 * math.pi))
    density, tail = math.exp(-far * far / 2) / math.sqrt(2 * math.pi), math.erfc(far / math.sqrt(2)) / 2
    chance = tail + density * (1 / (at * math.sqrt(float((curve**2).sum()))) - 1 / far)
    return min(1.0, max(0.0, chance))
