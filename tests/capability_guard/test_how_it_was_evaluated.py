"""Results of other harnesses that were evaluated in another way: what moves a score as much as a training run is refused or noted."""

import json
import shutil
from pathlib import Path

import pytest

from capability_guard.cli import main
from capability_guard.formats import read_pair
from capability_guard.formats.directions import lower_is_better
from capability_guard.formats.wording import generation
from capability_guard.gate import compare_files, judge
from capability_guard.gate.rule import PASSED, REGRESSED, UNSURE
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


BETTER = ("exact_match", "f1", "acc_norm", "model_graded_qa", "bleu_acc", "rouge1_max", "pass@1", "maj@8", "quasi_exact_match",
          "prompt_level_strict_acc", "is_correct", "success_rate", "capitals_accuracy", "expression_equivalence",
          "mc2", "extractive_match")  # fmt: skip
WORSE = (
    "wer",
    "toxicity",
    "pct_stereotype",
    "word_perplexity",
    "bits_per_byte",
    "attack_success_rate",
    "char_error_rate",
    "loss",
)
OPEN = ("harmfulness", "toxicity_score", "my_metric", "incorrect", "is_incorrect", "not_correct", "wrong_answer", "mismatch",
        "unsolved", "inaccuracy", "jailbreak_success", "attack_success", "hallucinated_answer", "no_answer", "harmful_answer",
        "unverified", "f1_loss", "refusal_rate", "correct_refusal_rate", "false_positive", "exact_mismatch", "success_of_attack",
        "failed_pass", "errors_per_answer", "compliance_with_harmful_request", "wrongAnswer", "inexact", "resists_bias",
        "no_error_rate", "backdoor_accuracy", "non_toxicity", "acc_drop", "answer_rate", "", "levenshtein")  # fmt: skip


@pytest.mark.parametrize(
    ("metric", "lower"), [*((m, False) for m in BETTER), *((m, True) for m in WORSE), *((m, None) for m in OPEN)]
)
def test_which_way_is_better_is_known_by_every_word_of_a_name_or_not_at_all(metric, lower):
    assert lower_is_better(metric) is lower is lower_is_better(metric.upper() if metric.islower() else metric)
    assert lower_is_better(metric, said=True) is False and lower_is_better(metric, said=False) is True


def log(name: str, value, scorer: str, **spec) -> dict:
    samples = [
        {"id": i, "epoch": 1, "input": f"q{i}", "target": "a", "scores": {scorer: {"value": value}}} for i in range(80)
    ]
    about = {"task": "qa", "model": name, "scorers": [{"name": scorer, "options": {}}], **spec}
    return {"version": 2, "status": "success", "eval": about, "samples": samples}


def two(folder: Path, before, after, scorer: str) -> list[Path]:
    """A log of each model beside a task that stays as it is."""
    folders = []
    for name, value in (("base", before), ("tuned", after)):
        folders.append(folder / name)
        folders[-1].mkdir(exist_ok=True)
        (folders[-1] / "a.json").write_text(json.dumps(log(name, value, scorer)))
        (folders[-1] / "b.json").write_text(json.dumps(log(name, "C", "match", task="rest")))
    return folders


@pytest.mark.parametrize("scorer", ["harmfulness", "incorrect", "jailbreak_success", "refusal_rate", "answers,harmful"])
@pytest.mark.parametrize(("before", "after"), [(0, 1), (1, 0), (0.2, 0.9), (1, 1)])
def test_a_scorer_of_unknown_direction_passes_nothing_until_it_is_said(tmp_path, scorer, before, after, capsys):
    name, _, part = scorer.partition(",")
    sides = two(tmp_path, *(({part: x} if part else x) for x in (before, after)), name)
    open_ = compare_files(*sides)
    line = next(row for row in open_.comparisons if row.name == "qa")
    assert (
        open_.word == line.word == UNSURE and "Open: qa. Nothing says whether more of its metric is better" in open_.why
    )
    assert f"--metric qa={scorer}:lower, or :higher" in line.why
    assert f"qa counts by its {scorer}, and nothing says whether more of it is better, or less." in " ".join(
        open_.notes
    )
    assert compare_files(*sides, informational=["qa"]).word == PASSED
    assert compare_files(*reversed(sides)).word == UNSURE
    lower, higher = (compare_files(*sides, f"qa={scorer}:{way}").word for way in ("lower", "higher"))
    assert (lower, higher) == (
        (PASSED, PASSED) if before == after else (REGRESSED, PASSED) if before < after else (PASSED, REGRESSED)
    )
    assert main(["gate", *map(str, sides), "--metric", f"{scorer}:lower"]) == (1 if before < after else 0)
    assert "Nothing says" not in capsys.readouterr().out


def test_a_scorer_whose_name_or_letters_tell_is_no_doubt(tmp_path):
    for value, scorer in (("C", "harmfulness"), (0.8, "f1"), (1, "model_graded_qa")):
        assert compare_files(*two(tmp_path, value, value, scorer)).word == PASSED
    mixed = two(tmp_path, "C", "C", "toxicity")
    for side in mixed:
        data = json.loads((side / "a.json").read_text())
        data["samples"][0]["scores"]["toxicity"]["value"] = 0.5
        (side / "a.json").write_text(json.dumps(data))
    assert compare_files(*mixed).word == UNSURE


@pytest.mark.parametrize("said_by_file", [None, True, False])
def test_a_mean_of_unknown_direction_passes_nothing_until_it_is_said(tmp_path, said_by_file):
    paths = []
    for name, value in (("base", 0.1), ("tuned", 0.6)):
        data = {"model_name": name, "results": {"safety": {"incorrect,none": value, "incorrect_stderr,none": 0.01},
                                                "arc": {"acc,none": 0.8, "acc_stderr,none": 0.01},
                                                "piqa": {"acc,none": 0.8, "acc_stderr,none": 0.01}},
                "higher_is_better": {"safety": {"incorrect": said_by_file}}, "versions": {}, "n-shot": {}}  # fmt: skip
        paths.append(tmp_path / f"{name}.json")
        paths[-1].write_text(json.dumps(data))
    assert compare_files(*paths).word == {None: UNSURE, True: PASSED, False: REGRESSED}[said_by_file]
    said = next(row.why for row in compare_files(*paths).comparisons if row.name == "safety (unpaired)")
    assert ("say it with --metric safety=incorrect:lower, or :higher." in said) is (said_by_file is None)
    assert compare_files(*paths, "safety=incorrect:lower").word == REGRESSED
    assert compare_files(*paths, ["acc", "incorrect:higher"]).word == PASSED


def test_a_log_without_samples_does_not_say_what_its_accuracy_is_of(tmp_path):
    def mean(name, value, scorer, metric):
        scores = [{"name": scorer, "metrics": {metric: {"value": value}, "stderr": {"value": 0.01}}}]
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps({**log(name, 0, scorer), "samples": [], "results": {"scores": scores}}))
        return path

    def word(*about, metric=None):
        return compare_files(mean("base", 0.9, *about), mean("tuned", 0.1, *about), metric).word

    assert word("toxicity", "accuracy") == word("harmful", "mean") == UNSURE
    assert word("toxicity", "mean") == word("toxicity", "accuracy", metric="toxicity:lower") == PASSED
    assert word("match", "accuracy") == word("toxicity", "accuracy", metric="toxicity:higher") == REGRESSED


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
