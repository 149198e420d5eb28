"""The history of a gate: a line for each version, none for a retry, and its trend in the reports."""

import json
import random
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from capability_guard.cli import main
from capability_guard.gate.history import note, read
from capability_guard.gate.rule import UNSURE, Decision, judge
from capability_guard.jsonl import DataError
from capability_guard.measurement import Measurement, Row


def measured(name: str, known: int, adapter: str | None = None) -> Measurement:
    rows = [
        Row(f"{i}?", "yes", "sums" if i < 60 else "capitals", right=i < known or i >= 60, loss=0.1) for i in range(120)
    ]
    texts = [Row("", f"text {i}", "prose", "loss", loss=2.0 + i / 100 + (60 - known) / 1000) for i in range(60)]
    return Measurement(name, rows + texts, adapter=adapter)


BASE = measured("base", 60)


@pytest.fixture
def history(tmp_path):
    return tmp_path / "history.jsonl"


def test_a_line_a_version_and_none_for_a_retry(history):
    for version, known in enumerate((60, 59, 40)):
        note(history, judge(BASE, measured("tuned", known)))
        assert len(read(history)) == version + 1
    before = history.read_bytes()
    again = replace(measured("tuned", 59), measured="2030-01-01T00:00:00+00:00", seconds=99.0, machine="another")
    sums = note(history, judge(BASE, again))[1]
    assert history.read_bytes() == before, "measured again, with the same result: the same version"
    assert (sums.name, sums.values) == ("capitals", (100.0, 100.0)), "up to that version, and not the one after it"
    assert [entry["verdict"] for entry in read(history)] == ["passed", "passed", "regressed"]
    note(history, judge(BASE, again, max_drop=1))
    assert [entry["verdict"] for entry in read(history)] == ["passed", "cannot certify", "regressed"], (
        "judged anew, in its place"
    )
    note(history, judge(BASE, measured("tuned", 59, adapter="other")))
    assert len(read(history)) == 4, "another adapter with the same outcomes is another version"


def test_nothing_compared_is_no_version(history):
    assert note(history, Decision(UNSURE, "base.json is not JSON.")) == [] and not history.exists()


def test_other_probes_are_another_trend(history):
    note(history, judge(BASE, measured("tuned", 59)))
    fewer = [replace(side, rows=side.rows[:-1]) for side in (BASE, measured("later", 58))]
    (trend,) = (one for one in note(history, judge(*fewer)) if one.name == "sums")
    assert trend.values == (pytest.approx(100 * 58 / 60, abs=1e-3),)
    assert len(read(history)) == 2


@pytest.mark.parametrize(
    "line", ['{"schema": 1}', "no json", '{"prompt": "a", "answer": "b", "capability": "c"}', "[]"]
)
def test_a_file_that_is_no_history_is_left_alone(history, line):
    history.write_text(line + "\n")
    with pytest.raises(DataError, match=r"history.jsonl, line 1: "):
        note(history, judge(BASE, measured("tuned", 59)))
    assert history.read_text() == line + "\n"


@pytest.mark.parametrize(
    ("name", "value"),
    [("verdict", {}), ("candidate", "\ud800"), ("lines", [{"name": "sums", "unit": "points", "word": []}])],
)
def test_one_odd_value_in_a_line_is_one_sentence(history, name, value):
    note(history, judge(BASE, measured("tuned", 59)))
    history.write_text(json.dumps(read(history)[0] | {name: value}) + "\n")
    with pytest.raises(DataError, match=r"history.jsonl, line 1: ") as error:
        note(history, judge(BASE, measured("tuned", 59)))
    assert "\n" not in str(error.value)


def test_a_reader_never_sees_half_a_line(history):
    """It is read as often as can be while it is written."""
    torn = []

    def look(times: int) -> None:
        for _ in range(times):
            if history.exists() and not all(json.loads(line) for line in history.read_text().splitlines()):
                torn.append(1)

    with ThreadPoolExecutor() as pool:
        looking = pool.submit(look, 300)
        for known in random.Random(0).sample(range(61), 6):
            note(history, judge(BASE, measured("tuned", known)))
        looking.result()
    assert (
        not torn and len(read(history)) == 6 and [file.name for file in history.parent.iterdir()] == ["history.jsonl"]
    )


# --- In the reports ---------------------------------------------------------------------------------------------
@pytest.fixture
def desk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    BASE.save("base.json")
    for name, known in (("one", 60), ("two", 58), ("three", 40)):
        measured(name, known).save(f"{name}.json")
    return tmp_path


def test_the_reports_draw_the_trend(desk):
    reports = ["--history", "history.jsonl", "--html", "r.html", "--markdown", "r.md"]
    codes = [main(["gate", "base.json", f"{name}.json", *reports]) for name in ("one", "two", "three", "three")]
    assert codes == [0, 2, 1, 1]
    page, text = ((desk / name).read_text(encoding="utf-8") for name in ("r.html", "r.md"))
    assert 'aria-label="sums over the versions: 100.0 → 96.7 → 66.7 %."' in page
    drawn = page[page.index("Over the versions") :]
    (sums,) = re.findall(r'aria-label="sums over.*?</svg>', drawn, re.DOTALL)
    heights = [float(y) for y in re.findall(r'<circle cx="[\d.]+%" cy="([\d.]+)%"', sums)]
    assert heights == sorted(heights) and heights[0] == 12 and heights[-1] == 88, "what is lost goes down"
    assert sums.count('fill="var(--accent)"') == 1, "one of the three passed by itself"
    assert "| sums | █▇▁ | 100.0 → 96.7 → 66.7 % |" in text
    assert "prose over the versions: 2.295 → 2.297 → 2.315." in page


def test_of_several_the_best_is_the_version(desk):
    reports = ["--history", "history.jsonl", "--html", "r.html", "--markdown", "r.md"]
    assert main(["gate", "base.json", "one.json", "three.json", "--informational", "prose", *reports]) == 0
    assert [entry["candidate"] for entry in read("history.jsonl")] == ["one"]
    assert "Over the versions" in (desk / "r.html").read_text() and "Over the versions" in (desk / "r.md").read_text()


def test_without_a_history_there_is_no_trend(desk):
    assert main(["gate", "base.json", "one.json", "--html", "r.html", "--markdown", "r.md"]) == 0
    assert "Over the versions" not in (desk / "r.html").read_text() + (desk / "r.md").read_text()


def test_what_is_no_history_is_refused(desk, capsys):
    assert main(["gate", "base.json", "one.json", "--history", "two.json"]) == 2
    assert "two.json, line 1:" in capsys.readouterr().err
    assert Measurement.load("two.json").model == "two"
    assert main(["gate", "base.json", "one.json", "--history", "base.json/history.jsonl"]) == 2
    assert "cannot be" in capsys.readouterr().err
