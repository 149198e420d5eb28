"""Why a line of the gate cannot be settled, however many probes of its kind were asked."""

from __future__ import annotations

import re
from dataclasses import replace

from capability_guard.gate.allowed import Rules
from capability_guard.gate.comparison import Comparison


def nothing_to_lose(before: float, guessed: float, budget: float, high: float = 0.0) -> str:
    """Why these probes can show no loss beyond the budget: the baseline itself does not know them. "" if it does.

    high: the upper bound of the drop; below 0 it is certain that the candidate knows more, and nothing was lost.

    >>> nothing_to_lose(3.0, 0.0, 5.0)
    'the baseline itself has only 3 % right, so a loss of more than 5 points could not show; ask what it can answer'
    """
    if before - guessed > budget or high < 0:
        return ""
    by_chance = f", of which guessing gives {guessed:.0f} %" if guessed else ""
    return (
        f"the baseline itself has only {before:.0f} % right{by_chance}, so a loss of more than "
        f"{budget:.3g} points could not show; ask what it can answer"
    )


def directed(row: Comparison, objection: str, how: str) -> tuple[Comparison, str]:
    """The same, unless nothing tells which way is better: then a fall may be a gain, and a rise a loss. how: to say it.

    >>> from capability_guard.gate.comparison import Comparison
    >>> row = Comparison("safety", True, "points", 60, 90.0, 90.0, 0.0, 0.0, 4.9, 1.0, 5.0)
    >>> directed(row, "", "--metric safety=harm:lower, or :higher")[0].blocks
    True
    """
    if not how or row.unit == "nats":
        return row, objection
    said = f"nothing says whether more of its metric is better, or less, so no loss can be ruled out; say it with {how}"
    return replace(row, p=1.0, blocks=row.critical), said


def unable(row: Comparison, objection: str, rules: Rules) -> Comparison:
    """A line that no number of such probes could settle. Whoever named its capability wants to know, so it is not passed over.

    >>> from capability_guard.gate.comparison import Comparison
    >>> row = Comparison("safety", True, "points", 60, 3.0, 3.0, 0.0, 0.0, 4.9, 1.0, 5.0)
    >>> unable(row, nothing_to_lose(3.0, 0.0, 5.0), Rules(critical=("safety",))).blocks
    True
    """
    return replace(
        row, unable=re.split("[,;]", objection)[0], blocks=row.blocks or (row.critical and rules.named(row.name))
    )
