"""From questions and texts to batches of tokens: what a model reads, and which of it is scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from capability_guard.chat import Chat
from capability_guard.jsonl import DataError
from capability_guard.probes import Probe

IGNORE = -100  # the label that PyTorch's cross entropy leaves out
TOKENS_A_BATCH = 384  # small enough that rows of a batch are about equally long, large enough to keep the cores busy


@dataclass(frozen=True)
class Batch:
    """Rows of about one length. ids, labels: [rows, longest], right-padded; labels are IGNORE where nothing is scored.

    rows: where each row stood in what was encoded, [rows]. mask: 1 for a token, 0 for padding, [rows, longest].

    >>> batch = encode(tokenizer, [Probe("What is 2+2?", "4.", "arithmetic")])[0]
    >>> tokenizer.decode(batch.labels[batch.labels != IGNORE])
    ' 4.'
    """

    ids: torch.Tensor
    labels: torch.Tensor
    mask: torch.Tensor
    rows: list[int]


def encode(
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Probe | str],
    longest: int | None = None,
    chat: bool | Chat = False,
    tokens_a_batch: int = TOKENS_A_BATCH,
) -> list[Batch]:
    """Tokenise probes (only the answer is scored) or plain texts (all of it is), and batch them by length.

    chat: put each prompt through the tokenizer's chat template. tokens_a_batch: how much is read at once, padding included.
    Raises DataError when a row has nothing to score or is longer than ``longest`` tokens.

    >>> (batch,) = encode(tokenizer, ["How do you make tea?", "Make tea."])
    >>> batch.rows, batch.mask.sum(dim=1).tolist()  # the shorter one comes first
    ([1, 0], [5, 7])
    """
    chat = Chat.of(chat)
    between: str | None = None  # what stands between a prompt and its answer; a template tells it once for all
    encoded: list[tuple[list[int], list[int]]] = []
    for row in rows:
        asked = isinstance(row, Probe) and row.measure != "loss"
        text = row.text if isinstance(row, Probe) else row
        if asked:
            if between is None:
                between = " " if chat is None else chat.before_answer(tokenizer, row.prompt, row.answer)
            asked_text = row.prompt if chat is None else chat.render(tokenizer, row.prompt)
            prompt = text_ids(tokenizer, asked_text, special=chat is None)
            answer = answer_ids(tokenizer, prompt, asked_text, between + row.answer, special=chat is None)
        else:
            prompt, answer = text_ids(tokenizer, text), []
        ids = prompt + answer
        labels = [IGNORE] * len(prompt) + answer if asked else prompt
        if asked and tokenizer.unk_token_id not in (None, tokenizer.eos_token_id) and tokenizer.unk_token_id in answer:
            raise DataError(
                f"{row.answer!r} holds signs that this tokenizer cannot write, so no model could be right; change the answer."
            )
        # The first token of a text has nothing before it that could predict it, so a text needs two tokens.
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
        # The rows come shortest first, so this one would set the width of the whole batch.
        if chosen and (len(chosen) + 1) * len(encoded[i][0]) > tokens_a_batch:
            batches.append(_pad(encoded, chosen, pad))
            chosen = []
        chosen.append(i)
    return [*batches, _pad(encoded, chosen, pad)] if chosen else batches


def _pad(encoded: list[tuple[list[int], list[int]]], chosen: list[int], pad: int) -> Batch:
    # On the right: a causal model never looks there, so the positions of the tokens stay as they are.
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


def prompt_ids(tokenizer: PreTrainedTokenizerBase, prompt: str, chat: bool | Chat | None) -> list[int]:
    """The tokens that a model reads before it answers. Raises DataError where there is no chat template, or it refuses.

    >>> tokenizer.decode(prompt_ids(tokenizer, "What is 2+2?", chat=False))
    'What is 2+2?'
    """
    chat = Chat.of(chat)
    if chat is None:
        return text_ids(tokenizer, prompt)
    return text_ids(tokenizer, chat.render(tokenizer, prompt), special=False)  # the template has written them already


def text_ids(tokenizer: PreTrainedTokenizerBase, text: str, special: bool = True) -> list[int]:
    """A text as tokens, open at its end: as a model reads it that is to go on.

    special: with what the tokenizer puts in front of each text. What some put *behind* it (T5's end-of-text token) is taken
    off, since nothing comes after an end; and a beginning-of-text token that two settings both add stands there once.

    >>> text_ids(tokenizer, "Make tea.") == tokenizer("Make tea.").input_ids
    True
    """
    ids = list(tokenizer(text, add_special_tokens=special).input_ids)
    if special:
        bare = list(tokenizer(text, add_special_tokens=False).input_ids)
        for start in range(len(ids) - len(bare) + 1):
            if bare and ids[start : start + len(bare)] == bare:
                ids = ids[: start + len(bare)]
                break
    end, begin = tokenizer.eos_token_id, tokenizer.bos_token_id
    if len(ids) > 1 and ids[-1] == end and not text.rstrip().endswith(tokenizer.eos_token or "\0"):
        ids = ids[:-1]
    while len(ids) > 1 and ids[0] == ids[1] == begin:
        ids = ids[1:]
    return ids


def scored_bytes(tokenizer: PreTrainedTokenizerBase, text: str) -> int | None:
    """How many bytes of a text a loss is over, in UTF-8 and without blanks at its ends. None where its tokens do not give it back.

    The first token has nothing before it that could predict it. Where that is none of the text's own, the whole text is scored.

    >>> scored_bytes(tokenizer, "Water boils."), len("Water boils.")
    (11, 12)
    """
    ids = text_ids(tokenizer, text)
    whole, rest = (
        tokenizer.decode(some, skip_special_tokens=True, clean_up_tokenization_spaces=False).strip()
        for some in (ids, ids[1:])
    )
    return len(rest.encode("utf-8", "replace")) if rest and whole == text.strip() and whole.endswith(rest) else None


def answer_ids(
    tokenizer: PreTrainedTokenizerBase, prompt: list[int], asked: str, answer: str, special: bool = True
) -> list[int]:
    """The tokens in which a model would write ``answer`` (with the white space before it) after the prompt's own tokens.

    Prompt and answer are tokenised together, as they were in training, and cut where the prompt's tokens end: apart, many
    tokenizers begin an answer with a space that is in no text. Where a merge runs across the cut, no such place exists; then it
    is the first way of writing that gives the text back.

    >>> prompt = text_ids(tokenizer, "What is 2+2?")
    >>> tokenizer.decode(answer_ids(tokenizer, prompt, "What is 2+2?", " 4."))
    ' 4.'
    """
    together = text_ids(tokenizer, asked + answer, special)
    if together[: len(prompt)] == prompt and len(together) > len(prompt):
        return together[len(prompt) :]
    read = _text(tokenizer, prompt)
    candidates = [
        _tail(tokenizer, answer),
        text_ids(tokenizer, answer, False),
        text_ids(tokenizer, answer.lstrip(), False),
    ]
    for ids in candidates:
        if ids and _text(tokenizer, prompt + ids) == read + answer:
            return ids
    return candidates[1]  # a tokenizer that changes text (small letters, accents) gives none of them back


def _tail(tokenizer: PreTrainedTokenizerBase, answer: str) -> list[int]:
    """The answer's tokens behind another text, with which nothing of it merges: Metaspace then adds no space of its own."""
    for before in ("?", "\n", "a"):
        front, both = (text_ids(tokenizer, text, False) for text in (before, before + answer))
        if both[: len(front)] == front:
            return both[len(front) :]
    return []


def _text(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    return tokenizer.decode(ids, clean_up_tokenization_spaces=False)


def pad_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """What fills up a row. Which token does not matter, since the mask hides it; but there must be one.

    >>> tokenizer.pad_token = None  # as GPT-2 comes
    >>> pad_id(tokenizer) == tokenizer.eos_token_id
    True
    """
    return tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id or 0


def context_length(model: PreTrainedModel) -> int | None:
    """How many tokens the model can read at once, or None where its config does not say.

    >>> context_length(model)
    128
    """
    # GPT-2's config answers to this name too, for what it calls n_positions.
    longest = getattr(model.config, "max_position_embeddings", None)
    ahead = max(
        (getattr(config, "num_virtual_tokens", 0) or 0 for config in getattr(model, "peft_config", {}).values()),
        default=0,
    )
    return None if longest is None else longest - ahead
