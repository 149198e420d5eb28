"""The course on a USB stick: packed here, installed where there is no network.

By default with two small packages in place of all; COURSE_WHEELHOUSE=1 packs everything, which takes minutes and some
gigabytes, and runs lesson 0 from it.
"""

import os
import platform
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from utils.course import wheelhouse

pytestmark = pytest.mark.training

# A new network namespace has not even a loopback, which every room has and kernels need: switch it on, then go on.
WITH_LOOPBACK = """
import fcntl, os, socket, struct, sys
SIOCSIFFLAGS, UP_AND_RUNNING = 0x8914, 0x41
fcntl.ioctl(socket.socket(), SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", UP_AND_RUNNING))
os.execvp(sys.argv[1], sys.argv[1:])
"""
SMALL = [f"{name}=={version(name)}" for name in ("platformdirs", "tqdm")]


def offline(command: list[str], folder: Path, **variables: str) -> subprocess.CompletedProcess:
    """Run a command without network: in a network namespace of its own where Linux allows that, else behind a dead proxy."""
    alone = ["unshare", "--map-root-user", "--net", sys.executable, "-c", WITH_LOOPBACK]
    if not shutil.which("unshare") or subprocess.run([*alone, "true"], capture_output=True).returncode:
        alone = []
    dead = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")}
    kept = {name: value for name, value in os.environ.items() if name not in ("PIP_FIND_LINKS", "COURSE_TORCH")}
    environ = {**kept, **dead, "PIP_NO_CACHE_DIR": "1", **variables}  # what pip has kept would be no proof
    return subprocess.run([*alone, *command], cwd=folder, env=environ, capture_output=True, text=True)


@pytest.fixture(scope="module")
def stick(tmp_path_factory):
    """A packed course that needs two small packages and nothing else."""
    target = tmp_path_factory.mktemp("stick") / "offline-course"
    try:
        wheelhouse.pack(SMALL, target)
    except SystemExit as stopped:
        pytest.skip(f"no wheels can be had here: {str(stopped).splitlines()[-1]}")
    (target / "requirements.txt").write_text("platformdirs>=4,<5\n")
    (target / "tests" / "requirements.txt").write_text("-r ../requirements.txt\ntqdm>=4.66.3,<5\n")
    return target


def test_it_installs_without_network(stick):
    setup = [sys.executable, "utils/environment.py", "setup"]
    done = offline(setup, stick, COURSE_TORCH="platformdirs")  # PyTorch is no small package
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 of 4, SmolLM2, a small real model ... not installed" in done.stdout
    assert done.stdout.endswith("environment ready\n")
    python = stick / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    ask = "from importlib.metadata import version as v; print(*(f'{n}=={v(n)}' for n in ('platformdirs', 'tqdm')))"
    assert subprocess.check_output([python, "-I", "-c", ask], text=True).split() == SMALL


def test_what_is_not_packed_cannot_come_from_elsewhere(stick, tmp_path):
    other = shutil.copytree(stick, tmp_path / "course", ignore=shutil.ignore_patterns(".venv"))
    (other / "requirements.txt").write_text("joblib>=1.4,<2\n")
    setup = [sys.executable, "utils/environment.py", "setup"]
    done = subprocess.run(setup, cwd=other, env={**os.environ, "COURSE_TORCH": "tqdm"}, capture_output=True, text=True)
    assert done.returncode == 1 and "step 3 of 4" in done.stderr and "joblib" in done.stderr


def test_the_course_is_whole_and_nothing_else_comes_along(stick):
    for name in (
        "README.md",
        "lessons/00_start_here.ipynb",
        "data/practice-gpt2/model.safetensors",
        "binder/torch-cpu.txt",
    ):
        assert (stick / name).read_bytes() == (wheelhouse.ROOT / name).read_bytes()
    assert not any((stick / name).exists() for name in (".git", "offline-course", "utils/__pycache__"))
    names = sorted(wheel.name.partition("-")[0] for wheel in (stick / "wheelhouse").glob("*.whl"))
    assert names == ["platformdirs", "tqdm"]


def test_wheels_for_another_machine_are_told(tmp_path, monkeypatch):
    house = tmp_path / "wheelhouse"
    house.mkdir()
    with pytest.raises(SystemExit, match="is made for nothing known"):
        wheelhouse.check(house)
    (house / "made-for.txt").write_text(wheelhouse.kind())
    wheelhouse.check(house)
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(SystemExit, match=r"^The folder wheelhouse is made for Python .*, and this is .* riscv64\. "):
        wheelhouse.check(house)


def test_a_wheel_that_cannot_be_had_leaves_nothing(tmp_path):
    with pytest.raises(SystemExit, match="so nothing was packed"):
        wheelhouse.pack(["platformdirs==0.0.0.1"], tmp_path / "offline-course")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif("COURSE_WHEELHOUSE" not in os.environ, reason="COURSE_WHEELHOUSE=1 packs and installs everything")
def test_everything_from_the_stick(tmp_path, capsys):
    target = tmp_path / "offline-course"
    megabytes = wheelhouse.pack(wheelhouse.packages(), target)
    done = offline([sys.executable, "utils/environment.py", "setup"], target)
    assert done.returncode == 0, done.stdout + done.stderr
    jupyter = target / ".venv" / ("Scripts/jupyter.exe" if os.name == "nt" else "bin/jupyter")
    lesson = offline([str(jupyter), "execute", "lessons/00_start_here.ipynb"], target)
    assert lesson.returncode == 0, lesson.stderr[-2000:]
    with capsys.disabled():
        print(f"\n{megabytes:,.0f} MB of wheels\n{done.stdout}")
