"""Did it regress, or is that noise? The same probes before and after, compared pair by pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from capability_guard.statistics import least_lost, mcnemar, most_lost

LEVEL = 0.05  # two-sided: where nothing happened, "regressed" comes up at most once in forty
TOLERANCE = 3.0  # points: "held" says that more than this was lost is ruled out


@dataclass(frozen=True)
class Verdict:
    """drop: points lost (per cent of the probes; negative if gained), with its 95 % interval ``low`` to ``high``.

    lost, gained: probes that went from right to wrong, and from wrong to right. p: exact McNemar test, two-sided.
    word: "regressed", "held" or "within noise".

    >>> print(compare([True] * 20, [True] * 14 + [False] * 6))
    lost 6 of 20 probes and gained 0, a drop of 30.0 points (95 % interval 2.0 to 54.3): regressed
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


def compare(before: Sequence[bool | None], after: Sequence[bool | None]) -> Verdict:
    """The verdict on paired outcomes, one pair a probe, in the same order. Probes without right or wrong (None) do not count.

    McNemar's exact test looks only at the probes that changed: under "nothing happened", each is as likely to have
    been lost as gained. The interval is exact too (``statistics.most_lost``), and above zero just where that test finds a
    loss. A bootstrap would be far too narrow where few probes changed: with 1 of 100 lost it ends at 3 points, in place of 5.4.
    Raises ValueError when the two do not pair, or when no probe was right or wrong.

    >>> compare([True] * 20, [True] * 18 + [False] * 2).word, compare([True] * 200, [True] * 200).word
    ('within noise', 'held')
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
    n, lost, gained = len(pairs), sum(b and not a for b, a in pairs), sum(a and not b for b, a in pairs)
    drop, p = 100 * (lost - gained) / n, mcnemar(lost, gained)
    # Each bound takes half of the level, as the two-sided test does: so interval and p cannot contradict each other.
    low, high = (100 * bound(n, lost, gained, LEVEL / 2) for bound in (least_lost, most_lost))
    word = "regressed" if p < LEVEL and drop > 0 else "held" if high <= TOLERANCE else "within noise"
    return Verdict(n, lost, gained, drop, low, high, p, word)
