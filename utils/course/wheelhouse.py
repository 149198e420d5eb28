"""Pack the course for a room without network: ``make wheelhouse``, a folder for a USB stick.

    offline-course/                the course, as it is here
    offline-course/wheelhouse/     every package of this .venv, in exactly these versions, PyTorch and SmolLM2 among them

Copy that folder to a machine with the same system and the same version of Python, and type `make lab` in it: what
finds a wheelhouse beside it installs from there and asks no network.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "offline-course"
GUARD = "capability-guard"  # installed from its folder, which is copied along
BUILDER = "flit_core>=3.11,<4"  # builds that folder: without it beside the wheels, pip would ask the network
NOT_COPIED = shutil.ignore_patterns(
    *(".git", ".venv*", "offline-course", "wheelhouse", "__pycache__", ".*_cache", ".hypothesis", ".ipynb_checkpoints")
)


def kind() -> str:
    """What a machine must share with this one, for the same wheels to fit: "Python 3.11, Linux, x86_64"."""
    return f"Python {'.'.join(platform.python_version_tuple()[:2])}, {platform.system()}, {platform.machine()}"


def check(house: Path) -> None:
    """Stop where the wheels are for another kind of machine: pip would say so far less plainly."""
    label = house / "made-for.txt"
    made_for = label.read_text(encoding="utf-8") if label.exists() else "nothing known"
    if made_for != kind():
        sys.exit(
            f"The folder {house.name} is made for {made_for}, and this is {kind()}. Use such a Python, pack another "
            f"one on a machine like this (`make wheelhouse`), or delete {house.name} to install from the network."
        )


def packages() -> list[str]:
    """Every package of this environment with its version, and the builder of the guard.

    Not pip, which each new environment has, nor the guard, which comes as the course's own folder.
    """
    from importlib.metadata import distributions  # not in the oldest Pythons, which environment.py sends away kindly

    found = {each.metadata["Name"]: each.version for each in distributions()}
    found.pop("flit_core", None)
    return sorted([BUILDER, *(f"{name}=={version}" for name, version in found.items() if name not in ("pip", GUARD))])


def pack(wanted: list[str], target: Path) -> float:
    """Copy the course and put a wheel of each wanted package beside it; the megabytes of the wheels.

    Raises SystemExit with pip's last words where a wheel cannot be had.
    """
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(ROOT, target, ignore=NOT_COPIED)
    house = target / "wheelhouse"
    house.mkdir()
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-input", "--disable-pip-version-check", "--no-deps"]
    index = [word for word in (ROOT / "binder" / "torch-cpu.txt").read_text().split() if word.startswith("https://")]
    own_index = ["--retries", "1", "--timeout", "15", "--extra-index-url", *index]
    cpu = [name for name in wanted if name.endswith("+cpu")]  # PyTorch, from its own index; the others not from there
    for names, source in ((cpu, own_index), ([name for name in wanted if name not in cpu], [])):
        done = (
            subprocess.run([*pip, *source, "-w", str(house), *names], capture_output=True, text=True) if names else None
        )
        if done and done.returncode:
            shutil.rmtree(target)
            sys.exit(f"The wheels could not all be had, so nothing was packed:\n\n{done.stderr[-2000:]}")
    (house / "made-for.txt").write_text(kind(), encoding="utf-8")
    return sum(wheel.stat().st_size for wheel in house.glob("*.whl")) / 1e6


def main() -> None:
    print("Packing the course and its packages: a few minutes, less where pip has them in its cache ...", flush=True)
    wanted = packages()
    megabytes = pack(wanted, TARGET)
    print(f"{TARGET.name}/ holds the course and {len(wanted)} packages ({megabytes:,.0f} MB), for {kind()}.")
    print("Copy it to a machine of that kind, without network, and type `make lab` there.")


if __name__ == "__main__":
    main()
