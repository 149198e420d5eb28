"""Results of other harnesses that were evaluated in another way: what moves a score as much as a training run is refused or noted."""

import json
import shutil
from pathlib import Path

import pytest

from capability_guard.formats import read_pair
from capability_guard.formats.metrics import more_is_better
from capability_guard.formats.wording import generation
from capability_guard.gate import compare_files, judge
from capability_guard.gate.rule import PASSED
from capability_guard.measurement import MeasurementError

REAL = Path(__file__).parent
TASK, KEPT = "course_sums", "course_capitals"


@pytest.fixture
def copies(tmp_path):
    """The output of lm-evaluation-harness for one model twice, to change."""
    return [shutil.copytree(REAL / "lm_eval" / "base", tmp_path / name) for name in ("base", "tuned")]


def edit(folder: Path, change) -> None:
    (path,) = folder.glob("results_*.json")
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def config(data: dict) -> dict:
    return data["configs"][TASK]


REFUSED = {
    "more room": lambda d: config(d)["generation_kwargs"].update(max_gen_toks=256),
    "another end": lambda d: config(d)["generation_kwargs"].update(until=[".", "\n"]),
    "drawn at random": lambda d: config(d)["generation_kwargs"].update(do_sample=True, temperature=0.7),
    "case ignored": lambda d: config(d)["metric_list"][0].update(ignore_case=True),
    "a wider filter": lambda d: config(d)["filter_list"][0]["filter"].insert(0, {"function": "regex", "regex_pattern": "\\d"}),
    "fewer questions": lambda d: d["n-samples"][TASK].update(effective=20),
    "more examples": lambda d: d["n-shot"].update({TASK: 5}),
    "another version": lambda d: d["versions"].update({TASK: 2.0}),
    "less is better": lambda d: d["higher_is_better"][TASK].update(exact_match=False),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_a_task_that_was_evaluated_otherwise_is_refused(copies, kind):
    edit(copies[1], REFUSED[kind])
    with pytest.raises(MeasurementError) as refused:
        judge(*read_pair(*copies))
    assert "measure both alike" in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(("change", "says"), [
    (lambda d: d.update(max_length=4096), "with room for texts of different length (128 and 4096)"),
    (lambda d: d["config"]["model_args"].update(add_bos_token=True, max_length=64), "with different arguments of the model"),
    (lambda d: d["config"]["model_args"].update(pretrained="tuned", peft="adapter"), ""),
])  # fmt: skip
def test_what_may_move_a_few_answers_is_noted(copies, change, says):
    edit(copies[0], lambda d: d["config"]["model_args"].update(add_bos_token=False))
    edit(copies[1], lambda d: (d["config"]["model_args"].update(add_bos_token=False), change(d)))
    notes = judge(*read_pair(*copies), informational=["course_everyday"]).notes
    assert any(says in note for note in notes) and (says or not any("arguments" in note for note in notes))


def test_settings_of_generation_that_change_nothing_are_no_difference(copies):
    edit(copies[1], lambda d: config(d)["generation_kwargs"].update(temperature=0.0, num_beams=1, seed=3, top_p=1.0))
    assert judge(*read_pair(*copies), informational=["course_everyday"]).word != "regressed"
    assert (
        generation({"do_sample": True, "max_gen_toks": 1, "temperature": 1, "n": None})
        == ", do_sample true, max_gen_toks 1, temperature 1"
    )
    assert generation(None) == generation([]) == ""


def test_lighteval_that_generated_otherwise_is_refused(tmp_path):
    folders = [shutil.copytree(REAL / "lighteval" / "base", tmp_path / name) for name in ("base", "tuned")]
    (path,) = folders[1].rglob("results_*.json")
    plain = json.loads(path.read_text())
    for change in (lambda d: d["config_general"]["model_config"]["generation_parameters"].update(temperature=0.7),
                   lambda d: d["config_tasks"]["course:sums|0"].update(generation_size=64),
                   lambda d: d["config_tasks"]["course:sums|0"].update(stop_sequence=["."])):  # fmt: skip
        data = json.loads(json.dumps(plain))
        change(data)
        path.write_text(json.dumps(data))
        with pytest.raises(MeasurementError, match="course:sums.*measure both alike"):
            judge(*read_pair(*folders))


# --- Scales and directions -----------------------------------------------------------------------------------
def results(folder: Path, name: str, values, metric="f1", lower=False) -> Path:
    """One task with samples of one metric."""
    folder = folder / name
    folder.mkdir()
    date = "2026-01-02T03-04-05.123456"
    data = {"results": {"qa": {f"{metric},none": sum(values) / len(values)}}, "configs": {"qa": {}}, "versions": {"qa": 1},
            "n-shot": {"qa": 0}, "higher_is_better": {"qa": {metric: not lower}}, "model_name": name,
            "group_subtasks": {"qa": []}}  # fmt: skip
    (folder / f"results_{date}.json").write_text(json.dumps(data))
    rows = [{"doc_id": i, "target": "a", "arguments": [[f"q{i}", ""]], "filtered_resps": ["a"], "filter": "none", "metrics": [metric],
             metric: value} for i, value in enumerate(values)]  # fmt: skip
    (folder / f"samples_qa_{date}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.mark.parametrize(("before", "after", "lower"), [
    ([0.9] * 80, [30.0] * 80, False),  # 90 % fell to 30 %, and the unit of the file changed
    ([5.0, 12.0] * 40, [0.9] * 80, True),  # of errors: 8 % rose to 90 %
    ([0.9] * 80, [0.3] * 80, False), ([90.0] * 80, [30.0] * 80, False), ([90.0] * 80, [0.3] * 80, False),
    ([0.05, 0.1] * 40, [90.0] * 80, True), ([90.0, 20.0] * 40, [0.0] * 80, False),
])  # fmt: skip
def test_another_unit_hides_no_loss(tmp_path, before, after, lower):
    metric = "wer" if lower else "f1"
    try:
        decision = compare_files(
            *(results(tmp_path, name, values, metric, lower) for name, values in (("base", before), ("tuned", after)))
        )
    except MeasurementError as error:
        assert "in per cent" in str(error) and "\n" not in str(error)
    else:
        assert decision.word == "regressed"


