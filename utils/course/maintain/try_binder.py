"""Do without Docker what Binder does with binder/, in an empty environment, and run lessons there.

    python -m utils.course.maintain.try_binder                                   lesson 0; about 3 minutes, 2 GB of disk for a while
    python -m utils.course.maintain.try_binder lessons/03_gpt2_lora_demo.ipynb   that one

repo2docker says which files it would copy and which commands it would run; these commands run here, in this order.
Printed: the seconds of each, what the environment weighs, the seconds of each lesson, and what the badge's page answers.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv
from pathlib import Path

from utils.course.maintain.jupyter_pages import free_port, served
from utils.course.maintain.store_lessons import ROOT

FIRST = "lessons/00_start_here.ipynb"


def dockerfile(folder: Path = ROOT) -> str:
    """The Dockerfile that repo2docker makes of a folder. Raises RuntimeError with its last words where it makes none."""
    command = [
        sys.executable,
        "-m",
        "repo2docker",
        "--no-build",
        "--debug",
        "--user-id",
        "1000",
        "--user-name",
        "jovyan",
    ]
    done = subprocess.run([*command, str(folder)], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"repo2docker refuses {folder.name}: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout


def own_steps(text: str) -> list[str]:
    """The commands of a Dockerfile that run once the course has been copied: the course's part of the build."""
    return re.findall(r"^RUN (.+)$", text.partition("# Copy stuff.")[2], flags=re.MULTILINE)


def copy_course(target: Path) -> None:
    """What Binder would copy: the files that git knows, less binder/.dockerignore."""
    lines = (ROOT / "binder" / ".dockerignore").read_text(encoding="utf-8").splitlines()
    left_out = [line for line in lines if line and not line.startswith("#")]
    listed = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in filter(None, subprocess.check_output(listed, text=True).split("\0")):
        if name.partition("/")[0] not in left_out and (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def size_of(folder: Path) -> float:
    """Megabytes of all files in a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def main() -> None:
    lessons = sys.argv[1:] or [FIRST]
    steps = own_steps(dockerfile())
    with tempfile.TemporaryDirectory(prefix="course-binder-") as folder:
        course, prefix = Path(folder, "course"), Path(folder, "notebook")
        copy_course(course)
        venv.create(prefix, with_pip=True)
        empty = size_of(prefix)
        clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
        # Few retries: where PyTorch's own index is out of reach, pip soon takes the ordinary one.
        own = {"PIP_RETRIES": "1", "PIP_TIMEOUT": "15", "KERNEL_PYTHON_PREFIX": str(prefix), "HF_HUB_OFFLINE": "1"}
        environ = {**clean, **own, "PATH": f"{prefix / 'bin'}{os.pathsep}{os.environ['PATH']}"}
        for step in steps:
            began = time.monotonic()
            subprocess.run(["bash", "-c", step], cwd=course, env=environ, check=True, stdout=subprocess.DEVNULL)
            print(f"{time.monotonic() - began:7.1f} s  {step}", flush=True)
        print(
            f"{size_of(prefix) - empty:7.0f} MB were installed; the course itself has {size_of(course):.0f} MB",
            flush=True,
        )
        for lesson in lessons:
            began = time.monotonic()
            run = [str(prefix / "bin" / "jupyter"), "execute", lesson]
            subprocess.run(run, cwd=course, env=environ, check=True, capture_output=True)
            print(f"{time.monotonic() - began:7.1f} s  {lesson}", flush=True)
        page, port = f"/lab/tree/{FIRST}", free_port()
        lab = ["jupyter", "lab", "--no-browser", "--allow-root", f"--port={port}", "--IdentityProvider.token="]
        with served(
            [*lab, f"--ServerApp.root_dir={course}"], port, Path(folder), page, str(prefix / "bin" / "python")
        ) as url:
            print(f"{urllib.request.urlopen(url + page).status:7}    {page}")


if __name__ == "__main__":
    main()
