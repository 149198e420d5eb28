"""A finished run, turned down after the training: what it keeps and what it gives back at any strength. Trains nothing.

    fader = Fader(config, weights)          # as ``capability_guard.weights.trained_weights`` copied them
    print(fader.at(0.6).learned, fader.at(0.6).forgotten)

At strength s each weight is base + s * (tuned - base); ``capability_guard.fade`` does that, for an adapter as for a whole
model. Source: WiSE-FT, Wortsman et al. 2021, arXiv 2109.01903.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch

from capability_guard import fade
from capability_guard.asking import ProbeTokens, ask, encode_probes, retention, score
from capability_guard.encoding import Batch, context_length, encode
from capability_guard.probes import Probe, live_subset
from capability_guard.verdict import Verdict, compare
from capability_guard.weights import Weights, put_back, trained_weights
from utils.training.answers import answer
from utils.training.config import FineTuneConfig
from utils.training.data import QUESTIONS, load_task
from utils.training.finetuning import LIVE_PROBES, LIVE_TEXTS, base_model, base_to_ask, default_probes
from utils.training.results import RunResult
from utils.training.trainer import ready_to_fade, twin_of

STRENGTHS = tuple(round(0.05 * i, 2) for i in range(21))
A_PIECE = 64  # probes that are asked before somebody else may want something: a tenth of a second
ANSWER_TOKENS = 16


@dataclass(frozen=True)
class Faded:
    """A run at a strength from 0 (the base) to 1 (as trained), as far as it is known.

    held_out_loss: of the new task, nats per token. learned: the share by which it fell, as in RunResult. accuracy,
    retention: the share of the live probes that is right, in all and of each capability. answers: to the three questions.
    before, after: the outcome of each probe; ``after`` is empty until all were asked.
    """

    strength: float
    held_out_loss: float
    learned: float
    accuracy: float
    retention: dict[str, float]
    answers: tuple[str, ...] = ()
    before: tuple[bool, ...] = ()
    after: tuple[bool, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether every probe was asked."""
        return bool(self.after)

    @property
    def forgotten(self) -> float:
        """Points of retention lost, per cent of all probes."""
        return 100 * (sum(self.before) - sum(self.after)) / len(self.before)

    @property
    def kept(self) -> float:
        """Retention, in per cent of all probes."""
        return 100 * sum(self.after) / len(self.after)

    @property
    def verdict(self) -> Verdict:
        return compare(self.before, self.after)


class Fader:
    """The model of a finished run, once more, to be turned down and measured.

    config: the run's. weights: what it trained, at its end. questions: what it is asked besides the probes.
    Raises ValueError for weights of another run.
    """

    def __init__(self, config: FineTuneConfig, weights: Weights, questions: Sequence[str] = QUESTIONS) -> None:
        self.base, self.tokenizer = base_model(config.model)
        self.model = twin_of(config, self.base).eval()
        put_back(self.model, weights)
        self.model = ready_to_fade(self.model)
        self.questions, self.asked = tuple(questions), _asked(config.model)

    @classmethod
    def of(cls, result: RunResult, questions: Sequence[str] = QUESTIONS) -> Fader:
        """The fader of a run that kept its model (``keep_model=True``). Raises ValueError for one that did not."""
        if result.model is None:
            raise ValueError("The run kept no model to turn down; call finetune with keep_model=True.")
        return cls(result.config, trained_weights(result.model), questions)

    def at(self, strength: float) -> Faded:
        """The run at this strength, measured on every probe."""
        *_, whole = self.measure(strength)
        return whole

    def measure(self, strength: float) -> Iterator[Faded]:
        """What is known of a strength after each piece of work: losses and the live probes first, then the answers, then all.

        Between two pieces the caller may measure another strength, or give this one up.
        """
        asked = self.asked
        self._turn(strength)
        outcomes = dict(zip(asked.live_rows, ask(self.model, self.tokenizer, asked.live).correct, strict=True))
        live = [outcomes[i] for i in asked.live_rows]
        loss = score(self.model, asked.held_out).mean_loss
        known = Faded(
            strength, loss, 1 - loss / asked.base_loss, sum(live) / len(live),
            retention([asked.probes[i] for i in asked.live_rows], live), before=asked.before,
        )  # fmt: skip
        yield known
        if self.questions:
            self._turn(strength)
            said = answer(self.model, self.tokenizer, self.questions, ANSWER_TOKENS)
            known = replace(known, answers=tuple(said))
            yield known
        for rows, tokens in asked.rest:
            self._turn(strength)
            outcomes |= dict(zip(rows, ask(self.model, self.tokenizer, tokens).correct, strict=True))
            if len(outcomes) < len(asked.probes):
                yield known
        yield replace(known, after=tuple(outcomes[i] for i in range(len(asked.probes))))

    def _turn(self, strength: float) -> None:
        torch.set_num_threads(1)  # of this thread; a small model's figures must not depend on the cores
        fade(self.model, strength, base=None if hasattr(self.model, "peft_config") else self.base)


@dataclass(frozen=True)
class _Asked:
    """What a model is asked, as tokens, and what the base says to it."""

    probes: tuple[Probe, ...]
    live_rows: tuple[int, ...]
    live: ProbeTokens
    rest: tuple[tuple[tuple[int, ...], ProbeTokens], ...]
    held_out: list[Batch]
    base_loss: float
    before: tuple[bool, ...]


@lru_cache(maxsize=2)
def _asked(name: str) -> _Asked:
    """The probes and texts of ``finetune``'s own curve, encoded once a model; loss probes have no right or wrong."""
    model, tokenizer = base_to_ask(name)
    longest = context_length(model)
    probes = tuple(probe for probe in default_probes(name) if probe.measure != "loss")
    chosen = set(live_subset(probes, LIVE_PROBES))
    live_rows = tuple(i for i, probe in enumerate(probes) if probe in chosen)
    others = [i for i in range(len(probes)) if i not in set(live_rows)]
    pieces = [tuple(others[start : start + A_PIECE]) for start in range(0, len(others), A_PIECE)]

    def tokens(rows: Sequence[int]) -> ProbeTokens:
        return encode_probes(tokenizer, [probes[i] for i in rows], longest)

    live, rest = tokens(live_rows), tuple((rows, tokens(rows)) for rows in pieces)
    held_out = encode(tokenizer, list(load_task()["held_out"]["text"])[:LIVE_TEXTS], longest)
    outcomes = dict(zip(live_rows, ask(model, tokenizer, live).correct, strict=True))
    for rows, some in rest:
        outcomes |= dict(zip(rows, ask(model, tokenizer, some).correct, strict=True))
    before = tuple(outcomes[i] for i in range(len(probes)))
    return _Asked(probes, live_rows, live, rest, held_out, score(model, held_out).mean_loss, before)
