"""The texts of a run in the order of training: the new task's in shuffled rounds, each batch with its share of old ones."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from capability_guard.jsonl import DataError
from utils.training.config import FineTuneConfig
from utils.training.data import replay_texts
from utils.training.models import probe_source


def training_rows(
    config: FineTuneConfig,
    new_task: Sequence[str],
    replay: Sequence[str] | None = None,
    others: tuple[float, Sequence[str]] = (0.0, ()),
) -> list[str]:
    """The texts of the whole run: ``steps * batch_size`` of them.

    replay: texts of the original domain, of which ``config.replay`` of all rows are drawn; by default those that suit the model.
    others: a further share of all rows, and the texts that they are drawn from. Each text is seen as often as the others of its
    kind, in an order that the seed decides.
    Raises ValueError for a share that is less than half a row of the whole run, or leaves next to nothing for the new task.
    """
    rng = random.Random(config.seed)
    if config.examples > len(new_task):
        raise DataError(
            f"examples is {config.examples} and the task has {len(new_task)} rows; ask for fewer, or 0 for all."
        )
    if config.replay + others[0] > 0.9:
        raise ValueError(
            f"replay is {config.replay:g} and the remedy's share {others[0]:g}, which leaves less than a tenth for the new task; "
            "lower either."
        )
    new_task = rng.sample(new_task, config.examples) if config.examples else new_task
    if config.replay and replay is None:
        replay = replay_texts(probe_source(config.model))
    kinds = [(config.replay, replay, "replay"), (*others, "remedy_weight")]
    counts = [_counts(share, config, name) for share, _, name in kinds]
    left = [config.batch_size - sum(batch) for batch in zip(*counts, strict=True)]
    piles = [_rounds(new_task, sum(left), rng)]
    piles += [_rounds(texts or (), sum(some), rng) for (_, texts, _), some in zip(kinds, counts, strict=True)]
    dealt = [_deal(pile, some) for pile, some in zip(piles, [left, *counts], strict=True)]
    rows = []
    for hands in zip(*dealt, strict=True):
        batch = [text for hand in hands for text in hand]
        rng.shuffle(batch)
        rows += batch
    return rows


def _counts(share: float, config: FineTuneConfig, name: str) -> list[int]:
    """How many rows of each batch: the whole number nearest to the share or, where that is none, one in every so many batches."""
    if (each := round(share * config.batch_size)) or not share:
        return [each] * config.steps
    wanted = [math.floor(share * config.batch_size * step + 0.5) for step in range(config.steps + 1)]
    if not wanted[-1]:
        raise ValueError(
            f"{name} is {share:g}, and of {config.steps} steps of {config.batch_size} rows that is less than half a row; raise it, "
            "or train longer."
        )
    return [after - before for before, after in zip(wanted, wanted[1:], strict=False)]


def _deal(pile: Sequence[str], counts: Sequence[int]) -> list[list[str]]:
    """The texts like cards: one to each batch in turn, until each has its count."""
    hands: list[list[str]] = [[] for _ in counts]
    cards = iter(pile)
    for turn in range(max(counts)):
        for hand, count in zip(hands, counts, strict=True):
            if turn < count:
                hand.append(next(cards))
    return hands


def _rounds(texts: Sequence[str], count: int, rng: random.Random) -> list[str]:
    """``count`` texts: shuffled rounds through all of them."""
    rows: list[str] = []
    while len(rows) < count:
        rows += rng.sample(list(texts), len(texts))
    return rows[:count]
