"""Files of lm-evaluation-harness go through the gate. lm_eval/README.md says how the real ones were made."""

import json
import math
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capability_guard.cli import main
from capability_guard.formats import read_measurement, read_pair
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
    assert found.settings["course_sums"].startswith(
        'version 1.0, 0-shot, exact_match, filter stripped, max_gen_toks 8, until ["\\n"], rules '
    )
    assert found.settings["course_capitals"] == "version 1.0, 0-shot, acc_norm, filter none"


@pytest.mark.parametrize(("candidate", "code", "word"), [("reckless", 1, "REGRESSED"), ("careful", 0, "PASSED")])
def test_the_gate_compares_them_pair_by_pair(capsys, tmp_path, candidate, code, word):
    # Ten texts are too few to certify, and are only shown.
    rules = [
        "--max-drop",
        "15",
        "--max-loss-rise",
        "0.2",
        "--informational",
        "course_everyday",
        "--html",
        str(tmp_path / "r.html"),
    ]
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
    assert "exact_match, filter number," in found.settings["course_sums"] and len(found.rows) == len(strict.rows) == 24
    assert sum(row.right for row in found.rows) > sum(row.right for row in strict.rows), (
        "the number alone is right more often"
    )
    with pytest.raises(MeasurementError, match="has no metric 'bleu'; it has exact_match"):
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
    single = [row for row in decision.comparisons if row.name.endswith("(unpaired)")]
    assert [row.name for row in single] == ["course_sums (unpaired)", "course_capitals (unpaired)"]
    assert "course_sums has no samples" in " ".join(decision.notes) and single[0].probes == 24


