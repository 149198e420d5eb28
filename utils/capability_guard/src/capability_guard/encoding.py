"""From questions and texts to batches of tokens: what a model reads, and which of it is scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from capability_guard.jsonl import DataError
from capability_guard.probes import Probe

IGNORE = -100  # the label that PyTorch's cross entropy leaves out
TOKENS_A_BATCH = 384  # small enough that rows of a batch are about equally long, large enough to keep the cores busy


@dataclass(frozen=True)
class Batch:
    """Rows of about one length. ids, labels: [rows, longest], right-padded; labels are IGNORE where nothing is scored.

    rows: where each row stood in what was encoded, [rows].
    """

    ids: torch.Tensor
    labels: torch.Tensor
    mask: torch.Tensor
    rows: list[int]


def encode(
    tokenizer: PreTrainedTokenizerBase, rows: Sequence[Probe | str], longest: int | None = None, chat: bool = False
) -> list[Batch]:
    """Tokenise probes (only the answer is scored) or plain texts (all of it is), and batch them by length.

    The answer is tokenised apart from its prompt, since generation starts from the prompt's own tokens.
    chat: put each prompt through the tokenizer's chat template.
    Raises DataError when a row has nothing to score or is longer than ``longest`` tokens.
    """
    encoded: list[tuple[list[int], list[int]]] = []
    for row in rows:
        asked = isinstance(row, Probe) and row.measure != "loss"
        text = row.text if isinstance(row, Probe) else row
        prompt = prompt_ids(tokenizer, row.prompt, chat) if asked else tokenizer(text).input_ids
        between = "" if chat else " "  # a chat template ends where the answer begins
        answer = tokenizer(between + row.answer, add_special_tokens=False).input_ids if asked else []
        ids = prompt + answer
        labels = [IGNORE] * len(prompt) + answer if asked else prompt
        if len(ids) < 2 or (asked and not answer):
            raise DataError(f"{text!r} leaves no token to score; give it a longer answer.")
        if longest and len(ids) > longest:
            raise DataError(f"{text[:60]!r} is {len(ids)} tokens and the model reads {longest}; shorten it.")
        encoded.append((ids, labels))
    # Sorted by length, little is spent on padding; a budget of tokens keeps the memory of a batch level.
    order = sorted(range(len(encoded)), key=lambda i: len(encoded[i][0]))
    pad = pad_id(tokenizer)
    batches, chosen = [], []
    for i in order:
        if chosen and (len(chosen) + 1) * len(encoded[i][0]) > TOKENS_A_BATCH:
            batches.append(_pad(encoded, chosen, pad))
            chosen = []
        chosen.append(i)
    return [*batches, _pad(encoded, chosen, pad)] if chosen else batches


def _pad(encoded: list[tuple[list[int], list[int]]], chosen: list[int], pad: int) -> Batch:
    longest = max(len(encoded[i][0]) for i in chosen)
    ids = torch.full((len(chosen), longest), pad)
    labels = torch.full((len(chosen), longest), IGNORE)
    mask = torch.zeros((len(chosen), longest), dtype=torch.long)
    for r, i in enumerate(chosen):
        row, target = encoded[i]
        ids[r, : len(row)] = torch.tensor(row)
        labels[r, : len(row)] = torch.tensor(target)
        mask[r, : len(row)] = 1
    return Batch(ids, labels, mask, chosen)


def prompt_ids(tokenizer: PreTrainedTokenizerBase, prompt: str, chat: bool) -> list[int]:
    """The tokens that a model reads before it answers. Raises DataError for ``chat`` without a chat template."""
    if not chat:
        return tokenizer(prompt).input_ids
    if not tokenizer.chat_template:
        raise DataError("This tokenizer has no chat template; ask without chat, or give it one.")
    turn = [{"role": "user", "content": prompt}]
    text = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    return tokenizer(text, add_special_tokens=False).input_ids  # the template has written them already


def pad_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """What fills up a row. Which token does not matter, since the mask hides it; but there must be one."""
    return tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id or 0


def context_length(model: PreTrainedModel) -> int | None:
    """How many tokens the model can read at once, or None where its config does not say."""
    return getattr(model.config, "max_position_embeddings", None)
