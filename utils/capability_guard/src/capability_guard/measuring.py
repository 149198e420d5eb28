"""Measure one model on a probe set."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from capability_guard.jsonl import DataError
from capability_guard.measurement import Measurement, MeasurementError
from capability_guard.probes import Probe

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def measure(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    probes: Sequence[Probe],
    *,
    name: str = "",
    adapter: str | None = None,
    chat: bool = False,
    notes: Sequence[str] = (),
) -> Measurement:
    """Ask a model every probe, and keep what it said. name, adapter: what to call them in reports.

    Raises DataError for a probe that cannot be asked, MeasurementError where the model gives no finite number.
    """
    from capability_guard.asking import score_probes  # torch takes seconds to import, and the gate needs none of it

    if not probes:
        raise DataError("There are no probes; without them nothing can be measured. Add some.")
    began = time.perf_counter()
    scores = score_probes(model, tokenizer, probes, chat=chat)
    for probe, loss in zip(probes, scores.loss, strict=True):
        if not math.isfinite(loss):
            raise MeasurementError(
                f"The model's loss on {(probe.prompt or probe.answer)[:60]!r} is {loss}: it diverged, or its weights are "
                "damaged; use an earlier checkpoint."
            )
    said = _said(model, tokenizer, probes, scores.correct, chat)
    return Measurement.of(
        probes, scores.correct, [round(loss, 6) for loss in scores.loss], said,
        model=name or getattr(model, "name_or_path", "") or type(model).__name__, adapter=adapter, chat=chat,
        notes=tuple(notes), seconds=round(time.perf_counter() - began, 2),
    )  # fmt: skip


def _said(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, probes: Sequence[Probe], right: Sequence, chat: bool
) -> list[str]:
    """What the model answers to each probe. An exact probe that is right says its answer, by definition."""
    from capability_guard.asking import CONTAINS_TOKENS, score
    from capability_guard.encoding import context_length, encode, prompt_ids
    from capability_guard.generation import complete

    said = [probe.answer if r else "" for probe, r in zip(probes, right, strict=True)]
    longest = context_length(model) or math.inf
    rooms: dict[int, list[tuple[int, list[int]]]] = {}  # how many tokens there is room for, and for which probes
    for i, probe in enumerate(probes):
        if probe.measure == "contains" or (probe.measure == "exact" and not right[i]):
            prompt = prompt_ids(tokenizer, probe.prompt, chat)
            rooms.setdefault(min(CONTAINS_TOKENS, longest - len(prompt)), []).append((i, prompt))
        elif probe.measure == "choice" and not right[i]:
            rows = [replace(probe, answer=choice) for choice in probe.choices]
            scores = score(model, encode(tokenizer, rows, chat=chat))
            cost = [x * n / len(c) for x, n, c in zip(scores.loss, scores.tokens, probe.choices, strict=True)]
            said[i] = probe.choices[cost.index(min(cost))]
    for room, asked in rooms.items():
        texts = complete(model, tokenizer, [prompt for _, prompt in asked], room)
        for (i, _), text in zip(asked, texts, strict=True):
            said[i] = text
    return said