def test_a_perplexity_without_samples_is_left_out_and_said_so(copies):
    for samples in copies[0].glob("samples_*"):
        samples.unlink()
    found = read_measurement(copies[0])
    assert {mean.name for mean in found.means} == {"course_sums", "course_capitals"}
    assert "course_everyday is left out: it has no samples, and no score from 0 to 1" in " ".join(found.notes)
    edit(results(copies[0]), lambda data: [data["results"].pop(t) for t in ("course_capitals", "course_sums")])
    with pytest.raises(
        MeasurementError, match="nothing to compare: course_everyday is left out: it has no samples, and no score"
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
    with pytest.raises(MeasurementError, match="course_sums is 0-shot in the baseline and 5-shot in the candidate"):
        judge(*map(read_measurement, copies))


def test_a_limited_run_does_not_pair_with_a_whole_one(copies):
    samples = next(copies[1].glob("samples_course_sums*"))
    samples.write_text("\n".join(samples.read_text().splitlines()[2:]) + "\n")
    with pytest.raises(MeasurementError, match="missing from the candidate"):
        judge(*map(read_measurement, copies))


def test_of_a_folder_the_newest_results_of_each_task_are_taken(copies):
    old = results(copies[0])
    newer = old.with_name("results_2999-01-01T00-00-00.000000.json")
    shutil.copy(old, newer)
    scores = {"course_sums": {"exact_match,stripped": 0.5, "exact_match_stderr,stripped": 0.1}}
    edit(newer, lambda data: data.update(results=scores))
    found = read_measurement(copies[0])
    assert [mean.name for mean in found.means] == ["course_sums"] and found.means[0].value == 0.5
    assert {row.capability for row in found.rows} == {"course_capitals", "course_everyday"}
    assert (
        f"{newer.name} (course_sums)" in found.notes[0]
        and f"{old.name} (course_capitals, course_everyday)" in found.notes[0]
    )


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


@pytest.mark.training
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


# --- As the harness writes them, made here: older layouts, several runs, metrics of every kind --------------------------------
DAY, LATER = "2026-01-02T03-04-05.123456", "2026-01-02T04-04-05.123456"


def question(n: int, filter="none", **metrics) -> dict:
    """A sample of a multiple choice."""
    return {
        "doc_id": n, "doc": {}, "target": "1", "arguments": [[f"q{n}", " yes"], [f"q{n}", " no"]], "resps": [],
        "filtered_resps": [[-1.0, True], [-2.0, False]], "filter": filter, "metrics": list(metrics), **metrics,
    }  # fmt: skip


def old(sample: dict) -> dict:
    """The sample as it was before November 2024."""
    return {name: value for name, value in sample.items() if name not in ("filter", "metrics")}


def some(rate: float, metric: str = "acc", n: int = 200) -> list[dict]:
    return [question(i, **{metric: float(i < rate * n)}) for i in range(n)]


def folder_of(folder: Path, tasks: dict, day: str = DAY, model: str = "m", better: dict | None = None, **more) -> Path:
    """tasks: {task: (scores, samples or None)}. better: {task: {metric: whether higher is better}}."""
    folder.mkdir(parents=True, exist_ok=True)
    data = {
        "results": {task: {"alias": task, **scores} for task, (scores, _) in tasks.items()},
        "group_subtasks": {task: [] for task in tasks}, "versions": {task: 1.0 for task in tasks},
        "configs": {task: {} for task in tasks}, "n-shot": {task: 0 for task in tasks}, "higher_is_better": better or {},
        "n-samples": {task: {"original": len(x or []), "effective": len(x or [])} for task, (_, x) in tasks.items()},
        "model_name": model, "date": 1767323045.0, "lm_eval_version": "0.4.9", "chat_template": None, **more,
    }  # fmt: skip
    (folder / f"results_{day}.json").write_text(json.dumps(data))
    for task, (_, samples) in tasks.items():
        if samples is not None:
            (folder / f"samples_{task}_{day}.jsonl").write_text(
                "".join(json.dumps(sample) + "\n" for sample in samples)
            )
    return folder


def decide(baseline: Path, candidate: Path, metric=None, **rules):
    return judge(*read_pair(baseline, candidate, metric), **rules)


@pytest.mark.parametrize("version", ["v0.4.2", "v0.4.5"])
def test_real_files_of_older_versions_are_read(version):
    base, reckless = REAL / version / "base", REAL / version / "reckless"
    found = read_measurement(reckless)
    assert found.model == "reckless-model" and len(found.rows) == 24 and not found.means
    sums = [row.right for row in found.rows if row.capability == "course_sums"]
    assert (
        sum(sums) / len(sums)
        == json.loads(next(reckless.glob("results*.json")).read_text())["results"]["course_sums"][
            "exact_match,stripped"
        ]
    )
    assert "course_sums counts by its exact_match under the filter stripped, not number" in " ".join(found.notes)
    assert ", filter number" in read_measurement(reckless, ["course_sums=exact_match,number"]).settings["course_sums"]
    decision = decide(base, reckless, critical=["course_everyday"])
    assert decision.word == "regressed"


def test_samples_without_filter_and_metrics_are_read(tmp_path):
    """Before November 2024 (lm-evaluation-harness PR 2517)."""
    sides = []
    for name, rate in (("base", 0.8), ("tuned", 0.6)):
        samples = [
            old({**question(i, acc=float(i < rate * 300)), "acc_norm": float(i < rate * 300)}) for i in range(300)
        ]
        scores = {"acc,none": rate, "acc_stderr,none": 0.02, "acc_norm,none": rate, "acc_norm_stderr,none": 0.02}
        sides.append(folder_of(tmp_path / name, {"arc_easy": (scores, samples)}, model=name))
    decision = decide(*sides)
    assert decision.word == "regressed" and decision.comparisons[0].drop == pytest.approx(20)
    assert "unpaired" not in decision.comparisons[0].name


def test_old_samples_of_two_filters_are_told_apart_by_their_order(tmp_path):
    both = [old(question(i, exact_match=x)) for x in (0.0, 1.0) for i in range(30)]
    scores = {"exact_match,strict-match": 0.0, "exact_match,flexible-extract": 1.0}
    folder = folder_of(tmp_path, {"gsm8k": (scores, both)})
    assert not any(row.right for row in read_measurement(folder).rows)
    assert all(row.right for row in read_measurement(folder, "gsm8k=exact_match,flexible-extract").rows)
    folder_of(tmp_path, {"gsm8k": (scores, both[:-1])})
    assert "gsm8k is compared by its mean, not pair by pair: its samples do not say their filter" in " ".join(
        read_measurement(folder).notes
    )


@pytest.mark.parametrize(
    ("rates", "word"), [((0.5, 0.95), "regressed"), ((0.9, 0.5), "passed"), ((0.6, 0.95), "regressed")]
)
@pytest.mark.parametrize("said", [True, False])
@pytest.mark.parametrize("samples", [True, False])
def test_of_a_metric_of_which_less_is_better_a_rise_is_a_loss(tmp_path, rates, word, said, samples):
    """crows_pairs: pct_stereotype, lower is better (lm-evaluation-harness issue 760). Old files do not say so."""
    sides = []
    for name, rate in zip(("base", "tuned"), rates, strict=True):
        rows = [question(i, likelihood_diff=1.5 + i % 3, pct_stereotype=float(i < rate * 200)) for i in range(200)]
        scores = {
            "likelihood_diff,none": 2.0,
            "likelihood_diff_stderr,none": 0.1,
            "pct_stereotype,none": rate,
            "pct_stereotype_stderr,none": 0.02,
        }
        better = {"crows_pairs": {"likelihood_diff": False, "pct_stereotype": False}} if said else {}
        sides.append(
            folder_of(tmp_path / name, {"crows_pairs": (scores, rows if samples else None)}, model=name, better=better)
        )
    decision = decide(*sides)
    assert decision.word == word
    assert decision.comparisons[0].before == pytest.approx(100 * (1 - rates[0]))
    assert "pct_stereotype, of which less is better: a rise is a loss" in " ".join(decision.notes)


def test_the_configuration_says_which_way_is_better_where_the_results_do_not(tmp_path):
    configs = {"mine": {"metric_list": [{"metric": "badness", "higher_is_better": False}]}}
    folder = folder_of(tmp_path, {"mine": ({"badness,none": 0.25}, some(0.25, "badness"))}, configs=configs)
    rows = read_measurement(folder).rows
    assert sum(row.right for row in rows) / len(rows) == 0.75


def test_a_task_of_shares_blocks_no_other(tmp_path):
    """truthfulqa_mc2: its acc is a share for each question (lm-evaluation-harness issue 1340)."""
    sides = []
    for name, rate, share in (("base", 0.9, 0.5), ("tuned", 0.5, 0.3)):
        mc2 = [question(i, acc=share + (i % 7 - 3) / 20) for i in range(300)]
        mean = sum(sample["acc"] for sample in mc2) / 300
        tasks = {
            "arc_easy": ({"acc,none": rate, "acc_stderr,none": 0.02}, some(rate)),
            "truthfulqa_mc2": ({"acc,none": mean, "acc_stderr,none": 0.015}, mc2),
        }
        sides.append(folder_of(tmp_path / name, tasks, model=name))
    decision = decide(*sides)
    lines = {row.name: row for row in decision.comparisons}
    assert decision.word == "regressed" and lines["arc_easy"].drop == pytest.approx(40)
    assert lines["truthfulqa_mc2"].drop == pytest.approx(20, abs=0.01) and lines["truthfulqa_mc2"].word == "regressed"
    for side in sides:  # and where only the other task has samples
        (side / f"samples_truthfulqa_mc2_{DAY}.jsonl").unlink()
    assert decide(*sides).word == "regressed"
    assert decide(*sides, informational=["truthfulqa_mc2"]).word == "regressed"


@pytest.mark.parametrize(
    "score", [[1, 7.5], [0.5, -0.1], ["a", "b"], [[1, 0], [0, 0]], [None, None], [float("nan")] * 2]
)
def test_a_metric_that_says_nothing_leaves_its_task_out_and_no_other(tmp_path, score):
    samples = [question(i, odd=x) for i, x in enumerate(score)]
    tasks = {"arc": ({"acc,none": 0.5}, some(0.5)), "odd_one": ({"odd,none": 7.5}, samples)}
    found = read_measurement(folder_of(tmp_path, tasks))
    assert {row.capability for row in found.rows} == {"arc"} and not found.means
    assert "odd_one is left out: of its samples, no metric says how right an answer is" in " ".join(found.notes)


def test_a_metric_of_the_whole_task_is_compared_by_its_mean(tmp_path):
    """CoLA's correlation has [truth, answer] for each question, and BLEU the two texts."""
    tasks = {
        "cola": ({"mcc,none": 0.4, "mcc_stderr,none": 0.03}, [question(i, mcc=[i % 2, 1]) for i in range(20)]),
        "wmt": ({"bleu,none": 31.0, "bleu_stderr,none": 1.5}, [question(i, bleu=["a", "b"]) for i in range(20)]),
    }
    means = {mean.name: mean for mean in read_measurement(folder_of(tmp_path, tasks)).means}
    assert (
        means["cola"].value == 0.4
        and means["wmt"].value == pytest.approx(0.31)
        and means["wmt"].error == pytest.approx(0.015)
    )


def test_a_score_from_0_to_100_is_divided_by_100_and_said_so(tmp_path):
    sides = [
        folder_of(
            tmp_path / name,
            {"gen": ({"rouge1_max,none": mean}, [question(i, rouge1_max=mean + i % 5 - 2) for i in range(60)])},
        )
        for name, mean in (("base", 60.0), ("tuned", 40.0))
    ]
    decision = decide(*sides)
    assert decision.word == "regressed" and decision.comparisons[0].drop == pytest.approx(20)
    assert "gen has its rouge1_max from 0 to 100; it is divided by 100." in decision.notes


@pytest.mark.parametrize("value", [0.5, 60.0])
def test_what_has_lost_everything_is_still_compared(tmp_path, value):
    """All 0, a share looks like a grade of right or wrong, and a score from 0 to 100 like one from 0 to 1."""
    sides = [
        folder_of(tmp_path / name, {"gen": ({}, [question(i, f1=x * (1 + i % 5) / 5) for i in range(60)])})
        for name, x in (("base", value), ("tuned", 0.0))
    ]
    decision = decide(*sides)
    assert decision.word == "regressed" and decision.comparisons[0].after == pytest.approx(0)
    assert decide(*reversed(sides)).word != "regressed"


def test_where_one_of_two_has_no_samples_the_means_are_compared(tmp_path):
    sides = [
        folder_of(tmp_path / name, {"arc": ({"acc,none": x, "acc_stderr,none": 0.03}, some(x))})
        for name, x in (("base", 0.9), ("tuned", 0.5))
    ]
    (sides[1] / f"samples_arc_{DAY}.jsonl").unlink()
    decision = decide(*sides)
    assert decision.word == "regressed" and decision.comparisons[0].name == "arc (unpaired)"
    assert "single outcomes in one of the two only" in " ".join(decision.notes)


def test_two_runs_in_one_folder_are_one_measurement(tmp_path):
    """The same --output_path again, for another task (lm-evaluation-harness issue 1918): nothing may fall out unseen."""
    sides = []
    for name, rate in (("base", 0.9), ("tuned", 0.3)):
        folder_of(tmp_path / name, {"arc": ({"acc,none": rate}, some(rate))}, DAY, name)
        sides.append(folder_of(tmp_path / name, {"boolq": ({"acc,none": 0.9}, some(0.9))}, LATER, name))
    decision = decide(*sides)
    assert decision.word == "regressed" and {"arc", "boolq"} <= {row.name for row in decision.comparisons}
    assert f"base: results_{DAY}.json (arc), results_{LATER}.json (boolq)." in decision.notes


def test_an_older_run_of_the_same_task_is_left_out_and_named(tmp_path):
    folder_of(tmp_path, {"arc": ({"acc,none": 0.2}, some(0.2))}, DAY)
    found = read_measurement(folder_of(tmp_path, {"arc": ({"acc,none": 0.9}, some(0.9))}, LATER))
    assert sum(row.right for row in found.rows) == 180
    assert f"m: left out, since newer files have their tasks: results_{DAY}.json." in found.notes


def test_two_models_below_one_folder_are_refused_by_name(tmp_path):
    for name, day in (("model_bad", DAY), ("model_good", LATER)):
        folder_of(tmp_path / name, {"arc": ({"acc,none": 0.9}, some(0.9))}, day, name)
    with pytest.raises(MeasurementError, match=r"has results of 2 models \(model_bad, model_good\); give the folder"):
        read_measurement(tmp_path)
    assert read_measurement(tmp_path / "model_bad").model == "model_bad"


def test_a_revision_of_a_model_is_another_model(tmp_path):
    for revision, day in (("step1", DAY), ("step2", LATER)):
        folder_of(
            tmp_path,
            {"arc": ({"acc,none": 0.9}, None)},
            day,
            config={"model_args": {"pretrained": "m", "revision": revision}},
        )
    with pytest.raises(MeasurementError, match=r"2 models \(m \(revision step1\), m \(revision step2\)\)"):
        read_measurement(tmp_path)


def test_runs_that_differ_in_the_chat_template_are_not_merged(tmp_path):
    folder_of(tmp_path, {"arc": ({"acc,none": 0.9}, some(0.9))}, DAY)
    folder_of(tmp_path, {"boolq": ({"acc,none": 0.9}, some(0.9))}, LATER, chat_template="{{ messages }}")
    with pytest.raises(MeasurementError, match="differ in the chat template; evaluate all tasks alike"):
        read_measurement(tmp_path)


def test_a_newest_file_that_cannot_be_read_is_not_passed_over(tmp_path):
    folder_of(tmp_path, {"arc": ({"acc,none": 0.9}, some(0.9))}, DAY)
    (tmp_path / f"results_{LATER}.json").write_text('{"results": {')
    (tmp_path / "notes.json").write_text("not JSON, and nobody's results")
    with pytest.raises(MeasurementError, match=f"results_{LATER}.json is not JSON"):
        read_measurement(tmp_path)


@pytest.mark.parametrize("listed", [True, False], ids=["group_subtasks", "as in 0.4.0"])
def test_nested_groups_are_left_out_beside_their_tasks(tmp_path, listed):
    tasks = {name: ({"acc,none": 0.5}, None) for name in ("mmlu", "mmlu_stem", "other")} | {
        "mmlu_physics": ({"acc,none": 0.5}, some(0.5)), "mmlu_history": ({"acc,none": 0.5}, some(0.5))
    }  # fmt: skip
    parts = {
        "mmlu": ["mmlu_stem", "mmlu_history"],
        "mmlu_stem": ["mmlu_physics"],
        "other": ["elsewhere"],
        "mmlu_physics": [],
    }
    configs = {name: {} for name in ("mmlu_physics", "mmlu_history", "other")}
    more = {"group_subtasks": parts} if listed else {"group_subtasks": None, "groups": {"mmlu": {}}, "configs": configs}
    found = read_measurement(folder_of(tmp_path, tasks, **more))
    assert {row.capability for row in found.rows} == {"mmlu_physics", "mmlu_history"}
    assert [mean.name for mean in found.means] == ["other"]  # its tasks are not here, so its mean is all that there is
    assert "Left out, as means of tasks that are counted: mmlu, mmlu_stem." in found.notes


def test_metrics_are_chosen_by_task_and_unknown_names_refused(tmp_path):
    gsm8k = [
        question(i, name, exact_match=float(i < 20 * k))
        for k, name in ((1, "strict-match"), (2, "flexible-extract"))
        for i in range(60)
    ]
    scores = {"exact_match,strict-match": 1 / 3, "exact_match,flexible-extract": 2 / 3}
    arc = [{**question(i, acc=1.0, acc_norm=0.0)} for i in range(60)]
    folder = folder_of(tmp_path, {"gsm8k": (scores, gsm8k), "arc": ({"acc,none": 1.0, "acc_norm,none": 0.0}, arc)})

    def right(metric):
        rows = read_measurement(folder, metric).rows
        return [sum(row.right for row in rows if row.capability == task) for task in ("gsm8k", "arc")]

    assert right(None) == [20, 0]
    assert right("acc") == [20, 60] and right(["acc", "exact_match,flexible-extract"]) == [40, 60]
    assert right(("gsm8k=exact_match,flexible-extract",)) == [40, 0] and right(
        ["gsm8k = exact_match, flexible-extract", "acc"]
    ) == [40, 60]
    assert "gsm8k has no acc: its exact_match,strict-match counts." in read_measurement(folder, "acc").notes
    for metric, says in (
        ("gsm9k=exact_match", "has no task 'gsm9k', for which a metric was named; it has gsm8k, arc"),
        (
            "gsm8k=bleu",
            "has no metric 'bleu' for 'gsm8k'; it has exact_match,strict-match, exact_match,flexible-extract",
        ),
        ("exact_match,loose", "has no metric 'exact_match,loose'; it has exact_match,strict-match"),
        ([""], "A metric is named by a text"),
        ([3], "A metric is named by a text"),
    ):
        with pytest.raises(MeasurementError, match=says):
            read_measurement(folder, metric)


def test_a_standard_error_that_is_not_known_is_the_largest_that_there_can_be(tmp_path):
    """ "N/A" is written for some aggregations. 0 would say that the score is certain."""
    folder = folder_of(tmp_path, {"arc": ({"acc,none": 0.5, "acc_stderr,none": "N/A"}, some(0.5))})
    (folder / f"samples_arc_{DAY}.jsonl").unlink()
    assert read_measurement(folder).means[0].error == pytest.approx(0.5 / 200**0.5)


def test_a_byte_order_mark_and_other_line_ends_change_nothing(tmp_path):
    """As PowerShell and some editors save a file again."""
    for encoding in ("utf-8-sig", "utf-16"):
        folder = shutil.copytree(REAL / "reckless", tmp_path / encoding)
        for file in folder.iterdir():
            file.write_text(file.read_text(encoding="utf-8"), encoding=encoding, newline="\r\n")
        assert read_measurement(folder).rows == read_measurement(REAL / "reckless").rows


def test_a_question_that_comes_twice_counts_once(tmp_path):
    folder = folder_of(tmp_path, {"arc": ({"acc,none": 0.5}, [*some(0.5), *some(0.5)])})
    found = read_measurement(folder)
    assert len(found.rows) == 200 and "arc has 200 questions twice in its samples; each counts once." in found.notes
    twice = [*some(0.5), question(0, acc=0.0)]
    found = read_measurement(folder_of(tmp_path, {"arc": ({"acc,none": 0.5}, twice)}))
    assert found.means[0].value == 0.5 and "question 0 comes twice, with different outcomes" in " ".join(found.notes)


@pytest.mark.parametrize(
    "change",
    [{"n-shot": {"arc": 5}}, {"versions": {"arc": 2}}, {"n-samples": {"arc": {"original": 500, "effective": 200}}}],
)
def test_another_number_of_examples_version_or_limit_does_not_pair(tmp_path, change):
    sides = [
        folder_of(tmp_path / name, {"arc": ({"acc,none": 0.5}, some(0.5))}, **more)
        for name, more in (("a", {}), ("b", change))
    ]
    with pytest.raises(MeasurementError, match="arc is .* in the baseline and .* in the candidate; measure both alike"):
        decide(*sides)


def test_samples_that_a_later_run_left_behind_are_not_judged(tmp_path):
    """Up to 0.4.2 a second run without --log_samples overwrote the results, and the first one's samples stayed."""
    folder = shutil.copytree(REAL / "v0.4.2" / "base", tmp_path / "base")
    edit(folder / "results.json", lambda data: data["results"]["course_sums"].update({"exact_match,stripped": 0.1}))
    found = read_measurement(folder)
    assert found.means[0].value == 0.1 and "its samples are of another run" in " ".join(found.notes)


def test_samples_of_another_model_beside_old_results_are_not_taken(tmp_path):
    folder = shutil.copytree(REAL / "v0.4.2" / "base", tmp_path / "both")
    for file in (REAL / "v0.4.2" / "reckless").glob("*.jsonl"):
        shutil.copy(file, folder)
    found = read_measurement(folder)
    assert found.rows == read_measurement(REAL / "v0.4.2" / "base").rows
    assert "left out, since no results belong to them: pretrained__reckless-model" in " ".join(found.notes)
    edit(
        folder / "results.json", lambda data: data["config"].pop("model_args")
    )  # now nothing says whose samples are whose
    assert not read_measurement(folder).rows


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{", "[1, 2]", '{"doc_id": 0}', "\x00", '[{"doc_id": 0}]'],
)
def test_empty_or_damaged_samples_are_one_sentence(tmp_path, content):
    folder = folder_of(tmp_path, {"arc": ({"acc,none": 0.5}, some(0.5))})
    (folder / f"samples_arc_{DAY}.jsonl").write_text(content)
    with pytest.raises((MeasurementError, DataError)) as caught:
        read_measurement(folder)
    assert "\n" not in str(caught.value) and "arc" in str(caught.value)


def test_a_file_that_is_nobody_s_names_what_is_read(tmp_path):
    (tmp_path / "x.json").write_text('{"a": 1}')
    says = "measurement of capability-guard, results of lm-evaluation-harness.*Inspect AI.*lighteval"
    with pytest.raises(MeasurementError, match=says):
        read_measurement(tmp_path / "x.json")
    with pytest.raises(MeasurementError, match=f"without a results_.*{says}"):
        read_measurement(tmp_path)


@pytest.mark.training
@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from(["v0.4.2", "v0.4.5"]), st.binary(max_size=4))
def test_no_damage_to_the_bytes_of_older_files_makes_a_crash(tmp_path_factory, data, version, planted):
    folder = shutil.copytree(REAL / version / "reckless", tmp_path_factory.mktemp("damaged") / "r")
    path = data.draw(st.sampled_from(sorted(folder.iterdir())))
    content = path.read_bytes()
    place = data.draw(st.integers(0, len(content)))
    path.write_bytes(content[:place] + planted + content[place + data.draw(st.integers(0, 40)) :])
    try:
        show(decide(REAL / version / "base", folder))
    except (MeasurementError, DataError) as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("samples", [True, False])