@pytest.mark.parametrize(("metric", "known"), [
    ("exact_match", True), ("f1", True), ("acc_norm", True), ("model_graded_qa", True),
    ("harmfulness", False), ("toxicity_score", False), ("my_metric", False), ("wer", False),
])  # fmt: skip
def test_which_way_is_better_is_known_or_said(metric, known):
    assert more_is_better(metric) is known


def log(name: str, value, scorer: str, **spec) -> dict:
    samples = [
        {"id": i, "epoch": 1, "input": f"q{i}", "target": "a", "scores": {scorer: {"value": value}}} for i in range(80)
    ]
    about = {"task": "qa", "model": name, "scorers": [{"name": scorer, "options": {}}], **spec}
    return {"version": 2, "status": "success", "eval": about, "samples": samples}


def test_a_scorer_of_unknown_direction_is_noted(tmp_path):
    def notes(value, scorer):
        for name in ("base", "tuned"):
            (tmp_path / f"{name}.json").write_text(json.dumps(log(name, value, scorer)))
        return " ".join(compare_files(tmp_path / "base.json", tmp_path / "tuned.json").notes)

    said = "qa counts by its harmfulness: nothing says whether more of it is better, and it is taken to be."
    assert said in notes(0.8, "harmfulness") and "nothing says" not in notes("C", "harmfulness") + notes(0.8, "f1")


@pytest.mark.parametrize("theirs", [{"scorers": [{"name": "match", "options": {"location": "any"}}]},
                                    {"scorers": [{"name": "match", "options": {"ignore_case": True}}]},
                                    {"model_roles": {"grader": {"model": "a-kinder-model"}}}])  # fmt: skip
def test_a_scorer_that_is_set_otherwise_is_refused(tmp_path, theirs):
    ours = {
        "scorers": [{"name": "match", "options": {"location": "begin"}}],
        "model_roles": {"grader": {"model": "a-model"}},
    }
    for name, spec in (("base", ours), ("tuned", {**ours, **theirs}), ("same", ours)):
        (tmp_path / f"{name}.json").write_text(json.dumps(log(name, "C", "match", **spec)))
    with pytest.raises(MeasurementError, match="measure both alike"):
        compare_files(tmp_path / "base.json", tmp_path / "tuned.json")
    assert compare_files(tmp_path / "base.json", tmp_path / "same.json").word == PASSED
