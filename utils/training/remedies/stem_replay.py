"""Replay without old data: a share of each batch is text that the base samples itself, each from the start of a question.

The starts are those of questions in general: whoever has no old data knows them, too. After Huang et al. 2024, SSR,
arXiv 2403.01244, much simplified: no demonstrations, no refining, no selection; and the starts are worded like our probes.
"""

from __future__ import annotations

from utils.training.remedies.own_texts import not_asked, own_texts
from utils.training.remedies.remedy import Remedy
from utils.training.remedies.training import Training

STEMS = ("What", "What is", "Which", "Who", "Where", "When", "How", "How do you", "Can you tell me", "Name")


def rows(training: Training, weight: float) -> list[str]:
    texts = own_texts(training.base, training.tokenizer, STEMS)
    return training.rows(weight, not_asked(texts, training.asked))


STEM_REPLAY = Remedy(
    "stem_replay",
    "replay of its own questions",
    weight=0.25,
    most=0.9,
    unit="of each batch",
    needs="sampling once",
    paper="arXiv 2403.01244",
    rows=rows,
)
