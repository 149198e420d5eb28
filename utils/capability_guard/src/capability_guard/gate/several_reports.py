"""The choice among several candidates as files: JSON, JUnit XML, and one HTML page with the learn-forget plane."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from capability_guard.files import write_whole
from capability_guard.gate.history import Trend
from capability_guard.gate.plane import NARROW, WIDE, Point, plane
from capability_guard.gate.reports import SCHEMA, about, as_dict, clean, figures, render, write_data, write_xml
from capability_guard.gate.rule import PASSED, REGRESSED, UNSURE
from capability_guard.gate.several import Candidate, Choice
from capability_guard.gate.several_words import level_text, lost_text, per_cent

SHOWN = 10  # lost answers of each candidate on the page; the JSON has all of them
TOLD = 8  # candidates in the words that stand for the figure; the table below it has all of them


def write_json(choice: Choice, path: str | Path) -> Path:
    """The choice, and of each candidate what the report of a single one has. Raises OSError when it cannot be written.

    >>> import json
    >>> path = write_json(Choice(UNSURE, "None of the 2 candidates passed."), FOLDER / "gate.json")
    >>> json.loads(path.read_text())["best"] is None
    True
    """
    data = {
        "schema": SCHEMA,
        "verdict": choice.word,
        "exit_code": choice.exit_code,
        "why": choice.why,
        "best": None if choice.best is None else choice.best.name,
        "ranked_by": choice.ranked,
        "rules": {**asdict(choice.rules), "level": choice.rules.level},
        "candidates": [_as_dict(candidate) for candidate in choice.candidates],
        "notes": choice.notes,
        "baseline": about(choice.baseline),
    }
    return write_data(data, path)


def _as_dict(candidate: Candidate) -> dict[str, Any]:
    whole = None if candidate.whole is None else asdict(candidate.whole)
    once = {k: v for k, v in as_dict(candidate.decision).items() if k not in ("exit_code", "rules", "baseline")}
    return {"name": candidate.name, "copy_of": candidate.copy_of, "whole": whole, **once}


def write_junit(choice: Choice, path: str | Path) -> Path:
    """One test case a candidate. Raises OSError when it cannot be written.

    Where one is named, the run passed, so those that did not are skipped and no failure. Else each that regressed is a failure,
    and each that cannot be certified an error.

    >>> path = write_junit(Choice(UNSURE, "The baseline cannot be read."), FOLDER / "gate.xml")
    >>> ET.parse(path).getroot().find("testsuite").get("errors")
    '1'
    """
    cases = [(one.name, one.word, one.decision.why) for one in choice.candidates] or [("gate", choice.word, choice.why)]
    kinds = [_kind(word, choice.word == PASSED) for _, word, _ in cases]
    measured = [choice.baseline, *(one.decision.candidate for one in choice.candidates if one.copy_of is None)]
    counts = {
        name: str(kinds.count(kind))
        for name, kind in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped"))
    }
    seconds = sum(one.seconds for one in measured if one is not None)
    suite = ET.Element(
        "testsuite", name="capability regression gate", tests=str(len(cases)), **counts, time=f"{seconds:.2f}"
    )
    for (name, word, why), kind in zip(cases, kinds, strict=True):
        case = ET.SubElement(suite, "testcase", classname="gate", name=clean(name), time="0")
        if kind == "system-out":
            ET.SubElement(case, kind).text = clean(f"{word}: {why}")
        else:
            ET.SubElement(case, kind, message=clean(f"{word}: {why}"))
    ET.SubElement(suite, "system-out").text = clean(choice.why)
    root = ET.Element("testsuites")
    root.append(suite)
    return write_xml(root, path)


def _kind(word: str, named: bool) -> str:
    if word == PASSED:
        return "system-out"
    return "skipped" if named else "failure" if word == REGRESSED else "error"


def write_html(choice: Choice, path: str | Path, trend: Sequence[Trend] = ()) -> Path:
    """One page that needs nothing else. trend: what ``history.note`` gave back. Raises OSError when it cannot be written.

    >>> path = write_html(Choice(UNSURE, "None of the 2 candidates passed."), FOLDER / "gate.html")
    >>> "<script" in path.read_text(encoding="utf-8")
    False
    """
    return write_whole(path, html(choice, trend))


def html(choice: Choice, trend: Sequence[Trend] = ()) -> str:
    """The page as text. What a model said is escaped.

    >>> "<b>bold</b>" in html(Choice(UNSURE, "It says <b>bold</b>."))
    False
    """
    drawn = _points(choice)
    there = [point.name for point in drawn]
    planes = [
        (kind, plane(drawn, _budget(choice), size)) for kind, size in (("wide", WIDE), ("narrow", NARROW)) if drawn
    ]
    numbered = any(one["numbered"] for _, one in planes)
    compared = [one for one in choice.candidates if one.whole is not None and one.copy_of is None]
    over, unit = _over(choice)
    return render(
        "several.html",
        choice=choice, planes=planes, told=_told(choice, there),
        words=sorted({point.word for point in drawn}, key=[PASSED, UNSURE, REGRESSED].index),
        absent=[one.name for one in compared if drawn and one.name not in there],
        dots=list(figures(replace(one.whole, name=one.name, word=one.word) for one in compared)),
        rows=[_row(one, choice, there, numbered) for one in choice.candidates],
        details=[_details(one) for one in compared],
        level=level_text(choice.rules), over=over, unit=unit, trend=trend,
    )  # fmt: skip


def _points(choice: Choice) -> list[Point]:
    """The candidates that can stand in the plane: learned is known of them, and they lost in one unit."""
    able = [
        one for one in choice.candidates if one.copy_of is None and one.whole is not None and one.learned is not None
    ]
    found = [
        Point(one.name, 100 * one.learned, one.whole.drop, one.whole.low, one.whole.high, one.word, one is choice.best)
        for one in able
        if one.whole.unit == able[0].whole.unit
    ]
    sound = all(math.isfinite(x) and abs(x) < 1e9 for p in found for x in (p.learned, p.lost, p.low, p.high))
    return found if sound else []


def _budget(choice: Choice) -> float:
    return next(one.whole.budget for one in choice.candidates if one.whole is not None and one.learned is not None)


def _row(one: Candidate, choice: Choice, there: list[str], numbered: bool) -> dict[str, Any]:
    """What the table says of a candidate. there: the names in the plane. numbered: whether it has numbers in their place."""
    drawn = one.name in there
    return {
        "name": one.name, "drawn": drawn, "number": there.index(one.name) + 1 if drawn and numbered else None,
        "word": one.word, "best": one is choice.best, "learned": learned(one), "lost": lost(one), "why": why(one),
    }  # fmt: skip


def learned(one: Candidate) -> str:
    """What a table says was learned: a share of the new task's loss, "" where that was not measured.

    >>> from capability_guard.gate.rule import Decision
    >>> learned(Candidate("careful", Decision(PASSED, "No loss larger than is allowed: arithmetic.")))
    ''
    """
    return "" if one.learned is None else per_cent(one.learned)


def lost(one: Candidate) -> str:
    """What a table says was lost, with its bounds; "" where nothing could be compared.

    >>> from capability_guard.gate.rule import Decision
    >>> lost(Candidate("torn", Decision(UNSURE, "torn.json is not JSON; measure again.")))
    ''
    """
    if one.whole is None:
        return ""
    digits = 1 if one.whole.unit == "points" else 3
    low, drop, high = (f"{x:.{digits}f}" for x in (one.whole.low, one.whole.drop, one.whole.high))
    return f"{drop} ({low} to {high})"


def why(one: Candidate) -> str:
    """The reason for its verdict, after whose copy it is.

    >>> from capability_guard.gate.rule import Decision
    >>> why(Candidate("again", Decision(PASSED, "No loss larger than is allowed: sums."), copy_of="careful"))
    'A copy of careful, judged once for both. No loss larger than is allowed: sums.'
    """
    return f"A copy of {one.copy_of}, judged once for both. {one.decision.why}" if one.copy_of else one.decision.why


def _told(choice: Choice, there: list[str]) -> str:
    """The figure in words. there: the names of those in it."""
    shown = [one for one in choice.candidates if one.name in there]
    shown.sort(key=lambda one: one is not choice.best)
    said = [
        f"{one.name}{', the best' if one is choice.best else ''}: learned {learned(one)}, {lost_text(one.whole)}, {one.word}"
        for one in shown[:TOLD]
    ]
    more = f"; and {len(shown) - TOLD} more in the table below" if len(shown) > TOLD else ""
    return f"What {len(shown)} candidates learned and lost. {'; '.join(said)}{more}."


def _over(choice: Choice) -> tuple[str, str]:
    """(over what the loss of each candidate is given, in which unit): its line's."""
    row = next((one.whole for one in choice.candidates if one.whole is not None), None)
    return ("", "") if row is None else (row.name, "points" if row.unit == "points" else "nats a token")


def _details(one: Candidate) -> dict[str, Any]:
    """What a candidate's folded part shows: the same as the page of a single one."""
    decision = one.decision
    return {
        "name": one.name, "decision": decision, "figures": list(figures(decision.comparisons)),
        "lost": decision.lost[:SHOWN], "more": max(0, len(decision.lost) - SHOWN), "sides": [("Candidate", decision.candidate)],
    }  # fmt: skip
