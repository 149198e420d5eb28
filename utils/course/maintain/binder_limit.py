"""Execute each lesson as Binder would have it: 2 GB of memory for everything together, one thread.

    make bench ARGS="--only binder"

A lesson runs in a group of processes of its own: a JupyterLab server, the kernel, and in place of the browser the
program that sends the cells. The limit is on their sum, and hard: what goes over it is killed. How it is held differs
by machine, so each way must first prove itself, by killing a process that takes too much and sparing one that does
not; the first that can is used.

Prints seconds, CPU seconds and peak memory of each lesson, and writes them into lessons/TEACHING.md. Peak memory is
the sum over the group of what each process has of its own and its share of what is common (PSS), four times a second.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

import psutil  # noqa: E402

from utils.course.maintain import teaching  # noqa: E402
from utils.course.maintain.jupyter_pages import free_port  # noqa: E402
from utils.course.maintain.store_lessons import CELL_SECONDS, lesson_paths  # noqa: E402
from utils.course.setting_up import environ_for  # noqa: E402

LIMIT = 2 * 1024**3  # bytes, as mybinder.org has it
TICK = 0.25  # seconds between two looks at the memory: each look costs some time itself
HOG = """import subprocess, sys
code = "import time; kept = bytearray({size}); kept[::4096] = bytes([1]) * len(kept[::4096]); time.sleep(1)"
sys.exit(subprocess.call([sys.executable, "-c", code]))"""  # in a process of a process: the limit is on their sum


@dataclass(frozen=True)
class Ran:
    """How a group of processes ended: exit status, seconds, CPU seconds, and the peak of its memory in bytes."""

    status: int
    seconds: float
    cpu: float
    peak: int
    output: str


# A way to hold the limit, given in bytes: a context with what to put before a command, and what its first process does.
Way = Callable[[int], contextlib.AbstractContextManager[tuple[list[str], Callable[[], None] | None]]]


@contextlib.contextmanager
def control_group(limit: int) -> Iterator[tuple[list[str], Callable[[], None]]]:
    """A control group below our own, version 1, where its folder can be written to."""
    own = next(line.split(":")[2] for line in Path("/proc/self/cgroup").read_text().splitlines() if ":memory:" in line)
    group = Path("/sys/fs/cgroup/memory") / own.lstrip("/") / f"course-{os.getpid()}"
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(limit))
        with contextlib.suppress(OSError):  # swap counts too, where the kernel keeps account of it
            (group / "memory.memsw.limit_in_bytes").write_text(str(limit))
        yield [], lambda: (group / "cgroup.procs").write_text(str(os.getpid()))
    finally:
        while (group / "cgroup.procs").read_text():
            time.sleep(0.1)
        group.rmdir()


@contextlib.contextmanager
def systemd(limit: int) -> Iterator[tuple[list[str], None]]:
    """A scope of systemd's: control groups of version 2."""
    user = [] if os.geteuid() == 0 else ["--user"]
    limits = ["-p", f"MemoryMax={limit}", "-p", "MemorySwapMax=0"]
    yield ["systemd-run", *user, "--scope", "--quiet", *limits], None


@contextlib.contextmanager
def watchdog(limit: int) -> Iterator[tuple[list[str], None]]:
    """No help from the system: ``run`` kills the group once it has measured too much."""
    yield [], None


WAYS: dict[str, Way] = {"a control group": control_group, "systemd": systemd, "a watchdog": watchdog}


def memory_of(process: psutil.Process) -> int:
    """Bytes that a process and all below it hold; what they share is counted once."""
    total = 0
    with contextlib.suppress(psutil.Error):
        for one in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                full = one.memory_full_info()
                total += getattr(full, "pss", full.uss)  # only Linux knows the shares
    return total


def kill(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.Error):
        for one in (*process.children(recursive=True), process):
            with contextlib.suppress(psutil.Error):
                one.kill()


