"""Two measurements that were read one by one, put into one form.

What a metric looks like depends on the answers: where a model has lost everything, a share from 0 to 1 is 0 for every question and
looks like a grade of right or wrong, and a score from 0 to 100 looks like one from 0 to 1. Neither may keep the two from being
compared, and neither may a file of samples that only one of the two has.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from capability_guard.formats.wording import LESS, PER_CENT
from capability_guard.measurement import Mean, Measurement, Row

GRADED = ("exact", "contains", "choice")


def alike(baseline: Measurement, candidate: Measurement) -> tuple[Measurement, Measurement]:
    """Both, with every task in a form that the two have in common.

    Right and wrong become shares where the other has shares; a share is divided by 100 where the other was; rows become a mean
    where the other has but a mean.

    >>> whole = Measurement("base", [Row("2+2?", "4", "sums", "share", share=0.5)])
    >>> lost = Measurement("tuned", [Row("2+2?", "4", "sums", right=False)])
    >>> alike(whole, lost)[1].rows[0].share
    0.0
    """
    baseline, candidate = _scaled(baseline, candidate, turned=True), _scaled(candidate, baseline, turned=False)
    baseline, candidate = _shared(baseline, candidate), _shared(candidate, baseline)
    return _meant(baseline, candidate), _meant(candidate, baseline)


def _tasks(rows: Iterable[Row], *measures: str) -> set[str]:
    return {row.capability for row in rows if row.measure in measures}


def _scaled(ours: Measurement, theirs: Measurement, turned: bool) -> Measurement:
    """Divided by 100 where only the other was, since all of ours were 1 or less of 100.

    Or they were shares all along, which cannot be told, unless all are 0. So it is done only where it makes the loss seem no smaller
    than it is: ours are the candidate's or, of a metric of which less is better, the baseline's. Else the settings differ, and are
    refused.
    """
    scores: dict[str, set[float]] = {}
    for task, value in (
        *((row.capability, _value(row)) for row in ours.rows if row.measure != "loss"),
        *((m.name, m.value) for m in ours.means),
    ):
        scores.setdefault(task, set()).add(value)
    less = {
        task
        for task, setting in ours.settings.items()
        if not setting.endswith(PER_CENT)
        and theirs.settings.get(task) == setting + PER_CENT
        and (setting.endswith(LESS) is turned or scores.get(task) == {float(setting.endswith(LESS))})
    }
    if not less:
        return ours

    def hundredth(task: str, value: float) -> float:
        return (
            1 - (1 - value) / 100 if ours.settings[task].endswith(LESS) else value / 100
        )  # turned round, 1 is a score of 0

    rows = [
        _share(row, hundredth(row.capability, _value(row))) if row.capability in less and row.measure != "loss" else row
        for row in ours.rows
    ]
    means = [
        replace(m, value=hundredth(m.name, m.value), error=m.error / 100) if m.name in less else m for m in ours.means
    ]
    settings = {task: setting + PER_CENT if task in less else setting for task, setting in ours.settings.items()}
    return replace(ours, rows=tuple(rows), means=tuple(means), settings=settings)


def _value(row: Row) -> float:
    return float(row.right) if row.share is None else row.share


def _share(row: Row, value: float) -> Row:
    return replace(row, measure="share", choices=(), right=None, share=value)


def _shared(ours: Measurement, theirs: Measurement) -> Measurement:
    """Right and wrong as shares, where the other has shares."""
    tasks = _tasks(theirs.rows, "share") & _tasks(ours.rows, *GRADED)
    if not tasks:
        return ours
    rows = [_share(row, _value(row)) if row.capability in tasks and row.measure in GRADED else row for row in ours.rows]
    return replace(ours, rows=tuple(rows))


def _meant(ours: Measurement, theirs: Measurement) -> Measurement:
    """A mean instead of rows, where the other has but a mean."""
    tasks = {mean.name for mean in theirs.means} & _tasks(ours.rows, *GRADED, "share") - _tasks(ours.rows, "loss")
    if not tasks:
        return ours
    means, notes = list(ours.means), list(ours.notes)
    for task in sorted(tasks):
        values = [_value(row) for row in ours.rows if row.capability == task]
        n, mean = len(values), sum(values) / len(values)
        error = math.sqrt(sum((x - mean) ** 2 for x in values) / (n - 1) / n) if n > 1 else 0.0
        means.append(Mean(task, mean, min(error, 1.0), n))
        notes.append(
            f"{task} has single outcomes in one of the two only, so its means are compared, which is less sharp."
        )
    rows = [row for row in ours.rows if row.capability not in tasks]
    return replace(ours, rows=tuple(rows), means=tuple(means), notes=tuple(notes))
