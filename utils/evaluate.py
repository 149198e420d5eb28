"""Ask a model what it knows. No trainer, no plot: tensors in, right or wrong out.

Retention is greedy exact match, from one teacher-forced pass: feed ``prompt + answer`` once, and look whether the
model's first choice at every answer token is that token. If it is at all of them, greedy decoding would have written
exactly the answer; at the first one where it is not, greedy decoding leaves the answer. So one pass equals
``generate``, and a test holds the two equal.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch.nn import functional as F
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from utils.data import DataError, Probe

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


@dataclass(frozen=True)
class Scores:
    """correct: greedy exact match, one a row. loss: mean negative log-likelihood in nats per scored token, one a row.

    tokens: how many were scored, one a row. log_probabilities: over the vocabulary at the first scored positions,
    [positions, vocabulary], on the CPU, if any were asked to be kept.
    """

    correct: list[bool]
    loss: list[float]
    tokens: list[int]
    log_probabilities: torch.Tensor | None = None

    @property
    def accuracy(self) -> float:
        """Share of rows that are right, 0 to 1."""
        return sum(self.correct) / len(self.correct)

    @property
    def mean_loss(self) -> float:
        """Nats per token over all rows together: long rows count for more."""
        return sum(x * n for x, n in zip(self.loss, self.tokens, strict=True)) / sum(self.tokens)


def encode(tokenizer: PreTrainedTokenizerBase, rows: Sequence[Probe | str], longest: int | None = None) -> list[Batch]:
    """Tokenise probes (only the answer is scored) or plain texts (all of it is), and batch them by length.

    The answer is tokenised apart from its prompt, since generation starts from the prompt's own tokens.
    Raises DataError when a row has nothing to score or is longer than ``longest`` tokens.
    """
    encoded: list[tuple[list[int], list[int]]] = []
    for row in rows:
        prompt = tokenizer(row.prompt if isinstance(row, Probe) else row).input_ids
        answer = tokenizer(" " + row.answer, add_special_tokens=False).input_ids if isinstance(row, Probe) else []
        ids = prompt + answer
        labels = [IGNORE] * len(prompt) + answer if isinstance(row, Probe) else prompt
        name = row.text if isinstance(row, Probe) else row
        if len(ids) < 2 or (isinstance(row, Probe) and not answer):
            raise DataError(f"{name!r} leaves no token to score; give it a longer answer.")
        if longest and len(ids) > longest:
            raise DataError(f"{name[:60]!r} is {len(ids)} tokens and the model reads {longest}; shorten it.")
        encoded.append((ids, labels))
    # Sorted by length, little is spent on padding; a budget of tokens keeps the memory of a batch level.
    order = sorted(range(len(encoded)), key=lambda i: len(encoded[i][0]))
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
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


@contextmanager
def measuring(model: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards every module is back in the mode that it was in."""
    training = [module for module in model.modules() if module.training]
    if training:  # not so inside another ``measuring``
        model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module in training:
            module.training = True


def _scored_logits(model: torch.nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """(logits, targets) at the positions that predict a scored token: [rows, positions, vocabulary], [rows, positions].

    Only those positions go through the output layer: with a vocabulary of 50,000 that is most of the memory.
    """
    targets = batch.labels[:, 1:]
    columns = (targets != IGNORE).any(dim=0).nonzero().squeeze(1)
    inputs = {"input_ids": batch.ids.to(model.device), "attention_mask": batch.mask.to(model.device)}
    if "logits_to_keep" in _forward_parameters(type(without_adapter(model))):
        logits = model(**inputs, logits_to_keep=columns.to(model.device), use_cache=False).logits
    else:
        logits = model(**inputs, use_cache=False).logits[:, columns.to(model.device)]
    return logits.float(), targets[:, columns].to(model.device)


def without_adapter(model: torch.nn.Module) -> torch.nn.Module:
    """The model that peft's wrapper holds, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


@lru_cache(maxsize=8)
def _forward_parameters(kind: type[torch.nn.Module]) -> set[str]:
    return set(inspect.signature(kind.forward).parameters)


def score(model: PreTrainedModel, batches: Sequence[Batch], keep: int = 0) -> Scores:
    """One teacher-forced pass over encoded rows. The order is that in which the rows were given.

    keep: at how many scored positions to keep the log-probabilities, for ``kl_divergence``.
    """
    total = sum(len(batch.rows) for batch in batches)
    correct, loss, tokens = [False] * total, [0.0] * total, [0] * total
    kept, left = [], keep
    with measuring(model):
        for batch in batches:
            logits, targets = _scored_logits(model, batch)
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


def score_probes(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, probes: Sequence[Probe | str]) -> Scores:
    """Encode and score in one call. Probes: greedy exact match of the answer. Plain texts: every token but the first."""
    return score(model, encode(tokenizer, probes, context_length(model)))


def context_length(model: PreTrainedModel) -> int | None:
    """How many tokens the model can read at once, or None where its config does not say."""
    return getattr(model.config, "max_position_embeddings", None)


def retention(probes: Sequence[Probe], correct: Sequence[bool]) -> dict[str, float]:
    """Share of right answers, 0 to 1, for each capability, in alphabetical order."""
    groups: dict[str, list[bool]] = {}
    for probe, right in zip(probes, correct, strict=True):
        groups.setdefault(probe.capability, []).append(right)
    return {name: sum(groups[name]) / len(groups[name]) for name in sorted(groups)}


def kl_divergence(base: torch.Tensor, tuned: torch.Tensor) -> float:
    """KL(base || tuned) in nats per position, from log-probabilities [positions, vocabulary].

    Measured on held-out text of the new task. Source: Shenfeld et al. 2025, arXiv 2509.04259, who find that
    it predicts forgetting.
    """
    return F.kl_div(tuned, base, log_target=True, reduction="batchmean").item()


def answer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[str],
    max_new_tokens: int = 24,
) -> list[str]:
    """What the model says to each question, greedily, one line each. A chat model is asked through its template."""
    if tokenizer.chat_template:
        turns = [[{"role": "user", "content": question}] for question in questions]
        prompts = [tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True) for turn in turns]
    else:
        prompts = list(questions)
    said = []
    with measuring(model):
        for prompt in prompts:  # one at a time: no padding, so no left or right to get wrong
            inputs = tokenizer(prompt, return_tensors="pt", add_special_tokens=not tokenizer.chat_template).to(
                model.device
            )
            output = model.generate(
                **inputs, max_new_tokens=max_new_tokens, do_sample=False,
                pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id,
            )  # fmt: skip
            text = tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
            said.append(" ".join(text.split()))
    return said
