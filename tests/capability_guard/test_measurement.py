"""A measurement survives its file, and a file that is no sound measurement is one sentence."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capability_guard.jsonl import DataError
from capability_guard.measurement import Mean, Measurement, MeasurementError, Row, read_json
from capability_guard.measuring import measure
from capability_guard.probes import Probe

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
rows = st.builds(
    Row, prompt=text, answer=text, capability=text.filter(str.strip), right=st.booleans(), said=text,
    loss=st.none() | st.floats(allow_nan=False, allow_infinity=False), choices=st.lists(text, max_size=3).map(tuple),
    measure=st.sampled_from(["exact", "contains", "choice"]),
)  # fmt: skip


def small(**changes) -> dict:
    """A measurement of one probe, as its file has it."""
    one = Measurement("m", (Row("What is 2+2?", "4.", "sums", right=True, loss=0.5, said="4."),))
    return {
        **json.loads(json.dumps({"schema": 1, "fingerprint": one.fingerprint, **vars(one)}, default=vars)),
        **changes,
    }


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(rows, min_size=1, max_size=6), st.none() | text, st.booleans())
def test_a_measurement_comes_back_as_it_was(tmp_path, listed, adapter, chat):
    saved = Measurement(
        "my model", listed, adapter=adapter, chat=chat, notes=("mind",), means=(Mean("arc", 0.5, 0.01, 9),)
    )
    assert Measurement.load(saved.save(tmp_path / "m.json")) == saved
    assert len(saved.keyed()) == len(listed), "a probe that is asked twice is two rows"
    assert Measurement("other", listed[::-1]).fingerprint == saved.fingerprint, "neither order nor answers count"


names = st.sampled_from(["schema", "rows", "model", "prompt", "loss", "means", "fingerprint"]) | text
odd = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | text,
    lambda x: st.lists(x, max_size=3) | st.dictionaries(names, x, max_size=4),
    max_leaves=8,
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(odd)
def test_whatever_else_is_in_the_file_is_one_sentence(tmp_path, data):
    path = tmp_path / "odd.json"
    path.write_text(json.dumps(data))
    with pytest.raises(MeasurementError) as error:
        Measurement.load(path)
    assert "\n" not in str(error.value) and str(path) in str(error.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"{", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[1]", "no measurement"),
        (small(schema=2), "has schema 2, and this version reads up to 1; update it, or measure again"),
        (small(schema="1"), "has schema '1', which is none"),
        (small(extra=1), "unknown field 'extra'"),
        (small(rows=[{"prompt": "?"}]), "not a whole measurement"),
        (small(rows=[]), "without probes"),
        (small(fingerprint="0" * 16), "was changed after it was measured"),
        (small(rows=[{**small()["rows"][0], "loss": float("nan")}]), "probe 1: loss is nan; it must be a finite number"),
        (small(rows=[{**small()["rows"][0], "loss": float("inf")}]), "it must be a finite number"),
        (small(rows=[{**small()["rows"][0], "right": 1}]), "right is 1; it must be true, false or null"),
        (small(rows=[{**small()["rows"][0], "right": None}]), "says neither right nor wrong"),
        (small(rows=[{**small()["rows"][0], "measure": "vibes"}]), "measure is 'vibes'"),
        (small(rows=[{**small()["rows"][0], "said": 3}]), "must be text"),
        (small(rows=[{**small()["rows"][0], "prompt": "\ud800"}]), "holds half a character"),
        (small(rows=[{**small()["rows"][0], "measure": "x" * 5000}]), "it must be one of exact, contains, choice, loss"),
        (small(means=[{"name": "arc", "value": float("nan"), "error": 0.1}]), "both must be from 0 to 1"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used_says_why(tmp_path, content, says):
    path = tmp_path / "bad.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    with pytest.raises(MeasurementError, match=None) as error:
        Measurement.load(path)
    assert says in str(error.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(MeasurementError, match=r"nowhere\.json cannot be read \(No such file or directory\)"):
        read_json(tmp_path / "nowhere.json")


def test_every_kind_of_probe_is_measured_and_quoted(practice):
    model, tokenizer = practice
    probes = [
        Probe("What is 14+1?", "15.", "sums"),
        Probe("What is 18+1?", "20.", "sums"),
        Probe("What is 14+1?", "15", "said", measure="contains"),
        Probe("What is 14+1?", "16", "said", measure="contains"),
        Probe("What is 14+1?", "15.", "picked", measure="choice", choices=("15.", "16.")),
        Probe("What is 14+1?", "16.", "picked", measure="choice", choices=("15.", "16.")),
        Probe("", "Close the door, please.", "texts", measure="loss"),
    ]
    found = measure(model, tokenizer, probes, name="practice")
    assert [row.right for row in found.rows] == [True, False, True, False, True, False, None]
    assert [row.said for row in found.rows[:2]] == ["15.", "19."]
    assert [row.said.startswith("15.") for row in found.rows[2:4]] == [True, True]
    assert [row.said for row in found.rows[4:]] == ["15.", "15.", ""]
    assert all(row.loss > 0 for row in found.rows) and found.versions["torch"] and found.name == "practice"
    assert [row.choices for row in found.rows[4:6]] == [("15.", "16.")] * 2


def test_a_wrong_answer_near_the_end_of_the_context_is_quoted_as_far_as_there_is_room(practice):
    model, tokenizer = practice
    prompt = "What is 2+2?" + " Well?" * 40
    while len(tokenizer(prompt).input_ids) > model.config.max_position_embeddings - 6:
        prompt = prompt[:-1]
    row = measure(model, tokenizer, [Probe(prompt, "no.", "long")]).rows[0]
    assert row.right is False and len(tokenizer(row.said).input_ids) <= 12


def test_no_probes_is_refused(practice):
    with pytest.raises(DataError, match="no probes"):
        measure(*practice, [])


def test_outcomes_that_are_there_already_make_a_measurement():
    probes = [Probe("a", "1", "x"), Probe("b", "2", "x")]
    made = Measurement.of(probes, [True, False], [0.1, 2.0], model="mine")
    assert [(row.right, row.loss, row.said) for row in made.rows] == [(True, 0.1, "1"), (False, 2.0, "")]


@pytest.mark.training
@pytest.mark.skipif(os.name == "nt", reason="Windows has no kill -9")
def test_a_kill_in_the_middle_of_a_write_loses_nothing(tmp_path, root):
    """A child writes a large measurement over and over, and is killed while its draft is growing."""
    path = tmp_path / "m.json"
    first = Measurement("old", [Row("q", "a", "x", right=True, said="s")])
    first.save(path)
    code = (
        "import sys; from capability_guard.measurement import Measurement, Row\n"
        "rows = [Row(f'question {i}', 'a', 'x', right=True, said='word ' * 40) for i in range(40_000)]\n"
        "while True: Measurement('new', rows).save(sys.argv[1])"
    )
    caught = 0
    for _ in range(3):
        child = subprocess.Popen([sys.executable, "-c", code, str(path)], cwd=root)
        draft, deadline = tmp_path / f".m.json.{child.pid}.tmp", time.monotonic() + 120
        while not (draft.exists() and draft.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.001)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        caught += draft.exists()
        assert Measurement.load(path).model in ("old", "new")
    assert caught, "no kill fell into a write, so nothing was tested"
    assert Measurement.load(first.save(path)) == first, "what is left of the killed writes does not disturb the next"
