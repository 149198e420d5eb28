"""The league as a table: what each curve loses where it has learned 72 %, with its interval, in order."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from capability_guard.files import write_whole
from utils.claims.league import AT, CURVES, PLAIN, lost
from utils.claims.league_runs import with_every_seed
from utils.claims.runs import FOLDER
from utils.claims.samples import Table
from utils.claims.statistics import interval
from utils.training.remedies import REMEDIES
from utils.training.sweeps import Point

FILE = FOLDER / "league-table.json"
SCHEMA = 1
FADER = "the fader: 1.3e-2, turned down"
NAMES = {
    "plain": "a lower rate alone",
    "fader": FADER,
    "full": "full fine-tuning, at a lower rate",
    "fader from 8e-3": "the fader: 8e-3, turned down",
    "fader from 2e-2": "the fader: 2e-2, turned down",
    "replay 0.25, then the fader": "a quarter of replay, then the fader",
    "kl, then the fader": "KL to the base, then the fader",
}
SOURCES = {
    "replay": "old rows",
    "own_replay": "own text, sampled from nothing",
    "stem_replay": "own answers to sampled questions",
}


@dataclass(frozen=True)
class Row:
    """name: as in ``league.CURVES``. title, needs: in words. lost, low, high: points where 72 % is learned, 95 % interval."""

    name: str
    title: str
    needs: str
    lost: float
    low: float
    high: float


def league_table(points: Sequence[Point], seeds: Sequence[int]) -> list[Row]:
    """Every curve that reaches 72 % learned, what loses least first."""
    table = Table(with_every_seed(points, seeds))
    rows = []
    for name, curve in {"plain": PLAIN, **CURVES}.items():
        effect, low, high, _ = interval(table, lambda s, curve=curve: lost(s, curve))
        if np.isfinite(effect):
            rows.append(Row(name, title(name), needs(name), effect, low, high))
    return sorted(rows, key=lambda row: row.lost)


def title(name: str) -> str:
    """A curve's name in words."""
    if name in NAMES:
        return NAMES[name]
    remedy, _, weight = name.partition(" ")
    if remedy in SOURCES:
        return f"{float(weight):.0%} {SOURCES[remedy]}"
    return REMEDIES[remedy].title + (f", weight {weight}" if weight else "")


def needs(name: str) -> str:
    """What it takes besides the new task's rows, in words; "nothing" where that is all."""
    if name.startswith("replay"):
        return "old data"
    if name == "full":
        return "every weight trained"
    if name.startswith("kl,"):
        return REMEDIES["kl"].needs
    remedy = REMEDIES.get(name.partition(" ")[0])
    return (remedy.needs if remedy else "") or "nothing"


def save(rows: Sequence[Row], path: Path = FILE) -> Path:
    """Write the table as JSON, one row a line."""
    lines = ",\n".join("  " + json.dumps({**asdict(row), **{k: round(getattr(row, k), 2) for k in ("lost", "low", "high")}})
                       for row in rows)  # fmt: skip
    return write_whole(path, f'{{"schema": {SCHEMA}, "at": {AT}, "rows": [\n{lines}\n]}}\n')


def load(path: Path = FILE) -> list[Row]:
    """Read what ``save`` wrote. Raises ValueError in one sentence when it cannot be read."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return [Row(**row) for row in data["rows"]]
    except (OSError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} holds no league ({error}); run `make claims`.") from error
