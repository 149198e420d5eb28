"""How many probes do you need? The chance to see a drop that is really there, before you measure anything."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.stats import binom

from capability_guard.verdict import LEVEL


@lru_cache(maxsize=4096)
def power(probes: int, drop: float, gained: float = 0.0, level: float = LEVEL) -> float:
    """The chance, 0 to 1, that ``compare`` says "regressed" when ``drop`` points are really lost.

    probes: how many. drop: points lost, net. gained: points that go from wrong to right meanwhile: such churn makes a
    drop harder to see. It is ``compare``'s two-sided test, not the gate's, which is one-sided and corrected for several
    capabilities. Exact: the sum over every number of changed probes of the chance of it times the chance that
    McNemar's exact test, two-sided, rejects at ``level``.
    Raises ValueError for settings out of range.

    >>> round(power(100, drop=5), 2), round(power(100, drop=5, gained=5), 2), round(power(400, drop=5), 2)
    (0.38, 0.18, 1.0)
    """
    lost, won = (drop + gained) / 100, gained / 100
    if probes < 1 or drop <= 0 or gained < 0 or lost + won > 1:
        raise ValueError(
            f"probes is {probes}, drop {drop:g}, gained {gained:g}; give at least 1 probe, a drop above 0, and no more than "
            "100 points that change."
        )
    # From 1: where nothing changed the test cannot reject, so that chance adds nothing.
    changed = np.arange(1, probes + 1)
    # The fewest losses among so many changes that reject: twice the upper tail of a fair coin must be below the level.
    fewest = binom.isf(level / 2, changed, 0.5) + 1
    rejects = binom.sf(fewest - 1, changed, lost / (lost + won))
    return float((binom.pmf(changed, probes, lost + won) * rejects).sum())


def probes_needed(drop: float, wanted: float = 0.8, gained: float = 0.0, level: float = LEVEL) -> int:
    """The fewest probes with which a drop of so many points is seen with at least the chance ``wanted``.

    drop, gained: points. wanted: a chance between 0 and 1. Raises ValueError if even 100,000 are too few.

    >>> [probes_needed(drop) for drop in (20, 10, 5)]  # half the drop takes about twice the probes
    [39, 78, 157]
    """
    if not 0 < wanted < 1:
        raise ValueError(f"wanted is {wanted}; give a chance between 0 and 1.")
    high = 1
    while power(high, drop, gained, level) < wanted:
        high *= 2
        if high > 100_000:
            raise ValueError(f"A drop of {drop:g} points needs more than 100,000 probes; look for a larger one.")
    low = high // 2
    while high - low > 1:  # power climbs in small teeth, so this is the number to within a tooth
        middle = (low + high) // 2
        low, high = (low, middle) if power(middle, drop, gained, level) >= wanted else (middle, high)
    return high


def smallest_drop(probes: int, wanted: float = 0.8, level: float = LEVEL) -> float:
    """The smallest drop, in points, that so many probes show with at least the chance ``wanted``; 100 where none would do.

    >>> round(smallest_drop(100), 1)
    7.8
    """
    # The chance grows with the drop, so halving finds it. A plan needs no more than tenths of a point.
    low, high = 0.0, 100.0
    while high - low > 0.05:
        middle = (low + high) / 2
        low, high = (low, middle) if power(probes, middle, level=level) >= wanted else (middle, high)
    return high
