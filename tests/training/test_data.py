"""The data files hold what the course says of them, and the loader names each fault."""

import json
import re
import subprocess
import sys
from collections import Counter
from difflib import SequenceMatcher

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capability_guard.jsonl import DataError, load_jsonl
from capability_guard.probes import Probe, live_subset, load_probes, read_probes
from utils.training.data import DATA, QUESTIONS, REPERTOIRE, everyday_texts, load_task, replay_texts

NOTE = re.compile(r"z|[\^_]?[A-Ga-g][,']?")
LENGTH = re.compile(r"(\d+)?(?:/(\d+))?")


@pytest.fixture(scope="module")
def rows():
    return [row for file in sorted((DATA / "repertoire").glob("*.jsonl")) for row in load_jsonl(file, ("prompt",))]


@pytest.fixture(scope="module")
def corpus():
    return {row["text"] for row in load_jsonl(DATA / "corpus.jsonl", ("text", "group"))}


def test_repertoire_has_the_promised_size_and_capabilities(rows):
    assert 400 <= len(rows) <= 800
    assert {row["capability"] for row in rows} == {
        "arithmetic",
        "capitals",
        "elements",
        "opposites",
        "how-to",
        "melodies",
    }
    assert Counter(row["kind"] for row in rows).keys() == {"known", "rephrased", "held-out"}


def test_the_three_questions_are_measured():
    asked = {probe.prompt for probe in load_probes(REPERTOIRE)}
    assert set(QUESTIONS) <= asked


def test_each_kind_is_what_it_says(rows, corpus):
    """known: the very text was trained on. rephrased: this text was not, the fact was. held-out: no wording was."""
    for row in rows:
        text = f"{row['prompt']} {row['answer']}"
        assert (text in corpus) == (row["kind"] == "known"), text
    sums = {tuple(sorted(map(int, m.groups()))) for text in corpus if (m := re.search(r"(\d+)\+(\d+)\?", text))}
    for row in rows:
        if row["capability"] == "arithmetic":
            pair = tuple(sorted(map(int, re.search(r"(\d+)\+(\d+)", row["prompt"]).groups())))
            assert (pair in sums) == (row["kind"] != "held-out"), row["prompt"]
            assert row["answer"] == f"{sum(pair)}."


def test_replay_is_known_and_never_measured(corpus):
    replay = replay_texts()
    assert len(replay) >= 100 and set(replay) <= corpus
    assert not set(replay) & {probe.text for probe in load_probes(REPERTOIRE)}
    pieces = {re.search(r"Play (.+), part", text).group(1) for text in replay if text.startswith("Play")}
    measured = {
        re.search(r"Play (.+), part", p.prompt).group(1) for p in load_probes(REPERTOIRE) if p.capability == "melodies"
    }
    assert pieces and measured and not pieces & measured, "a piece is either replayed or measured, never both"


def test_melodies_are_notes_and_long_enough(rows):
    beats = Counter()
    for row in rows:
        if row["capability"] == "melodies":
            name = re.search(r"Play (.+), part", row["prompt"]).group(1)
            for token in row["answer"].split():
                head = NOTE.match(token)
                assert head, f"{token!r} in {name}"
                length = LENGTH.fullmatch(token[head.end() :])
                assert length, f"{token!r} in {name}"
                beats[name] += int(length.group(1) or 1) / int(length.group(2) or 1)
    assert len(beats) >= 10
    assert min(beats.values()) >= 8, beats


def test_customer_service_holds_out_dialogues_of_its_own():
    task = load_task("customer_service")
    train, held_out = list(task["train"]["text"]), list(task["held_out"]["text"])
    assert len(train) >= 60 and len(held_out) >= 20

    def said(text):  # what differs from dialogue to dialogue: not the names, the opening and the closing
        return re.sub(r"Customer:|Agent: Thank you for asking\.|Please tell me if you need more help\.", "", text)

    for text in held_out:
        nearest = max(train, key=lambda other: SequenceMatcher(None, said(text), said(other)).ratio())
        assert SequenceMatcher(None, said(text), said(nearest)).ratio() < 0.75, (text, nearest)
    everything = " ".join(train).lower()
    assert all(topic in everything for topic in ("subscription", "password", "return"))


def test_everyday_held_out_was_never_trained_on(corpus):
    assert len(everyday_texts()) == 64 and not set(everyday_texts()) & corpus


def test_jazz_riff_has_variations():
    task = load_task("jazz_riff")
    assert len(set(task["train"]["text"])) >= 16 and not set(task["train"]["text"]) & set(task["held_out"]["text"])


def test_building_again_gives_the_same_bytes(tmp_path):
    (tmp_path / "build").mkdir()
    for file in (DATA / "build").glob("*.py"):
        (tmp_path / "build" / file.name).write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
    subprocess.run([sys.executable, "build/build_data.py"], cwd=tmp_path, check=True, capture_output=True)
    built = sorted(file.relative_to(tmp_path) for file in tmp_path.rglob("*.jsonl"))
    measured = {".build", "claims", "sweeps"}  # what runs gave, not what was written
    files = (file.relative_to(DATA) for file in DATA.rglob("*.jsonl"))
    assert built == sorted(file for file in files if not measured & set(file.parts))
    for file in built:
        assert (tmp_path / file).read_text(encoding="utf-8") == (DATA / file).read_text(encoding="utf-8"), file


