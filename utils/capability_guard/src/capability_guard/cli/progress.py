"""How far a measurement is, on stderr: on a terminal one line that changes, elsewhere a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from capability_guard.in_parts import kept_beside

EVERY = 30.0  # seconds between two lines in a log; a terminal is told at once


class Progress:
    """Called with the number of probes that are answered, of how many, and the share of the work that is done (0 to 1)."""

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.stream, self.clock = sys.stderr if stream is None else stream, clock
        self.terminal = self.stream.isatty()
        self.began: tuple[float, float] | None = None  # (when, the share that was done by then)
        self.last = 0.0

    def __call__(self, done: int, total: int, share: float) -> None:
        now = self.clock()
        if self.began is None:
            self.began, self.last = (now, share), now
            if done:
                self._say(
                    f"{done} of {total} probes were answered before the last run was stopped, and are not asked again."
                )
        if done == total:
            self._line("")
        elif self.terminal or now - self.last >= EVERY:
            self.last = now
            self._line(f"{done} of {total} probes{self._left(now, share)}")

    def _left(self, now: float, share: float) -> str:
        began, before = self.began
        if share <= before:
            return ""
        seconds = (now - began) / (share - before) * (1 - share)
        return f", {in_words(seconds)} left"

    def _line(self, text: str) -> None:
        if self.terminal:
            self.stream.write(f"\r\x1b[K{text}")
            self.stream.flush()
        elif text:
            self._say(text)

    def _say(self, text: str) -> None:
        self.stream.write(f"{text}\n")
        self.stream.flush()


def as_it_goes(file: Path) -> dict[str, Any]:
    """What ``measure`` is told so that it keeps the answers so far beside ``file``, and says how far it is."""
    return {"keep": kept_beside(file), "each": Progress()}


def in_words(seconds: float) -> str:
    """A time that is about so long: "40 s", "7 min", "2 h 10 min"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