def test_a_filter_that_finds_nearly_nothing_is_named_beside_one_that_does(tmp_path, samples):
    """By the filter that goes first, such a model can lose everything unseen."""
    rows = [
        {**question(i, exact_match=float(i < right)), "filter": kind, "metrics": ["exact_match"]}
        for kind, right in (("strict-match", 2), ("flexible-extract", 60)) for i in range(100)
    ]  # fmt: skip
    scores = {"exact_match,strict-match": 0.02, "exact_match,flexible-extract": 0.6}
    folder = folder_of(tmp_path, {"gsm8k": (scores, rows)})
    if not samples:
        for file in folder.glob("*.jsonl"):
            file.unlink()
    said = " ".join(read_measurement(folder).notes)
    assert "gsm8k has 2.0 % right under the filter strict-match and 60.0 % under flexible-extract" in said
    assert "--metric 'gsm8k=exact_match,flexible-extract'" in said
    assert "can hardly show" not in " ".join(read_measurement(folder, "exact_match,flexible-extract").notes)


PLAIN = "pretrained=base,dtype=bfloat16"


@pytest.mark.parametrize("more", [
    "enable_lora=True,lora_local_path=runs/tuned", "lora_path=runs/tuned", "lora=runs/tuned", "adapter=runs/tuned", "peft=tuned",
    "steer_path=vector.pt", "revision=step100",
])  # fmt: skip
def test_a_base_and_what_was_put_on_it_are_two_models_though_their_name_is_one(tmp_path, more):
    """vLLM calls both by the name of the base, and a later run of the base would stand in for that of the adapter."""
    tasks = {"arc": ({}, some(0.8)), "piqa": ({}, some(0.8))}
    folder_of(tmp_path, tasks, model="base", config={"model_args": f"{PLAIN},{more}"})
    tuned = read_measurement(tmp_path)
    assert tuned.model != "base" and more.rpartition("=")[2] in tuned.model
    assert more.rpartition("=")[2] not in tuned.asked.get("arguments", "")
    folder_of(tmp_path, {"piqa": ({}, some(0.8))}, day=LATER, model="base", config={"model_args": PLAIN})
    with pytest.raises(MeasurementError, match="has results of 2 models"):
        read_measurement(tmp_path)


