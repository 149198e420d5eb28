"""One of several candidates, and the rules that all of them share."""

from __future__ import annotations

from dataclasses import dataclass, replace

from capability_guard.gate.allowed import WHOLE, Rules
from capability_guard.gate.comparison import Comparison
from capability_guard.gate.rule import Decision
from capability_guard.measurement import Measurement


def is_copy(one: Measurement, other: Measurement | None) -> bool:
    """Whether two are one measurement, to the second of its measuring; what they note may differ, as the names of their files do.

    A result that does not say how long it took may be equal by chance.

    >>> from capability_guard.measurement import Row
    >>> one = Measurement("base", [Row("Hot?", "Cold.", "opposites", right=True)], seconds=1.5)
    >>> is_copy(one, replace(one, notes=("base: results_1.json.",))), is_copy(one, replace(one, seconds=1.6))
    (True, False)
    """
    if one is other or other is None:
        return one is other
    return bool(one.seconds) and replace(one, notes=()) == replace(other, notes=())


@dataclass(frozen=True)
class RulesOfSeveral(Rules):
    """The rules, for each of ``candidates`` that share the chance of a false pass.

    >>> RulesOfSeveral(candidates=5).level
    0.01
    """

    candidates: int = 1

    @property
    def level(self) -> float:
        """By what chance the upper bound of each candidate's drop may be wrong.

        >>> RulesOfSeveral(alpha=0.1, candidates=4).level
        0.025
        """
        return self.alpha / max(1, self.candidates)


@dataclass(frozen=True)
class Candidate:
    """One of several, by a name that no other has. copy_of: the earlier one that it is a copy of, which was judged for both.

    >>> Candidate("careful", Decision("passed", "No loss larger than is allowed: arithmetic.")).word
    'passed'
    """

    name: str
    decision: Decision
    copy_of: str | None = None

    @property
    def word(self) -> str:
        """The verdict on it.

        >>> Candidate("torn", Decision("cannot certify", "torn.json is not JSON; measure again.")).word
        'cannot certify'
        """
        return self.decision.word

    @property
    def learned(self) -> float | None:
        """The share by which the loss on the new task fell, None where that was not measured.

        >>> Candidate("careful", Decision("passed", "No loss larger than is allowed: arithmetic.")).learned is None
        True
        """
        return self.decision.learned

    @property
    def whole(self) -> Comparison | None:
        """The line of all critical probes together, or of the only critical capability. None where nothing could be compared.

        >>> Candidate("torn", Decision("cannot certify", "torn.json is not JSON; measure again.")).whole is None
        True
        """
        critical = [row for row in self.decision.comparisons if row.critical]
        rows = [row for row in critical if row.unit == "points"] or critical
        return next((row for name in WHOLE for row in rows if row.name == name), rows[0] if rows else None)
