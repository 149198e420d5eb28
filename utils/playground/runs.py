"""One run of a playground, what a picture of all of them needs, and how they are written to files."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from capability_guard.curve import Checkpoint
from capability_guard.files import write_whole
from capability_guard.verdict import Verdict
from capability_guard.weights import Weights
from utils.training.config import FineTuneConfig
from utils.training.fader import Faded
from utils.training.results import RunResult

CURVES = ("step", "train_loss", "held_out_loss", "original_loss", "kl", "accuracy", "retention")


@dataclass(eq=False)
class Run:
    """One run and what is known of it so far.

    state: "waiting", "running", "finished", "stopped" (by a newer change, or by Stop) or "failed" (see ``trouble``).
    step: how many steps are done. answers: what the model said to each question, by step of the checkpoint.
    faded: what is known of it at other strengths than 1, by strength. weights: what it trained, to be turned down.
    guess: where the learner expects retention to end, in per cent. began: when, on the clock of ``time.monotonic``.
    """

    config: FineTuneConfig
    guess: float | None = None
    state: str = "waiting"
    step: int = 0
    checkpoints: list[Checkpoint] = field(default_factory=list)
    answers: dict[int, list[str]] = field(default_factory=dict)
    faded: dict[float, Faded] = field(default_factory=dict)
    weights: Weights | None = None
    result: RunResult | None = None
    verdict: Verdict | None = None
    trouble: str = ""
    pin: str = ""
    pin_strength: float = 1.0
    began: float = 0.0
    cancelled: threading.Event = field(default_factory=threading.Event)

    def copy(self) -> Run:
        """A twin that no thread adds to."""
        return replace(self, checkpoints=list(self.checkpoints), answers=dict(self.answers), faded=dict(self.faded))

    def at(self, strength: float) -> Faded | None:
        """What is known of the run at a strength below 1."""
        return self.faded.get(round(strength, 4)) if strength < 1 else None

    @property
    def kept(self) -> float:
        """Retention at the end of a finished run, in per cent of all probes."""
        return 100 * sum(self.result.after) / len(self.result.after)

    def row(self) -> dict[str, object]:
        """One row of the table of pinned runs."""
        scale, faded = self.config.scale, self.at(self.pin_strength)
        whole = faded is not None and faded.whole
        learned, forgotten = (faded.learned, faded.forgotten) if whole else (self.result.learned, self.result.forgotten)
        return {
            "pin": self.pin,
            "settings": str(self.config.with_(strength=self.pin_strength if whole else 1.0)),
            "LoRA scale": "none" if scale is None else f"{scale:g}",
            "learned (% of loss)": round(100 * learned, 1),
            "forgotten (points)": round(forgotten, 1),
            "seconds": round(self.result.seconds, 1),
        }


@dataclass(frozen=True)
class View:
    """All that a picture needs, copied in one moment.

    config: what the controls say. shown: the run of exactly these settings, or None before the first one.
    remembered: it was run before, and is shown from memory. faint: the run that was on show before, whole or cut short.
    left, working: how many runs are still to be finished, and the one that is on its way.
    finished: every finished run of the session. band: those that differ from ``shown`` by nothing but the seed.
    """

    config: FineTuneConfig
    shown: Run | None
    remembered: bool
    faint: Run | None
    finished: tuple[Run, ...]
    pinned: tuple[Run, ...]
    band: tuple[Run, ...]
    left: int
    working: Run | None
    pending_guess: float | None
    score: tuple[tuple[float, float], ...]
    notice: str

    @property
    def faded(self) -> Faded | None:
        """The run on show at the strength that the controls say, as far as it is known; None at full strength."""
        return None if self.shown is None or self.shown.result is None else self.shown.at(self.config.strength)


def export(runs: Sequence[Run], folder: str | Path = ".") -> tuple[Path, Path]:
    """Write runs as CSV (a row each) and as JSON (with their curves), under names that are still free.

    Raises ValueError when there are none.
    """
    if not runs:
        raise ValueError("There is nothing to export; pin a run first.")
    folder, number = Path(folder), 1
    while any((folder / f"playground-runs-{number}.{kind}").exists() for kind in ("csv", "json")):
        number += 1
    rows = [run.row() for run in runs]
    whole = [row | {"curve": [{name: _finite(getattr(c, name)) for name in CURVES} for c in run.checkpoints]}
             for row, run in zip(rows, runs, strict=True)]  # fmt: skip
    table, curves = (folder / f"playground-runs-{number}.{kind}" for kind in ("csv", "json"))
    write_whole(table, pd.DataFrame(rows).to_csv(index=False))
    write_whole(curves, json.dumps(whole, indent=1))
    return table, curves


def _finite(value):
    """JSON has no NaN: what was not a number is written as null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
