"""A decision of the gate as files: JSON for programs, JUnit XML for what shows tests, one HTML page for people.

What a model says is text from outside. It is escaped in all three, control characters are taken out, and the page
forbids itself scripts and requests.
"""

from __future__ import annotations

import json
import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from capability_guard.files import write_whole
from capability_guard.gate.history import Trend
from capability_guard.gate.plane import ticks as _ticks
from capability_guard.gate.rule import PASSED, REGRESSED, TOGETHER, UNSURE, Comparison, Decision, learned_text, p_text
from capability_guard.measurement import Measurement

SCHEMA = 1  # of the JSON, for programs that read it
SHOWN = 30  # lost answers on the page; the JSON has all of them
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")  # XML allows none of these
SYMBOL = {PASSED: "✓", REGRESSED: "✗", UNSURE: "?"}


def write_json(decision: Decision, path: str | Path) -> Path:
    """Everything that was decided and why, and every lost answer. Raises OSError when it cannot be written.

    >>> path = write_json(Decision(PASSED, "No loss larger than is allowed: arithmetic."), FOLDER / "gate.json")
    >>> json.loads(path.read_text())["exit_code"]
    0
    """
    return write_data({"schema": SCHEMA, **as_dict(decision)}, path)


def write_data(data: dict[str, Any], path: str | Path) -> Path:
    """JSON that any program can read: ASCII, and without NaN.

    >>> write_data({"verdict": "passed"}, FOLDER / "gate.json").read_text()
    '{\\n "verdict": "passed"\\n}\\n'
    """
    return write_whole(path, json.dumps(data, indent=1, ensure_ascii=True, allow_nan=False) + "\n")


def as_dict(decision: Decision) -> dict[str, Any]:
    """A decision as plain data, with every lost answer and without the measurements' rows.

    >>> as_dict(Decision(PASSED, "No loss larger than is allowed: arithmetic."))["verdict"]
    'passed'
    """
    return {
        "verdict": decision.word,
        "exit_code": decision.exit_code,
        "why": decision.why,
        "learned": decision.learned,
        "rules": asdict(decision.rules),
        "comparisons": [asdict(row) for row in decision.comparisons],
        "lost": [asdict(lost) for lost in decision.lost],
        "notes": decision.notes,
        "baseline": about(decision.baseline),
        "candidate": about(decision.candidate),
    }


def write_junit(decision: Decision, path: str | Path) -> Path:
    """One test case a line: a failure where it regressed, an error where nothing can be certified.

    Informational lines always succeed; what was found stands in their output. Raises OSError when it cannot be written.

    >>> path = write_junit(Decision(UNSURE, "The two files have no probe in common."), FOLDER / "gate.xml")
    >>> ET.parse(path).getroot().find("testsuite").get("errors")
    '1'
    """
    # Without a single line the gate itself is the test, and it could not be run.
    alone = [] if decision.comparisons else [("gate", decision.word, decision.why)]
    # A capability that passes with the others and is too small to pass alone is no error of a run that passed.
    counts = {
        row.name: row.word if row.critical and decision.word != PASSED else PASSED for row in decision.comparisons
    }
    cases = [(row.name, counts[row.name], f"{row.word}: {row.why}") for row in decision.comparisons]
    suite = ET.Element(
        "testsuite",
        name="capability regression gate",
        tests=str(len(cases) + len(alone)),
        failures=str(sum(word == REGRESSED for word in counts.values())),
        errors=str(sum(word == UNSURE for word in counts.values()) + len(alone)),
        skipped="0",
        time=f"{sum(m.seconds for m in (decision.baseline, decision.candidate) if m is not None):.2f}",
    )
    for name, word, why in (*cases, *alone):
        case = ET.SubElement(suite, "testcase", classname="gate", name=clean(name), time="0")
        if word == PASSED:
            ET.SubElement(case, "system-out").text = clean(why)
        else:
            kind = "failure" if word == REGRESSED else "error"
            ET.SubElement(case, kind, message=clean(why), type=word).text = clean(_answers(decision, name))
    root = ET.Element("testsuites")
    root.append(suite)
    return write_xml(root, path)


