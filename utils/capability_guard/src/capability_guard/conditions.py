"""How questions were put and on what: all that decides the figures of a measurement besides the weights."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from capability_guard.chat import Chat
from capability_guard.matching import MARKING
from capability_guard.probes import CONTAINS_TOKENS, Probe

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


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
    from capability_guard.forward import input_device
    from capability_guard.memory import tokens_at_once
    from capability_guard.quantized import quantization_of

    chat = Chat.of(chat)
    prompts = [
        chat.render(tokenizer, p.prompt) if chat is not None and p.prompt else p.prompt or p.answer for p in probes
    ]
    precisions: Counter = Counter()
    for parameter in model.parameters():
        # Quantized weights are whole numbers, and are computed with in the precision of the others.
        if parameter.is_floating_point():
            precisions[str(parameter.dtype).removeprefix("torch.")] += parameter.numel()
    asked = {
        "prompts": fingerprint_of(sorted(prompts)),
        "tokenizer": vocabulary_of(tokenizer),
        "marking": MARKING,
        "decoding": f"greedy, up to {max_new_tokens} tokens",
        "precision": precisions.most_common(1)[0][0] if precisions else "none",
        "quantization": quantization_of(model),
        "device": input_device(model).type,
        "batch": f"up to {tokens_at_once(model)} tokens",
    }
    if commit := getattr(getattr(model, "config", None), "_commit_hash", None):
        asked["revision"] = commit
    if chat is not None:
        asked["template"] = fingerprint_of(tokenizer.get_chat_template())
        asked |= {"system": chat.system} if chat.system is not None else {}
        asked |= {"variables": json.dumps(dict(chat.variables), sort_keys=True, default=str)} if chat.variables else {}
        asked |= {"date": chat.date} if chat.date is not None else {}
    return asked


def vocabulary_of(tokenizer: PreTrainedTokenizerBase) -> str:
    """A fingerprint of a tokenizer: of its tokens, and of those that begin and end a text.

    >>> len(vocabulary_of(tokenizer))
    12
    """
    return fingerprint_of([sorted(tokenizer.get_vocab().items()), tokenizer.bos_token, tokenizer.eos_token])


def fingerprint_of(value: object) -> str:
    """Twelve hexadecimal digits of what JSON can hold.

    >>> fingerprint_of(["What is 2+2?"]) == fingerprint_of(["What is 2+2?"])
    True
    """
    return hashlib.sha256(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")).hexdigest()[:12]
