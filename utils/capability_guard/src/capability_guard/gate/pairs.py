"""Which rows of two measurements belong together, what keeps the two from being compared, and what was lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from capability_guard.doubts import asked_again
from capability_guard.gate.texts import converted, per_token_of_the_baseline
from capability_guard.jsonl import shown
from capability_guard.matching import could_go_on
from capability_guard.measurement import Mean, Measurement, MeasurementError, Row

Pair = tuple[Row, Row]
# What may move a few figures, or is the models' own affair: noted, not refused.
MAY_MOVE = {
    "template": "through different chat templates, each through its own",
    "tokenizer": "with different tokenizers, each with its own",
    "precision": "in different precision",
    "quantization": "in different quantization",
    "exact": "with exact answers told in different ways",
    "revision": "from different revisions on the hub",
    "device": "on different devices",
    "batch": "in batches of different size",
    "context": "with room for texts of different length",
    "arguments": "with different arguments of the model",
    "marking": "by different versions of the rules of what is right",
}


@dataclass(frozen=True)
class Lost:
    """A probe that was right and is wrong now, with what was said. rise: of its loss, nats per token, if known.

    >>> Lost("capitals", "What is the capital of Italy?", "Rome.", before="Rome.", after="Thank you!", rise=4.2).after
    'Thank you!'
    """

    capability: str
    prompt: str
    answer: str
    before: str
    after: str
    rise: float | None = None


def pair(baseline: Measurement, candidate: Measurement) -> list[Pair]:
    """The rows of both that ask the same. Raises MeasurementError when either asks what the other does not.

    >>> hot, day = Row("Hot?", "Cold.", "opposites", right=True), Row("Day?", "Night.", "opposites", right=True)
    >>> [before.prompt for before, after in pair(Measurement("base", [hot, day]), Measurement("tuned", [day, hot]))]
    ['Hot?', 'Day?']
    >>> pair(Measurement("base", [hot, day]), Measurement("tuned", [day]))
    Traceback (most recent call last):
    capability_guard.rows.MeasurementError: The probes are not the same: 1 is missing from the candidate (as 'Hot?');
    measure both with one probe file.
    """
    if baseline.chat != candidate.chat:
        one, other = ("with", "without") if baseline.chat else ("without", "with")
        raise MeasurementError(
            f"The baseline was asked {one} the chat template and the candidate {other}; measure both alike."
        )
    for name in sorted(baseline.settings.keys() | candidate.settings.keys()):
        ours, theirs = baseline.settings.get(name), candidate.settings.get(name)
        if ours != theirs:
            before, after = _differing(ours, theirs)
            raise MeasurementError(
                f"{_line(name)} is {before} in the baseline and {after} in the candidate; measure both alike."
            )
    _asked_alike(baseline, candidate)
    # In both directions: a probe that is missing from the candidate may be one that it would have lost, and one that the
    # baseline never saw has nothing to be compared with.
    before, after = baseline.keyed(), candidate.keyed()
    absent = [
        (before, "candidate", [k for k in before if k not in after]),
        (after, "baseline", [k for k in after if k not in before]),
    ]
    parts = [
        f"{len(keys)} {'is' if len(keys) == 1 else 'are'} missing from the {where} (as {_shown(rows[keys[0]])})"
        for rows, where, keys in absent
        if keys
    ]
    if parts:
        raise MeasurementError(
            f"The probes are not the same: {', and '.join(parts)}; measure both with one probe file."
        )
    return per_token_of_the_baseline(baseline, candidate, [(row, after[key]) for key, row in before.items()])


def _asked_alike(baseline: Measurement, candidate: Measurement) -> None:
    """Raises MeasurementError where the same questions were put to the two models in other words.

    Two models may each have a template of their own, as an adapter that brings one: that is noted, and not refused. A file from
    before there was such a record is compared as it always was.
    """
    ours, theirs = baseline.asked, candidate.asked
    _marked_alike(baseline, candidate)
    spoken = any(row.measure == "contains" for row in baseline.rows)
    if spoken and ours.get("decoding") and theirs.get("decoding") and ours["decoding"] != theirs["decoding"]:
        raise MeasurementError(
            f"The baseline was decoded {_line(ours['decoding'])} and the candidate {_line(theirs['decoding'])}; measure both alike."
        )
    if not ours.get("prompts") or not theirs.get("prompts") or ours["prompts"] == theirs["prompts"]:
        return
    for name, what in (("system", "system turn"), ("variables", "template variables"), ("date", "date")):
        if ours.get(name) != theirs.get(name):
            before, after = (_line(side.get(name)) or "not given" for side in (ours, theirs))
            raise MeasurementError(
                f"The {what} was {before} for the baseline and {after} for the candidate; measure both alike."
            )
    if ours.get("template") == theirs.get("template") and {row.key for row in baseline.rows} == {
        row.key for row in candidate.rows
    }:
        raise MeasurementError(
            "The same template wrote other prompts for the baseline than for the candidate, as it does when it writes today's date; "
            "measure both on one day, or fix the day with --date."
        )


def _differing(ours: str | None, theirs: str | None) -> tuple[str, str]:
    """Of two settings in words, those words that differ; or both whole, where one only says more."""
    sides = [[] if side is None else " ".join(side.split()).split(", ") for side in (ours, theirs)]
    own = [[part for part in side if part not in other] for side, other in (sides, sides[::-1])]
    texts = [", ".join(parts) for parts in (own if all(own) else sides)]
    return tuple(text[:200] or "absent" for text in texts)


def _marked_alike(baseline: Measurement, candidate: Measurement) -> None:
    """Raises MeasurementError where one of the two was marked by an older rule, and that may have made an answer right."""
    ours, theirs = (side.asked.get("marking", "") for side in (baseline, candidate))
    if ours == theirs:
        return
    side, older = ("candidate", candidate) if theirs < ours else ("baseline", baseline)
    for row in older.rows:
        if row.measure == "exact" and row.right and could_go_on(row.answer):
            raise MeasurementError(
                f"The {side} was marked by an older rule, to which {_shown_text(row.answer)} is right at the beginning of a longer "
                "word or number, too; measure it again."
            )


def _shown(row: Row) -> str:
    return _shown_text(row.prompt or row.answer)


def _shown_text(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _line(value: Any) -> str:
    """On one line, and not too long: it comes from a file."""
    return "" if value is None else " ".join(str(value).split())[:80]


def pair_means(baseline: Measurement, candidate: Measurement) -> list[tuple[Mean, Mean]]:
    """The means that both have, by the name of the task, where single outcomes are not known.

    Raises MeasurementError for a task that only one of them has.

    >>> before, after = (Measurement("m", (), means=(Mean("arc_easy", x, 0.01),)) for x in (0.72, 0.65))
    >>> [(a.value, b.value) for a, b in pair_means(before, after)]
    [(0.72, 0.65)]
    """
    after = {mean.name: mean for mean in candidate.means}
    if odd := {mean.name for mean in baseline.means} ^ after.keys():
        raise MeasurementError(
            f"{shown(min(odd))} is in one of the two results only; evaluate the same tasks for both."
        )
    return [(mean, after[mean.name]) for mean in baseline.means]


def worst(pairs: list[Pair], decides: Callable[[str], bool]) -> list[Lost]:
    """The lost probes: critical capabilities first, and in each group the answers that became least likely.

    decides: whether a capability is critical.

    >>> def outcome(prompt, right, loss):
    ...     return Row(prompt, "4.", "arithmetic", right=right, loss=loss)
    >>> pairs = [(outcome(q, True, 0.1), outcome(q, False, loss)) for q, loss in (("2+2?", 0.9), ("1+3?", 5.0))]
    >>> [lost.prompt for lost in worst(pairs, lambda capability: True)]
    ['1+3?', '2+2?']
    """
    lost = [
        (before, after) for before, after in pairs if (before.right and after.right is False) or _fell(before, after)
    ]

    def rise(before: Row, after: Row) -> float | None:
        return None if before.loss is None or after.loss is None else after.loss - before.loss

    lost.sort(key=lambda both: (not decides(both[0].capability), -(rise(*both) or 0)))
    return [Lost(b.capability, b.prompt, b.answer, b.said, a.said, rise(b, a)) for b, a in lost]


def _fell(before: Row, after: Row) -> bool:
    """Whether a share of right, from 0 to 1, fell by half of the whole or more."""
    return before.share is not None and after.share is not None and before.share - after.share >= 0.5


def not_made_up(pairs: list[Pair]) -> int:
    """Of the gains, those that stand against a loss in the same capability: what is gained in one makes no loss in another good.

    >>> wrong, right = (Row("2+2?", "4.", "sums", right=x) for x in (False, True))
    >>> not_made_up([(wrong, right)]), not_made_up([(wrong, right), (right, wrong)])
    (0, 1)
    """
    changes: dict[str, list[int]] = {}
    for before, after in pairs:
        counted = changes.setdefault(before.capability, [0, 0])
        counted[0] += bool(before.right and not after.right)
        counted[1] += bool(after.right and not before.right)
    return sum(min(lost, gained) for lost, gained in changes.values())


def standing(pairs: list[Pair], rises: list[float]) -> list[float]:
    """The same of shares and losses: where a capability got better, each of its rises is higher by so much that it stayed as it was.

    >>> pairs = [(row, row) for row in (Row("", text, name, "loss", loss=2.0) for text, name in (("a", "x"), ("b", "y")))]
    >>> standing(pairs, [0.5, -0.5])
    [0.5, 0.0]
    """
    groups: dict[str, list[float]] = {}
    for (before, _), rise in zip(pairs, rises, strict=True):
        groups.setdefault(before.capability, []).append(rise)
    better = {name: min(0.0, sum(values) / len(values)) for name, values in groups.items()}
    return [rise - better[before.capability] for (before, _), rise in zip(pairs, rises, strict=True)]


def share_of(row: Row) -> float:
    """How right a row is, from 0 to 1.

    >>> share_of(Row("2+2?", "4.", "sums", right=True)), share_of(Row("2+2?", "4.", "sums", "share", share=0.5))
    (1.0, 0.5)
    """
    return float(row.right) if row.share is None else row.share


def _all_alike(baseline: Measurement, candidate: Measurement) -> bool:
    """Whether two models said the same throughout. What is right says little, since it is the answer itself that is written down."""
    ours, theirs = baseline.keyed(), candidate.keyed()
    spoken = any(row.said not in ("", row.answer) for row in baseline.rows)
    return spoken and ours.keys() == theirs.keys() and all(
        (row.said, row.right, row.loss, row.share) == (theirs[key].said, theirs[key].right, theirs[key].loss, theirs[key].share)
        for key, row in ours.items()
    )  # fmt: skip


def notes(baseline: Measurement, candidate: Measurement) -> tuple[str, ...]:
    """What differs between the two besides the model, and what each of them noted.

    >>> rows = [Row("Hot?", "Cold.", "opposites", right=True)]
    >>> notes(Measurement("base", rows, versions={"torch": "2.11"}), Measurement("tuned", rows, versions={"torch": "2.12"}))
    ('torch was 2.11 for the baseline and 2.12 for the candidate.',)
    """
    # Noted and not refused: another version or machine seldom changes an answer, and a cached baseline would be of no use.
    found = []
    for package in sorted(baseline.versions.keys() | candidate.versions.keys()):
        ours, theirs = baseline.versions.get(package, "none"), candidate.versions.get(package, "none")
        if ours != theirs:
            found.append(f"{package} was {ours} for the baseline and {theirs} for the candidate.")
    for name, words in MAY_MOVE.items():
        ours, theirs = baseline.asked.get(name), candidate.asked.get(name)
        if ours != theirs and ours and theirs:
            both = "" if name in ("template", "tokenizer") else f" ({_line(ours)} and {_line(theirs)})"
            found.append(f"The two were measured {words}{both}.")
    found += [*converted(baseline, candidate), *asked_again(baseline.rows)]
    if baseline.machine != candidate.machine:
        found.append(f"The baseline ran on {baseline.machine}, the candidate on {candidate.machine}.")
    if baseline.adapter and not candidate.adapter:
        found.append("The baseline has an adapter and the candidate has none; were the two files swapped?")
    spoken = sum(row.measure == "contains" for row in baseline.rows)
    if (
        baseline.ended
        and candidate.ended is not None
        and candidate.ended < baseline.ended / 2
        and baseline.ended > spoken / 4
    ):
        found.append(
            f'Of {spoken} "contains" answers, {baseline.ended} of the baseline came to an end within their room and '
            f"{candidate.ended} of the candidate; does it still stop?"
        )
    losses = [[row.loss for row in side.rows] for side in (baseline, candidate)]
    if len(losses[0]) > 1 and None not in losses[0] and losses[0] == losses[1]:
        found.append(
            "Both have the same losses to the last digit; was the candidate changed at all, or its adapter put on?"
        )
    elif baseline.name != candidate.name and _all_alike(baseline, candidate):
        found.append(
            f"Both gave the same answers, word for word, to all {len(baseline.rows)} probes; was the candidate asked at all?"
        )
    if baseline.name == candidate.name:
        found.append(f"Both measurements are of {shown(baseline.name, 200)}; is that the pair that you meant?")
    return tuple(dict.fromkeys((*found, *baseline.notes, *candidate.notes)))
