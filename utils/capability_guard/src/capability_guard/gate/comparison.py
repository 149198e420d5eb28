"""A line of the gate: what one capability lost, with bounds, a word and its reason; and the words, with what each exits with."""

from __future__ import annotations

from dataclasses import dataclass

PASSED, REGRESSED, UNSURE = "passed", "regressed", "cannot certify"
# 2 is also what the commands return for a file or setting that is wrong: whatever could not be tested must not pass.
EXIT = {PASSED: 0, REGRESSED: 1, UNSURE: 2}


@dataclass(frozen=True)
class Comparison:
    """One line of the gate. unit "points": before, after and drop are per cent of the probes; "nats": mean loss, and
    drop is its rise. low, high: bounds of the drop. p: for a loss, corrected where the line decides.

    lost, gained: probes that changed, None where only means are known. needed: about how many probes would settle it.
    budget: what the drop may be, in the same unit. word, why: the verdict on this line, and its reason in a sentence.
    alone: p before it was corrected for there being several lines. unable: that no number of such probes could settle it, in few
    words. blocks: that it may not be passed over.

    >>> from capability_guard.measurement import Measurement, Row
    >>> before, after = (Measurement("m", [Row("Hot?", "Cold.", "opposites", right=x)] * 60) for x in (True, False))
    >>> from capability_guard.gate import judge
    >>> row = judge(before, after).comparisons[0]
    >>> row.name, row.before, row.after, row.drop, row.word
    ('opposites', 100.0, 0.0, 100.0, 'regressed')
    """

    name: str
    critical: bool
    unit: str
    probes: int | None
    before: float
    after: float
    drop: float
    low: float
    high: float
    p: float
    budget: float
    lost: int | None = None
    gained: int | None = None
    needed: int | None = None
    word: str = UNSURE
    why: str = ""
    alone: float = 1.0
    unable: str = ""
    blocks: bool = False