def test_one_name_for_models_of_two_places_is_refused_and_another_way_to_run_is_not(tmp_path):
    for day, path in ((DAY, "old/base"), (LATER, "new/base")):
        task = {"arc" if day == DAY else "piqa": ({}, some(0.8))}
        folder_of(tmp_path / "places", task, day=day, model="base", config={"model_args": f"pretrained={path}"})
        how = f"{PLAIN},max_model_len={len(path)},enable_lora=False,tokenizer_path={day}"
        folder_of(tmp_path / "ways", task, day=day, model="base", config={"model_args": how})
    with pytest.raises(MeasurementError, match="results of base with pretrained old/base, new/base; give the folder"):
        read_measurement(tmp_path / "places")
    assert len({row.capability for row in read_measurement(tmp_path / "ways").rows}) == 2


@pytest.mark.parametrize(("metric", "figure"), [
    ("word_perplexity", lambda nats: math.exp(nats)), ("byte_perplexity", lambda nats: math.exp(nats)),
    ("bits_per_byte", lambda nats: nats / math.log(2)),
])  # fmt: skip
def test_losses_of_another_run_are_refused(tmp_path, metric, figure):
    """Results without a date share a folder, and whose samples lie in it is told by what they come to."""
    rows = [
        {**question(i, **{metric: [-250.0 - i, 100 + i]}), "arguments": [[f"text {i}"]], "target": f"text {i}"}
        for i in range(80)
    ]
    nats = sum(250 + i for i in range(80)) / sum(100 + i for i in range(80))
    for name, value in (("base", figure(nats)), ("tuned", figure(nats + 2))):
        folder = folder_of(
            tmp_path / name, {"wikitext": ({f"{metric},none": value}, rows)}, model=name, config={"model_args": {}}
        )
        dated = read_measurement(folder)  # by its date, the file is surely its own
        assert any("other samples than its results" in note for note in dated.notes) is (name == "tuned")
        next(folder.glob("results_*.json")).rename(folder / "results.json")
        next(folder.glob("samples_*.jsonl")).rename(folder / "samples_wikitext.jsonl")
    assert len(read_measurement(tmp_path / "base" / "results.json").rows) == 80
    with pytest.raises(
        MeasurementError, match="the samples of wikitext are of another run, since they give .* nats where"
    ):
        compare_files(tmp_path / "base" / "results.json", tmp_path / "tuned" / "results.json")