def write_xml(root: ET.Element, path: str | Path) -> Path:
    """An XML document, with what says that it is one.

    >>> write_xml(ET.Element("testsuites"), FOLDER / "gate.xml").read_text().splitlines()[1]
    '<testsuites />'
    """
    ET.indent(root)
    return write_whole(path, '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n")


def write_html(decision: Decision, path: str | Path, trend: Sequence[Trend] = ()) -> Path:
    """One page that needs nothing else: figures inline, light and dark, readable on a phone and on paper.

    trend: what ``history.note`` gave back. Raises OSError when it cannot be written.

    >>> path = write_html(Decision(PASSED, "No loss larger than is allowed: arithmetic."), FOLDER / "gate.html")
    >>> "<script" in path.read_text(encoding="utf-8")
    False
    """
    return write_whole(path, html(decision, trend))


def preview(decision: Decision, height: int = 620) -> Any:
    """The page inside a notebook, in a frame of its own ``height`` pixels high: its styles stay its own, and nothing in it can run.

    >>> preview(Decision(PASSED, "No loss larger than is allowed: arithmetic.")).data.count("<iframe sandbox")
    1
    """
    from IPython.display import HTML

    words = "<p>The report, in a frame. A notebook that was not run on this machine leaves it out: run the cell.</p>"
    frame = f'style="width:100%;height:{height}px;border:1px solid #9995" title="The report of the gate"'
    with warnings.catch_warnings():  # "Consider using IPython.display.IFrame": which shows a file, not a page
        warnings.simplefilter("ignore")
        # ``sandbox`` without a value forbids scripts, forms and links that would replace the notebook.
        return HTML(f'{words}<iframe sandbox srcdoc="{escape(html(decision))}" {frame}></iframe>')


def html(decision: Decision, trend: Sequence[Trend] = ()) -> str:
    """The page as text. What a model said is escaped.

    >>> "<b>bold</b>" in html(Decision(PASSED, "It says <b>bold</b>."))
    False
    """
    return render(
        "report.html",
        decision=decision, figures=list(figures(decision.comparisons)),
        lost=decision.lost[:SHOWN], more=max(0, len(decision.lost) - SHOWN),
        learned="" if decision.learned is None else learned_text(decision),
        sides=[("Baseline", decision.baseline), ("Candidate", decision.candidate)], trend=trend,
    )  # fmt: skip


def render(template: str, **values: Any) -> str:
    """A page from one of the templates beside this file. Whatever is put into it is escaped.

    >>> decision = Decision(PASSED, "It says <b>bold</b>.")
    >>> page = render("report.html", decision=decision, figures=[], lost=[], more=0, learned="", sides=[], trend=[])
    >>> "It says &lt;b&gt;bold&lt;/b&gt;." in page
    True
    """
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["clean"] = clean
    environment.globals.update(symbol=SYMBOL, together=TOGETHER, p_text=p_text)  # for the parts that pages share, too
    page = environment.get_template(template).render(**values)
    return CONTROL.sub("�", page)  # once more over the whole, should a new field be put in without the filter


def clean(text: str) -> str:
    """Text without the characters that XML and HTML forbid, each shown as what it is: something unprintable.

    >>> clean("red" + chr(27) + "[0m alert")  # a terminal would obey this
    'red�[0m alert'
    """
    return CONTROL.sub("�", str(text))


def about(measurement: Measurement | None) -> dict[str, Any] | None:
    """A measurement as plain data, without its rows.

    >>> from capability_guard.measurement import Row
    >>> about(Measurement("base", [Row("Hot?", "Cold.", "opposites", right=True)]))["probes"]
    1
    """
    if measurement is None:
        return None
    data = asdict(measurement)
    return {"fingerprint": measurement.fingerprint, "probes": len(data.pop("rows")), **data}


def _answers(decision: Decision, name: str) -> str:
    """The worst answers of one line, for who reads the test's log."""
    lost = [lost for lost in decision.lost if name in (lost.capability, TOGETHER)][:10]
    return "\n".join(f"{x.prompt}\n  baseline: {x.before}\n  candidate: {x.after}" for x in lost)


def _said(row: Comparison) -> str:
    points, up = row.unit == "points", row.drop >= 0
    size = f"{abs(row.drop):.1f}" if points else f"{abs(row.drop):.3f}"
    if not float(size):
        return "no change"
    return f"{size} points {'lost' if up else 'gained'}" if points else f"{size} nats {'higher' if up else 'lower'}"


def figures(rows: Iterable[Comparison]) -> Iterable[dict[str, Any]]:
    """What the page draws: one figure for drops in points, one for rises in nats. All positions are per cent of its width.

    >>> row = Comparison("sums", True, "points", 200, 100.0, 99.5, 0.5, 0.0, 2.8, 0.5, 5.0)
    >>> [figure["lines"][0]["said"] for figure in figures([row])]
    ['0.5 points lost']
    """
    for unit, what in (("points", "Drop, in points of 100 probes"), ("nats", "Rise of the loss, in nats a token")):
        chosen = [row for row in rows if row.unit == unit]
        if not chosen:
            continue
        # Half as much again as the budget, so that its line never lies on the edge; and 0, so that "nothing lost" is seen.
        bounds = [x for row in chosen for x in (row.low, row.high, 0.0, row.budget * 1.5)]
        low, high = min(bounds), max(bounds)
        pad = 0.04 * (high - low)
        left, width = low - pad, (high - low) + 2 * pad

        def place(value: float, left: float = left, width: float = width) -> float:
            return round(100 * (value - left) / width, 2)

        lines = [
            {"row": row, "low": place(row.low), "high": place(row.high), "at": place(row.drop), "budget": place(row.budget),
             "zero": place(0), "said": _said(row), "alt": _alt(row)}
            for row in chosen
        ]  # fmt: skip
        yield {"what": what, "unit": unit, "lines": lines, "ticks": [(t, place(t)) for t in _ticks(left, left + width)]}


def _alt(row: Comparison) -> str:
    digits, what = (1, "points") if row.unit == "points" else (3, "nats a token")
    low, drop, high = (f"{x:.{digits}f}" for x in (row.low, row.drop, row.high))
    return f"{row.name}: {drop} {what} lost, between {low} and {high}; {row.budget:g} allowed: {row.word}."
