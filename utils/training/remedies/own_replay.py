"""Replay without old data: a share of each batch is text that the base samples itself, from nothing.

What a model says unasked is drawn from what it knows: pseudo-rehearsal (Robins 1995). Sources: LAMOL, Sun et al. 2019, arXiv
1909.03329; Marek et al. 2026, arXiv 2605.26097, who hold the model to the base on such samples; here it trains on their tokens.
"""

from __future__ import annotations

from utils.training.remedies.own_texts import not_asked, own_texts
from utils.training.remedies.remedy import Remedy
from utils.training.remedies.training import Training


def rows(training: Training, weight: float) -> list[str]:
    texts = own_texts(training.base, training.tokenizer, [""])
    return training.rows(weight, not_asked(texts, training.asked))


OWN_REPLAY = Remedy(
    "own_replay",
    "replay of its own text",
    weight=0.25,
    most=0.9,
    unit="of each batch",
    needs="sampling once",
    paper="arXiv 1909.03329",
    rows=rows,
)
