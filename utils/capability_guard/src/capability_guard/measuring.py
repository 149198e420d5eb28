"""Measure one model on a probe set: ask, keep what was said, and record all that decides the figures."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capability_guard.chat import Chat, without_thinking
from capability_guard.conditions import circumstances, fingerprint_of
from capability_guard.in_parts import Answer, Each, answered, parts_of
from capability_guard.jsonl import DataError
from capability_guard.measurement import Measurement, MeasurementError
from capability_guard.probes import CONTAINS_TOKENS, Probe
from capability_guard.summing_up import summed_up

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from capability_guard.asking import ProbeTokens, Scores


def measure(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    probes: Sequence[Probe],
    *,
    name: str = "",
    adapter: str | None = None,
    chat: bool | Chat = False,
    max_new_tokens: int = CONTAINS_TOKENS,
    repeat: bool = False,
    task: Sequence[str] | None = None,
    notes: Sequence[str] = (),
    keep: Path | None = None,
    each: Each | None = None,
) -> Measurement:
    """Ask a model every probe, and keep what it said. name, adapter: what to call them in reports.

    chat: True asks through the chat template; a ``Chat`` adds a system turn, variables or a fixed day.
    max_new_tokens: how much the model may say to a "contains" probe.
    repeat: ask once more in other batches and in bfloat16, and keep how many outcomes flip by that alone.
    task: held-out texts of the new task, whose loss says what was learned. notes: what a reader of the report should know.
    keep: a file for the answers so far, from which a run that was stopped goes on. each: told after each part how many probes are
    answered, of how many, and what share of the work is done.
    How much is asked at once suits the device, and is halved where memory runs out.
    Raises DataError for a probe that cannot be asked, MeasurementError where the model gives no finite number.

    >>> from capability_guard.probes import load_probes
    >>> measured = measure(model, tokenizer, load_probes(PROBES), name="practice model")
    >>> measured.rows[0].said, measured.rows[0].right, round(measured.rows[0].loss, 3)
    ('4.', True, 0.005)
    """
    # torch takes seconds to import, and the gate needs none of it
    from capability_guard.asking import encode_probes
    from capability_guard.encoding import context_length
    from capability_guard.identity import key_of
    from capability_guard.memory import tokens_at_once

    if not probes:
        raise DataError("There are no probes; without them nothing can be measured. Add some.")
    if not isinstance(max_new_tokens, int) or max_new_tokens < 1:
        raise DataError(f"max_new_tokens is {max_new_tokens!r}; give a whole number of at least 1.")
    began = time.perf_counter()
    at_once, longest = tokens_at_once(model), context_length(model)
    parts = parts_of(probes, at_once)
    # All of them before the first is asked: one that cannot be is no surprise after an hour.
    encoded = [
        encode_probes(tokenizer, [probes[i] for i in part], longest, chat, max_new_tokens, at_once) for part in parts
    ]

    def key() -> str:
        return key_of(model, tokenizer, probes, {"chat": chat, "max_new_tokens": max_new_tokens})

    answers = answered(probes, parts, lambda n: _answers(model, tokenizer, encoded[n]), keep, key, each)
    correct = [answer.right for answer in answers]
    return summed_up(
        probes, answers, notes,
        model=name or getattr(model, "name_or_path", "") or type(model).__name__, adapter=adapter, chat=bool(chat),
        task=_task_loss(model, tokenizer, task) if task else None,
        noise=_noise(model, tokenizer, probes, correct, chat, max_new_tokens) if repeat else None,
        asked=circumstances(model, tokenizer, probes, chat, max_new_tokens), seconds=round(time.perf_counter() - began, 2),
    )  # fmt: skip


def _answers(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tokens: ProbeTokens) -> list[Answer]:
    """What the model says to some probes. Raises MeasurementError where a loss is no number."""
    from capability_guard.asking import ask
    from capability_guard.encoding import scored_bytes

    scores = ask(model, tokenizer, tokens)
    for probe, loss in zip(tokens.probes, scores.loss, strict=True):
        if not math.isfinite(loss):
            raise MeasurementError(
                f"The model's loss on {(probe.prompt or probe.answer)[:60]!r} is {loss}: it diverged, or its weights are "
                "damaged; use an earlier checkpoint."
            )
    said = _said(model, tokenizer, tokens, scores)
    return [
        Answer(right, round(loss, 6), count, said[i], i in scores.in_other_tokens, i in scores.going_on,
               scores.said[i].ended if i in scores.said else None,
               scored_bytes(tokenizer, tokens.probes[i].answer) if tokens.probes[i].measure == "loss" else None)
        for i, (right, loss, count) in enumerate(zip(scores.correct, scores.loss, scores.tokens, strict=True))
    ]  # fmt: skip


def _task_loss(model, tokenizer, texts: Sequence[str]) -> dict[str, Any]:
    """The mean loss of the new task's texts, nats a token, and which texts these were."""
    from capability_guard.asking import score
    from capability_guard.encoding import context_length, encode, scored_bytes

    scores = score(model, encode(tokenizer, list(texts), context_length(model)))
    loss, sizes = scores.mean_loss, [scored_bytes(tokenizer, text) for text in texts]
    if not math.isfinite(loss):
        raise MeasurementError(f"The model's loss on the new task is {loss}: it diverged; use an earlier checkpoint.")
    return {"loss": round(loss, 6), "texts": len(texts), "fingerprint": fingerprint_of(list(texts)),
            "tokens": sum(scores.tokens), "bytes": None if None in sizes else sum(sizes)}  # fmt: skip


def _noise(model, tokenizer, probes, correct, chat, max_new_tokens) -> dict[str, int]:
    """How many probes of each capability come out otherwise when the same model reads one row at a time, or in bfloat16."""
    import torch

    from capability_guard.asking import ask, encode_probes
    from capability_guard.encoding import context_length
    from capability_guard.forward import input_device

    again = [
        ask(
            model,
            tokenizer,
            encode_probes(tokenizer, probes, context_length(model), chat, max_new_tokens, tokens_a_batch=1),
        ).correct
    ]
    with torch.autocast(input_device(model).type, torch.bfloat16):
        again.append(
            ask(model, tokenizer, encode_probes(tokenizer, probes, context_length(model), chat, max_new_tokens)).correct
        )
    flips = {probe.capability: 0 for probe in probes}
    for i, probe in enumerate(probes):
        flips[probe.capability] += any(other[i] != correct[i] for other in again)
    return flips


def _said(model, tokenizer, tokens: ProbeTokens, scores: Scores) -> list[str]:
    """What the model answers to each probe. An exact probe that is right says its answer, by definition."""
    from capability_guard.asking import say

    probes, right = tokens.probes, scores.correct
    said = [probe.answer if r else "" for probe, r in zip(probes, right, strict=True)]
    wrong = [i for i, probe in enumerate(probes) if probe.measure == "exact" and not right[i]]
    for i, (text, _) in zip(wrong, say(model, tokenizer, tokens, wrong), strict=True):
        said[i] = text
    for i, (text, _) in scores.said.items():
        said[i] = without_thinking(text, tokens.thinking).strip()
    for i, choice in scores.picked.items():
        said[i] = said[i] or choice
    return said
