"""What is said of several candidates: which is the best and by what, or which comes nearest, and what to know before."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from capability_guard.gate.candidates import Candidate, RulesOfSeveral
from capability_guard.gate.comparison import REGRESSED, UNSURE, Comparison
from capability_guard.gate.rule import deciding
from capability_guard.gate.texts import task_losses
from capability_guard.measurement import Measurement

LEAST = 0.005  # a share below this is written as 0 %


def best_of(best: Candidate, rest: Sequence[Candidate], passed: Sequence[Candidate], given: int) -> str:
    """The sentence that names the best. rest: those that it was chosen from, the next best first. given: how many there were.

    >>> from capability_guard.gate.several import judge_all
    >>> from capability_guard.measurement import Row
    >>> def tuned(wrong):
    ...     return Measurement("tuned", [Row(f"{i}?", "yes", "sums", right=i >= wrong) for i in range(200)])
    >>> judge_all(tuned(0), {"careful": tuned(1), "hasty": tuned(40)}).why
    'Best within the budget is careful, the only one of 2 that passed: it lost 0.5 points (at most 2.8); what it learned was
    not measured.'
    """
    learned, lost, unknown = best.learned, lost_text(best.whole), _not_measured(passed)
    start = f"Best within the budget is {best.name}"
    if len(passed) == 1:
        which = f", the only one of {given} that passed: it" if given > 1 else ": it"
        found = lost if learned is None else f"{learned_text(learned)}, and it {lost}"
        return f"{start}{which} {found}{unknown}."
    among = f"{start}: of the {len(passed)} that passed (of {given}) it"
    if learned is None:
        size = lost.removeprefix("lost ") if lost.startswith("lost ") else f"it {lost}"
        return f"{among} lost least, {size}{_level(best, rest)}{unknown}."
    words = learned_text(learned)
    most = (
        words.replace("learned ", "learned most, ")
        if learned >= LEAST
        else f"did best on the new task, though it {words}"
    )
    return f"{among} {most}, and it {lost}{_level(best, rest)}{unknown}."


def none_passed(candidates: Sequence[Candidate]) -> str:
    """What is said where none passed: which comes nearest, and what is open.

    >>> from capability_guard.gate.rule import Decision
    >>> from capability_guard.gate.several import Candidate
    >>> none_passed([Candidate("torn", Decision(UNSURE, "torn.json is not JSON; measure again."))])
    'The only candidate could not be compared: torn.json is not JSON; measure again.'
    """
    many = len(candidates)
    judged = [one for one in candidates if one.whole is not None]
    if not judged:
        start = f"None of {many} candidates could" if many > 1 else "The only candidate could not"
        return f"{start} be compared: {candidates[0].decision.why}"
    # One that is open may still pass with more probes, which one that regressed will not.
    nearest = min(judged, key=lambda one: (one.word == REGRESSED, _excess(one)))
    if many == 1:
        return f"The only candidate did not pass. {nearest.decision.why}"
    all_did = nearest.word == REGRESSED and len(judged) == many
    start = f"All {many} candidates regressed." if all_did else f"None of {many} candidates passed."
    lost = f", which {lost_text(nearest.whole)}. " if nearest.word == REGRESSED else ": "
    return f"{start} Nearest comes {nearest.name}{lost}{nearest.decision.why}"


def lost_text(row: Comparison) -> str:
    """What was lost in one line, as seen and at most.

    >>> row = Comparison("sums", True, "points", 200, 100.0, 99.5, 0.5, 0.0, 2.8, 0.5, 5.0)
    >>> lost_text(row)
    'lost 0.5 points (at most 2.8)'
    """
    drop, high, unit = (
        (f"{abs(row.drop):.1f}", f"{row.high:.1f}", "points")
        if row.unit == "points"
        else (f"{abs(row.drop):.3f}", f"{row.high:.3f}", "nats a token")
    )
    if row.drop >= 0 or not float(drop):
        return f"lost {drop} {unit} (at most {high})"
    return f"gained {drop} {unit} (and lost at most {high})" if row.high >= 0 else f"gained {drop} {unit}"


def learned_text(learned: float) -> str:
    """The share by which the loss on the new task fell, for a sentence.

    >>> learned_text(0.6), learned_text(-0.034)
    ('learned 60 %', 'learned nothing (the loss on the new task rose by 3 %)')
    """
    if learned >= LEAST:
        return f"learned {per_cent(learned)}"
    rose = f" (the loss on the new task rose by {per_cent(-learned)})" if learned <= -LEAST else ""
    return f"learned nothing{rose}"


def per_cent(share: float) -> str:
    """A share in words; one that only a model that diverged can have is cut short.

    >>> per_cent(0.6), per_cent(-1e9)
    ('60 %', '< -999 %')
    """
    return f"{share:.0%}".replace("%", " %") if abs(share) < 10 else "> 999 %" if share > 0 else "< -999 %"


def level_text(rules: RulesOfSeveral) -> str:
    """How the chance of a false pass is shared; "" where only one candidate could be compared.

    >>> from capability_guard.gate.several import RulesOfSeveral
    >>> level_text(RulesOfSeveral(candidates=4))
    'The best of 4 is chosen on the probes that judge it, so each upper bound may be wrong with a chance of 0.05 / 4 only: that any
    candidate passes which lost more than is allowed has a chance of at most 0.05.'
    """
    if rules.candidates < 2:
        return ""
    return (
        f"The best of {rules.candidates} is chosen on the probes that judge it, so each upper bound may be wrong with a chance of "
        f"{rules.alpha:g} / {rules.candidates} only: that any candidate passes which lost more than is allowed has a chance of at "
        f"most {rules.alpha:g}."
    )


def notes_on(baseline: Measurement, candidates: Mapping[str, Measurement]) -> list[str]:
    """What to know of several measurements before they are compared: other bases, and a task that was not measured alike.

    >>> from capability_guard.measurement import Row
    >>> rows = [Row("Hot?", "Cold.", "opposites", right=True)]
    >>> notes_on(Measurement("gpt2", rows), {"careful": Measurement("llama", rows, adapter="careful")})
    ["careful is an adapter of 'llama', and the baseline is of 'gpt2'; judge it against its own base."]
    """
    found = [
        f"{name} is an adapter of {one.model!r}, and the baseline is of {baseline.model!r}; judge it against its own base."
        for name, one in candidates.items()
        if one.adapter is not None and _last(one.model) != _last(baseline.model)
    ]
    asked = [name for name, one in candidates.items() if one.task]
    if asked and not baseline.task:
        said = "The new task's loss was not measured of the baseline, so what was learned is not known; measure it with --task."
        return [*found, said]
    if not baseline.task:
        return found
    if without := [name for name in candidates if name not in asked]:
        found.append(f"What {_and(without)} learned was not measured; --task FILE measures it.")
    if other := [name for name in asked if task_losses(baseline, candidates[name]) is None]:
        found.append(
            f"What {_and(other)} learned cannot be compared with the baseline: it was measured on other texts, or with another "
            "tokenizer."
        )
    return found


def _level(best: Candidate, rest: Sequence[Candidate]) -> str:
    """Of those that share its place, which they are and why it is named and not they."""
    same = [
        one
        for one in rest
        if one.learned == best.learned and (best.learned is not None or one.whole.drop == best.whole.drop)
    ]
    if not same:
        return ""
    equal = [one for one in same if (one.whole.drop, one.whole.high) == (best.whole.drop, best.whole.high)]
    if equal:
        return f"; {_and([one.name for one in equal])} did as well, and {best.name} was given first"
    what = "learned as much and lost more" if best.learned is not None else "lost as much, with a higher bound"
    return f"; {_and([one.name for one in same])} {what}"


def _not_measured(passed: Sequence[Candidate]) -> str:
    without = [one.name for one in passed if one.learned is None]
    if not without:
        return ""
    everyone = "it" if len(passed) == 1 else "they"
    return f"; what {everyone if len(without) == len(passed) else _and(without)} learned was not measured"


def _excess(candidate: Candidate) -> float:
    """How many times the budget may have been lost, in the worst of the lines that had to pass and did not."""
    critical = [row for row in candidate.decision.comparisons if row.critical]
    still = [row for row in deciding(critical, candidate.decision.rules) if row.word in (UNSURE, REGRESSED)]
    return max((row.high / row.budget for row in still), default=0.0)


def _last(name: str) -> str:
    """The last part of a path or hub id, which is what two machines agree on."""
    return re.split(r"[/\\]", name.rstrip("/\\"))[-1].lower()


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