def run(command: list[str], way: Way, limit: int = LIMIT, environ: dict[str, str] | None = None) -> Ran:
    """Run a command, and all that it starts, under the limit."""
    with way(limit) as (before, first), tempfile.TemporaryFile("w+", errors="replace") as said:
        began = time.monotonic()
        process = subprocess.Popen([*before, *command], env=environ, preexec_fn=first, stdout=said, stderr=said)
        peak, done = [0], threading.Event()

        def watch() -> None:
            top = psutil.Process(process.pid)
            while not done.wait(TICK):
                peak[0] = max(peak[0], memory_of(top))
                if way is watchdog and peak[0] > limit:
                    kill(top)

        watcher = threading.Thread(target=watch)
        watcher.start()
        _, status, usage = os.wait4(process.pid, 0)  # with the CPU time of all below it
        done.set()
        watcher.join()
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        cpu = usage.ru_utime + usage.ru_stime
        return Ran(process.returncode, time.monotonic() - began, cpu, peak[0], said.read())


def holds(way: Way, limit: int = 400 * 1024**2) -> bool:
    """Whether this way kills a group that takes half more than the limit, and lets one live that takes half of it."""
    too_much, enough = ([sys.executable, "-c", HOG.format(size=round(share * limit))] for share in (1.5, 0.5))
    try:
        return run(enough, way, limit).status == 0 and run(too_much, way, limit).status != 0
    except (OSError, StopIteration, subprocess.SubprocessError):
        return False


def way_that_holds() -> str:
    """The first of WAYS whose limit is real here. Raises SystemExit when there is none."""
    for name, way in WAYS.items():
        if holds(way):
            return name
    sys.exit("Nothing here can hold a memory limit, so nothing would be shown by running the lessons.")


def inside(lesson: Path) -> int:
    """What runs under the limit: a server as on Binder, and the lesson, cell by cell."""
    port = free_port()
    lab = ["jupyter", "lab", "--no-browser", "--allow-root", f"--port={port}", f"--ServerApp.root_dir={ROOT}"]
    # --log-level of the kernel: else it warns that it sends without encryption
    execute = ["jupyter", "execute", f"--timeout={CELL_SECONDS}", "--kernel_name=python3", str(lesson)]
    server = subprocess.Popen([sys.executable, "-m", *lab], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        status = subprocess.call([sys.executable, "-m", *execute])
        return status if server.poll() is None else 1  # a server that was killed is a lesson that was lost
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)


def measure(lessons: list[Path], limit: int = LIMIT) -> dict[str, Ran]:
    """Run each lesson under the limit; by name, in order."""
    name = way_that_holds()
    print(f"Each lesson within {limit / 1024**3:g} GB, held by {name}, which was seen to kill; one thread.", flush=True)
    found = {}
    for lesson in lessons:
        with tempfile.TemporaryDirectory() as folder:
            environ = {**environ_for(folder), "OMP_NUM_THREADS": "1"}
            ran = run([sys.executable, __file__, "--inside", str(lesson)], WAYS[name], limit, environ)
        verdict = "ok" if ran.status == 0 else f"FAILED\n{ran.output[-2000:]}"
        print(
            f"{lesson.stem:24s} {ran.seconds:4.0f} s {ran.cpu:4.0f} CPU s {ran.peak / 1024**3:5.2f} GB  {verdict}",
            flush=True,
        )
        found[lesson.stem] = ran
    return found


def table(found: dict[str, Ran]) -> str:
    """The measurement as Markdown."""
    rows = [f"| {name} | {ran.peak / 1024**3:.2f} | {ran.cpu:.0f} | {ran.seconds:.0f} |" for name, ran in found.items()]
    head = "| lesson | peak memory (GB) | CPU seconds | seconds |\n|---|---|---|---|"
    load = os.getloadavg()[2] if hasattr(os, "getloadavg") else 0
    place = f"{os.cpu_count()} cores, Python {platform.python_version()}; load over the last 15 minutes: {load:.1f}"
    return "\n".join([head, *rows, "", f"Measured on {place}."])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lessons", nargs="*", type=Path, help="notebooks; every lesson where none is named")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.inside:
        return inside(asked.inside)
    if not hasattr(os, "wait4"):
        sys.exit("This measurement needs Linux or macOS: Windows does not account for the processes below a process.")
    found = measure([path.resolve() for path in asked.lessons] or lesson_paths())
    if not asked.lessons:
        teaching.write("binder-limit", table(found))
    return max(abs(ran.status) for ran in found.values())


if __name__ == "__main__":
    sys.exit(main())
