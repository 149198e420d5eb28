"""The gate: did the candidate get worse than the baseline? The exit code says it to whatever runs this.

    python -m utils.gate baseline.json candidate.json --max-drop 5 --html report.html

Exit code 0: passed. 1: regressed. 2: cannot certify, be it that the two do not match, that there are too few probes, or that
a file cannot be read. The files are what utils.check wrote, or results of lm-evaluation-harness. utils/gate_rules.py has
the rule, utils/gate_reports.py the reports.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

try:
    from jinja2 import TemplateNotFound
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from utils.data import DataError
    from utils.gate_reports import SYMBOL, clean, print_what_can_be, write_html, write_json, write_junit
    from utils.gate_rules import EXIT, PASSED, REGRESSED, UNSURE, Comparison, Decision, Rules, judge, p_text
    from utils.lm_eval_results import read_measurement
    from utils.measurement import MeasurementError
except ModuleNotFoundError as error:  # Python would exit with 1, which means something else here
    if __name__ != "__main__":
        raise
    print(
        f"{error.name} is not there for {sys.executable}: copy the file from the course if it is one of utils, else run "
        f"`{sys.executable} -m pip install -r utils/gate-requirements.txt`, or use the course's own Python, .venv/bin/python.",
        file=sys.stderr,
    )
    sys.exit(2)

COLOUR = {PASSED: "green", REGRESSED: "red", UNSURE: "yellow"}
COLUMNS = ("capability", "baseline", "candidate", "lost / gained", "drop (bounds)", "p", "verdict", "why")
SHOWN = 5  # lost answers in the terminal
# What writes each kind of report, and what an earlier one has near its beginning.
JSON, JUNIT, HTML = (write_json, '"verdict"'), (write_junit, "<testsuites"), (write_html, "<!doctype html")


def main(arguments: list[str] | None = None) -> int:
    """The command line; the exit code is returned."""
    asked = _parser().parse_args(arguments)
    print_what_can_be()
    try:
        decision = compare_files(
            asked.baseline, asked.candidate, asked.metric, max_drop=asked.max_drop, max_loss_rise=asked.max_loss_rise,
            critical=asked.critical, informational=asked.informational, alpha=asked.alpha,
        )  # fmt: skip
    except (MeasurementError, DataError) as error:
        decision = Decision(UNSURE, str(error))
    show(decision)
    inputs = [path for path in (asked.baseline, asked.candidate) if os.path.exists(path)]
    wanted = ((asked.json, *JSON), (asked.junit, *JUNIT), (asked.html, *HTML))
    reports = [(path, write, mark) for path, write, mark in wanted if path is not None]
    if len({path for path, _, _ in reports}) < len(reports):
        print("Two reports have one name; give each its own.", file=sys.stderr)
        return EXIT[UNSURE]
    for path, _, mark in reports:
        if why := _protected(path, mark, inputs):
            print(why, file=sys.stderr)
            return EXIT[UNSURE]
    for path, write, _ in reports:
        try:
            write(decision, path)
        except TemplateNotFound as error:  # which is an OSError, too
            print(f"utils/{error.name} is not there; copy it beside gate.py. {path} was not written.", file=sys.stderr)
            return EXIT[UNSURE]
        except OSError as error:
            print(f"{path} cannot be written ({error.strerror or error}); nothing was left there.", file=sys.stderr)
            return EXIT[UNSURE]
    return decision.exit_code


def _protected(path: str, mark: str, inputs: Sequence[str]) -> str:
    """Why a report must not be written there; "" if it may. mark: what an earlier report of its kind has near its beginning."""
    if not path.strip():
        return "A report has an empty name; give it one, or leave the option out."
    if not os.path.isfile(path):
        return ""
    if any(os.path.samefile(path, one) for one in inputs):
        return f"{path} is a measurement, and would be overwritten; give the report another name."
    with open(path, encoding="utf-8", errors="replace") as file:
        beginning = file.read(500)
    return (
        ""
        if not beginning or mark in beginning
        else f"{path} is there and no earlier report; give the report another name."
    )


def compare_files(baseline: str | Path, candidate: str | Path, metric: str | None = None, **rules) -> Decision:
    """Read two files and judge them; ``rules`` are those of ``judge``. Raises MeasurementError or DataError."""
    if os.path.exists(baseline) and os.path.exists(candidate) and os.path.samefile(baseline, candidate):
        raise MeasurementError(f"{baseline} is the baseline and the candidate; a file always passes against itself.")
    return judge(read_measurement(baseline, metric), read_measurement(candidate, metric), **rules)


def show(decision: Decision) -> None:
    """Print the verdict, a table with one row a capability, why it did not pass, and the worst answers side by side."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=130)  # a log has no edge to wrap at
    if decision.baseline is not None:
        _print_table(console, f"{decision.baseline.name}  ->  {decision.candidate.name}", COLUMNS[:-1],
                     [(*cells(row)[:-2], f"{SYMBOL[row.word]} {row.word}") for row in decision.comparisons],
                     [COLOUR[row.word] if row.critical else "dim" for row in decision.comparisons])  # fmt: skip
        lost = decision.lost[:SHOWN]
        if lost:
            title = f"answers that were lost: the worst {len(lost)} of {len(decision.lost)}"
            _print_table(
                console, title, ("probe", "baseline", "candidate"), [(x.prompt, x.before, x.after) for x in lost]
            )
    said = [f"{row.name}: {row.why}" for row in decision.comparisons if row.word != PASSED]
    for line in (*said, *(f"Note: {note}" for note in decision.notes)):
        console.print(escape(clean(line)), soft_wrap=True, highlight=False)
    verdict = f"[bold {COLOUR[decision.word]}]{SYMBOL[decision.word]} {decision.word.upper()}[/]"
    console.print(f"{verdict}: {escape(clean(decision.why))}", soft_wrap=True, highlight=False)


