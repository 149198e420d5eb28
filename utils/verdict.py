"""Did it regress, or is that noise? The same probes before and after, compared pair by pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import bootstrap

from utils.paired import mcnemar

LEVEL = 0.05
TOLERANCE = 3.0  # points: "held" says that more than this was lost is ruled out


@dataclass(frozen=True)
class Verdict:
    """drop: points lost (per cent of the probes; negative if gained), with its 95 % interval ``low`` to ``high``.

    lost, gained: probes that went from right to wrong, and from wrong to right. p: exact McNemar test, two-sided.
    word: "regressed", "held" or "within noise".
    """

    probes: int
    lost: int
    gained: int
    drop: float
    low: float
    high: float
    p: float
    word: str

    def __str__(self) -> str:
        return (
            f"lost {self.lost} of {self.probes} probes and gained {self.gained}, a drop of {self.drop:.1f} points "
            f"(95 % interval {self.low:.1f} to {self.high:.1f}): {self.word}"
        )


def compare(before: Sequence[bool | None], after: Sequence[bool | None], seed: int = 0) -> Verdict:
    """The verdict on paired outcomes, one pair a probe, in the same order. Probes without right or wrong (None) do not count.

    McNemar's exact test looks only at the probes that changed: under "nothing happened", each is as likely to have
    been lost as gained. The interval is a percentile bootstrap over probes (scipy); where no probe changed at all,
    bootstrap would give zero width, so the exact binomial bound for "none in n" stands in for it.
    Raises ValueError when the two do not pair.
    """
    if len(before) != len(after) or not before:
        raise ValueError(
            f"{len(before)} outcomes before and {len(after)} after do not pair; measure the same probes twice."
        )
    pairs = [(b, a) for b, a in zip(before, after, strict=True) if b is not None and a is not None]
    if not pairs:
        raise ValueError(
            "No probe was right or wrong: loss probes have a loss, and no verdict. Add probes with answers."
        )
    before, after = zip(*pairs, strict=True)
    change = np.asarray(before, float) - np.asarray(after, float)  # 1 lost, -1 gained, 0 the same
    lost, gained, n = int((change > 0).sum()), int((change < 0).sum()), len(change)
    if lost + gained == 0:
        high = 100 * (1 - (LEVEL / 2) ** (1 / n))
        low, p = -high, 1.0
    else:
        p = mcnemar(lost, gained)
        if lost == n or gained == n:
            edge = 100 * (LEVEL / 2) ** (1 / n)
            low, high = (edge, 100.0) if lost == n else (-100.0, -edge)
        else:
            interval = bootstrap(
                (change,), np.mean, method="percentile", n_resamples=2000, rng=np.random.default_rng(seed)
            ).confidence_interval
            low, high = 100 * interval.low, 100 * interval.high
    drop = 100 * float(change.mean())
    word = "regressed" if p < LEVEL and drop > 0 else "held" if high <= TOLERANCE else "within noise"
    return Verdict(n, lost, gained, drop, low, high, p, word)
