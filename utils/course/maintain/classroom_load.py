"""How many learners fit on a machine: N kernels with a playground each, all letting go of a slider at once.

    make bench ARGS="--only classroom"

Each learner is a kernel of its own that opens the playground as lesson 4 does. Measured: the memory of a kernel and
of a JupyterLab server, the CPU seconds of a run, the time from letting go to the first trained point and to the
finished run, for several N; and what it costs to take more threads than one. The tables go into lessons/TEACHING.md;
sizes for whole classes are worked out there from what was measured. Other work on the machine makes all times longer,
so measure when there is none: the load is printed with the tables.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import re
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

import psutil  # noqa: E402
from jupyter_client.manager import start_new_kernel  # noqa: E402

from utils.course.maintain import teaching  # noqa: E402
from utils.course.maintain.jupyter_pages import free_port, served  # noqa: E402
from utils.course.setting_up import environ_for  # noqa: E402

LEARNERS = (1, 2, 4, 8)
CROWDED, SHORT = 2, 10  # learners, steps a run: with all threads each, more of either takes minutes
PATIENCE = 3.0  # seconds that a learner waits for the first point
GIVEN_UP = 60.0  # seconds after which a run that takes too many threads is not waited for
EVERY = 20.0  # seconds between two moves of one learner who reads what the last one did
CLASSES = (10, 30, 100, 500)
SETUP = """
import json, sys
sys.path[:0] = [{root!r}, {root!r} + "/tests"]
from utils.course.lesson import start
start()
from utils.playground import playground
from utils.course.maintain.classroom_load import one_run
play = playground(run=False)
play.steps.value = {steps}
one_run(play, 900, {limit})  # the first run pays for caches
"""


def one_run(play, seed: int, limit: float = 600) -> dict[str, float]:
    """In a kernel: seconds from a move to the picture with step 0, to the first trained point and to the finished run
    ("zero", "point", "end"), and the CPU seconds of it all ("cpu"). What took longer than ``limit`` is infinite."""
    seen: dict[str, float] = {}

    def note(change) -> None:
        """A new picture: which point is its last?"""
        last = re.search(r" to step (\d+),", change["new"])
        for name, true in (
            ("zero", last),
            ("point", last and int(last[1])),
            ("end", "New-task loss fell" in change["new"]),
        ):
            if true:
                seen.setdefault(name, time.perf_counter() - began)

    play.picture.observe(note, names="value")
    try:
        cpu, began = time.process_time(), time.perf_counter()
        play.seed.value = seed  # a run that still goes on is given up for this one
        with contextlib.suppress(TimeoutError):
            play.wait(limit)
        return {**dict.fromkeys(("zero", "point", "end"), math.inf), **seen, "cpu": time.process_time() - cpu}
    finally:
        play.picture.unobserve(note, names="value")


class Learner:
    """A kernel with an open playground."""

    def __init__(self, threads: int, folder: str) -> None:
        environ = {**environ_for(folder), "OMP_NUM_THREADS": str(threads)}
        options = {"kernel_name": "python3", "env": environ, "cwd": str(ROOT / "lessons"), "startup_timeout": 300}
        self.manager, self.client = start_new_kernel(**options, extra_arguments=["--log-level=ERROR"])

    def do(self, code: str) -> str:
        """Execute code; what it printed. Raises RuntimeError with the kernel's own error."""
        said: list[str] = []

        def hear(message) -> None:
            said.append(message["content"].get("text", "")) if message["msg_type"] == "stream" else None

        reply = self.client.execute_interactive(code, timeout=900, output_hook=hear)["content"]
        if reply["status"] != "ok":
            raise RuntimeError(f"A learner's kernel failed: {reply.get('ename')}: {reply.get('evalue')}")
        return "".join(said)

    def play(self, seed: int, limit: float) -> dict[str, float]:
        return json.loads(self.do(f"print(json.dumps(one_run(play, {seed}, {limit})))").splitlines()[-1])

    def memory(self) -> tuple[float, float]:
        """(what it has of its own, what it shares with its like) in GB."""
        return memory(self.manager.provisioner.process.pid)

    def leave(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


def memory(pid: int) -> tuple[float, float]:
    full = psutil.Process(pid).memory_full_info()
    return full.uss / 1e9, (full.rss - full.uss) / 1e9


def at_once(learners: Sequence[Learner], rounds: int, limit: float) -> list[dict[str, float]]:
    """All let go of a slider at the same moment, ``rounds`` times: one row for each learner and round."""
    barrier = threading.Barrier(len(learners))

    def move(learner: Learner, seed: int) -> dict[str, float]:
        barrier.wait()
        return learner.play(seed, limit)

    rows = []
    with ThreadPoolExecutor(len(learners)) as pool:
        for seed in range(1, rounds + 1):
            rows += pool.map(move, learners, [seed] * len(learners))
    return rows


def classroom(
    count: int, threads: int, rounds: int, steps: int = 40, limit: float = 600
) -> tuple[list[dict[str, float]], list[tuple[float, float]]]:
    """(the rows of ``at_once``, the memory of each kernel) for so many learners with so many threads each, in
    runs of so many steps, of which none is waited for longer than ``limit`` seconds."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(count) as pool:
        learners = [Learner(threads, folder) for _ in range(count)]
        try:
            list(pool.map(lambda learner: learner.do(SETUP.format(root=str(ROOT), steps=steps, limit=limit)), learners))
            return at_once(learners, rounds, limit), [learner.memory() for learner in learners]
        finally:
            for learner in learners:
                learner.leave()


def server_memory() -> float:
    """GB that a learner's JupyterLab server takes, once its page was asked for."""
    port = free_port()
    lab = ["jupyterlab", "--no-browser", "--allow-root", f"--port={port}", "--IdentityProvider.token=x"]
    lab += [f"--ServerApp.root_dir={ROOT}"]
    with tempfile.TemporaryDirectory() as folder, served(lab, port, Path(folder), "/api?token=x") as address:
        for page in ("/lab?token=x", "/api/contents/lessons/04_playground.ipynb?token=x"):
            urllib.request.urlopen(address + page, timeout=120).read()
        return next(
            memory(child.pid)[0] for child in psutil.Process().children() if f"--port={port}" in child.cmdline()
        )


def median(rows: Sequence[dict[str, float]], name: str) -> float:
    return statistics.median(row[name] for row in rows)


def waits(found: dict[int, list[dict[str, float]]]) -> str:
    """The times as a Markdown table: one row for each number of learners."""
    lines = ["| learners at once | first point (s) | finished run (s) | CPU seconds a run |", "|---|---|---|---|"]
    for count, rows in sorted(found.items()):
        lines.append(f"| {count} | {' | '.join(f'{median(rows, name):.1f}' for name in ('point', 'end', 'cpu'))} |")
    return "\n".join(lines)


def playgrounds_a_core(found: dict[int, list[dict[str, float]]], cores: int) -> float:
    """The most learners a core, all letting go at once, for whom the first point came within PATIENCE."""
    return max((count / cores for count, rows in found.items() if median(rows, "point") <= PATIENCE), default=0)


def threads_cost(cores: int, rounds: int) -> str:
    """What it costs to let each of CROWDED learners take a thread for each core, in a sentence; "" on a single core."""
    if cores == 1:
        return ""
    one, many = (classroom(CROWDED, threads, rounds, SHORT, GIVEN_UP)[0] for threads in (1, cores))
    return cost(median(one, "end"), median(many, "end"), cores)


def cost(one: float, many: float, cores: int) -> str:
    """The sentence of ``threads_cost`` from the seconds of a run with one thread each and with many."""
    setting = f"With {cores} threads each, a run of {SHORT} steps by {CROWDED} learners at once"
    if math.isinf(many):
        said = f"{setting} was not finished after {GIVEN_UP:g} s; with one thread each, it took {one:.1f} s"
        return f"{said}: more than {GIVEN_UP / one:.0f} times as long."
    return f"{setting} took {many:.1f} s; with one thread each, {one:.1f} s: {many / one:.1f} times as long."


def sizes(cpu: float, own: float, shared: float, server: float) -> str:
    """Whole classes from the measured figures: what a learner takes, times how many there are."""
    lines = ["| learners | memory (GB) | cores |", "|---|---|---|"]
    for count in CLASSES:
        cores = math.ceil(count * cpu / EVERY / 0.7)  # no more than 70 % busy
        lines.append(f"| {count} | {count * (own + server) + shared:.0f} | {cores} |")
    return "\n".join(lines)


def measure(counts: Sequence[int], rounds: int) -> tuple[str, str]:
    """(the table of waits, the table of sizes), both with the sentences that say how they came about."""
    cores = os.cpu_count() or 1
    found, memories = {}, []
    load = os.getloadavg()[0]
    for count in counts:
        found[count], used = classroom(count, 1, rounds)
        memories += used
        times = {name: round(median(found[count], name), 2) for name in ("zero", "point", "end", "cpu")}
        print(f"{count:3d} learners: {times}", flush=True)
    threads = threads_cost(cores, rounds)
    print(threads, flush=True)
    cpu = median(found[min(counts)], "cpu")
    own = statistics.median(mine for mine, _ in memories)
    shared = statistics.median(common for _, common in memories)
    server = server_memory()
    print(
        f"a run: {cpu:.1f} CPU s; a kernel: {own:.2f} GB of its own, {shared:.2f} GB shared; a server: {server:.2f} GB"
    )
    most = playgrounds_a_core(found, cores)
    first = (
        f"Each learner moved a slider at the same moment, {rounds} times, with one thread each; the medians are shown. On "
        f"{cores} cores, whose load from other work was {load:.1f} at the start. The first point came within {PATIENCE:g} s "
        f"for up to {most:g} learner{'s' * (most != 1)} a core.\n\n{threads}"
    )
    second = (
        f"From {cpu:.1f} CPU seconds a run of 40 steps, {own:.2f} GB a kernel and {server:.2f} GB a JupyterLab server; a "
        f"learner who starts a run every {EVERY:g} seconds; cores at most 70 % busy; one thread each."
    )
    return f"{waits(found)}\n\n{first}", f"{sizes(cpu, own, shared, server)}\n\n{second}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--learners", type=int, nargs="+", default=list(LEARNERS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--print", action="store_true", dest="only_print", help="leave TEACHING.md as it is")
    asked = parser.parse_args(arguments)
    tables = measure(asked.learners, asked.rounds)
    print("\n\n".join(tables))
    if not asked.only_print:
        for name, content in zip(("classroom-waits", "classroom-sizes"), tables, strict=True):
            teaching.write(name, content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
