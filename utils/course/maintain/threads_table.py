"""What the waiting of OpenMP's threads costs: ``make bench ARGS="--only threads"``.

Twenty training steps in a process of its own, under each setting, on a quiet machine and beside as many busy processes as
there are cores. ``capability_guard.threads`` sets what came out best here.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[3]
STEPS = 20
RUN = f"""
import time, torch
from utils.course.maintain.bench import bare_loop
from utils.training.config import FineTuneConfig
from utils.training.data import load_task
from utils.training.rows import training_rows
from utils.training.models import load_model
import utils.course.maintain.bench as bench
bench.CONFIG = FineTuneConfig(learning_rate=5e-3, steps={STEPS})
base = load_model("practice", quiet=True)
rows = training_rows(bench.CONFIG, list(load_task()["train"]["text"]))
bare_loop(base, rows)
print(bare_loop(base, rows))
"""
SETTINGS = {
    "as OpenMP comes, two threads": {},
    "GOMP_SPINCOUNT=1000, KMP_BLOCKTIME=1": {"GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "1"},
    "GOMP_SPINCOUNT=0, KMP_BLOCKTIME=0": {"GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"},
    "OMP_WAIT_POLICY=PASSIVE": {"OMP_WAIT_POLICY": "PASSIVE"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
# Nothing but computing, until its parent is gone: a bench that is killed leaves no busy process behind.
ALONE = "import os; parent = os.getppid()\nwhile os.getppid() == parent: sum(range(10**6))"
OURS = ("GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_WAIT_POLICY", "OMP_NUM_THREADS")


@contextmanager
def busy(processes: int):
    """Beside other work: processes that do nothing but compute."""
    others = [subprocess.Popen([sys.executable, "-c", ALONE]) for _ in range(processes)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def seconds(setting: dict[str, str], limit: float) -> float:
    """Of the twenty steps; infinite where they did not end in ``limit`` seconds, which includes the imports."""
    environ = {name: value for name, value in os.environ.items() if name not in OURS} | setting
    environ |= {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    try:
        done = subprocess.run(
            [sys.executable, "-c", RUN], env=environ, capture_output=True, text=True, timeout=limit, check=True
        )
    except subprocess.TimeoutExpired:
        return float("inf")
    return float(done.stdout.split()[-1])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=float, default=240, help="seconds after which a run is given up")
    options = parser.parse_args(arguments)
    table = Table(
        "setting",
        "quiet",
        "beside two busy processes",
        title=f"{STEPS} training steps, seconds, median of {options.rounds}",
    )
    for name, setting in SETTINGS.items():
        columns = []
        for others in (0, os.cpu_count() or 2):
            with busy(others):
                columns.append(statistics.median(seconds(setting, options.limit) for _ in range(options.rounds)))
        table.add_row(name, *(f"{x:.2f}" if x < 1e9 else f"over {options.limit:.0f}" for x in columns))
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
