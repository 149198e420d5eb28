"""All that a monitor asks, as tokens, and how the processes that train one model share it out.

Where each process has the whole model (plain data parallelism, ZeRO-1 and 2), each asks its share, so that measuring takes a part of
the time. Where the model itself is split, all of them ask everything, in step.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from capability_guard.asking import ask, encode_probes, score
from capability_guard.chat import Chat
from capability_guard.conditions import vocabulary_of
from capability_guard.encoding import IGNORE, Batch, context_length, encode
from capability_guard.matching import MARKING
from capability_guard.probes import Probe, fingerprint
from capability_guard.processes import gathered, is_split, own_number, processes

KL_POSITIONS = 256  # with a vocabulary of 50,000 these are 50 MB, and the mean over them is steady enough


@dataclass(frozen=True)
class Share:
    """Which part of the questions this process asks: every ``of``-th one, from ``number``.

    >>> Share.for_model(model), Share(1, 3).pick([0, 1, 2, 3, 4])
    (Share(number=0, of=1), [1, 4])
    """

    number: int = 0
    of: int = 1

    @classmethod
    def for_model(cls, model: torch.nn.Module) -> Share:
        """Its part of the questions where each process has the whole model, else all of them.

        >>> Share.for_model(model).of
        1
        """
        return cls() if is_split(model) else cls(own_number(), processes())

    def pick(self, items: Sequence) -> list:
        """This process's part.

        >>> Share().pick("ab")
        ['a', 'b']
        """
        return list(items[self.number :: self.of])

    def joined(self, own: Sequence) -> list:
        """All of it, in its order, from every process's part.

        >>> Share().joined([True, None])
        [True, None]
        """
        if self.of == 1:
            return list(own)
        parts = gathered(list(own))
        return [parts[i % self.of][i // self.of] for i in range(sum(map(len, parts)))]


class Questions:
    """probes: all. rows: which of them are on the curve. texts: by the name of their loss.

    >>> questions = Questions(tokenizer, [Probe("What is 2+2?", "4.", "arithmetic")], [0], {})
    >>> questions.of("live", model, questions.encoded(model, Share()), Share())[0]
    [True]
    """

    def __init__(
        self,
        tokenizer: Any,
        probes: Sequence[Probe],
        rows: Sequence[int],
        texts: Mapping[str, Sequence[str]],
        chat: bool | Chat = False,
        max_new_tokens: int = 32,
    ) -> None:
        self.tokenizer, self.probes, self.rows, self.texts = tokenizer, list(probes), list(rows), texts
        self.chat, self.max_new_tokens = chat, max_new_tokens

    def asked(self) -> str:
        """A fingerprint of all that a checkpoint is measured on.

        >>> Questions(tokenizer, [Probe("What is 2+2?", "4.", "arithmetic")], [0], {}).asked()
        '...-...'
        """
        template = self.tokenizer.get_chat_template() if self.chat and self.tokenizer.chat_template else ""
        read_by = repr((vocabulary_of(self.tokenizer), template, self.max_new_tokens, MARKING))
        texts = repr([(name, list(texts)) for name, texts in self.texts.items()])
        live = ",".join(map(str, self.rows))
        chat = repr(self.chat) if self.chat else ""  # "" as it was before there were system turns and variables
        return f"{fingerprint(self.probes)}-{hashlib.sha256((texts + live + chat + read_by).encode()).hexdigest()[:12]}"

    def encoded(self, model: torch.nn.Module, share: Share) -> dict[str, Any]:
        """The tokens of this process's share, which do not change while the model does: "live", "rest", and the texts by name.

        >>> sorted(Questions(tokenizer, [Probe("2+2?", "4.", "sums")], [0], {"train_loss": ["Make tea."]}).encoded(model, Share()))
        ['live', 'rest', 'train_loss']
        """
        longest, on_the_curve = context_length(model), set(self.rows)
        found: dict[str, Any] = {
            name: encode(self.tokenizer, texts, longest) for name, texts in self.texts.items() if texts
        }
        live = [self.probes[i] for i in self.rows]
        rest = [probe for i, probe in enumerate(self.probes) if i not in on_the_curve]
        for name, some in (("live", live), ("rest", rest)):
            found[name] = encode_probes(self.tokenizer, share.pick(some), longest, self.chat, self.max_new_tokens)
        return found

    def of(
        self, name: str, model: torch.nn.Module, encoded: dict[str, Any], share: Share
    ) -> tuple[list[bool | None], list[float]]:
        """(right or wrong, loss) of the probes of "live" or "rest", from all processes.

        >>> questions = Questions(tokenizer, [Probe("What is 2+2?", "5.", "arithmetic")], [0], {})
        >>> questions.of("live", model, questions.encoded(model, Share()), Share())[0]
        [False]
        """
        scores = ask(model, self.tokenizer, encoded[name])
        both = share.joined(list(zip(scores.correct, scores.loss, strict=True)))
        return [right for right, _ in both], [loss for _, loss in both]

    def in_order(self, live: Sequence[bool | None], rest: Sequence[bool | None]) -> list[bool | None]:
        """The outcomes of all probes, in their order.

        >>> probes = [Probe(f"{n}+1?", f"{n + 1}.", "sums") for n in range(3)]
        >>> Questions(tokenizer, probes, [1], {}).in_order([True], [False, None])
        [False, True, None]
        """
        on_the_curve = set(self.rows)
        found, others = iter(live), iter(rest)
        return [next(found if i in on_the_curve else others) for i in range(len(self.probes))]


def mean_loss(
    model: torch.nn.Module, batches: Sequence[Batch], share: Share, keep: int = 0
) -> tuple[float, torch.Tensor | None]:
    """(nats a token over all of the texts, from all processes; log-probabilities at the first ``keep`` scored positions).

    The log-probabilities are in the first process alone where the batches are shared out.

    >>> batches = encode(tokenizer, ["Make tea.", "Boil the water."])
    >>> loss, kept = mean_loss(model, batches, Share(), keep=3)
    >>> loss > 0, kept.shape
    (True, torch.Size([3, 1536]))
    """
    owner = owners(batches, share, keep)
    own = [batch for batch, whose in zip(batches, owner, strict=True) if whose == share.number]
    begin, mine = 0, []
    for batch in own:
        mine.append(replace(batch, rows=list(range(begin, begin + len(batch.rows)))))
        begin += len(batch.rows)
    scores = score(model, mine, keep if share.number == 0 else 0)
    nats, tokens = sum(x * n for x, n in zip(scores.loss, scores.tokens, strict=True)), sum(scores.tokens)
    parts = gathered((nats, tokens)) if share.of > 1 else [(nats, tokens)]
    return sum(nats for nats, _ in parts) / sum(tokens for _, tokens in parts), scores.log_probabilities


def owners(batches: Sequence[Batch], share: Share, keep: int) -> list[int]:
    """Which process scores each batch: in turn, but those with the first ``keep`` scored positions are all of the first.

    >>> batches = encode(tokenizer, ["Make tea.", "Boil the water.", "Pour it over the leaves."], tokens_a_batch=1)
    >>> owners(batches, Share(0, 2), keep=0), owners(batches, Share(0, 2), keep=5)
    ([0, 1, 0], [0, 0, 0])
    """
    found, seen = [], 0
    for i, batch in enumerate(batches):
        found.append(0 if seen < keep else i % share.of)
        seen += int((batch.labels[:, 1:] != IGNORE).sum())
    return found
