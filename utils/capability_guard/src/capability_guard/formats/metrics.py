"""What the numbers of another harness mean: which metric counts, which way is better, and what it makes of each question.

A metric is usable if it says of every question how right it was: 0 or 1 ("bits"), something between ("shares"), or how
unlikely the right text was ("losses"). What it is called decides as little as possible here, since everybody may call a metric
what they like; where a name must decide, the harness's own names are listed. ``directions`` says which way is better.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from capability_guard.formats.directions import directed
from capability_guard.measurement import MeasurementError

# Where a task has several, exact match and, among choices, the score that does not favour short ones go first.
PREFERRED = ("exact_match", "acc_norm", "acc", "em")
WHOLE = re.compile(r"(^|_)(acc|accuracy|match|pct_stereotype)$|^pass@|^extractive_match")  # mostly right or wrong
# Text metrics that are [log-likelihood, length], or only the former: nats per unit, since tokens differ from model to model.
LOSSES = ("word_perplexity", "byte_perplexity", "bits_per_byte", "perplexity", "ppl", "target_perplexity")
RATES = ("wer", "cer", "mer", "ter")  # errors per word: they may be more than there are words
PER_CENT = re.compile(
    r"^(bleu|chrf|ter|rouge1|rouge2|rougel|sacrebleu|eqbench|meteor)"
)  # of which 0.5 to 10 of 100 is no surprise
COUNTS = re.compile(r"len|count|num|token|time|second|diff|distance|turns|steps|cost|rating|judge", re.IGNORECASE)


@dataclass(frozen=True)
class Outcomes:
    """What a metric says of each question. kind: "bits", "shares" or "losses".

    values: 1 is right and 0 is wrong, whichever way the metric counts; of losses, nats per unit. lower: whether the metric
    is one of which less is better, so that it was turned round, None where nothing tells. per_cent: whether it was divided by
    100. clipped: how many were above the most that there is.

    >>> Outcomes("bits", (1.0, 0.0)).mean
    0.5
    """

    kind: str
    values: tuple[float, ...]
    lower: bool | None = False
    per_cent: bool = False
    clipped: int = 0

    @property
    def mean(self) -> float:
        """Over all questions.

        >>> Outcomes("shares", (0.25, 0.75)).mean
        0.5
        """
        return sum(self.values) / len(self.values)


def number(value: Any) -> float | None:
    """A finite number, or None. Some harnesses write what NumPy gave them as text.

    >>> number(0.5), number("True"), number("0.25"), number("N/A"), number(float("nan")), number(10**400)
    (0.5, 1.0, 0.25, None, None, None)
    """
    if isinstance(value, str):
        value = {"true": 1, "false": 0}.get(value.strip().lower(), value)
    if not isinstance(value, (bool, int, float, str)):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def outcomes(name: str, raw: Sequence[Any], lower: bool | None = False) -> Outcomes | None:
    """What the values of the metric ``name`` say of each question, or None where they say nothing that could be compared.

    raw: numbers; for a perplexity, [log-likelihood, length] or the former.

    >>> outcomes("acc", [1.0, 0.0]).kind, outcomes("acc", [0.4, 0.6]).kind
    ('bits', 'shares')
    >>> outcomes("pct_stereotype", [1, 0, 1], lower=True).values
    (0.0, 1.0, 0.0)
    >>> outcomes("bleu_max", [30.0, 70.0]).values
    (0.3, 0.7)
    >>> outcomes("answer_length", [30.0, 70.0]) is None
    True
    """
    if not raw:
        return None
    if name in LOSSES:
        losses = [_loss(value) for value in raw]
        return None if None in losses else Outcomes("losses", tuple(losses), lower=True)
    values = [number(value) for value in raw]
    if None in values or min(values) < 0:
        return None
    most, scale = max(values), 1.0
    rate = lower and name.lower() in RATES
    if most > 1 and not (rate and sorted(values)[len(values) // 2] <= 1):
        # A mark from 1 to 10 is not in per cent, nor is a length; dividing those by 100 would make any loss of them small.
        if not PER_CENT.match(name.lower()) and not rate and (most <= 10 or COUNTS.search(name)):
            return None
        scale = 100.0
    clipped = sum(value > scale for value in values)
    if clipped and not rate:
        return None
    shares = [min(value / scale, 1.0) for value in values]
    shares = [1 - value for value in shares] if lower else shares
    kind = "bits" if scale == 1 and all(value in (0, 1) for value in values) else "shares"
    return Outcomes(kind, tuple(shares), lower, scale != 1, clipped)


def _loss(value: Any) -> float | None:
    """Nats per unit of a text. NaN is kept: a model that diverged is refused when the row is checked, and not left out."""
    if isinstance(value, dict):  # lighteval
        total, units = value.get("logprobs"), value.get("weights")
    else:
        total, units = value if isinstance(value, (list, tuple)) and len(value) == 2 else (value, 1)
    if isinstance(total, (list, tuple)) and isinstance(units, (list, tuple)):
        if not total or not all(isinstance(x, (int, float)) for x in (*total, *units)):
            return None
        total, units = sum(total), sum(units)
    if isinstance(total, bool) or not isinstance(total, (int, float)) or number(units) is None:
        return None
    if total > 0 and total != math.inf:  # no log-likelihood, so the perplexity itself
        return math.log(total)
    return -total / max(1.0, number(units)) if abs(total) != math.inf else math.nan


def pooled_loss(name: str, raw: Sequence[Any]) -> float | None:
    """The loss over all texts, in nats a unit, of which a harness makes its perplexity; None for a metric that is made otherwise.

    >>> round(pooled_loss("word_perplexity", [[-6.0, 2], [-1.0, 5]]), 3), pooled_loss("perplexity", [-2.0, -1.0])
    (1.0, 1.5)
    """
    if name not in ("word_perplexity", "byte_perplexity", "bits_per_byte", "perplexity"):
        return None
    pairs = [value if isinstance(value, (list, tuple)) and len(value) == 2 else (value, 1) for value in raw]
    numbers = [(number(total), number(units)) for total, units in pairs]
    if (
        not numbers
        or any(None in pair or pair[0] > 0 for pair in numbers)
        or not sum(units for _, units in numbers) > 0
    ):
        return None
    return -sum(total for total, _ in numbers) / sum(units for _, units in numbers)


def in_order(names: Iterable[str]) -> list[str]:
    """The metrics of a task, those that should count first. A name may be followed by a comma and a filter.

    By the names alone: if the values decided, two models could be judged by different metrics of one task.

    >>> in_order(["f1,none", "bleu_acc,none", "acc,none", "exact_match,strict-match"])
    ['exact_match,strict-match', 'acc,none', 'bleu_acc,none', 'f1,none']
    """

    def rank(name: str) -> int:
        short = name.split(",")[0]
        return PREFERRED.index(short) if short in PREFERRED else len(PREFERRED) + (not is_share_of_right(short))

    return sorted(names, key=rank)  # a stable sort: otherwise as the file has them


def is_share_of_right(name: str) -> bool:
    """Whether a metric is, by its name, a mean over questions that are right or wrong, and not made of all of them at once.

    >>> is_share_of_right("acc"), is_share_of_right("mcc")
    (True, False)
    """
    return name in PREFERRED or bool(WHOLE.search(name.lower()))


def matching(wanted: str, names: Sequence[str]) -> str | None:
    """Which of a task's metrics is meant by ``wanted``: the whole name, the part before the comma, or a beginning that only
    one of them has. What ``wanted`` says of the direction is no part of a name.

    >>> matching("exact_match:higher", ["exact_match,strict-match", "exact_match,flexible-extract"])
    'exact_match,strict-match'
    >>> matching("bleu", ["acc,none"]) is None
    True
    """
    wanted, _ = directed(wanted)
    parts = [part.strip() for part in wanted.split(",")]
    tidy = ",".join(parts)
    for fits in (lambda name: name in (wanted, tidy), lambda name: name.split(",")[0] == tidy):
        if found := [name for name in names if fits(name)]:
            return found[0]
    begin = [name for name in names if name.startswith((f"{wanted}:", f"{wanted}="))]  # lighteval adds the parameters
    return begin[0] if len(begin) == 1 else None


def said_of(asked: Sequence[str], name: str) -> bool | None:
    """Whether more of a metric is better, as whoever asked for it says; None where they did not say.

    >>> said_of(["acc", "harmfulness:lower"], "harmfulness,none"), said_of(["acc"], "acc,none")
    (False, None)
    """
    ways = (directed(text)[1] for text in asked if matching(text, [name]))
    return next((way for way in ways if way is not None), None)


@dataclass(frozen=True)
class Wanted:
    """The metrics that somebody asked for: for every task, or for one by its name.

    >>> wanted = Wanted.of(["acc", "gsm8k=exact_match,flexible-extract"], tasks=["arc", "gsm8k"])
    >>> wanted.for_task("gsm8k"), wanted.for_task("arc")
    (('exact_match,flexible-extract',), ('acc',))
    """

    everywhere: tuple[str, ...] = ()
    by_task: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, metric: str | Sequence[str] | None, tasks: Iterable[str]) -> Wanted:
        """From what ``--metric`` was given. tasks: those that are there, since a metric may have a "=" in its name.

        Raises MeasurementError for what cannot be a metric.

        >>> Wanted.of("acc", tasks=["arc"]).everywhere
        ('acc',)
        """
        texts = [] if metric is None else [metric] if isinstance(metric, str) else list(metric)
        if not all(isinstance(text, str) and text.strip() for text in texts):
            raise MeasurementError(
                'A metric is named by a text, as "acc", "exact_match,strict-match" or "gsm8k=exact_match".'
            )
        tasks, wanted = set(tasks), cls()
        for text in (text.strip() for text in texts):
            task, equals, name = text.partition("=")
            if equals and task.strip() in tasks and name.strip():
                wanted = replace(wanted, by_task=(*wanted.by_task, (task.strip(), name.strip())))
            else:
                wanted = replace(wanted, everywhere=(*wanted.everywhere, text))
        return wanted

    def for_task(self, task: str) -> tuple[str, ...]:
        """What was asked for this task; its own metric goes before those of all tasks.

        >>> Wanted(everywhere=("acc", "em")).for_task("arc")
        ('acc', 'em')
        """
        return tuple(name for name_of, name in self.by_task if name_of == task) or self.everywhere

    def named(self, task: str) -> bool:
        """Whether a metric was asked for this very task, so that another one will not do.

        >>> Wanted(everywhere=("acc",)).named("arc")
        False
        """
        return any(task == name for name, _ in self.by_task)