def _print_table(
    console: Console, title: str, columns: Sequence[str], rows: Sequence, colours: Sequence[str] = ()
) -> None:
    """A table of texts, none of which rich may take for its own markup. colours: of the last column, one a row."""
    table = Table(*columns, title=escape(clean(title)))
    for i, row in enumerate(rows):
        *others, last = (escape(clean(cell)) for cell in row)
        table.add_row(*others, f"[{colours[i]}]{last}[/]" if colours else last)
    console.print(table)


def decision_table(decision: Decision) -> Any:
    """The lines of a decision as a table for a notebook. It needs two more files of the course, and the gate neither."""
    import pandas as pd

    from utils.tables import Table

    return Table(pd.DataFrame([cells(row) for row in decision.comparisons], columns=COLUMNS), reasons=True)


def cells(row: Comparison) -> list[str]:
    """One line of the gate as text: name, before, after, lost / gained, drop (bounds), p, verdict, why."""
    digits, unit = (1, " %") if row.unit == "points" else (3, "")
    low, drop, high = (f"{x:.{digits}f}" for x in (row.low, row.drop, row.high))
    before, after = (f"{x:.{digits}f}{unit}" for x in (row.before, row.after))
    changed = "" if row.lost is None else f"{row.lost} / {row.gained}"
    name = row.name if row.critical else f"{row.name} (informational)"
    chance = p_text(row.p)[2:].lstrip("= ")
    return [name, before, after, changed, f"{drop} ({low} to {high})", chance, row.word, row.why]


def _parser() -> argparse.ArgumentParser:
    default = {field.name: field.default for field in fields(Rules)}
    parser = argparse.ArgumentParser(
        prog="python -m utils.gate",
        description="Compare a candidate with its baseline. Exit code 0: passed, 1: regressed, 2: cannot certify.",
    )
    parser.add_argument("baseline", help="a file of utils.check, or results of lm-evaluation-harness (file or folder)")
    parser.add_argument("candidate", help="the same, of the model that is to ship")
    parser.add_argument("--max-drop", type=float, default=default["max_drop"], metavar="POINTS",
                        help="points that a capability may lose (default: %(default)g)")  # fmt: skip
    parser.add_argument("--max-loss-rise", type=float, default=default["max_loss_rise"], metavar="NATS",
                        help="by how much the loss of a text may rise, nats a token (default: %(default)g)")  # fmt: skip
    parser.add_argument("--critical", nargs="+", action="extend", default=[], metavar="NAME",
                        help="capabilities that decide; without this, all that are not informational")  # fmt: skip
    parser.add_argument("--informational", nargs="+", action="extend", default=[], metavar="NAME",
                        help="capabilities that are shown and decide nothing")  # fmt: skip
    parser.add_argument("--alpha", type=float, default=default["alpha"],
                        help="chance of a false alarm, and of a false pass (default: %(default)g)")  # fmt: skip
    parser.add_argument("--metric", help='of lm-evaluation-harness, as "acc" or "exact_match,strict-match"')
    parser.add_argument("--json", metavar="FILE", help="write the decision as JSON")
    parser.add_argument("--junit", metavar="FILE", help="write it as JUnit XML, one test case a capability")
    parser.add_argument("--html", metavar="FILE", help="write it as one page to read")
    return parser


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Exception:  # Python's own exit code for a crash is 1, which here means something else
        traceback.print_exc()
        sys.exit(EXIT[UNSURE])
