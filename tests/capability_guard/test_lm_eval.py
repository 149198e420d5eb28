"""Real files of lm-evaluation-harness go through the gate. tests/lm_eval/README.md says how they were made."""

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capability_guard.cli import main
from capability_guard.formats import read_measurement
from capability_guard.gate import compare_files
from capability_guard.gate.reports import html
from capability_guard.gate.rule import judge
from capability_guard.gate.terminal import show
from capability_guard.jsonl import DataError
from capability_guard.measurement import MeasurementError

REAL = Path(__file__).parent / "lm_eval"


def results(folder: Path) -> Path:
    return next(folder.glob("results_*.json"))


@pytest.fixture
def copies(tmp_path):
    """Copies of the harness's output for the baseline and the reckless model, to change."""
    return [shutil.copytree(REAL / name, tmp_path / name) for name in ("base", "reckless")]


def edit(path: Path, change) -> None:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def test_every_output_type_is_read():
    found = read_measurement(results(REAL / "base"))
    kinds = {row.capability: row for row in found.rows}
    assert len(found.rows) == 58 and not found.means and found.model == "base-model"
    choice = next(row for row in found.rows if row.capability == "course_capitals")
    assert (choice.prompt, choice.answer, choice.said) == ("What is the capital of France?", "Paris.", "Paris.")
    assert choice.measure == "choice" and len(choice.choices) == 4 and choice.right is True
    assert kinds["course_sums"].measure == "exact" and kinds["course_sums"].said == kinds["course_sums"].answer
    text = next(row for row in found.rows if row.capability == "course_everyday")
    assert text.loss == pytest.approx(66.49896240234375 / 10) and text.right is None
    assert found.settings["course_sums"] == "version 1.0, 0-shot, exact_match, filter stripped"
    assert found.settings["course_capitals"] == "version 1.0, 0-shot, acc_norm, filter none"


@pytest.mark.parametrize(("candidate", "code", "word"), [("reckless", 1, "REGRESSED"), ("careful", 0, "PASSED")])
def test_the_gate_compares_them_pair_by_pair(capsys, tmp_path, candidate, code, word):
    rules = ["--max-drop", "15", "--max-loss-rise", "0.2", "--html", str(tmp_path / "r.html")]
    assert main(["gate", str(REAL / "base"), str(REAL / candidate), *rules]) == code
    said = capsys.readouterr().out
    assert word in said and "course_capitals" in said and "unpaired" not in said


def test_the_gate_agrees_with_the_harness_on_every_score():
    for name in ("base", "reckless", "careful"):
        scores = json.loads(results(REAL / name).read_text())["results"]
        rows = read_measurement(REAL / name).rows
        for task, score in (("course_sums", "exact_match,stripped"), ("course_capitals", "acc_norm,none")):
            right = [row.right for row in rows if row.capability == task]
            assert sum(right) / len(right) == pytest.approx(scores[task][score])


def test_a_metric_and_a_filter_can_be_chosen(copies):
    base, reckless = copies
    for folder in copies:
        edit(results(folder), lambda data: [data["results"].pop(t) for t in ("course_capitals", "course_everyday")])
    found = read_measurement(reckless, "exact_match,number")
    strict = read_measurement(reckless)
    assert (
        found.settings["course_sums"].endswith("exact_match, filter number")
        and len(found.rows) == len(strict.rows) == 24
    )
    assert sum(row.right for row in found.rows) > sum(row.right for row in strict.rows), (
        "the number alone is right more often"
    )
    with pytest.raises(MeasurementError, match="has no 0-or-1 metric 'bleu'; it has exact_match"):
        read_measurement(base, "bleu")


def test_without_samples_the_comparison_is_not_paired_and_says_so(copies):
    for folder, right in zip(copies, (0.81, 0.55), strict=True):
        for samples in folder.glob("samples_*"):
            samples.unlink()

        def change(data, right=right):
            data["results"].pop("course_everyday")
            for scores in data["results"].values():
                for name in list(scores):
                    if "," in name:
                        scores[name] = 0.02 if "_stderr" in name else right

        edit(results(folder), change)
    decision = judge(*map(read_measurement, copies))
    assert decision.word == "regressed"
    assert [row.name for row in decision.comparisons] == ["course_sums (unpaired)", "course_capitals (unpaired)"]
    assert "course_sums has no samples" in " ".join(decision.notes) and decision.comparisons[0].probes == 24


