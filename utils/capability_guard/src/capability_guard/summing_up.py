"""The answers to a probe set as one measurement, with the notes that a reader of its figures needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from capability_guard.doubts import asked_again, in_the_question
from capability_guard.in_parts import Answer
from capability_guard.measurement import Measurement
from capability_guard.probes import Probe


def summed_up(
    probes: Sequence[Probe],
    answers: Sequence[Answer],
    notes: Sequence[str] = (),
    **about: Any,
) -> Measurement:
    """One measurement of all answers. about: its other fields.

    >>> measured = summed_up([Probe("2+2?", "4.", "sums")], [Answer(True, 0.1, 2, "4.")], model="base")
    >>> measured.rows[0].said, measured.notes
    ('4.', ())
    """
    found = [*notes, *in_the_question(probes), *asked_again(probes)]
    if other := [i for i, answer in enumerate(answers) if answer.in_other_tokens]:
        found.append(
            f"{len(other)} of {len(probes)} probes were answered right in other tokens than their answer has, as "
            f"{probes[other[0]].answer!r}: they count as right, and their loss is that of the answer's own tokens."
        )
    if longer := [i for i, answer in enumerate(answers) if answer.going_on]:
        found.append(
            f"{len(longer)} of {len(probes)} probes were answered with the beginning of a longer word or number, as "
            f"{probes[longer[0]].answer!r} in {answers[longer[0]].said[:40]!r}: they count as wrong."
        )
    counted = [(answer.tokens, answer.bytes) if probe.measure == "loss" else (None, None)
               for probe, answer in zip(probes, answers, strict=True)]  # fmt: skip
    ended = [answer.ended for answer in answers if answer.ended is not None]
    return Measurement.of(
        probes, [answer.right for answer in answers], [answer.loss for answer in answers], [answer.said for answer in answers],
        counted, notes=tuple(found), ended=sum(ended) if ended else None, **about,
    )  # fmt: skip
