"""One probe of a measurement and how the model did, checked when it is made: it may come from anybody's file."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from capability_guard.jsonl import shown
from capability_guard.probes import MEASURES

HALVES = re.compile("[\ud800-\udfff]")  # of characters, which JSON's escapes can spell and UTF-8 cannot


class MeasurementError(ValueError):
    """A measurement that cannot be used: the message says what is wrong with it and what to do.

    >>> from capability_guard.measurement import Measurement
    >>> Measurement(model="base", rows=())
    Traceback (most recent call last):
    capability_guard.rows.MeasurementError: A measurement without probes says nothing; measure at least one.
    """


@dataclass(frozen=True)
class Row:
    """One probe and how the model did. right: None where there is only a loss. loss: nats per token of the answer.

    said: what the model answered, "" where nothing was asked of it. choices: what it could choose from, if anything.
    share: how right it is, 0 to 1, where an outcome is neither right nor wrong (measure "share", from other harnesses).
    tokens, bytes: of a text whose loss was measured, how many tokens that is over, and how many bytes of UTF-8 they spell: loss *
    tokens / bytes is nats a byte. None where that is not known.

    >>> Row("What is 2+2?", "4.", "arithmetic", right=False, loss=3.2, said="5.").said
    '5.'
    """

    prompt: str
    answer: str
    capability: str
    measure: str = "exact"
    choices: tuple[str, ...] = ()
    right: bool | None = None
    loss: float | None = None
    said: str = ""
    share: float | None = None
    tokens: int | None = None
    bytes: int | None = None

    @property
    def key(self) -> tuple:
        """What was asked: the same in two measurements of one probe set, whatever was answered.

        >>> Row("Hot?", "Cold.", "opposites", right=True).key == Row("Hot?", "Cold.", "opposites", right=False).key
        True
        """
        return self.capability, self.measure, self.prompt, self.answer, self.choices

    def check(self, where: str) -> None:
        """Raises MeasurementError, starting with ``where``, for a row that no measurement could have written.

        >>> Row("What is 2+2?", "4.", "arithmetic").check("Probe 1")
        Traceback (most recent call last):
        capability_guard.rows.MeasurementError: Probe 1: a probe with measure 'exact' says neither right nor wrong.
        """
        texts = (self.prompt, self.answer, self.capability, self.said, *self.choices)
        if not all(isinstance(text, str) for text in texts) or not self.capability.strip():
            raise MeasurementError(
                f"{where}: prompt, answer, said and choices must be text, and a capability is named."
            )
        if any(map(HALVES.search, texts)):
            raise MeasurementError(f"{where}: a text holds half a character; measure again.")
        if self.measure not in (*MEASURES, "share"):
            raise MeasurementError(
                f"{where}: measure is {shown(self.measure)}; it must be one of {', '.join(MEASURES)}."
            )
        if self.right is not None and not isinstance(self.right, bool):
            raise MeasurementError(f"{where}: right is {shown(self.right)}; it must be true, false or null.")
        if self.loss is not None and not is_number(self.loss):
            raise MeasurementError(
                f"{where}: loss is {shown(self.loss)}; it must be a finite number. Did the model diverge?"
            )
        if self.share is not None and not (is_number(self.share) and 0 <= self.share <= 1):
            raise MeasurementError(f"{where}: share is {str(self.share)[:20]}; it must be from 0 to 1.")
        check_sizes(self.tokens, self.bytes, where)
        if {"loss": self.loss, "share": self.share}.get(self.measure, self.right) is None:
            raise MeasurementError(f"{where}: a probe with measure {shown(self.measure)} says neither right nor wrong.")


def check_sizes(tokens: Any, size: Any, where: str) -> None:
    """Raises MeasurementError, starting with ``where``, for numbers of tokens and bytes that no text has.

    >>> check_sizes(0, 12, "Probe 1")
    Traceback (most recent call last):
    capability_guard.rows.MeasurementError: Probe 1: tokens is 0 and bytes is 12; both must be whole numbers above 0, or null.
    """
    if any(x is not None and not (type(x) is int and 0 < x < 1e15) for x in (tokens, size)):
        raise MeasurementError(
            f"{where}: tokens is {str(tokens)[:20]} and bytes is {str(size)[:20]}; both must be whole numbers above 0, or null."
        )


def is_number(value: Any) -> bool:
    """A finite number. JSON has whole numbers of any size, and one that no float can hold is none.

    >>> is_number(0.5), is_number(True), is_number(10**400)
    (True, False, False)
    """
    # To Python, True is the number 1. In a file it is a mistake.
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
