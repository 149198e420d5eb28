"""The statistics of "before and after": each figure here compares the same probes, measured twice.

An outcome is lost (right before, wrong after), gained (the other way round) or unchanged. Bounds are one-sided, each at a
level of its own, because a gate asks one thing: did it get worse, and by how much at most? What is neither right nor wrong is
compared in ``differences``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.optimize import brentq
from scipy.stats import beta, binomtest, norm

# An integral over probabilities, as a sum at 241 normal quantiles: dense in the tails, and exact to four digits.
NORMAL = np.linspace(-8, 8, 241)
GRID, WEIGHTS = norm.cdf(NORMAL), norm.pdf(NORMAL) / norm.pdf(NORMAL).sum()
MOST = 1_000_000  # probes; if you would need more than this, ask another question


def mcnemar(lost: int, gained: int, alternative: str = "two-sided") -> float:
    """p of the exact McNemar test: if nothing happened, each changed probe is as likely to have been lost as gained.

    alternative: "greater" tests for a loss, "less" for a gain. No probe changed: 1.
    Source: McNemar 1947, doi 10.1007/BF02295996; exact, as a binomial test.

    >>> round(mcnemar(lost=5, gained=0), 4), round(mcnemar(lost=6, gained=0), 4)  # five losses alone may be chance
    (0.0625, 0.0312)
    """
    return float(binomtest(lost, lost + gained, alternative=alternative).pvalue) if lost + gained else 1.0


def holm(values: Sequence[float]) -> list[float]:
    """p-values corrected for there being several (Holm 1979), in the order given.

    Whatever the tests have to do with each other, the chance of even one false alarm among them stays at its level.

    >>> [round(p, 2) for p in holm([0.04, 0.01, 0.30])]  # the smallest of three is tripled, the next doubled
    [0.08, 0.03, 0.3]
    """
    corrected, highest = [0.0] * len(values), 0.0
    for rank, i in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        # Never less than a smaller p before it: else a test could pass that a stronger one did not.
        highest = max(highest, min(1.0, (len(values) - rank) * values[i]))
        corrected[i] = highest
    return corrected


def most_lost(probes: int, lost: float, gained: float, level: float) -> float:
    """Upper bound of the true drop, as a share (-1 to 1): the drop is higher with a chance of at most ``level``.

    Two exact Clopper-Pearson bounds, one for the share of probes that change and one for the share of losses among
    those, are melded: the bound is a quantile of their product. It is below 0 exactly when McNemar's exact test finds a
    gain at ``level``, and where nothing changed it is the binomial bound for "none in n". lost and gained may be
    fractions, for planning. Source: Fay and Lumbard 2020, doi 10.1002/sim.8829.

    >>> round(most_lost(59, 0, 0, level=0.05), 3)  # none of 59 lost: a drop of 5 points is just ruled out
    0.05
    >>> round(most_lost(100, 8, 2, level=0.05), 2)  # 6 points were seen, and 12 may have been lost
    0.12
    """
    changed = lost + gained
    if lost >= probes:
        return 1.0
    if gained == 0:  # all changes are losses: a plain binomial share
        return float(beta.ppf(1 - level, changed + 1, probes - changed))
    # A true drop below 0 has the fewest changes that fit, one above 0 the most.
    better = beta.sf(0.5, lost + 1, gained) < level
    rest = (
        max(0.0, probes - changed) if probes - changed > 1e-9 else 0.0
    )  # fractions, for planning, add up to it only nearly
    a, b = (changed, rest + 1) if better else (changed + 1, rest)
    share = beta.ppf(GRID, a, b) if b else np.ones_like(GRID)

    # The drop is (share that change) * (2 * share of losses among those - 1), so it is at least ``drop`` when the second
    # share is at least (1 + drop / first) / 2. Averaged over the first, that gives the chance.
    def chance(drop: float) -> float:  # that the drop is this much or more
        return float(WEIGHTS @ beta.sf((1 + drop / share) / 2, lost + 1, gained))

    # The bound lies on the side of 0 that was chosen above. The chance falls as the drop grows, so there is one crossing.
    edges = (-1.0, 0.0) if better else (0.0, 1.0)
    return float(brentq(lambda drop: chance(drop) - level, *edges, xtol=1e-7))


def least_lost(probes: int, lost: float, gained: float, level: float) -> float:
    """Lower bound of the true drop, as a share (-1 to 1): a gain is a loss seen from the other side.

    >>> least_lost(100, 8, 2, level=0.05) > 0, round(mcnemar(8, 2, "greater"), 3)
    (False, 0.055)
    >>> least_lost(100, 9, 2, level=0.05) > 0, round(mcnemar(9, 2, "greater"), 3)  # above 0 just where p is below the level
    (True, 0.033)
    """
    return -most_lost(probes, gained, lost, level)


def least_share(right: int, probes: int, level: float) -> float:
    """Lower bound of a share, 0 to 1, of which ``right`` of so many were seen: it is lower with a chance of at most ``level``.

    Exact. Source: Clopper and Pearson 1934, doi 10.1093/biomet/26.4.404.

    >>> round(least_share(90, 100, level=0.05), 3), least_share(0, 100, level=0.05)
    (0.836, 0.0)
    """
    return float(beta.ppf(level, right, probes - right + 1)) if right else 0.0


def probes_to_pass(probes: int, lost: int, gained: int, budget: float, level: float) -> int | None:
    """About how many probes would show that the drop is within ``budget`` (a share), if they behaved like these.

    None when the drop that was seen is itself not within the budget, or when ``MOST`` would not do.

    >>> probes_to_pass(20, 0, 0, budget=0.05, level=0.05), probes_to_pass(20, 2, 0, budget=0.05, level=0.05)
    (59, None)
    """
    return _smallest(probes, lambda k: most_lost(probes * k, lost * k, gained * k, level) <= budget)


def probes_to_block(probes: int, lost: int, gained: int, level: float) -> int | None:
    """About how many probes would show that something was lost, if they behaved like these. None: no number would.

    >>> probes_to_block(10, 3, 0, level=0.05), probes_to_block(10, 1, 1, level=0.05)  # five losses are p = 0.03
    (17, None)
    """
    if lost <= gained:
        return None
    # Whole probes, rounded against the finding: a loss counts when it is complete, a gain as soon as it begins.
    return _smallest(
        probes, lambda k: mcnemar(math.floor(lost * k + 1e-9), math.ceil(gained * k - 1e-9), "greater") <= level
    )


def _smallest(probes: int, enough) -> int | None:
    """The smallest number of probes, at least as many as there are, for which ``enough(number / probes)``."""
    # Doubled until it is enough, then halved between: each try of ``most_lost`` integrates, so the fewer the better.
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


def unpaired(
    before: float, after: float, error_before: float, error_after: float, level: float
) -> tuple[float, float, float, float]:
    """(drop, lower bound, upper bound, p) of two shares, 0 to 1, with their standard errors, when no pairs are known (normal).

    level: beyond each bound, a chance from 0 to 1.

    >>> [round(x, 3) for x in unpaired(0.80, 0.75, error_before=0.02, error_after=0.02, level=0.05)]
    [0.05, 0.003, 0.097, 0.039]
    """
    # Errors of two independent samples add as squares. These are of the same questions, which usually go up and down
    # together, so the true error is smaller, and these bounds err on the safe side.
    drop, error = before - after, math.hypot(error_before, error_after)
    if error == 0:
        return drop, drop, drop, 0.0 if drop > 0 else 1.0
    reach = float(norm.isf(level)) * error
    return drop, drop - reach, drop + reach, float(norm.sf(drop / error))
