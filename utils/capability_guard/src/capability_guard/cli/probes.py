"""``capability-guard probes``: is a probe file sound, and how large a drop can it show? No model is needed."""

from __future__ import annotations

import argparse

from capability_guard.cli.options import refuse

EPILOG = """\
Exit code 0: every row can be asked. 2: a row is faulty; one sentence names the file, the line and what to do.

  capability-guard probes my_probes.jsonl --drop 5
"""


def add_to(commands: argparse._SubParsersAction) -> None:
    """The command's options."""
    parser = commands.add_parser(
        "probes", help="check a probe file, and say what it can detect", description=__doc__, epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("probes", help="a JSONL file of probes, or a folder with several")
    parser.add_argument("--drop", type=float, default=5.0, metavar="POINTS",
                        help="say how many probes it takes to see a drop of so many points (default: %(default)g)")  # fmt: skip
    parser.set_defaults(run=run)


def run(asked: argparse.Namespace) -> int:
    """Read, count, and say what each capability can show; the exit code."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from capability_guard.doubts import doubts
    from capability_guard.folders import left_out
    from capability_guard.gate.reports import clean
    from capability_guard.jsonl import DataError
    from capability_guard.power import probes_needed, smallest_drop
    from capability_guard.probes import load_probes

    if not 0 < asked.drop <= 100:
        return refuse(f"--drop is {asked.drop:g}; give points above 0 and up to 100.")
    try:
        probes, needed = load_probes(asked.probes), probes_needed(asked.drop)
    except (DataError, ValueError) as error:  # faulty probes; a drop too small for any number of them
        return refuse(error)
    groups: dict[str, list] = {}
    for probe in probes:
        groups.setdefault(probe.capability, []).append(probe)
    judged = [probe for probe in probes if probe.measure != "loss"]
    table = Table("capability", "probes", "measures", "a drop that shows (80 %)")
    rows = [*sorted(groups.items()), *([("all together", judged)] if len(groups) > 1 and judged else [])]
    for name, group in rows:
        asked_of = [probe for probe in group if probe.measure != "loss"]
        smallest = smallest_drop(len(asked_of)) if asked_of else 0
        seen = "by its loss alone" if not asked_of else f"{smallest:.0f} points" if smallest < 100 else "none: too few"
        measures = ", ".join(sorted({probe.measure for probe in group}))
        table.add_row(escape(clean(name)), str(len(group)), measures, seen)
    console = Console()
    console.print(table)
    console.print(
        f"{len(probes)} probes. To see a drop of {asked.drop:g} points with a chance of 80 % takes {needed} of them, "
        "if none is gained meanwhile.", soft_wrap=True, highlight=False,
    )  # fmt: skip
    for doubt in (*doubts(probes), *left_out(asked.probes)):
        console.print(f"Note: {escape(clean(doubt))}", soft_wrap=True, highlight=False)
    return 0
