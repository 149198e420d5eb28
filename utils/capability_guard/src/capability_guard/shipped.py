"""What ships against what was trained: is the merged, quantized or served model still the same, probe by probe?

A loss beyond the budget blocks, as everywhere. Here a gain is no better: a merge that answers other questions right than the
adapter did is another model. So the share of probes that come out otherwise has a bound of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from capability_guard.gate import Decision, judge
from capability_guard.gate.pairs import pair
from capability_guard.gate.rule import REGRESSED
from capability_guard.measurement import Measurement

MAY_DIFFER = 0.01  # of the probes that are right or wrong


@dataclass(frozen=True)
class Agreement:
    """How many of the probes come out alike. flips: how many do not when the trained model itself is only asked in another way.

    >>> Agreement(same=298, of=300, flips=1).close, Agreement(same=290, of=300, flips=1).close
    (True, False)
    """

    same: int
    of: int
    flips: int | None = None

    @property
    def differing(self) -> int:
        """How many come out otherwise.

        >>> Agreement(same=298, of=300).differing
        2
        """
        return self.of - self.same

    @property
    def close(self) -> bool:
        """Whether so few come out otherwise that it may be the same model: one in a hundred, or as many as flip anyway.

        >>> Agreement(same=296, of=300, flips=4).close
        True
        """
        return self.differing <= max(math.floor(MAY_DIFFER * self.of), self.flips or 0)

    def __str__(self) -> str:
        share = f"{self.same / self.of:.1%}".replace("%", " %")
        said = f"Trained and shipped agree on {self.same} of {self.of} probes ({share})"
        if self.flips is None:
            return f"{said}."
        anyway = f"{self.flips} flip when the trained model itself is asked in other batches or in bfloat16"
        within = "within" if self.differing <= self.flips else "beyond"
        return f"{said}; {anyway}{f', and the rest is {within} that noise' if self.differing else ''}."


def agreement(trained: Measurement, shipped: Measurement) -> Agreement:
    """How far two measurements of one probe set agree. Raises MeasurementError where they were not asked alike.

    >>> from capability_guard.measurement import Row
    >>> one, other = (Measurement("m", [Row(f"{i}?", "yes", "x", right=i < n) for i in range(9)]) for n in (9, 8))
    >>> agreement(one, other)
    Agreement(same=8, of=9, flips=None)
    """
    told = [(before.right, after.right) for before, after in pair(trained, shipped) if before.right is not None]
    flips = None if trained.noise is None else sum(trained.noise.values())
    return Agreement(sum(before == after for before, after in told), len(told), flips)


def judge_shipped(trained: Measurement, shipped: Measurement, **rules: Any) -> Decision:
    """The gate's verdict on what ships, with what was trained as the baseline; "regressed" also where it is another model.

    rules: as ``judge`` takes them. Raises MeasurementError where the two cannot be compared.

    >>> from capability_guard.measurement import Row
    >>> one, other = (Measurement("m", [Row(f"{i}?", "yes", "x", right=i % 9 != n) for i in range(90)]) for n in (1, 2))
    >>> print(judge_shipped(one, other, max_drop=20))  # as many are right, and they are others
    REGRESSED: It is not the model that was trained: 20 of 90 probes come out otherwise (22.2 %). ...
    """
    decision = judge(trained, shipped, **rules)
    found = agreement(trained, shipped)
    if not found.of:
        return decision
    decision = replace(decision, notes=(str(found), *decision.notes))
    if found.close or decision.word == REGRESSED:
        return decision
    share = f"{found.differing / found.of:.1%}".replace("%", " %")
    why = f"It is not the model that was trained: {found.differing} of {found.of} probes come out otherwise ({share}). "
    return replace(decision, word=REGRESSED, why=f"{why}{100 * MAY_DIFFER:g} % may. {decision.why}")
