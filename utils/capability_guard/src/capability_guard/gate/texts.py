"""Losses of texts where the two models cut a text into other tokens: per token they cannot be compared, per text they can.

A model with more words needs fewer tokens for a text, and each of them costs it more. So what the candidate loses over a whole
text is divided by the number of tokens that the *baseline* has for it. The budget, in nats a token, then means what it means for
the baseline. That needs to be known of both: how many tokens, and that they spell the same part of the text. A model without a
token for the beginning cannot be scored on a text's first one, which is the one that costs most.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from capability_guard.rows import MeasurementError, Row

if TYPE_CHECKING:
    from capability_guard.measurement import Measurement


def per_token_of_the_baseline(
    baseline: Measurement, candidate: Measurement, pairs: list[tuple[Row, Row]]
) -> list[tuple[Row, Row]]:
    """The pairs, with the losses of texts in nats per token of the baseline. Raises MeasurementError where these are not known.

    >>> from capability_guard.measurement import Measurement
    >>> short, long = (Row("", "Water boils.", "prose", "loss", loss=2.0, tokens=n, bytes=12) for n in (4, 6))
    >>> pairs = per_token_of_the_baseline(Measurement("base", [short]), Measurement("tuned", [long]), [(short, long)])
    >>> pairs[0][1].loss  # 6 tokens of 2 nats are 12 nats, which are 3 for each of the baseline's 4
    3.0
    """
    texts = [(before, after) for before, after in pairs if before.measure == "loss"]
    if not texts or not _cut_otherwise(baseline, candidate, texts):
        return pairs
    unknown = next((row for both in texts for row in both if row.tokens is None or row.bytes is None), None)
    if unknown is not None:
        raise MeasurementError(
            f"The two models have different tokenizers, and it is not known how many tokens or bytes {_begin(unknown)} is to each, so "
            "losses a token cannot be compared; measure both with this version, or use probes with answers."
        )
    other = next((both for both in texts if both[0].bytes != both[1].bytes), None)
    if other is not None:
        raise MeasurementError(
            f"The two models have different tokenizers, and the loss of {_begin(other[0])} is over {other[0].bytes} bytes of it for "
            f"the baseline and {other[1].bytes} for the candidate, so the two cannot be compared; use probes with answers."
        )
    return [
        (before, replace(after, loss=after.loss * after.tokens / before.tokens))
        if before.measure == "loss"
        else (before, after)
        for before, after in pairs
    ]


def converted(baseline: Measurement, candidate: Measurement) -> list[str]:
    """A note where that was done. The rows of both pair.

    >>> from capability_guard.measurement import Measurement
    >>> short, long = (Row("", "Water boils.", "prose", "loss", loss=2.0, tokens=n, bytes=12) for n in (4, 6))
    >>> converted(Measurement("base", [short]), Measurement("tuned", [long]))[0].partition(",")[0]
    "The candidate's tokenizer cuts 1 of 1 texts into another number of tokens"
    """
    sizes = {key: row.tokens for key, row in baseline.keyed().items() if row.measure == "loss" and row.tokens}
    others = sum(row.tokens not in (None, sizes.get(key)) for key, row in candidate.keyed().items() if key in sizes)
    if not others:
        return []
    return [
        f"The candidate's tokenizer cuts {others} of {len(sizes)} texts into another number of tokens, so its losses are given in "
        "nats for each token of the baseline's."
    ]


def task_losses(baseline: Measurement | None, candidate: Measurement | None) -> tuple[float, float] | None:
    """The loss on the new task before and after, in nats per token of the baseline; None where the two cannot be compared.

    >>> from capability_guard.measurement import Measurement
    >>> rows = [Row("Hot?", "Cold.", "opposites", right=True)]
    >>> tasks = [{"loss": 2.0, "texts": 9, "fingerprint": "x", "tokens": n, "bytes": 400} for n in (100, 150)]
    >>> task_losses(*(Measurement("m", rows, task=task) for task in tasks))
    (2.0, 3.0)
    """
    before, after = (None if m is None else m.task for m in (baseline, candidate))
    if not before or not after or before["fingerprint"] != after["fingerprint"]:
        return None
    sizes = [(task.get("tokens"), task.get("bytes")) for task in (before, after)]
    if None not in sizes[0] + sizes[1]:
        same = sizes[0][1] == sizes[1][1]
        return (before["loss"], after["loss"] * sizes[1][0] / sizes[0][0]) if same else None
    same = baseline.asked.get("tokenizer") == candidate.asked.get("tokenizer")
    return (before["loss"], after["loss"]) if same else None


def _cut_otherwise(baseline: Measurement, candidate: Measurement, texts: list[tuple[Row, Row]]) -> bool:
    """By the numbers themselves where they are known: new tokens that no text holds cut none otherwise."""
    known = [(before, after) for before, after in texts if before.tokens and after.tokens]
    if len(known) == len(texts):
        return any((b.tokens, b.bytes) != (a.tokens, a.bytes) for b, a in texts)
    return baseline.asked.get("tokenizer") != candidate.asked.get("tokenizer")


def _begin(row: Row) -> str:
    return repr(row.answer if len(row.answer) <= 40 else row.answer[:37] + "...")