def test_a_perplexity_without_samples_is_refused(copies):
    for samples in copies[0].glob("samples_*"):
        samples.unlink()
    with pytest.raises(
        MeasurementError, match="no score from 0 to 1 for 'course_everyday', and no samples; evaluate with"
    ):
        read_measurement(copies[0])


def test_a_group_is_not_counted_beside_its_tasks(copies):
    def group(data):
        data["results"]["course"] = {"alias": "course", "acc,none": 0.5, "acc_stderr,none": 0.1}
        data["group_subtasks"] = {"course": ["course_sums", "course_capitals"], "course_sums": []}

    edit(results(copies[0]), group)
    assert {row.capability for row in read_measurement(copies[0]).rows} == {
        "course_sums",
        "course_capitals",
        "course_everyday",
    }


def test_what_was_run_differently_does_not_pair(copies):
    edit(results(copies[1]), lambda data: data["n-shot"].update(course_sums=5))
    with pytest.raises(
        MeasurementError, match="course_sums is version 1.0, 0-shot.* in the baseline and version 1.0, 5-shot"
    ):
        judge(*map(read_measurement, copies))


def test_a_limited_run_does_not_pair_with_a_whole_one(copies):
    samples = next(copies[1].glob("samples_course_sums*"))
    samples.write_text("\n".join(samples.read_text().splitlines()[2:]) + "\n")
    with pytest.raises(MeasurementError, match="missing from the candidate"):
        judge(*map(read_measurement, copies))


def test_of_a_folder_the_newest_results_are_taken(copies):
    old = results(copies[0])
    newer = old.with_name("results_2999-01-01T00-00-00.000000.json")
    shutil.copy(old, newer)
    edit(newer, lambda data: data.update(model_name="newer", results={"a": {"acc,none": 0.5, "acc_stderr,none": 0.1}}))
    assert read_measurement(copies[0].parent / "base").model == "newer"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda folder: results(folder).write_text('{"results": {"a": 3}}'), "not what lm-evaluation-harness writes"),
        (lambda folder: results(folder).write_text('{"results": {}}'), "without probes"),
        (lambda folder: results(folder).unlink(), "a folder without a results_"),
        (lambda folder: next(folder.glob("samples_course_sums*")).write_text("{"), "line 1: not JSON"),
        (
            lambda folder: next(folder.glob("samples_course_sums*")).write_text('{"doc_id": 0}'),
            "not what lm-evaluation",
        ),
        (lambda folder: next(folder.glob("samples_course_sums*")).write_text(""), "has no rows"),
    ],
)
def test_damaged_results_are_one_sentence_and_exit_2(copies, capsys, change, says):
    change(copies[1])
    assert main(["gate", str(REAL / "base"), str(copies[1])]) == 2
    printed = capsys.readouterr()
    assert says in printed.out and "Traceback" not in printed.out + printed.err


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text(max_size=5),
    lambda x: st.lists(x, max_size=2) | st.dictionaries(st.text(max_size=5), x, max_size=2),
    max_leaves=4,
)


@settings(max_examples=80, deadline=None)
@given(
    st.data(), st.sampled_from(["results", "samples_course_sums", "samples_course_capitals", "samples_course_everyday"])
)
def test_no_change_to_the_files_makes_a_crash(tmp_path_factory, data, which):
    """One value somewhere is replaced. Then it is refused in one sentence, or compared like any other."""
    folder = shutil.copytree(REAL / "reckless", tmp_path_factory.mktemp("changed") / "r")
    path = next(folder.glob(f"{which}_2*"))
    lines = path.read_text().splitlines() if which != "results" else [path.read_text()]
    content = json.loads(lines[0])
    place = content
    while isinstance(place, (dict, list)) and place:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else [0, len(place) - 1]))
        if not isinstance(place[key], (dict, list)) or not place[key] or data.draw(st.integers(0, 3)) == 0:
            place[key] = data.draw(anything)
            break
        place = place[key]
    path.write_text("\n".join([json.dumps(content), *lines[1:]]))
    try:
        decision = compare_files(REAL / "base", folder)
    except (MeasurementError, DataError) as error:
        assert "\n" not in str(error)
    else:
        show(decision)
        html(decision)
