"""Several candidates against one baseline: each gets its verdict, and the best within the budget is named.

The best is the candidate that passed and learned most; where learning was not measured, the one that passed and lost least.

To choose the best of several on the probes that judge them is a kind of fitting. Of ten candidates that all lost a little more
than the budget, one passes by luck in a quarter of all cases, though each by itself passes at most one time in twenty. So the
chance of a false pass is divided: of k candidates, each has its upper bound at alpha / k (Bonferroni).

    false pass      some candidate lost more than the budget, and passes: at most alpha for all of them together, however their
                    losses hang together, and by whatever rule one of them is then chosen
    false alarm     nothing was lost, and a candidate is called regressed: at most alpha for each of them, as if it stood alone.
                    It is not divided, since nothing is chosen by it. That all are called so is rarer still

Holm's method would let a few more pass. But its bounds are those of one list of verdicts. At alpha / k all upper bounds hold at
once, so a reader may take another candidate than the one named; and no verdict depends on how the others did, only on their
number. The price is in probes: where none is lost, it takes 59 to rule out a loss of 5 points, and for two candidates 72, for
five 90. What ``rule`` takes for granted of texts and of means without samples is taken for granted here, too.

k counts the candidates that could be compared, copies once. Candidates that were tried on these probes and left out count as
well, and only their author knows of them. What is reported as lost of the one that lost least, or as learned of the one that
learned most, is a little flattering, as any best of several is; its upper bound is not.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from capability_guard.formats import alike, read_measurement
from capability_guard.gate.candidates import Candidate, RulesOfSeveral, is_copy
from capability_guard.gate.comparison import EXIT, PASSED, REGRESSED, UNSURE
from capability_guard.gate.names import short_names
from capability_guard.gate.pairs import pair, pair_means
from capability_guard.gate.rule import Decision, judge_by
from capability_guard.gate.several_words import best_of, none_passed, notes_on
from capability_guard.jsonl import DataError
from capability_guard.measurement import Measurement, MeasurementError

LEARNED, LOST = "learned", "lost"  # by what the best was chosen


@dataclass(frozen=True)
class Choice:
    """What came of several: one verdict for all of them, the ``best`` if any passed, and the sentence that names it.

    word: "passed" if one is named, "regressed" if all of them regressed, else "cannot certify". ranked: by what the best was
    chosen, "learned" or "lost".

    >>> print(Choice(UNSURE, "None of the 2 candidates passed."))
    CANNOT CERTIFY: None of the 2 candidates passed.
    """

    word: str
    why: str
    rules: RulesOfSeveral = field(default_factory=RulesOfSeveral)
    candidates: tuple[Candidate, ...] = ()
    best: Candidate | None = None
    ranked: str = LOST
    notes: tuple[str, ...] = ()
    baseline: Measurement | None = None

    @property
    def exit_code(self) -> int:
        """0 one passed and is named, 1 all regressed, 2 anything else.

        >>> Choice(REGRESSED, "All 2 candidates regressed.").exit_code
        1
        """
        return EXIT[self.word]

    def __str__(self) -> str:
        return f"{self.word.upper()}: {self.why}"


def judge_all(
    baseline: Measurement, candidates: Sequence[Measurement] | Mapping[str, Measurement | MeasurementError], **rules
) -> Choice:
    """Judge each candidate against the baseline, and name the best within the budget; ``rules`` are those of ``judge``.

    candidates: with names of your own as a mapping; in a sequence each is called by its adapter or model. Where one could not be
    measured, its MeasurementError may stand: like one that cannot be compared, it cannot be certified.
    Raises MeasurementError for rules that cannot be.

    >>> from capability_guard.measurement import Row
    >>> def tuned(wrong, loss):
    ...     rows = [Row(f"What is {n}+1?", f"{n + 1}.", "arithmetic", right=n >= wrong) for n in range(200)]
    ...     return Measurement("tuned", rows, task={"loss": loss, "texts": 24, "fingerprint": "x"})
    >>> print(judge_all(tuned(0, 3.0), {"hasty": tuned(30, 0.6), "careful": tuned(2, 1.2), "timid": tuned(0, 2.4)}))
    PASSED: Best within the budget is careful: of the 2 that passed (of 3) it learned most, 60 %, and it lost 1.0 points
    (at most 3.8).
    """
    pairs = candidates.items() if isinstance(candidates, Mapping) else zip(_called(candidates), candidates, strict=True)
    given = [
        _Given(name, why=str(found)) if isinstance(found, MeasurementError) else _Given(name, found)
        for name, found in pairs
    ]
    return _choose(baseline, given, rules)


def judge_files(
    baseline: str | Path, candidates: Sequence[str | Path], metric: str | Sequence[str] | None = None, **rules
) -> Choice:
    """Read the files and judge them. A candidate's file that cannot be read is a candidate that cannot be certified.

    metric: which metric counts, if the files are another harness's. Raises MeasurementError or DataError for a baseline that
    cannot be read, and for rules that cannot be.

    >>> from capability_guard.measurement import Row
    >>> for name, right in (("base", 99), ("tuned", 98)):
    ...     rows = [Row(f"What is {n}+1?", f"{n + 1}.", "arithmetic", right=n < right) for n in range(99)]
    ...     _ = Measurement(name, rows).save(FOLDER / f"{name}.json")
    >>> choice = judge_files(FOLDER / "base.json", [FOLDER / "tuned.json", FOLDER / "torn.json"])
    >>> [(candidate.name, candidate.word) for candidate in choice.candidates]
    [('tuned', 'passed'), ('torn', 'cannot certify')]
    """
    before, given = read_measurement(baseline, metric), []
    for i, (name, path) in enumerate(zip(short_names(candidates), candidates, strict=True)):
        twin = next((given[j].name for j in range(i) if _same_file(candidates[j], path)), None)
        if _same_file(baseline, path):
            given.append(_Given(name, why=f"{path} is the baseline; a file always passes against itself."))
            continue
        try:
            given.append(_Given(name, read_measurement(path, metric), copy_of=twin))
        except (MeasurementError, DataError) as error:
            given.append(_Given(name, why=str(error)))
    return _choose(before, given, rules)


def unable(candidates: Sequence[str | Path], why: str) -> Choice:
    """Where the baseline or the rules cannot be used, so that no candidate could be judged. why: the sentence that says so.

    >>> print(unable(["careful.json", "hasty.json"], "base.json is not JSON; measure again."))
    CANNOT CERTIFY: None of the 2 candidates could be judged: base.json is not JSON; measure again.
    """
    decision = Decision(UNSURE, "It was not judged, as the verdict on all of them says.")
    said = f"None of the {len(candidates)} candidates could be judged: {why}"
    return Choice(UNSURE, said, candidates=tuple(Candidate(name, decision) for name in short_names(candidates)))


@dataclass(frozen=True)
class _Given:
    """A candidate before it is judged: what was measured of it, or why that cannot be compared."""

    name: str
    measurement: Measurement | None = None
    why: str = ""
    copy_of: str | None = None


def _choose(baseline: Measurement, given: list[_Given], rules: Mapping) -> Choice:
    if not given:
        raise MeasurementError("There is no candidate; give at least one.")
    tuples = {name: tuple(rules[name]) for name in ("critical", "informational") if name in rules}
    alone = RulesOfSeveral(**{**rules, **tuples})
    alone.check_names({row.capability for row in baseline.rows} | {mean.name for mean in baseline.means})
    given = [_compared(one, baseline, given[:i]) for i, one in enumerate(given)]
    # Whether two can be compared does not hang on how the probes came out, so those that cannot take no share of alpha.
    shared = replace(alone, candidates=max(1, sum(not one.why and one.copy_of is None for one in given)))
    candidates: list[Candidate] = []
    for one in given:
        candidates.append(_judged(one, baseline, shared, candidates))
    there = {one.name for one in candidates if one.whole is not None and one.copy_of is None}
    told = {one.name: one.measurement for one in given if one.name in there}
    return _named(baseline, candidates, shared, notes_on(baseline, told))


def _judged(one: _Given, baseline: Measurement, rules: RulesOfSeveral, earlier: list[Candidate]) -> Candidate:
    twin = next((other for other in earlier if other.name == one.copy_of), None)
    if twin is not None:
        return Candidate(one.name, twin.decision, one.copy_of)
    if one.why:
        return Candidate(one.name, Decision(UNSURE, one.why, rules))
    try:
        return Candidate(one.name, judge_by(rules, *alike(baseline, one.measurement)))
    except MeasurementError as error:
        return Candidate(one.name, Decision(UNSURE, str(error), rules))


def _compared(one: _Given, baseline: Measurement, earlier: list[_Given]) -> _Given:
    """The same, with the sentence why it cannot be compared, or the name of the earlier one that it is a copy of."""
    if one.measurement is None or one.copy_of is not None:
        return one
    if is_copy(one.measurement, baseline):
        return replace(one, why=f"{one.name} is a copy of the baseline; a measurement always passes against itself.")
    if twin := next((other for other in earlier if is_copy(one.measurement, other.measurement)), None):
        return replace(one, copy_of=twin.copy_of or twin.name)
    try:
        before, after = alike(baseline, one.measurement)
        pair(before, after)
        pair_means(before, after)
    except MeasurementError as error:
        return replace(one, why=str(error))
    return one


def _named(baseline: Measurement, candidates: list[Candidate], rules: RulesOfSeveral, notes: Sequence[str]) -> Choice:
    """The choice among candidates that were judged."""
    found = {"rules": rules, "candidates": tuple(candidates), "notes": tuple(notes), "baseline": baseline}
    originals = [one for one in candidates if one.copy_of is None]
    passed = [one for one in originals if one.word == PASSED]
    if not passed:
        word = REGRESSED if all(one.word == REGRESSED for one in originals) else UNSURE
        return Choice(word, none_passed(originals), **found)
    able = [one for one in passed if one.learned is not None]
    ranked = LEARNED if able else LOST
    # The first of equals is named: ``sorted`` keeps the order in which they were given.
    best, *rest = sorted(able or passed, key=lambda one: (-(one.learned or 0.0), one.whole.drop, one.whole.high))
    return Choice(PASSED, best_of(best, rest, passed, len(originals)), best=best, ranked=ranked, **found)


def _same_file(one: str | Path, other: str | Path) -> bool:
    """As files and not as names: through a link or a relative path, one file may have two."""
    return os.path.exists(one) and os.path.exists(other) and os.path.samefile(one, other)


def _called(candidates: Sequence[Measurement]) -> list[str]:
    return short_names([one.adapter or one.model for one in candidates])