def test_live_subset_is_fixed_and_keeps_the_mix():
    probes = load_probes(REPERTOIRE)
    chosen = live_subset(probes, 64)
    assert len(chosen) == 64 == len(set(chosen)) and chosen == live_subset(probes, 64)
    whole, part = Counter(p.capability for p in probes), Counter(p.capability for p in chosen)
    for name, count in whole.items():
        assert abs(part[name] - 64 * count / len(probes)) <= 1.5
    assert live_subset(probes, 10_000) == probes


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ('{"prompt": "a", "answer": "b"}', "line 1: the field 'capability' is missing"),
        ('{"prompt": "a", "answer": "b", "capability": "c"}\n{"prompt": ', "line 2: not JSON"),
        ('["a"]', "line 1: a row is an object"),
        ('{"prompt": "a", "answer": "  ", "capability": "c"}', "'answer' is '  '"),
        ('{"prompt": 3, "answer": "b", "capability": "c"}', "'prompt' is 3"),
        ('{"prompt": "a", "answer": "b", "capability": "c", "kind": "odd"}', "kind is 'odd'"),
        ('{"prompt": "a", "answer": "b", "capability": "c", "use": "odd"}', "use is 'odd'"),
        ('{"prompt": "a", "answer": "b", "capability": "c"}\n' * 2, "again"),
        ("\n\n", "has no rows"),
        ('{"prompt": "a", "answer": "b", "capability": "c", "measure": "odd"}', "line 1: measure is 'odd'"),
        (
            '\n{"prompt": "a", "answer": "b", "capability": "c", "measure": "choice"}',
            "line 2: the answer 'b' must be one of",
        ),
        (
            '{"prompt": "a", "answer": "b", "capability": "c", "measure": "choice", "choices": ["b", "b"]}',
            "two different choices",
        ),
        ('{"prompt": "a", "answer": "b", "capability": "c", "measure": "choice", "choices": "b"}', "choices is 'b'"),
        ('{"prompt": "a", "answer": "b", "capability": "c", "choices": ["b", "d"]}', 'write "measure": "choice"'),
        ('{"prompt": "a", "answer": "b", "capability": "c", "measure": "loss"}', "the field 'text' is missing"),
        (
            '{"prompt": "a", "answer": "b", "capability": "c", "measures": "loss"}',
            "a field 'measures'; did you mean 'measure'?",
        ),
        ('{"prompt": "a", "answer": "\\ud800", "capability": "c"}', "'answer' holds half a character"),
        (
            '{"prompt": "a", "answer": "b", "capability": "c", "measure": "choice", "choices": ["b", "\\ud800"]}',
            "'choices' holds half a character",
        ),
        ('{"prompt": ' + "1" * 5000 + "}", "line 1: Exceeds the limit"),
    ],
)
def test_a_fault_names_file_line_and_what_is_wrong(tmp_path, content, fault):
    file = tmp_path / "probes.jsonl"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(DataError) as error:
        read_probes(file)
    assert fault in str(error.value) and "probes.jsonl" in str(error.value) and "\n" not in str(error.value)


def test_what_a_table_leaves_open_is_left_out(tmp_path):
    file = tmp_path / "probes.jsonl"
    file.write_text(
        '{"prompt": "a\u2028b", "answer": "c", "capability": "d ", "measure": null, "choices": null, "id": 7}', "utf-8"
    )
    assert read_probes(file) == [Probe("a\u2028b", "c", "d")]


def test_a_probe_in_two_files_is_refused(tmp_path):
    for name in ("one", "two"):
        (tmp_path / f"{name}.jsonl").write_text('{"prompt": "a", "answer": "b", "capability": "c"}', "utf-8")
    with pytest.raises(DataError, match=r"two\.jsonl asks 'a' again, as .*one\.jsonl does"):
        load_probes(tmp_path)


def test_a_missing_file_and_a_wrong_encoding_are_one_sentence(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_probes(tmp_path / "none.jsonl")
    (tmp_path / "latin.jsonl").write_bytes(b'{"prompt": "caf\xe9"}')
    with pytest.raises(DataError, match="UTF-8"):
        read_probes(tmp_path / "latin.jsonl")
    with pytest.raises(DataError, match="neither a task"):
        load_task("no_such_task")


def test_a_text_in_both_splits_is_refused(tmp_path):
    for split in ("train", "held_out"):
        (tmp_path / f"{split}.jsonl").write_text('{"text": "the same"}', encoding="utf-8")
    with pytest.raises(DataError, match="in train and in held_out"):
        load_task(tmp_path)


WORDS = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), min_size=1, max_size=20)


@settings(max_examples=50)
@given(st.lists(st.tuples(WORDS, WORDS, WORDS), min_size=1, max_size=8, unique_by=lambda row: row[0]))
def test_what_is_written_is_what_is_read(tmp_path_factory, rows):
    file = tmp_path_factory.mktemp("probes") / "p.jsonl"
    lines = [json.dumps({"prompt": p, "answer": a, "capability": c}, ensure_ascii=False) for p, a, c in rows]
    file.write_text("\n".join(lines), encoding="utf-8")
    assert read_probes(file) == [Probe(p.strip(), a.strip(), c) for p, a, c in rows]


def test_null_is_nothing_in_every_field(tmp_path):
    row = {"prompt": "a", "answer": "b", "capability": "c", "kind": None, "choices": None, "use": None}
    (tmp_path / "probes.jsonl").write_text(json.dumps(row), encoding="utf-8")
    assert len(load_probes(tmp_path / "probes.jsonl")) == 1
