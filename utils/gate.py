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
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from utils.data import DataError
from utils.gate_reports import SYMBOL, clean, write_html, write_json, write_junit
from utils.gate_rules import EXIT, PASSED, REGRESSED, UNSURE, Comparison, Decision, Rules, judge, p_text
from utils.lm_eval_results import read_measurement
from utils.measurement import MeasurementError

if TYPE_CHECKING:
    from utils.tables import Table

COLOUR = {PASSED: "green", REGRESSED: "red", UNSURE: "yellow"}
SHOWN = 5  # lost answers in the terminal


def main(arguments: list[str] | None = None) -> int:
    """The command line; the exit code is returned."""
    asked = _parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a console that cannot show a sign is no reason to fail
    try:
        decision = compare_files(
            asked.baseline, asked.candidate, asked.metric, max_drop=asked.max_drop, max_loss_rise=asked.max_loss_rise,
            critical=asked.critical, informational=asked.informational, alpha=asked.alpha,
        )  # fmt: skip
    except (MeasurementError, DataError) as error:
        decision = Decision(UNSURE, str(error))
    show(decision)
    for write, path in ((write_json, asked.json), (write_junit, asked.junit), (write_html, asked.html)):
        try:
            if path is not None:
                write(decision, path)
        except OSError as error:
            print(f"{path} cannot be written ({error.strerror or error}); nothing was left there.", file=sys.stderr)
            return EXIT[UNSURE]
    return decision.exit_code


def compare_files(baseline: str | Path, candidate: str | Path, metric: str | None = None, **rules) -> Decision:
    """Read two files and judge them; ``rules`` are those of ``judge``. Raises MeasurementError or DataError."""
    if os.path.exists(baseline) and os.path.exists(candidate) and os.path.samefile(baseline, candidate):
        raise MeasurementError(f"{baseline} is the baseline and the candidate; a file always passes against itself.")
    return judge(read_measurement(baseline, metric), read_measurement(candidate, metric), **rules)


def show(decision: Decision, console: Console | None = None) -> None:
    """Print the verdict, a table with one row a capability, and the worst answers side by side."""
    console = console or Console()
    if not console.is_terminal:
        console = Console(width=160)  # a log has no edge to wrap at
    if decision.baseline is not None:
        title = f"{decision.baseline.name}  ->  {decision.candidate.name}"
        table = RichTable("capability", "baseline", "candidate", "lost / gained", "drop (bounds)", "p", "verdict", "why",
                      title=escape(clean(title)))  # fmt: skip
        for row in decision.comparisons:
            colour = COLOUR[row.word] if row.critical else "dim"
            table.add_row(*(escape(clean(cell)) for cell in cells(row)[:-2]),
                          f"[{colour}]{SYMBOL[row.word]} {row.word}[/]", escape(row.why))  # fmt: skip
        console.print(table)
        for lost in decision.lost[:SHOWN]:
            console.print(f"{escape(clean(lost.prompt))}\n  baseline:  {escape(clean(lost.before))}\n  "
                          f"candidate: {escape(clean(lost.after))}", highlight=False)  # fmt: skip
        if len(decision.lost) > SHOWN:
            console.print(f"... and {len(decision.lost) - SHOWN} more answers that were lost; the reports show them.")
    for note in decision.notes:
        console.print(f"Note: {escape(clean(note))}", soft_wrap=True, highlight=False)
    colour = COLOUR[decision.word]
    console.print(f"[bold {colour}]{SYMBOL[decision.word]} {decision.word.upper()}[/]: {escape(clean(decision.why))}",
                  soft_wrap=True, highlight=False)  # fmt: skip


def decision_table(decision: Decision) -> Table:
    """The table of a decision for a notebook."""
    import pandas as pd  # here, since the command line needs no pandas

    from utils.tables import Table

    columns = ("capability", "baseline", "candidate", "lost / gained", "drop (bounds)", "p", "verdict", "why")
    return Table(pd.DataFrame([cells(row) for row in decision.comparisons], columns=columns))


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
