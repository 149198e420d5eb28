"""What a model goes on to say, greedily: the likeliest token each time, whatever was saved beside the model."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from capability_guard.chat import MARKS
from capability_guard.encoding import pad_id
from capability_guard.forward import input_device, puts_tokens_in_front, undisturbed, without_adapter
from capability_guard.memory import in_halves

BEYOND = 4  # tokens: enough to tell 4.5 from the end of a sentence
ROWS_AT_ONCE = 16  # prompts that are completed together: the memory for their keys and values grows with each


class Said(NamedTuple):
    """What a model went on to say, and whether it came to an end by itself.

    >>> Said("4.", ended=True).text
    '4.'
    """

    text: str
    ended: bool


def complete(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    fold: bool = True,
) -> list[str]:
    """What the model goes on to say, greedily, after each prompt (its tokens). fold: with white space folded.

    >>> complete(model, tokenizer, [tokenizer("What is 2+2?").input_ids], max_new_tokens=8)
    ['4.']
    """
    return [said.text for said in completions(model, tokenizer, prompts, max_new_tokens, fold)]


def completions(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    fold: bool = True,
    beyond: int = 0,
) -> list[Said]:
    """The same, and whether the model came to an end.

    beyond: so many tokens more, but no further than the word in which the others end: 13 may be the beginning of 13000.
    Prompts of one length are completed together: no padding, so the rows cannot disturb each other.

    >>> completions(model, tokenizer, [tokenizer("What is 2+2?").input_ids], max_new_tokens=2)
    [Said(text='4', ended=False)]
    """
    said = [Said("", False)] * len(prompts)
    by_length: dict[int, list[int]] = {}
    for i, prompt in enumerate(prompts):
        by_length.setdefault(len(prompt), []).append(i)
    chunks = [same[k : k + ROWS_AT_ONCE] for same in by_length.values() for k in range(0, len(same), ROWS_AT_ONCE)]
    if not chunks:
        return said
    # With tokens of peft's own in front, generate and its cache may disagree with the forward pass; then there is no cache.
    by_hand = puts_tokens_in_front(model) or not hasattr(without_adapter(model), "generation_config")
    go_on, ends = _step_by_step if by_hand else _generate, set(_ends(without_adapter(model), tokenizer) or ())
    with undisturbed(model):
        for chunk in chunks:

            def answers(some: Sequence[int]) -> list[list[int]]:
                ids = torch.tensor([prompts[i] for i in some], device=input_device(model))
                return go_on(model, tokenizer, ids, max_new_tokens + beyond)[:, ids.shape[1] :].tolist()

            for i, row in zip(chunk, in_halves(model, chunk, answers), strict=True):
                text = _to_the_end_of_a_word(tokenizer, row, max_new_tokens)
                said[i] = Said(" ".join(text.split()) if fold else text, not ends.isdisjoint(row))
    return said


def _to_the_end_of_a_word(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], room: int) -> str:
    """The text of as many tokens as there is room for, and of what follows up to the next space."""
    text = spoken(tokenizer, ids[:room])
    if len(ids) <= room:
        return text
    whole, begun = spoken(tokenizer, ids), text.rstrip("\ufffd")  # half a character may be whole in the other
    return begun + re.match(r"\S*", whole[len(begun) :])[0] if whole.startswith(begun) else text


def spoken(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """Tokens as text, without special tokens but for the marks of thinking: else thinking and answer would run together.

    >>> spoken(tokenizer, [*tokenizer("It is 4.").input_ids, tokenizer.eos_token_id])
    'It is 4.'
    """

    def text(some: Sequence[int]) -> str:
        return tokenizer.decode(some, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    known = {tokenizer.convert_tokens_to_ids(mark): mark for mark in MARKS}
    places = [
        k for k, token in enumerate(ids) if token in known and tokenizer.convert_ids_to_tokens(token) == known[token]
    ]
    hidden = [k for k in places if not text([ids[k]])]  # a mark that is no special token is text like any other
    said = ""
    for begin, end in zip([-1, *hidden], [*hidden, len(ids)], strict=True):
        said += (known[ids[begin]] if begin >= 0 else "") + text(ids[begin + 1 : end])
    return said


def _generate(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, ids: torch.Tensor, room: int) -> torch.Tensor:
    with greedily(model, tokenizer, room):
        # The mask is given because generate would guess it, and take a pad token inside a prompt for padding.
        return model.generate(input_ids=ids, attention_mask=torch.ones_like(ids))


def _step_by_step(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, ids: torch.Tensor, room: int
) -> torch.Tensor:
    """The same without a cache: the whole text is read again for each token."""
    ends = torch.tensor(_ends(without_adapter(model), tokenizer) or [-1], device=ids.device)
    done = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
    for _ in range(room):
        token = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits[:, -1].argmax(-1)
        token = torch.where(done, torch.full_like(token, pad_id(tokenizer)), token.to(ids.device))
        ids = torch.cat([ids, token[:, None]], dim=1)
        done |= torch.isin(token, ends)
        if done.all():
            break
    return ids


@contextmanager
def greedily(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, max_new_tokens: int) -> Iterator[None]:
    """Within, ``generate`` decodes greedily: one beam, one sequence, no penalty and no token forbidden.

    Not by arguments to ``generate``: it fills what they leave open from the settings that were saved beside the model, such as
    a repetition penalty or tokens to suppress. The model's own end-of-text tokens are kept.

    >>> model.generation_config.repetition_penalty = 5.0
    >>> with greedily(model, tokenizer, 8):
    ...     model.generation_config.repetition_penalty
    1.0
    >>> model.generation_config.repetition_penalty
    5.0
    """
    inner = without_adapter(model)
    saved = inner.generation_config
    settings = GenerationConfig(
        max_new_tokens=max_new_tokens, do_sample=False, num_beams=1, num_return_sequences=1, repetition_penalty=1.0, use_cache=True,
        eos_token_id=_ends(inner, tokenizer), pad_token_id=pad_id(tokenizer),
    )  # fmt: skip
    holders = [one for one in dict.fromkeys([model, inner]) if "generation_config" in vars(one) or one is inner]
    kept = [vars(one).get("generation_config") for one in holders]
    try:
        for one in holders:
            one.generation_config = settings
        yield
    finally:
        for one, config in zip(holders, kept, strict=True):
            one.generation_config = saved if config is None else config


def _ends(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int] | None:
    """Every token that ends a text for this model: its settings, its config and its tokenizer may each name others.

    What is no whole number is no token, whoever wrote it there.
    """
    named = (
        getattr(getattr(model, "generation_config", None), "eos_token_id", None),
        getattr(model.config, "eos_token_id", None),
        tokenizer.eos_token_id,
    )
    ends = [end for one in named for end in (one if isinstance(one, (list, tuple)) else [one])]
    return list(dict.fromkeys(end for end in ends if type(end) is int)) or None
