"""Measure one model on a probe set: ask, keep what was said, and record all that decides the figures."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from capability_guard.chat import Chat, without_thinking
from capability_guard.doubts import asked_again, in_the_question
from capability_guard.jsonl import DataError
from capability_guard.matching import MARKING
from capability_guard.measurement import Measurement, MeasurementError
from capability_guard.probes import CONTAINS_TOKENS, Probe

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
) -> Measurement:
    """Ask a model every probe, and keep what it said. name, adapter: what to call them in reports.

    chat: True asks through the chat template; a ``Chat`` adds a system turn, variables or a fixed day.
    max_new_tokens: how much the model may say to a "contains" probe.
    repeat: ask once more in other batches and in bfloat16, and keep how many outcomes flip by that alone.
    task: held-out texts of the new task, whose loss says what was learned. notes: what a reader of the report should know.
    Raises DataError for a probe that cannot be asked, MeasurementError where the model gives no finite number.

    >>> from capability_guard.probes import load_probes
    >>> measured = measure(model, tokenizer, load_probes(PROBES), name="practice model")
    >>> measured.rows[0].said, measured.rows[0].right, round(measured.rows[0].loss, 3)
    ('4.', True, 0.005)
    """
    from capability_guard.asking import (  # torch takes seconds to import, and the gate needs none of it
        ask,
        encode_probes,
    )
    from capability_guard.encoding import context_length, scored_bytes

    if not probes:
        raise DataError("There are no probes; without them nothing can be measured. Add some.")
    if not isinstance(max_new_tokens, int) or max_new_tokens < 1:
        raise DataError(f"max_new_tokens is {max_new_tokens!r}; give a whole number of at least 1.")
    began = time.perf_counter()
    tokens = encode_probes(tokenizer, probes, context_length(model), chat, max_new_tokens)
    scores = ask(model, tokenizer, tokens)
    for probe, loss in zip(probes, scores.loss, strict=True):
        if not math.isfinite(loss):
            raise MeasurementError(
                f"The model's loss on {(probe.prompt or probe.answer)[:60]!r} is {loss}: it diverged, or its weights are "
                "damaged; use an earlier checkpoint."
            )
    said = _said(model, tokenizer, tokens, scores)
    sizes = [(n, scored_bytes(tokenizer, p.answer)) if p.measure == "loss" else (None, None)
             for p, n in zip(probes, scores.tokens, strict=True)]  # fmt: skip
    found = [*notes, *in_the_question(probes), *asked_again(probes)]
    if other := scores.in_other_tokens:
        found.append(
            f"{len(other)} of {len(probes)} probes were answered right in other tokens than their answer has, as "
            f"{probes[other[0]].answer!r}: they count as right, and their loss is that of the answer's own tokens."
        )
    if longer := scores.going_on:
        example = probes[longer[0]].answer
        found.append(
            f"{len(longer)} of {len(probes)} probes were answered with the beginning of a longer word or number, as {example!r} in "
            f"{said[longer[0]][:40]!r}: they count as wrong."
        )
    learned = _task_loss(model, tokenizer, task) if task else None
    noise = _noise(model, tokenizer, probes, scores.correct, chat, max_new_tokens) if repeat else None
    return Measurement.of(
        probes, scores.correct, [round(loss, 6) for loss in scores.loss], said, sizes,
        model=name or getattr(model, "name_or_path", "") or type(model).__name__, adapter=adapter, chat=bool(chat),
        notes=tuple(found), seconds=round(time.perf_counter() - began, 2), noise=noise, task=learned,
        asked=circumstances(model, tokenizer, probes, chat, max_new_tokens),
        ended=sum(one.ended for one in scores.said.values()) if scores.said else None,
    )  # fmt: skip


def circumstances(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    probes: Sequence[Probe],
    chat: bool | Chat = False,
    max_new_tokens: int = CONTAINS_TOKENS,
) -> dict[str, str]:
    """How the questions were put and on what: all that decides the figures besides the weights, as short texts.

    prompts, template, tokenizer: fingerprints. system, variables, date: as given. decoding, precision, quantization, device, batch:
    in words. revision: of a model from the hub, its commit.
    marking: which version of the rules says what is right.
    Nothing is drawn at random, so there is no seed.

    >>> asked = circumstances(model, tokenizer, [Probe("What is 2+2?", "4.", "arithmetic")])
    >>> asked["precision"], asked["device"], asked["decoding"]
    ('float32', 'cpu', 'greedy, up to 32 tokens')
    """
    from capability_guard.encoding import TOKENS_A_BATCH
    from capability_guard.forward import input_device
    from capability_guard.quantized import quantization_of

    chat = Chat.of(chat)
    prompts = [
        chat.render(tokenizer, p.prompt) if chat is not None and p.prompt else p.prompt or p.answer for p in probes
    ]
    precisions: Counter = Counter()
    for parameter in model.parameters():
        if (
            parameter.is_floating_point()
        ):  # quantized weights are whole numbers, and are computed with in the others' precision
            precisions[str(parameter.dtype).removeprefix("torch.")] += parameter.numel()
    asked = {
        "prompts": _fingerprint(sorted(prompts)),
        "tokenizer": vocabulary_of(tokenizer),
        "marking": MARKING,
        "decoding": f"greedy, up to {max_new_tokens} tokens",
        "precision": precisions.most_common(1)[0][0] if precisions else "none",
        "quantization": quantization_of(model),
        "device": input_device(model).type,
        "batch": f"up to {TOKENS_A_BATCH} tokens",
    }
    if commit := getattr(getattr(model, "config", None), "_commit_hash", None):
        asked["revision"] = commit
    if chat is not None:
        asked["template"] = _fingerprint(tokenizer.get_chat_template())
        asked |= {"system": chat.system} if chat.system is not None else {}
        asked |= {"variables": json.dumps(dict(chat.variables), sort_keys=True, default=str)} if chat.variables else {}
        asked |= {"date": chat.date} if chat.date is not None else {}
    return asked


def _task_loss(model, tokenizer, texts: Sequence[str]) -> dict[str, Any]:
    """The mean loss of the new task's texts, nats a token, and which texts these were."""
    from capability_guard.asking import score
    from capability_guard.encoding import context_length, encode, scored_bytes

    scores = score(model, encode(tokenizer, list(texts), context_length(model)))
    loss, sizes = scores.mean_loss, [scored_bytes(tokenizer, text) for text in texts]
    if not math.isfinite(loss):
        raise MeasurementError(f"The model's loss on the new task is {loss}: it diverged; use an earlier checkpoint.")
    return {"loss": round(loss, 6), "texts": len(texts), "fingerprint": _fingerprint(list(texts)),
            "tokens": sum(scores.tokens), "bytes": None if None in sizes else sum(sizes)}  # fmt: skip


def vocabulary_of(tokenizer: PreTrainedTokenizerBase) -> str:
    """A fingerprint of a tokenizer: of its tokens, and of those that begin and end a text.

    >>> len(vocabulary_of(tokenizer))
    12
    """
    return _fingerprint([sorted(tokenizer.get_vocab().items()), tokenizer.bos_token, tokenizer.eos_token])


def _fingerprint(value: object) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")).hexdigest()[:12]


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
