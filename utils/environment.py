r"""Make the course's own environment and run the course in it: the script behind every `make` command.

    python3 utils/environment.py lab            (Windows: py utils\environment.py lab)

Commands: setup (make or mend .venv), lab (open JupyterLab), app (the playground as a page, for a projector), test
(every test and lesson), quick (the tests that need no training and no browser), demo (forgetting shown in the
terminal), bench (time and memory), gpu (what only a GPU can show), lint (style, spelling, stored lessons, links),
lessons (execute the lessons and store their outputs), claims (run every experiment and write the table of verdicts),
links (write the badges, check every link), site (the course as web pages in _site/), wheelhouse (pack everything for a
room without network), test-lowest (the tests, in environments of their own with the oldest packages that the course and
the guard allow). What follows the command is passed on to what it runs.

It is run by path with any Python from 3.10 on and uses nothing but the standard library, because it runs
before anything is installed. Every command first makes sure that .venv in the top folder is whole.

COURSE_TORCH, where set, is what pip is told to install in place of the tested PyTorch, for example
COURSE_TORCH="torch==2.11.0". Keep it set for the later commands too: the environment follows it. Where there is a
folder wheelhouse/ beside the course, packages come from there, and no network is asked.
"""

from __future__ import annotations  # so that an old Python gets as far as the sentence about its age

import argparse
import contextlib
import os
import platform
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Run by path, Python looks only beside this file.
sys.path[:0] = [str(ROOT), str(ROOT / "utils" / "capability_guard" / "src")]

from utils.course import setting_up  # noqa: E402

QUICK = "not browser and not training"
COMMANDS = (
    *("setup", "lab", "app", "test", "quick", "demo", "bench", "gpu", "lint", "lessons", "claims", "links", "site"),
    *("wheelhouse", "test-lowest"),
)


def lowest_versions() -> list[str]:
    """Every requirement at its lower bound: "numpy==2.0"."""
    text = "\n".join((ROOT / name).read_text(encoding="utf-8") for name in setting_up.PINS[:2])
    return [f"{name}=={low}" for name, low in re.findall(r"^([a-z0-9_-]+)(?:\[\w+\])?>=([\d.]+),", text, re.MULTILINE)]


def cpu_index() -> list[str]:
    """What tells pip where torch's builds without CUDA are, which are apart for Linux alone."""
    words = (ROOT / setting_up.TORCH_FILE).read_text(encoding="utf-8").split()
    return words[-3:-1] if platform.system() == "Linux" else []


def use_lowest() -> None:
    """From here on, .venv-lowest is the environment, and its packages are the oldest that the requirements allow."""
    setting_up.VENV, setting_up.CONSTRAINTS = ROOT / ".venv-lowest", lowest_versions()
    os.environ["COURSE_TORCH"] = shlex.join(
        ["--retries", "1", "--timeout", "15", *cpu_index(), "--no-deps", setting_up.CONSTRAINTS[0]]
    )


def guard_at_its_floor() -> int:
    """The guard alone, at the lower bound of each of its own needs, which are older than the course's; pytest's status."""
    needs = (ROOT / setting_up.GUARD / "pyproject.toml").read_text(encoding="utf-8")
    floor = re.findall(r'^\s*"([a-z0-9-]+)>=([\d.]+)[,"]', needs, re.M)
    venv = ROOT / ".venv-lowest-guard"
    python = str(venv / ("Scripts/python.exe" if setting_up.WINDOWS else "bin/python"))
    pip = [python, "-m", "pip", "install", "-q", "--no-input", "--disable-pip-version-check"]
    wanted = [f"{name}=={low}" for name, low in floor]
    alone = ["--rootdir", "tests", "tests/capability_guard/test_stack.py"]
    print(f"The guard alone, with {', '.join(wanted)}:", flush=True)
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(venv)],
        [*pip, *cpu_index(), "--retries", "1", "--timeout", "15", "--no-deps", wanted[0]],
        [*pip, *wanted, "pytest>=8.4,<10", f"./{setting_up.GUARD}"],
        [python, "-m", "pytest", "-q", "--noconftest", "-c", os.devnull, *alone],
    ):
        status = subprocess.run(command, cwd=ROOT, env=setting_up.environ_for()).returncode
        if status:
            return status
    return 0


def in_parallel(extra: list[str]) -> list[str]:
    """pytest's options for two workers at a time, a file to each; none where the caller says otherwise or debugs."""
    alone = any(word.split("=")[0] in ("-n", "--numprocesses", "--pdb", "-p", "--dist", "-s") for word in extra)
    return [] if alone else ["-n", "2", "--dist", "loadfile"]


