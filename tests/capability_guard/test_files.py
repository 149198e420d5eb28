"""Files as other programs save them, and rows as other data sets write them."""

import codecs
import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capability_guard.files import read_text, write_whole
from capability_guard.jsonl import DataError
from capability_guard.measurement import Measurement, Row
from capability_guard.probes import load_probes

ROW = '{"prompt": "What is 2+2?", "answer": "4.", "capability": "sums"}'
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_probes_and_measurements_are_read_however_they_were_saved(tmp_path, encoding, end):
    (tmp_path / "p.jsonl").write_bytes((ROW + end).encode(encoding))
    assert load_probes(tmp_path / "p.jsonl")[0].answer == "4."
    text = (
        Measurement("m", [Row("Caf\u00e9?", "4.", "sums", right=True)])
        .save(tmp_path / "m.json")
        .read_text(encoding="utf-8")
    )
    (tmp_path / "again.json").write_bytes(text.replace("\n", end).encode(encoding))
    assert Measurement.load(tmp_path / "again.json").rows[0].prompt == "Caf\u00e9?"


def test_what_is_no_text_is_one_sentence(tmp_path):
    for data in (b"\xff\xff\xfe", codecs.BOM_UTF16_LE + b"\x00", b"\x80abc"):
        (tmp_path / "p.jsonl").write_bytes(data)
        with pytest.raises(DataError) as refused:
            load_probes(tmp_path / "p.jsonl")
        assert "\n" not in str(refused.value)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_probes_or_one_sentence(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("bytes") / "p.jsonl"
    path.write_bytes(data)
    try:
        assert load_probes(path)
    except DataError as error:
        assert str(error).count("\n") == 0


def test_text_is_what_it_was(tmp_path):
    for encoding in ENCODINGS:
        (tmp_path / "t").write_bytes('{"a": "\u6771\u4eac"}'.encode(encoding))
        assert read_text(tmp_path / "t") == '{"a": "\u6771\u4eac"}'


TURNS = [{"role": "user", "content": "What is 2+2?"}, {"role": "assistant", "content": "4."}]
FOREIGN = {
    "messages": {"messages": TURNS},
    "sharegpt": {"conversations": [{"from": "human", "value": "What is 2+2?"}, {"from": "gpt", "value": "4."}]},
    "instruction": {"instruction": "What is 2+2?", "input": "", "output": "4."},
    "question": {"question": "What is 2+2?", "answer": "4.", "source": "book"},
    "completion": {"prompt": "What is 2+2?", "completion": "4."},
    "response": {"prompt": "What is 2+2?", "response": "4."},
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_rows_of_other_data_sets_are_probes(tmp_path, kind):
    (tmp_path / "sums.jsonl").write_text(json.dumps(FOREIGN[kind]))
    probe = load_probes(tmp_path / "sums.jsonl")[0]
    assert (probe.prompt, probe.answer, probe.capability) == ("What is 2+2?", "4.", "sums")


def test_an_input_stands_below_its_instruction_and_fields_are_kept(tmp_path):
    row = {"instruction": "Add.", "input": "2+2", "output": "4", "capability": "maths", "measure": "contains"}
    (tmp_path / "sums.jsonl").write_text(json.dumps(row))
    probe = load_probes(tmp_path / "sums.jsonl")[0]
    assert (probe.prompt, probe.capability, probe.measure) == ("Add.\n2+2", "maths", "contains")


@pytest.mark.parametrize(("turns", "says"), [
    ([{"role": "system", "content": "Be short."}, *TURNS], "has system, user, assistant; a probe is one question.*--system"),
    ([*TURNS, *TURNS], "has user, assistant, user, assistant"), ([], "has no turns"),
    ([{"role": "tool", "content": "x"}], "has the turn"),
    (["hello"], "has the turn"), ([{"role": "user", "content": [{"type": "image"}]}], "has the turn"),
])  # fmt: skip
def test_a_conversation_that_is_no_probe_says_what_it_has(tmp_path, turns, says):
    (tmp_path / "p.jsonl").write_text(json.dumps({"messages": turns}))
    with pytest.raises(DataError, match=says):
        load_probes(tmp_path / "p.jsonl")


@pytest.mark.parametrize("nothing", [0, 0.0, False, "", [], None])
def test_choices_that_are_none_are_none(tmp_path, nothing):
    """Tables write all sorts of things where there is nothing."""
    (tmp_path / "p.jsonl").write_text(json.dumps({**json.loads(ROW), "choices": nothing}))
    assert load_probes(tmp_path / "p.jsonl")[0].choices == ()


def test_a_row_that_is_nothing_known_says_what_is_missing(tmp_path):
    (tmp_path / "p.jsonl").write_text('{"foo": "bar"}')
    with pytest.raises(DataError, match="line 1: the field 'prompt' is missing"):
        load_probes(tmp_path / "p.jsonl")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes on Windows")
def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path):
    """A report may go to another program; a file in its place would leave that waiting, and of a device nothing."""
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    for place in (pipe, link):
        with ThreadPoolExecutor(1) as pool:
            read = pool.submit(pipe.read_text, encoding="utf-8")
            assert write_whole(place, "passed\n") == place
            assert read.result(timeout=60) == "passed\n"
    assert stat.S_ISFIFO(pipe.stat().st_mode) and link.is_symlink()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["link", "pipe"]
    assert write_whole(os.devnull, "passed\n") and not os.path.isfile(os.devnull)
