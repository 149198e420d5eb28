"""What is doubtful about a sound probe set is said: by ``probes``, by ``measure``, and in the gate's notes."""

import json

import pytest

from capability_guard.cli import main
from capability_guard.doubts import asked_again, doubts
from capability_guard.folders import left_out
from capability_guard.gate import judge
from capability_guard.jsonl import DataError
from capability_guard.measurement import Measurement, Row
from capability_guard.probes import Probe, load_probes
from utils.training.data import REPERTOIRE
from utils.training.models import PRACTICE

ROW = {"prompt": "What is 2+2?", "answer": "4.", "capability": "sums"}
DOUBTFUL = [
    ROW, {**ROW, "prompt": "what is  2+2"}, {**ROW, "prompt": "What is 7+6?", "answer": "13"},
    {**ROW, "prompt": "Is the capital of Italy Rome or Milan?", "answer": "Rome", "measure": "contains"},
]  # fmt: skip
SAID = (
    "1 of 3 exact answers has no end, as '13'",
    "stands in its own question, as 'Rome' in",
    "1 probe asks what another does but for case, spaces or punctuation, as 'what is  2+2'",
)


def lines(*rows) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_the_command_and_the_measurement_say_the_same(tmp_path, capsys):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "p.jsonl").write_text(lines(*DOUBTFUL))
    (tmp_path / "set" / "more.json").write_text(json.dumps([ROW]))
    assert main(["probes", str(tmp_path / "set")]) == 0
    said = capsys.readouterr().out
    out = tmp_path / "m.json"
    assert main(["measure", "--model", str(PRACTICE), "--probes", str(tmp_path / "set"), "--out", str(out)]) == 0
    shown, notes = capsys.readouterr().out, " ".join(Measurement.load(out).notes)
    for sentence in (*SAID, "1 file that looks like probes was left out (more.json)"):
        assert sentence in said and sentence in shown
        assert sentence in notes or sentence == SAID[0], (
            "that an answer has no end is no news in each report of the gate"
        )


def test_a_set_without_doubts_has_none():
    ended = [probe for probe in load_probes(REPERTOIRE) if probe.capability != "melody"]
    assert (
        left_out(REPERTOIRE) == [] == [x for x in doubts(load_probes(REPERTOIRE)) if "no end" not in x]
        and len(ended) > 200
    )
    assert doubts([Probe("", "Water boils.", "prose", measure="loss")]) == []


@pytest.mark.parametrize(("one", "other", "same"), [
    ("What is 2+2?", "what is 2+2", True), ("What is 2+2?", "What is 2-2?", False), ("What is 22?", "What is 2.2?", False),
    ("Name a colour.", " name a  COLOUR !", True), ("Wer ist \u201eGoethe\u201c?", "Wer ist \u201eGoethe\u201c", True),
    ("Is it (hot)?", "Is it hot", True), ("What is C?", "What is C++?", False), ("x" * 2000, "X" * 2000, False),
])  # fmt: skip
def test_what_asks_the_same(one, other, same):
    assert bool(asked_again([Probe(one, "4.", "c"), Probe(other, "4.", "c")])) is same


def test_another_answer_choice_or_capability_is_another_question():
    for other in (Probe("co?", "Carbon monoxide.", "c"), Probe("Co?", "Cobalt.", "d")):
        assert not asked_again([Probe("Co?", "Cobalt.", "c"), other])
    picks = [Probe("Which?", "a", "c", measure="choice", choices=("a", x)) for x in ("b", "d")]
    assert not asked_again(picks)


def test_the_gate_notes_it_of_any_file_once():
    rows = [Row(prompt, "4.", "c", right=True) for prompt in ("2+2?", "2+2", *(f"q{i}" for i in range(60)))]
    sides = [Measurement(name, rows, notes=tuple(doubts(rows))) for name in ("a", "b")]
    assert sum("asks what another does" in note for note in judge(*sides).notes) == 1


# --- A folder of probes --------------------------------------------------------------------------------------
def test_jsonl_is_read_whatever_its_case_and_what_is_left_out_is_named(tmp_path):
    (tmp_path / "A.JSONL").write_text(lines(ROW))
    (tmp_path / "b.jsonl").write_text(lines({**ROW, "prompt": "3+3?"}))
    assert len(load_probes(tmp_path)) == 2 and left_out(tmp_path) == []
    (tmp_path / "sub").mkdir()
    files = {"c.json": json.dumps([ROW]), "d.ndjson": lines(ROW), "sub/e.jsonl": lines(ROW), "g.txt": "notes on the probes",
             "f.json": json.dumps({"schema": 1, "rows": []}), "h.json": "{", "i.json": "", "j.json": "[]", "k.json": "[[1]]",
             "l.json": json.dumps([{"instruction": "Add.", "output": "4."}])}  # fmt: skip
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    named = "c.json, d.ndjson, l.json, sub/e.jsonl"
    assert left_out(tmp_path) == [
        f"4 files that look like probes were left out ({named}): only *.jsonl directly in the folder are read."
    ]


def test_a_folder_with_nothing_else_says_so_in_one_sentence(tmp_path):
    (tmp_path / "probes.json").write_text(json.dumps([ROW]))
    with pytest.raises(DataError) as refused:
        load_probes(tmp_path)
    assert (
        "has no rows" in str(refused.value)
        and "was left out (probes.json)" in str(refused.value)
        and "\n" not in str(refused.value)
    )
