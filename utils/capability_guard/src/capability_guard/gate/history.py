"""The history of a gate: one JSON line for each version that was judged, and what became of each capability since.

A retry is no new version. So a pair of measurements is known by what was measured (names, probes, outcomes, losses) and not by when:
judged again, be it by other rules, it replaces its line in its place. One process writes a history at a time, and a reader never sees
half of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capability_guard.files import write_whole
from capability_guard.gate.comparison import EXIT, Comparison
from capability_guard.gate.rule import Decision
from capability_guard.jsonl import DataError, check_whole, numbered_rows
from capability_guard.measurement import Measurement
from capability_guard.rows import is_number

SCHEMA = 1
FIGURES = ("before", "after", "drop", "low", "high", "budget")  # of a line, in its unit
TEXTS = ("pair", "when", "baseline", "candidate", "probes", "verdict")  # of a verdict
SHOWN = 12  # versions in a report
BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Trend:
    """One line of the gate over the versions: ``values`` in its unit, the newest last, each with its verdict's word.

    before: what the baseline has. allowed: where the budget ends. when: the day of each version. names: what each was called.

    >>> Trend("sums", "points", (100.0, 98.0), ("passed", "passed"), 100.0, 95.0, ("2026-11-27", "2026-11-28"), ("a", "b")).text
    '100.0 → 98.0 %'
    """

    name: str
    unit: str
    values: tuple[float, ...]
    words: tuple[str, ...]
    before: float
    allowed: float
    when: tuple[str, ...]
    names: tuple[str, ...]

    @property
    def text(self) -> str:
        """The values in words.

        >>> Trend("prose", "nats", (2.0, 2.125), ("passed", "passed"), 2.0, 2.05, ("", ""), ("", "")).text
        '2.000 → 2.125'
        """
        digits, unit = (1, " %") if self.unit == "points" else (3, "")
        return " → ".join(f"{value:.{digits}f}" for value in self.values) + unit

    @property
    def bars(self) -> str:
        """The values as signs, where there is no picture: the lowest of them is a thin line, the highest a full block.

        >>> Trend("sums", "points", (100.0, 98.0, 92.0), ("passed",) * 3, 100.0, 95.0, ("",) * 3, ("",) * 3).bars
        '█▆▁'
        """
        low, high = min(self.values), max(self.values)
        if high == low:
            return BARS[-1] * len(self.values)
        return "".join(BARS[round((value - low) / (high - low) * (len(BARS) - 1))] for value in self.values)

    def place(self, value: float) -> float:
        """How far down in the picture a value stands, in per cent of its height.

        >>> trend = Trend("sums", "points", (100.0, 92.0), ("passed", "regressed"), 100.0, 95.0, ("", ""), ("", ""))
        >>> trend.place(100.0), trend.place(92.0)
        (12.0, 88.0)
        """
        everything = (*self.values, self.before, self.allowed)
        low, high = min(everything), max(everything)
        return round(88.0 - 76.0 * (value - low) / (high - low), 2) if high > low else 50.0

    def across(self, i: int) -> float:
        """How far to the right the version ``i`` stands, in per cent of the picture's width.

        >>> trend = Trend("sums", "points", (100.0, 92.0), ("passed", "regressed"), 100.0, 95.0, ("", ""), ("", ""))
        >>> trend.across(0), trend.across(1)
        (3.0, 97.0)
        """
        return round(3 + 94 * i / (len(self.values) - 1), 2) if len(self.values) > 1 else 97.0


def note(path: str | Path, decision: Decision) -> list[Trend]:
    """Add a decision to a history, and give back the trends up to it. One that compared nothing is no version.

    Raises DataError for a file that is no history, OSError when it cannot be written.

    >>> from capability_guard.gate.rule import judge
    >>> from capability_guard.measurement import Row
    >>> base, one, two = (Measurement("m", [Row(f"{i}?", "yes", "sums", right=i < n) for i in range(99)]) for n in (99, 98, 97))
    >>> [note(FOLDER / "history.jsonl", judge(base, tuned))[0].text for tuned in (one, two, two)]
    ['99.0 %', '99.0 → 98.0 %', '99.0 → 98.0 %']
    """
    entries = read(path)
    if not decision.comparisons:
        return []
    entry = _entry(decision)
    at = next((i for i, one in enumerate(entries) if one["pair"] == entry["pair"]), None)
    if at is None:
        entries.append(entry)
    else:
        entries[at] = entry | {"when": entries[at]["when"]}
    write_whole(path, "".join(json.dumps(one, ensure_ascii=False, allow_nan=False) + "\n" for one in entries))
    return trends(entries[: len(entries) if at is None else at + 1], decision)


def read(path: str | Path) -> list[dict[str, Any]]:
    """The lines of a history, the oldest first; none where there is no file yet. Raises DataError for a line that is none.

    >>> read(FOLDER / "history.jsonl")
    []
    """
    path = Path(path)
    if not path.exists() or (path.is_file() and not path.stat().st_size):
        return []
    entries = []
    for where, row in numbered_rows(path):
        texts = all(isinstance(row.get(name), str) for name in TEXTS)
        known = row.get("schema") == SCHEMA and texts and row["verdict"] in EXIT
        lines = row.get("lines")
        if not known or not isinstance(lines, list) or not all(_is_line(line) for line in lines):
            raise DataError(
                f"{where}: this is no verdict that --history wrote; name another file, or take the line out."
            )
        check_whole(json.dumps(row, ensure_ascii=False), "the line", where)
        entries.append(row)
    return entries


def trends(entries: Sequence[dict[str, Any]], decision: Decision, most: int = SHOWN) -> list[Trend]:
    """What became of each line of a decision over the last versions that were asked the same probes.

    >>> trends([], Decision("passed", "No loss larger than is allowed: sums."))
    []
    """
    same = (
        [] if decision.candidate is None else [one for one in entries if one["probes"] == _probes(decision.candidate)]
    )
    return [trend for row in decision.comparisons if (trend := _trend(same[-most:], row)) is not None]


def _trend(entries: Sequence[dict[str, Any]], row: Comparison) -> Trend | None:
    found = [
        (one, line) for one in entries for line in one["lines"] if (line["name"], line["unit"]) == (row.name, row.unit)
    ]
    if not found:
        return None
    allowed = row.before - row.budget if row.unit == "points" else row.before + row.budget
    return Trend(
        row.name, row.unit, tuple(line["after"] for _, line in found), tuple(line["word"] for _, line in found), row.before, allowed,
        tuple(one["when"][:10] for one, _ in found), tuple(one["candidate"] for one, _ in found),
    )  # fmt: skip


def _entry(decision: Decision) -> dict[str, Any]:
    lines = [
        {"name": row.name, "unit": row.unit, "word": row.word, "critical": row.critical}
        | {name: round(getattr(row, name), 4) for name in FIGURES}
        for row in decision.comparisons
    ]
    sides = decision.baseline, decision.candidate
    return {
        "schema": SCHEMA, "when": decision.candidate.measured, "verdict": decision.word, "baseline": sides[0].name,
        "candidate": sides[1].name, "pair": _fingerprint([_outcomes(side) for side in sides]), "probes": _probes(sides[1]),
        "lines": lines,
    }  # fmt: skip


def _outcomes(side: Measurement) -> list[Any]:
    """What was measured: not when, how fast or where. Losses to three digits, since a retry may round otherwise."""
    rows = [[row.key, row.right, row.share, None if row.loss is None else round(row.loss, 3)] for row in side.rows]
    return [side.name, rows, [[mean.name, mean.value, mean.error] for mean in side.means]]


def _probes(side: Measurement) -> str:
    """A fingerprint of what was asked; of a result without samples, of its tasks."""
    return side.fingerprint if side.rows else _fingerprint([mean.name for mean in side.means])


def _fingerprint(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, ensure_ascii=False).encode()).hexdigest()[:16]


def _is_line(line: Any) -> bool:
    texts = isinstance(line, dict) and all(isinstance(line.get(name), str) for name in ("name", "unit", "word"))
    return texts and line["word"] in EXIT and all(is_number(line.get(name)) for name in FIGURES)
