"""Two halves of a probe set: one to choose by, and one to report on, since what was chosen by can only flatter."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from capability_guard.fading.methods import FadingError
from capability_guard.gate.rule import PASSED, Comparison, Decision, Rules, judge_by
from capability_guard.jsonl import DataError
from capability_guard.measurement import Measurement
from capability_guard.probes import Probe


def halves(probes: Sequence[Probe]) -> tuple[list[Probe], list[Probe]]:
    """(those to choose by, those to report on), each in the order given. Raises DataError where a question is asked twice.

    Each capability is halved, to within one probe, and so is the whole. Which half a probe falls into depends on what the
    probes say and not on their order, so a set is always halved alike. Two wordings of one fact may part.

    >>> from capability_guard.probes import load_probes
    >>> choosing, reporting = halves(load_probes(PROBES))
    >>> len(choosing), len(reporting), halves(load_probes(PROBES)[::-1])[0] == choosing[::-1]
    (6, 6, True)
    """
    seen: set[str] = set()
    for probe in probes:
        question = probe.prompt or probe.answer
        if question in seen:  # it could be in both halves, and what it chose it would report on
            raise DataError(f"The probes ask {question[:60]!r} twice; keep one of them.")
        seen.add(question)

    def place(i: int) -> tuple:
        # The hash of a probe is a shuffle that comes out the same everywhere. Loss probes are halved by themselves.
        return probes[i].capability, probes[i].measure == "loss", hashlib.sha256(repr(probes[i]).encode()).hexdigest()

    chosen = set(sorted(range(len(probes)), key=place)[::2])
    return [p for i, p in enumerate(probes) if i in chosen], [p for i, p in enumerate(probes) if i not in chosen]


def rules_of_half(half: Sequence[Probe], rules: Rules) -> Rules:
    """The rules for one half, which may lack a capability that has a single probe.

    Raises FadingError where that leaves nothing that decides by right and wrong.

    >>> rules_of_half([Probe("Hot?", "Cold.", "opposites")], Rules(informational=("style",))).informational
    ()
    """
    there = {probe.capability for probe in half}
    if all(probe.measure == "loss" or not rules.decides(probe.capability) for probe in half):
        raise FadingError(
            "Of the probes that decide, one half has none with answers (a loss probe has none); add some, at least two a capability."
        )
    kept = {name: tuple(x for x in getattr(rules, name) if x in there) for name in ("critical", "informational")}
    return replace(rules, **kept)


def check_half(base: Measurement, rules: Rules, certain: bool = True) -> None:
    """Raises FadingError where half a probe set can choose nothing: too few probes, or none that the base knows.

    base: what it knows of that half. certain: whether a half must be able to pass the gate, or else only to lose one probe and
    be within the budget.

    >>> probes = [Probe(f"What is {n}+1?", f"{n + 1}.", "arithmetic") for n in range(59)]
    >>> check_half(Measurement.of(probes, [True] * 59, model="base"), Rules())
    >>> check_half(Measurement.of(probes[1:], [True] * 58, model="base"), Rules())
    Traceback (most recent call last):
    capability_guard.fading.methods.FadingError: One half of the probes chooses the strength and the other reports on it, and a half
    cannot pass even if nothing is lost: ... It takes at least about 59 such probes to tell (58 asked).
    """
    decision = judge_by(rules, base, replace(base, model="the same"))
    begin = "One half of the probes chooses the strength and the other reports on it, and a half"
    if certain and decision.word != PASSED:
        raise FadingError(f"{begin} cannot pass even if nothing is lost: {decision.why}")
    line = whole(decision)
    if line.before <= line.budget:
        raise FadingError(
            f"The base has only {line.before:.0f} % of the probes right, so a loss of more than {line.budget:g} points could not "
            "show; ask what it can answer."
        )
    if 100 / line.probes > line.budget:
        raise FadingError(
            f"{begin} has {line.probes} with answers, of which a single one is {100 / line.probes:.1f} points, and {line.budget:g} "
            "are allowed; add probes."
        )


def whole(decision: Decision) -> Comparison:
    """The gate's line on all that decides: on right and wrong, of everything together or of the only capability.

    >>> probes = [Probe(f"What is {n}+1?", f"{n + 1}.", "arithmetic") for n in range(20)]
    >>> base, tuned = (Measurement.of(probes, [True] * n + [False] * (20 - n), model=str(n)) for n in (20, 19))
    >>> whole(judge_by(Rules(), base, tuned)).drop
    5.0
    """
    deciding = [row for row in decision.comparisons if row.critical]
    return next(
        (row for row in deciding if row.unit == "points"), deciding[0]
    )  # the wholes come first; or all are texts
