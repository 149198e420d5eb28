"""What one teacher-forced pass leaves open of "greedy generation would begin with this answer", and how it is settled.

Two things. The model leaves the answer's tokens, and says the same text in others. Or it says the answer and goes on with the
same word or number: "13" of "13000" is another answer. What the pass shows of either is looked at first, which is nearly always
enough; else the model is let go on, and what it writes decides.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from capability_guard.encoding import IGNORE, context_length
from capability_guard.generation import BEYOND, complete, spoken
from capability_guard.matching import could_go_on, ends

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from capability_guard.probe_tokens import ProbeTokens


def settled(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    tokens: ProbeTokens,
    left: dict[int, tuple[int, int]],
    after: dict[int, int],
) -> tuple[list[int], list[int]]:
    """(the probes that are right in other tokens than were scored, those that go on with the same word and so are wrong).

    left: of each "exact" probe that the pass finds wrong, after how many of its tokens the model leaves them, and the token that
    it takes instead. after: of each that it finds right, the likeliest token behind the answer.

    >>> from capability_guard.asking import encode_probes
    >>> from capability_guard.probes import Probe
    >>> asked = encode_probes(tokenizer, [Probe("What is 7+7?", answer, "sums") for answer in ("1", "14")])
    >>> settled(model, tokenizer, asked, {}, {0: tokenizer.encode("4")[0], 1: tokenizer.encode(".")[0]})
    ([], [0])
    """
    own = _own_tokens(tokens, left.keys() | after.keys())
    right, wrong, unclear = [], [], []
    for i, (kept, instead) in left.items():
        answer, text = tokens.probes[i].answer, spoken(tokenizer, [*own[i][:kept], instead]).lstrip()
        if text.startswith(answer):  # one token holds the answer's end and what comes after it
            told = ends(answer, text[len(answer) :])
            (unclear if told is None else right if told else wrong).append(i)
        elif answer.startswith(text.rstrip("\ufffd")) and instead != tokenizer.eos_token_id:
            unclear.append(i)  # half a character may yet be whole
    for i, token in after.items():
        told = ends(tokens.probes[i].answer, _behind(tokenizer, own[i], token, tokens.probes[i].answer))
        (unclear if told is None else [] if told else wrong).append(i)
    said = _let_go_on(model, tokenizer, tokens, unclear)
    for i in unclear:
        answer, text = tokens.probes[i].answer, said[i].lstrip()
        begun = text.startswith(answer)
        if begun and ends(answer, text[len(answer) :]) is False:
            wrong.append(i)
        elif begun and i in left:
            right.append(i)
    return sorted(right), sorted(wrong)


def _own_tokens(tokens: ProbeTokens, wanted: set[int]) -> dict[int, list[int]]:
    """The answer's tokens, by probe."""
    own = {}
    for batch in tokens.batches:
        for r, row in enumerate(batch.rows):
            if tokens.owners[row] in wanted:
                own[tokens.owners[row]] = batch.labels[r][batch.labels[r] != IGNORE].tolist()
    return own


def _behind(tokenizer: PreTrainedTokenizerBase, own: list[int], token: int, answer: str) -> str:
    """The text of a token behind the answer's own. Decoded together: alone, many tokenizers would swallow its space."""
    if not could_go_on(answer):
        return ""
    text, both = spoken(tokenizer, own), spoken(tokenizer, [*own, token])
    return both[len(text) :] if both.startswith(text) else ""


def _let_go_on(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tokens: ProbeTokens, some: list[int]
) -> dict[int, str]:
    """What the model goes on to say after these prompts, as far as their answers reach and a little further."""
    # Room for as many tokens as the answer has in the worst of cases, one for each byte, as far as the model reads.
    limit = context_length(model) or math.inf
    rooms: dict[int, list[int]] = {}
    for i in some:
        rooms.setdefault(
            min(len(tokens.probes[i].answer.encode()) + BEYOND, limit - len(tokens.prompts[i])), []
        ).append(i)
    said = dict.fromkeys(some, "")
    for room, asked in rooms.items():
        if room > 0:
            prompts = [tokens.prompts[i] for i in asked]
            said |= zip(asked, complete(model, tokenizer, prompts, room, fold=False), strict=True)
    return said
