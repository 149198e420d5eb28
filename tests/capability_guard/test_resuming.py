"""A `measure` that was stopped goes on where it was, and says how far it is."""

import io
import json
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

import capability_guard.measuring
from capability_guard import load_model, measure
from capability_guard.cli.progress import Progress, in_words
from capability_guard.identity import checksums
from capability_guard.in_parts import MOST_PROBES, parts_of
from capability_guard.measurement import Measurement
from capability_guard.probes import load_probes, save_probes
from utils.training.data import REPERTOIRE
from utils.training.models import PRACTICE

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def probes():
    return load_probes(REPERTOIRE)[:240]


@pytest.fixture
def stopped(probes, tmp_path, monkeypatch):
    """A run that is stopped in its second part: (the file of its answers, how many parts were asked since)."""
    original, asked = capability_guard.measuring._answers, []

    def stops(model, tokenizer, tokens):
        if asked == [1]:
            asked.append(2)
            raise KeyboardInterrupt
        asked.append(1)
        return original(model, tokenizer, tokens)

    monkeypatch.setattr(capability_guard.measuring, "_answers", stops)
    keep = tmp_path / "r.json.answers"
    with pytest.raises(KeyboardInterrupt):
        measure(*load_model(PRACTICE), probes, keep=keep)
    asked.clear()
    asked.append(0)
    return keep, asked


def test_it_goes_on_where_it_was_stopped(stopped, probes):
    keep, asked = stopped
    done = len(json.loads(keep.read_text())["answers"])
    assert 0 < done < len(probes)
    told = []
    model, tokenizer = load_model(PRACTICE)
    resumed = measure(model, tokenizer, probes, keep=keep, each=lambda *far: told.append(far))
    parts = len(parts_of(probes, 384))
    assert asked == [0, *[1] * (parts - 1)] and told[0][0] == done and told[-1] == (240, 240, 1.0)
    assert resumed.rows == measure(model, tokenizer, probes).rows and not keep.exists(), "as if it had not been stopped"


def test_answers_of_other_weights_probes_or_ways_of_asking_are_not_taken_up(stopped, probes):
    keep, asked = stopped
    parts = len(parts_of(probes, 384))
    kept = keep.read_text()
    model, tokenizer = load_model(PRACTICE)
    other = load_model(PRACTICE)[0]
    with torch.no_grad():
        other.transformer.h[1].mlp.c_fc.weight[3, 5] += 1e-4
    differing = [
        ((other, tokenizer, probes), {}),
        ((model, tokenizer, probes[::-1]), {}),
        ((model, tokenizer, probes), {"max_new_tokens": 8}),
    ]
    for given, how in differing:
        keep.write_text(kept)
        asked[:] = [0]
        measure(*given, keep=keep, **how)
        assert len(asked) == 1 + parts, "all of them"


@pytest.mark.parametrize("content", ["", "{", '{"key": "x", "answers": [1]}', "\x00"])
def test_answers_that_are_damaged_are_none(tmp_path, probes, content):
    keep = tmp_path / "r.json.answers"
    keep.write_text(content)
    assert len(measure(*load_model(PRACTICE), probes[:5], keep=keep).rows) == 5 and not keep.exists()


def test_a_model_that_diverged_leaves_no_answers(tmp_path, probes):
    from capability_guard.measurement import MeasurementError

    model, tokenizer = load_model(PRACTICE)
    with torch.no_grad():
        model.transformer.ln_f.weight.fill_(3e38)
    with pytest.raises(MeasurementError, match="diverged"):
        measure(model, tokenizer, probes, keep=tmp_path / "r.json.answers")
    assert not list(tmp_path.iterdir())


def test_parts_hold_each_probe_once(probes):
    for tokens in (64, 384, 10**6):
        parts = parts_of(probes, tokens)
        assert sorted(i for part in parts for i in part) == list(range(len(probes)))
        assert max(map(len, parts)) <= MOST_PROBES


def test_a_weight_on_disk_counts_as_it_is():
    where = {"transformer.wte": "cpu", "transformer.wpe": "cpu", "transformer.ln_f": "cpu", "lm_head": "cpu",
             **{f"transformer.h.{i}": "cpu" if i else "disk" for i in range(4)}}  # fmt: skip
    assert sorted(checksums(load_model(PRACTICE, device_map=where)[0])) == sorted(checksums(load_model(PRACTICE)[0]))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_killed_for_real(tmp_path, probes):
    """The whole command, killed as soon as it has kept something."""
    save_probes(probes, tmp_path / "p.jsonl")
    command = [
        sys.executable,
        "-m",
        "capability_guard",
        "measure",
        "--model",
        PRACTICE,
        "--probes",
        "p.jsonl",
        "--out",
        "r.json",
    ]
    first = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 300
    while not (tmp_path / "r.json.answers").exists() and first.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.wait()
    if (tmp_path / "r.json").exists():
        pytest.skip("it was done before it could be killed")
    kept = json.loads((tmp_path / "r.json.answers").read_text())
    shutil.copy(tmp_path / "r.json.answers", tmp_path / "copy")
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert again.returncode == 0, again.stderr
    assert f"{len(kept['answers'])} of 240 probes were answered before the last run was stopped" in again.stderr
    assert len(Measurement.load(tmp_path / "r.json").rows) == 240 and not (tmp_path / "r.json.answers").exists()


# --- How far it is -------------------------------------------------------------------------------------------------
class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_shows_one_line_and_clears_it():
    clock, stream = iter([0.0, 10.0, 40.0]), Terminal()
    say = Progress(stream, lambda: next(clock))
    for far in ((0, 100, 0.0), (10, 100, 0.25), (100, 100, 1.0)):
        say(*far)
    assert stream.getvalue().split("\r\x1b[K") == ["", "0 of 100 probes", "10 of 100 probes, 30 s left", ""]


def test_a_log_gets_a_line_now_and_then():
    clock, stream = iter([0.0, 10.0, 31.0, 40.0, 62.0, 90.0]), io.StringIO()
    say = Progress(stream, lambda: next(clock))
    for far in ((20, 100, 0.2), (30, 100, 0.3), (50, 100, 0.5), (60, 100, 0.6), (80, 100, 0.8), (100, 100, 1.0)):
        say(*far)
    assert stream.getvalue().splitlines() == [
        "20 of 100 probes were answered before the last run was stopped, and are not asked again.",
        "50 of 100 probes, 52 s left",
        "80 of 100 probes, 21 s left",
    ]


def test_a_short_run_says_nothing_in_a_log():
    stream = io.StringIO()
    say = Progress(stream, lambda: 0.0)
    say(0, 9, 0.0)
    say(9, 9, 1.0)
    assert stream.getvalue() == ""


def test_times_in_words():
    assert [in_words(x) for x in (0.2, 89, 95, 3000, 7800)] == ["1 s", "89 s", "2 min", "50 min", "2 h 10 min"]
