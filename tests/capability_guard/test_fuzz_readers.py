"""The search for files that no reader bears is run at its smallest, and seen to find what is planted."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from capability_guard.adapters import with_adapter
from capability_guard.measurement import MeasurementError

SCRIPT = Path(__file__).resolve().parents[2] / "utils" / "capability_guard" / "benches" / "fuzz_readers.py"
pytestmark = [pytest.mark.training, pytest.mark.skipif(os.name == "nt", reason="it counts its seconds by a signal")]


FEW = ("probes", "measurement", "policy", "policy-tables", "history")  # the rest take seconds a file on a busy machine


def test_readers_are_tried(tmp_path):
    command = [sys.executable, "-W", "ignore", str(SCRIPT), "--minutes", "0.005", "--keep", str(tmp_path), *FEW]
    source = str(SCRIPT.parents[1] / "src")
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": source})
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == len(FEW) == done.stdout.count(" 0 kinds of fault")


def test_an_adapter_whose_base_has_no_name_is_one_sentence(tmp_path):
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": [null]}')
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(MeasurementError, match="the name of its base model is no text; save the adapter again"):
        with_adapter(None, str(tmp_path), "m")


@pytest.mark.parametrize("what", ["crash", "two lines"])
def test_a_planted_fault_is_found(tmp_path, capsys, what):
    spec = importlib.util.spec_from_file_location("fuzz_readers", SCRIPT)
    fuzz = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # its dataclass looks itself up there
    spec.loader.exec_module(fuzz)

    def read(folder: Path) -> None:
        if (folder / "a.json").read_bytes() != b'{"a": 1}':
            raise KeyError("b") if what == "crash" else fuzz.DataError("one\ntwo")

    assert fuzz.search("planted", fuzz.Reader([{"a.json": b'{"a": 1}'}], read), 0.001, tmp_path, seed=0) == 1
    assert ("KeyError at" if what == "crash" else "2 lines: DataError") in capsys.readouterr().out
    assert (tmp_path / "planted-1" / "a.json").is_file()
