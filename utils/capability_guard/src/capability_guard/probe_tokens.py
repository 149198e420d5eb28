"""A probe set as tokens: made once, asked many times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from transformers import PreTrainedTokenizerBase

from capability_guard.chat import Chat, still_thinking
from capability_guard.encoding import TOKENS_A_BATCH, Batch, encode, prompt_ids
from capability_guard.jsonl import DataError
from capability_guard.probes import CONTAINS_TOKENS, Probe


@dataclass(frozen=True)
class ProbeTokens:
    """A probe set as tokens: made once, asked many times.

    batches: one row a probe, but one a choice for "choice" probes; owners: which probe each row is of.
    prompts: the tokens of the prompts, by probe, of those that have one. room: how many tokens the model may say.
    thinking: where the prompts end inside a thinking block, the mark that ends it: what is said before that is no answer.

    >>> probe = Probe("Which is a metal?", "iron", "materials", measure="choice", choices=("iron", "wood"))
    >>> encode_probes(tokenizer, [Probe("What is 2+2?", "4.", "arithmetic"), probe]).owners
    [0, 1, 1]
    """

    probes: tuple[Probe, ...]
    batches: list[Batch]
    owners: list[int]
    prompts: dict[int, list[int]]
    room: int = CONTAINS_TOKENS
    thinking: str = ""


def encode_probes(
    tokenizer: PreTrainedTokenizerBase,
    probes: Sequence[Probe],
    longest: int | None = None,
    chat: bool | Chat = False,
    max_new_tokens: int = CONTAINS_TOKENS,
    tokens_a_batch: int = TOKENS_A_BATCH,
) -> ProbeTokens:
    """Tokenise a probe set. Raises DataError as ``encode`` does, and where nothing is left to complete a prompt with.

    longest: how many tokens the model can read, as ``context_length`` says. chat: use the tokenizer's chat template.
    max_new_tokens: how much the model may say to a "contains" probe; a model that thinks first needs more.

    >>> len(encode_probes(tokenizer, [Probe("Name a metal.", "iron", "materials", measure="contains")]).prompts[0])
    6
    """
    chat = Chat.of(chat)
    rows, owners, prompts = [], [], {}
    for i, probe in enumerate(probes):
        options = probe.choices if probe.measure == "choice" else (probe.answer,)
        rows += [replace(probe, answer=option) for option in options]
        owners += [i] * len(options)
        if probe.measure == "loss":
            continue
        prompts[i] = prompt_ids(tokenizer, probe.prompt, chat)
        if longest and probe.measure == "contains" and len(prompts[i]) + max_new_tokens > longest:
            raise DataError(
                f"{probe.prompt[:60]!r} leaves the model less than {max_new_tokens} tokens to answer in; shorten it."
            )
    first = next((probe.prompt for probe in probes if probe.measure != "loss"), None)
    # What the template writes behind the question: a question may speak of such marks itself.
    behind = chat.render(tokenizer, first).rpartition(first)[2] if chat is not None and first is not None else ""
    batches = encode(tokenizer, rows, longest, chat, tokens_a_batch)
    return ProbeTokens(tuple(probes), batches, owners, prompts, max_new_tokens, still_thinking(behind))
