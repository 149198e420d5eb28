"""Ask a model what it knows. No trainer, no plot: tensors in, right or wrong out.

Retention is greedy exact match, from one teacher-forced pass: feed ``prompt + answer`` once, and look whether the
model's first choice at every answer token is that token. If it is at all of them, greedy decoding would have written
exactly the answer. What that pass leaves open, ``exact`` settles: the same text in other tokens, and a word or number that
goes on behind the answer, which is another one. So ``exact`` is what greedy generation would begin with, and a test holds the
two equal for each family of tokenizers that people use.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch.nn import functional as F
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from capability_guard.chat import Chat, without_thinking
from capability_guard.encoding import IGNORE, Batch, context_length
from capability_guard.exact import settled
from capability_guard.forward import undisturbed
from capability_guard.generation import BEYOND, Said, completions
from capability_guard.head import Reading, read
from capability_guard.matching import could_go_on, says
from capability_guard.memory import read_in_parts
from capability_guard.probe_tokens import ProbeTokens, encode_probes
from capability_guard.probes import CONTAINS_TOKENS, Probe


@dataclass(frozen=True)
class Scores:
    """correct: one a row or probe; None where there is no right or wrong. loss: mean negative log-likelihood in nats per scored token.

    tokens: how many were scored, one a row. log_probabilities: over the vocabulary at the first scored positions,
    [positions, vocabulary], on the CPU, if any were asked to be kept.
    left: where a row is not right: after how many of its tokens the model leaves them, and the token that it takes instead.
    after: the likeliest token behind each row. in_other_tokens: probes that the model answers right in other tokens than were
    scored; they count as right. going_on: probes of whose answer it makes a longer word or number; they count as wrong.
    picked: of each "choice" probe, the choice that is likeliest. said: of each "contains" probe, what the model said.

    >>> Scores(correct=[True, None], loss=[0.1, 2.5], tokens=[2, 9])  # a question, and a text whose loss is watched
    Scores(correct=[True, None], loss=[0.1, 2.5], tokens=[2, 9], ...)
    """

    correct: list[bool | None]
    loss: list[float]
    tokens: list[int]
    log_probabilities: torch.Tensor | None = None
    left: dict[int, tuple[int, int]] = field(default_factory=dict)
    after: tuple[int, ...] = ()
    in_other_tokens: tuple[int, ...] = ()
    going_on: tuple[int, ...] = ()
    picked: dict[int, str] = field(default_factory=dict)
    said: dict[int, Said] = field(default_factory=dict)

    @property
    def accuracy(self) -> float:
        """Share that is right, 0 to 1, of those that can be; NaN where none can be.

        >>> Scores([True, False, None], [0.1, 3.2, 2.5], [2, 2, 9]).accuracy
        0.5
        """
        judged = [right for right in self.correct if right is not None]
        return sum(judged) / len(judged) if judged else math.nan

    @property
    def mean_loss(self) -> float:
        """Nats per token over all rows together: long rows count for more.

        >>> Scores([True, True], [1.0, 4.0], [1, 2]).mean_loss  # (1 + 4 + 4) / 3
        3.0
        """
        # Weighted by tokens, so that it does not depend on how a text was cut into rows.
        return sum(x * n for x, n in zip(self.loss, self.tokens, strict=True)) / sum(self.tokens)


def score(model: PreTrainedModel, batches: Sequence[Batch], keep: int = 0) -> Scores:
    """One teacher-forced pass over encoded rows. The order is that in which the rows were given.

    keep: at how many scored positions to keep the log-probabilities, for ``kl_divergence``.

    >>> from capability_guard.encoding import encode
    >>> scores = score(model, encode(tokenizer, ["What is 2+2? 4."]), keep=3)
    >>> scores.tokens, scores.log_probabilities.shape
    ([9], torch.Size([3, 1536]))
    """
    total = sum(len(batch.rows) for batch in batches)
    correct, loss, tokens, after = [False] * total, [0.0] * total, [0] * total, [0] * total
    kept, room, left = [], keep, {}

    def reading_of(batch: Batch) -> Reading:
        return read(model, batch, room)

    with undisturbed(model):
        for batch, reading in read_in_parts(model, batches, reading_of):
            wanted = reading.targets != IGNORE
            # Positions that this row does not score are right by definition, so that ``all`` looks at the others only.
            wrong = (reading.chosen != reading.targets) & wanted
            right = (~wrong.any(1)).tolist()
            # The column behind the last one that is scored: the positions of a row that are kept follow each other.
            behind = wanted.int().cumsum(1).argmax(1, keepdim=True) + 1
            for row, token in zip(batch.rows, reading.chosen.gather(1, behind).squeeze(1).tolist(), strict=True):
                after[row] = token
            for r, column in enumerate(wrong.int().argmax(1).tolist()):  # of the first one that is wrong
                if not right[r]:
                    left[batch.rows[r]] = (int(wanted[r, :column].sum()), int(reading.chosen[r, column]))
            count = wanted.sum(1)
            mean = (reading.nats.sum(1) / count).tolist()
            for row, r, x, n in zip(batch.rows, right, mean, count.tolist(), strict=True):
                correct[row], loss[row], tokens[row] = r, x, n
            if room > 0:
                kept.append(reading.log_probabilities)
                room -= len(kept[-1])
    return Scores(correct, loss, tokens, torch.cat(kept) if kept else None, left, tuple(after))


def ask(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tokens: ProbeTokens) -> Scores:
    """Ask a probe set, each probe by its own measure.

    exact: greedy exact match, from one pass, to the end of the answer's last word or number. contains: whether the answer stands,
    as whole words, in what the model says. choice: whether the right choice is the most likely one, per character, as
    ``acc_norm`` of lm-evaluation-harness. loss: neither right nor wrong (None).
    The loss is always that of the probe's own answer or text.

    >>> probe = Probe("What is the capital of France?", "Paris.", "capitals", measure="choice", choices=("Rome.", "Paris."))
    >>> ask(model, tokenizer, encode_probes(tokenizer, [probe])).correct
    [True]
    """
    rows = score(model, tokens.batches)
    correct: list[bool | None] = [None] * len(tokens.probes)
    loss, count = [math.nan] * len(tokens.probes), [0] * len(tokens.probes)
    of_probe: dict[int, list[int]] = {}
    picked: dict[int, str] = {}
    for row, owner in enumerate(tokens.owners):
        of_probe.setdefault(owner, []).append(row)
    for i, probe in enumerate(tokens.probes):
        own = of_probe[i][probe.choices.index(probe.answer) if probe.measure == "choice" else 0]
        loss[i], count[i] = rows.loss[own], rows.tokens[own]
        if probe.measure == "exact":
            correct[i] = rows.correct[own]
        elif probe.measure == "choice":
            # Summed over its tokens, a long choice would lose for its length alone. Per character and not per token, since
            # a tokenizer may cut one choice into more pieces than another.
            cost = {row: rows.loss[row] * rows.tokens[row] / len(choice)
                    for row, choice in zip(of_probe[i], probe.choices, strict=True)}  # fmt: skip
            picked[i] = probe.choices[of_probe[i].index(min(cost, key=cost.get))]
            # A tie is wrong: a model that finds all choices equally likely knows nothing.
            correct[i] = all(cost[own] < other for row, other in cost.items() if row != own)
    exact = [i for i, probe in enumerate(tokens.probes) if probe.measure == "exact"]
    left = {i: rows.left[of_probe[i][0]] for i in exact if not correct[i]}
    after = {i: rows.after[of_probe[i][0]] for i in exact if correct[i] and could_go_on(tokens.probes[i].answer)}
    other, going_on = settled(model, tokenizer, tokens, left, after)
    for i, outcome in (*((i, True) for i in other), *((i, False) for i in going_on)):
        correct[i] = outcome
    talking = [i for i, probe in enumerate(tokens.probes) if probe.measure == "contains"]
    said = dict(zip(talking, say(model, tokenizer, tokens, talking), strict=True))
    for i, (text, _) in said.items():
        correct[i] = says(tokens.probes[i].answer, without_thinking(text, tokens.thinking))
    return Scores(
        correct, loss, count, in_other_tokens=tuple(other), going_on=tuple(going_on), picked=picked, said=said
    )


def say(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tokens: ProbeTokens, some: Sequence[int]
) -> list[Said]:
    """What the model says to these probes, as far as they have room for, and to the end of the word that it is in by then.

    >>> say(model, tokenizer, encode_probes(tokenizer, [Probe("What is 7+7?", "14", "sums")], max_new_tokens=1), [0])
    [Said(text='14.', ended=...)]
    """
    limit = context_length(model) or math.inf
    said: dict[int, Said] = {}
    rooms: dict[tuple[int, int], list[int]] = {}
    for i in some:
        most = limit - len(tokens.prompts[i])  # as far as the model reads
        room = min(tokens.room, most)
        rooms.setdefault((room, min(BEYOND, most - room)), []).append(i)
    for (room, beyond), same in rooms.items():
        prompts = [tokens.prompts[i] for i in same]
        found = (
            completions(model, tokenizer, prompts, room, beyond=beyond) if room > 0 else [Said("", False)] * len(same)
        )
        said |= zip(same, found, strict=True)
    return [said[i] for i in some]


def score_probes(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    probes: Sequence[Probe],
    chat: bool | Chat = False,
    max_new_tokens: int = CONTAINS_TOKENS,
) -> Scores:
    """Encode and ask a probe set in one call; ``ask`` says what counts as right.

    chat: True asks through the chat template; a ``Chat`` adds a system turn or variables. max_new_tokens: of "contains".
    Raises DataError for a probe that cannot be encoded, such as one that is too long for the model.

    >>> from capability_guard.probes import load_probes
    >>> wrong = Probe("What is 2+2?", "5.", "arithmetic")
    >>> score_probes(model, tokenizer, [*load_probes(PROBES)[:2], wrong]).correct
    [True, True, False]
    """
    return ask(model, tokenizer, encode_probes(tokenizer, probes, context_length(model), chat, max_new_tokens))


def retention(probes: Sequence[Probe], correct: Sequence[bool | None]) -> dict[str, float]:
    """Share of right answers, 0 to 1, for each capability, in alphabetical order; loss probes have no part in it.

    >>> sums, capital = Probe("What is 2+2?", "4.", "arithmetic"), Probe("Capital of France?", "Paris.", "capitals")
    >>> retention([capital, sums, sums], [True, True, False])
    {'arithmetic': 0.5, 'capitals': 1.0}
    """
    groups: dict[str, list[bool]] = {}
    for probe, right in zip(probes, correct, strict=True):
        if right is not None:
            groups.setdefault(probe.capability, []).append(right)
    return {name: sum(groups[name]) / len(groups[name]) for name in sorted(groups)}


def kl_divergence(base: torch.Tensor, tuned: torch.Tensor) -> float:
    """KL(base || tuned) in nats per position, from log-probabilities [positions, vocabulary].

    Measured on held-out text of the new task. Source: Shenfeld et al. 2025, arXiv 2509.04259, who find that
    it predicts forgetting.

    >>> base, tuned = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.9, 0.1]]).log()
    >>> round(kl_divergence(base, base), 3), round(kl_divergence(base, tuned), 3), round(kl_divergence(tuned, base), 3)
    (0.0, 0.511, 0.368)
    """
    # torch's kl_div(q, p) is KL(p || q): its arguments are in the opposite order to the formula's.
    return F.kl_div(tuned, base, log_target=True, reduction="batchmean").item()
