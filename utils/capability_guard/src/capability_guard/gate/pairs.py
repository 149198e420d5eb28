"""Which rows of two measurements belong together, what keeps the two from being compared, and what was lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from capability_guard.measurement import Mean, Measurement, MeasurementError, Row

Pair = tuple[Row, Row]


@dataclass(frozen=True)
class Lost:
    """A probe that was right and is wrong now, with what was said. rise: of its loss, nats per token, if known."""

    capability: str
    prompt: str
    answer: str
    before: str
    after: str
    rise: float | None = None


def pair(baseline: Measurement, candidate: Measurement) -> list[Pair]:
    """The rows of both that ask the same. Raises MeasurementError when either asks what the other does not."""
    if baseline.chat != candidate.chat:
        one, other = ("with", "without") if baseline.chat else ("without", "with")
        raise MeasurementError(
            f"The baseline was asked {one} the chat template and the candidate {other}; measure both alike."
        )
    for name in sorted(baseline.settings.keys() | candidate.settings.keys()):
        ours, theirs = baseline.settings.get(name), candidate.settings.get(name)
        if ours != theirs:
            raise MeasurementError(
                f"{_line(name)} is {_line(ours) or 'absent'} in the baseline and {_line(theirs) or 'absent'} in the candidate; "
                "measure both alike."
            )
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
    return [(row, after[key]) for key, row in before.items()]


def _shown(row: Row) -> str:
    text = row.prompt or row.answer
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _line(value: Any) -> str:
    """On one line, and not too long: it comes from a file."""
    return "" if value is None else " ".join(str(value).split())[:80]


def pair_means(baseline: Measurement, candidate: Measurement) -> list[tuple[Mean, Mean]]:
    """The means of tasks of which no single outcomes are known, by name. Raises MeasurementError where one lacks a task."""
    after = {mean.name: mean for mean in candidate.means}
    if odd := {mean.name for mean in baseline.means} ^ after.keys():
        raise MeasurementError(f"{min(odd)!r} is in one of the two results only; evaluate the same tasks for both.")
    return [(mean, after[mean.name]) for mean in baseline.means]


def worst(pairs: list[Pair], decides: Callable[[str], bool]) -> list[Lost]:
    """The lost probes: critical capabilities first, and in each group the answers that became least likely."""
    lost = [(before, after) for before, after in pairs if before.right and after.right is False]

    def rise(before: Row, after: Row) -> float | None:
        return None if before.loss is None or after.loss is None else after.loss - before.loss

    lost.sort(key=lambda both: (not decides(both[0].capability), -(rise(*both) or 0)))
    return [Lost(b.capability, b.prompt, b.answer, b.said, a.said, rise(b, a)) for b, a in lost]


def notes(baseline: Measurement, candidate: Measurement) -> tuple[str, ...]:
    """What differs between the two besides the model, and what each of them noted."""
    found = []
    for package in sorted(baseline.versions.keys() | candidate.versions.keys()):
        ours, theirs = baseline.versions.get(package, "none"), candidate.versions.get(package, "none")
        if ours != theirs:
            found.append(f"{package} was {ours} for the baseline and {theirs} for the candidate.")
    if baseline.machine != candidate.machine:
        found.append(f"The baseline ran on {baseline.machine}, the candidate on {candidate.machine}.")
    if baseline.adapter and not candidate.adapter:
        found.append("The baseline has an adapter and the candidate has none; were the two files swapped?")
    if baseline.name == candidate.name:
        found.append(f"Both measurements are of {baseline.name!r}; is that the pair that you meant?")
    return (*found, *dict.fromkeys((*baseline.notes, *candidate.notes)))