def commands_for(name: str, extra: list[str]) -> list[list[str]]:
    """The command lines behind one of the course's commands; `extra` is what the caller added."""
    first = "lessons/00_start_here.ipynb"
    lab = ["-m", "jupyterlab", f"--ServerApp.root_dir={ROOT}", "--ServerApp.answer_yes=True"]
    lab += [f"--LabApp.default_url=/lab/tree/{first}"]  # what the address that is printed leads to
    if not setting_up.WINDOWS and os.geteuid() == 0:  # in a container one is root, and Jupyter then asks for this
        lab += ["--allow-root"]
    maintain = "utils.course.maintain"
    stored = [["-m", f"{maintain}.store_lessons", "--check"], ["-m", f"{maintain}.links", "--check"]]
    lines = {
        "setup": [],
        "lab": [[*lab, *extra, first]],  # a notebook named in extra comes before it, and is opened instead
        "app": [["-m", "voila", "lessons/04_playground.ipynb", *extra]],
        "test": [["-m", "pytest", *in_parallel(extra), *extra]],  # what it runs, and how: pyproject.toml
        "quick": [["-m", "pytest", "-m", QUICK, *in_parallel(extra), *extra, "tests"]],
        "demo": [["-m", "utils.course.demo", *extra]],
        "bench": [["-m", f"{maintain}.bench", *extra]],
        "gpu": [["-m", f"{maintain}.on_a_gpu", *extra]],
        "lint": [["-m", "ruff", "check"], ["-m", "ruff", "format", "--check"], ["-m", "codespell_lib"], *stored],
        "lessons": [["-m", f"{maintain}.store_lessons", *extra]],
        "claims": [["-m", "utils.claims", *extra]],
        "links": [["-m", f"{maintain}.links", *extra]],
        "site": [["-m", f"{maintain}.build_site", *extra]],
        "wheelhouse": [["-m", "utils.course.wheelhouse", *extra]],
        "test-lowest": [["-m", "pytest", "-m", "not browser", *in_parallel(extra), *extra]],
    }[name]
    return [[setting_up.venv_python(), *line] for line in lines]


def hand_over(command: list[str], environ: dict[str, str]) -> int:
    """Run a command in the foreground; Ctrl-C is for it to handle, and we wait for its end."""
    process = subprocess.Popen(command, cwd=ROOT, env=environ)
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    while True:
        with contextlib.suppress(KeyboardInterrupt):
            return abs(process.wait())


def main(arguments: list[str] | None = None) -> int:
    """Set up, then run the command that was asked for; its exit status is ours."""
    if sys.version_info[:2] < setting_up.OLDEST_PYTHON:
        sys.exit(
            f"The course needs Python 3.10 or newer, and this is {platform.python_version()}: install a "
            "newer one and name it, for example `make lab PYTHON=python3.12`."
        )
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("extra", nargs=argparse.REMAINDER)
    asked = parser.parse_args(arguments)
    if asked.command == "test-lowest":
        use_lowest()
    try:
        setting_up.setup()
    except KeyboardInterrupt:
        sys.exit("\nStopped. The same command goes on from here.")
    except OSError as error:
        sys.exit(f"Setting up .venv failed: {error}. Close what uses .venv, or delete it, and retry.")
    if asked.command == "lab":
        print("Starting JupyterLab; Ctrl-C here ends it.", flush=True)
    if asked.command == "app":
        print("Opening the playground as a page, which takes half a minute; Ctrl-C here ends it.", flush=True)
    with tempfile.TemporaryDirectory(prefix="course-", ignore_cleanup_errors=True) as folder:
        environ = setting_up.environ_for(
            folder if asked.command in ("test", "quick", "test-lowest", "bench", "lessons") else None
        )
        if asked.command.startswith("test"):  # a lesson's part on a real model takes minutes; `make lessons` runs it
            environ.setdefault("COURSE_REAL_SCALE", "0")
        if asked.command in ("test", "quick", "test-lowest") and in_parallel(asked.extra):
            environ.setdefault("OMP_NUM_THREADS", "1")  # two workers, on what is most often two cores
        status = max((hand_over(line, environ) for line in commands_for(asked.command, asked.extra)), default=0)
    return max(status, guard_at_its_floor()) if asked.command == "test-lowest" and not asked.extra else status


if __name__ == "__main__":
    sys.exit(main())
