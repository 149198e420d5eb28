"""Ask a model what it knows. No trainer, no plot: tensors in, right or wrong out.

Retention is greedy exact match, from one teacher-forced pass: feed ``prompt + answer`` once, and look whether the
model's first choice at every answer token is that token. If it is at all of them, greedy decoding would have written
exactly the answer; at the first one where it is not, greedy decoding leaves the answer. So one pass equals
``generate``, and a test holds the two equal.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch.nn import functional as F
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from capability_guard.encoding import IGNORE, Batch, context_length, encode, prompt_ids
from capability_guard.forward import scored_logits, undisturbed
from capability_guard.generation import complete
from capability_guard.jsonl import DataError
from capability_guard.probes import Probe

CONTAINS_TOKENS = 32  # how much a model may say before its answer must have come
LETTERS = "[0-9A-Za-z\u00c0-\u024f\u0370-\u04ff]"  # of scripts that put spaces between words: the 4 of 14 is not a 4


@dataclass(frozen=True)
class Scores:
    """correct: one a row or probe; None where there is no right or wrong. loss: mean negative log-likelihood in nats per scored token.

    tokens: how many were scored, one a row. log_probabilities: over the vocabulary at the first scored positions,
    [positions, vocabulary], on the CPU, if any were asked to be kept.
    """

    correct: list[bool | None]
    loss: list[float]
    tokens: list[int]
    log_probabilities: torch.Tensor | None = None

    @property
    def accuracy(self) -> float:
        """Share that is right, 0 to 1, of those that can be; NaN where none can be."""
        judged = [right for right in self.correct if right is not None]
        return sum(judged) / len(judged) if judged else math.nan

    @property
    def mean_loss(self) -> float:
        """Nats per token over all rows together: long rows count for more."""
        return sum(x * n for x, n in zip(self.loss, self.tokens, strict=True)) / sum(self.tokens)


def score(model: PreTrainedModel, batches: Sequence[Batch], keep: int = 0) -> Scores:
    """One teacher-forced pass over encoded rows. The order is that in which the rows were given.

    keep: at how many scored positions to keep the log-probabilities, for ``kl_divergence``.
    """
    total = sum(len(batch.rows) for batch in batches)
    correct, loss, tokens = [False] * total, [0.0] * total, [0] * total
    kept, left = [], keep
    with undisturbed(model):
        for batch in batches:
            logits, targets = scored_logits(model, batch)
            wanted = targets != IGNORE
            right = ((logits.argmax(-1) == targets) | ~wanted).all(1).tolist()
            nats = F.cross_entropy(logits.transpose(1, 2), targets, ignore_index=IGNORE, reduction="none")
            count = wanted.sum(1)
            for row, r, x, n in zip(batch.rows, right, (nats.sum(1) / count).tolist(), count.tolist(), strict=True):
                correct[row], loss[row], tokens[row] = r, x, n
            if left > 0:
                kept.append(F.log_softmax(logits[wanted][:left], dim=-1).cpu())
                left -= len(kept[-1])
    return Scores(correct, loss, tokens, torch.cat(kept) if kept else None)


@dataclass(frozen=True)
class ProbeTokens:
    """A probe set as tokens: made once, asked many times.

    batches: one row a probe, but one a choice for "choice" probes; owners: which probe each row is of.
    prompts: the tokens of the prompts that must be completed, by probe ("contains" probes).
    """

    probes: tuple[Probe, ...]
    batches: list[Batch]
    owners: list[int]
    prompts: dict[int, list[int]]


def encode_probes(
    tokenizer: PreTrainedTokenizerBase, probes: Sequence[Probe], longest: int | None = None, chat: bool = False
) -> ProbeTokens:
    """Tokenise a probe set. Raises DataError as ``encode`` does, and where nothing is left to complete a prompt with."""
    rows, owners, prompts = [], [], {}
    for i, probe in enumerate(probes):
        options = probe.choices if probe.measure == "choice" else (probe.answer,)
        rows += [replace(probe, answer=option) for option in options]
        owners += [i] * len(options)
        if probe.measure == "contains":
            prompts[i] = prompt_ids(tokenizer, probe.prompt, chat)
            if longest and len(prompts[i]) + CONTAINS_TOKENS > longest:
                raise DataError(
                    f"{probe.prompt[:60]!r} leaves the model less than {CONTAINS_TOKENS} tokens to answer in; shorten it."
                )
    return ProbeTokens(tuple(probes), encode(tokenizer, rows, longest, chat), owners, prompts)


def ask(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tokens: ProbeTokens) -> Scores:
    """Ask a probe set, each probe by its own measure.

    exact: greedy exact match, from one pass. contains: whether the answer stands, as whole words, in what the model says.
    choice: whether the right choice is the most likely one, per character, as ``acc_norm`` of lm-evaluation-harness.
    loss: neither right nor wrong (None). The loss is always that of the probe's own answer or text.
    """
    rows = score(model, tokens.batches)
    correct: list[bool | None] = [None] * len(tokens.probes)
    loss, count = [math.nan] * len(tokens.probes), [0] * len(tokens.probes)
    of_probe: dict[int, list[int]] = {}
    for row, owner in enumerate(tokens.owners):
        of_probe.setdefault(owner, []).append(row)
    for i, probe in enumerate(tokens.probes):
        own = of_probe[i][probe.choices.index(probe.answer) if probe.measure == "choice" else 0]
        loss[i], count[i] = rows.loss[own], rows.tokens[own]
        if probe.measure == "exact":
            correct[i] = rows.correct[own]
        elif probe.measure == "choice":
            cost = {row: rows.loss[row] * rows.tokens[row] / len(choice)
                    for row, choice in zip(of_probe[i], probe.choices, strict=True)}  # fmt: skip
            correct[i] = all(cost[own] < other for row, other in cost.items() if row != own)
    said = complete(model, tokenizer, list(tokens.prompts.values()), CONTAINS_TOKENS)
    for i, text in zip(tokens.prompts, said, strict=True):
        answer = " ".join(tokens.probes[i].answer.split())  # as what is said
        edges = [rf"(?{side}{LETTERS})" if re.match(LETTERS, answer[at]) else "" for side, at in (("<!", 0), ("!", -1))]
        words = edges[0] + re.escape(answer) + edges[1]
        correct[i] = re.search(words, text, re.IGNORECASE) is not None
    return Scores(correct, loss, count)


def score_probes(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, probes: Sequence[Probe], chat: bool = False
) -> Scores:
    """Encode and ask a probe set in one call; ``ask`` says what counts as right."""
    return ask(model, tokenizer, encode_probes(tokenizer, probes, context_length(model), chat))


def retention(probes: Sequence[Probe], correct: Sequence[bool | None]) -> dict[str, float]:
    """Share of right answers, 0 to 1, for each capability, in alphabetical order; loss probes have no part in it."""
    groups: dict[str, list[bool]] = {}
    for probe, right in zip(probes, correct, strict=True):
        if right is not None:
            groups.setdefault(probe.capability, []).append(right)
    return {name: sum(groups[name]) / len(groups[name]) for name in sorted(groups)}


def kl_divergence(base: torch.Tensor, tuned: torch.Tensor) -> float:
    """KL(base || tuned) in nats per position, from log-probabilities [positions, vocabulary].

    Measured on held-out text of the new task. Source: Shenfeld et al. 2025, arXiv 2509.04259, who find that
    it predicts forgetting.
    """
    return F.kl_div(tuned, base, log_target=True, reduction="batchmean").item()
