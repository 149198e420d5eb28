"""The search for files that no reader bears is run at its smallest, and seen to find what is planted."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from utils.capability_guard.benches.fuzz_readers import search as fuzz

pytestmark = [pytest.mark.training, pytest.mark.skipif(os.name == "nt", reason="it counts its seconds by a signal")]
FEW = ("probes", "measurement", "policy", "policy-tables", "history")  # the rest take seconds a file on a busy machine


def test_readers_are_tried(root, tmp_path):
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "utils.capability_guard.benches.fuzz_readers",
        "--minutes",
        "0.005",
    ]
    done = subprocess.run([*command, "--keep", str(tmp_path), *FEW], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == len(FEW) == done.stdout.count(" 0 kinds of fault")


@pytest.mark.parametrize("what", ["crash", "two lines"])
def test_a_planted_fault_is_found(tmp_path, capsys, what):
    def read(folder: Path) -> None:
        if (folder / "a.json").read_bytes() != b'{"a": 1}':
            raise KeyError("b") if what == "crash" else fuzz.DataError("one\ntwo")

    assert fuzz.search("planted", fuzz.Reader([{"a.json": b'{"a": 1}'}], read), 0.001, tmp_path, seed=0) == 1
    assert ("KeyError at" if what == "crash" else "2 lines: DataError") in capsys.readouterr().out
    assert (tmp_path / "planted-1" / "a.json").is_file()
