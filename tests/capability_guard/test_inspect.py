"""Logs of Inspect AI go through the gate. inspect/README.md says how the real ones were made."""

import builtins
import json
import shutil
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capability_guard.formats import packed, read_measurement, read_pair
from capability_guard.formats.packed import ZSTANDARD, unpack
from capability_guard.gate.reports import html
from capability_guard.gate.rule import judge
from capability_guard.gate.terminal import show
from capability_guard.jsonl import DataError
from capability_guard.measurement import MeasurementError

REAL = Path(__file__).parent / "inspect"
pytest.importorskip("pyarrow", reason="unpacks Zstandard where Python does not")


def sample(n, value, epoch=1, **more) -> dict:
    scores = {"match": {"value": value}} if value is not None else {}
    return {"id": n, "epoch": epoch, "input": f"What is {n}+1?", "target": f"{n}", "scores": scores, **more}


def log(
    folder: Path, values, task="sums", model="m", day="2026-01-02T03:04:05+00:00", form="json", epochs=1, **more
) -> Path:
    """A log as Inspect writes it. values: a score for each sample, or a list of one for each epoch."""
    folder.mkdir(parents=True, exist_ok=True)
    samples = [
        sample(n, value, epoch) for n, each in enumerate(values)
        for epoch, value in enumerate(each if isinstance(each, list) else [each], 1)
    ]  # fmt: skip
    spec = {"task": task, "model": model, "created": day, "task_version": 0, "config": {"epochs": epochs}}
    data = {"version": 2, "status": "success", "eval": spec, "samples": samples, **more}
    path = folder / f"{day.replace(':', '-')}_{task}_x.{form}"
    if form == "json":
        path.write_text(json.dumps(data))
        return path
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("header.json", json.dumps({name: value for name, value in data.items() if name != "samples"}))
        for each in samples:
            file.writestr(f"samples/{each['id']}_epoch_{each['epoch']}.json", json.dumps(each))
    return path


def decide(baseline: Path, candidate: Path, metric=None, **rules):
    return judge(*read_pair(baseline, candidate, metric), **rules)


def test_real_logs_are_read_and_agree_with_inspect():
    for name in ("base", "reckless"):
        found = read_measurement(REAL / name)
        assert found.model == f"hf/{name}-model" and found.versions["inspect_ai"] == "0.3.285"
        for file in (REAL / name).glob("*.eval"):
            data = unpack(file)
            task, mean = data["eval"]["task"], data["results"]["scores"][0]["metrics"]["accuracy"]["value"]
            rows = [row for row in found.rows if row.capability == task]
            assert sum(float(row.right) if row.share is None else row.share for row in rows) / len(
                rows
            ) == pytest.approx(mean)
    kinds = {row.capability: row for row in found.rows}
    assert (
        kinds["course_capitals"].measure == "exact" and kinds["course_sums"].measure == "share"
    )  # two epochs, their mean
    assert (
        "scorer match, 2 epochs, mean" in found.settings["course_sums"]
        and "top_k 1" in found.settings["course_capitals"]
    )
    assert kinds["course_sums"].prompt.startswith("What is ") and kinds["course_capitals"].said


def test_the_gate_compares_two_real_logs(capsys):
    decision = decide(REAL / "base", REAL / "reckless", max_drop=15)
    line = next(row for row in decision.comparisons if row.name == "course_sums")
    assert line.probes == 6 and line.drop == pytest.approx(100 * (0.9166666666666666 - 0.5))
    assert any("course_capitals counts by the scorer match, not f1 or length" in note for note in decision.notes)


def test_a_scorer_can_be_chosen():
    found = read_measurement(REAL / "base", ["course_capitals=length"])
    assert {row.measure for row in found.rows if row.capability == "course_capitals"} <= {"exact", "share"}
    assert "scorer length" in found.settings["course_capitals"] and "scorer match" in found.settings["course_sums"]
    with pytest.raises(MeasurementError, match="has no metric 'bleu' for 'course_sums'; it has match"):
        read_measurement(REAL / "base", "course_sums=bleu")


def test_every_form_of_a_log_is_read_alike(tmp_path):
    """Zstandard, as today; deflated, as before; one JSON."""
    file = next((REAL / "base").glob("*capitals*"))
    (tmp_path / "log.json").write_text(json.dumps(unpack(file)))
    assert read_measurement(tmp_path / "log.json").rows == read_measurement(file).rows
    with zipfile.ZipFile(file) as log_file:
        assert {info.compress_type for info in log_file.infolist()} == {ZSTANDARD}
    older = next((REAL / "deflate").iterdir())
    assert len(read_measurement(older).rows) == 6 and read_measurement(older).versions == {"inspect_ai": "0.3.100"}
    assert read_measurement(shutil.copy(file, tmp_path / "renamed")).rows  # by its content, not by its name


def test_zstandard_that_nothing_can_unpack_is_one_sentence(monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name in ("zstandard", "pyarrow"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.delattr(packed.zipfile, "ZIP_ZSTANDARD", raising=False)
    with pytest.raises(
        MeasurementError,
        match="packed with Zstandard, .* `pip install zstandard`, or .*`inspect log convert --to json`",
    ):
        read_measurement(next((REAL / "base").glob("*.eval")))


@pytest.mark.parametrize("form", ["json", "eval"])
@pytest.mark.parametrize(("good", "bad"), [("C", "I"), (True, False), (1, 0), (1.0, 0.0), ("yes", "no"), ("C", "N")])
def test_grades_of_every_kind_are_right_or_wrong(tmp_path, form, good, bad):
    sides = [
        log(tmp_path / name, [good if i < right else bad for i in range(60)], form=form)
        for name, right in (("a", 54), ("b", 30))
    ]
    decision = decide(*sides)
    assert (
        decision.word == "regressed"
        and decision.comparisons[0].lost == 24
        and decision.comparisons[0].drop == pytest.approx(40)
    )


def test_partial_credit_in_one_of_two_makes_both_shares(tmp_path):
    a, b = log(tmp_path / "a", ["C"] * 60), log(tmp_path / "b", ["P"] * 30 + ["I"] * 30)
    decision = decide(a, b)
    assert decision.word == "regressed" and decision.comparisons[0].drop == pytest.approx(75)


def test_several_values_of_a_scorer_are_one_each(tmp_path):
    values = [{"found": 1, "polite": 0.5}] * 10
    path = log(tmp_path, values)
    assert read_measurement(path).settings["sums"].startswith("version 0, scorer match,found, whether more")
    assert {row.share for row in read_measurement(path, "match,polite").rows} == {0.5}


def test_epochs_are_one_row_a_sample(tmp_path):
    path = log(tmp_path, [["C", "I"], ["C", "C"], ["I", "I"]], epochs=2)
    assert [row.share for row in read_measurement(path).rows] == [0.5, 1.0, 0.0]
    reductions = [
        {
            "scorer": "match",
            "reducer": "max",
            "samples": [{"sample_id": n, "value": v} for n, v in enumerate((1, 1, 0))],
        }
    ]
    path = log(tmp_path, [["C", "I"], ["C", "C"], ["I", "I"]], epochs=2, reductions=reductions)
    found = read_measurement(path)
    assert [row.right for row in found.rows] == [True, True, False] and "2 epochs, max" in found.settings["sums"]


def test_samples_without_a_score_are_named(tmp_path):
    path = log(tmp_path, ["C", None, float("nan"), "I"])
    found = read_measurement(path)
    assert len(found.rows) == 2 and "sums has no score for 2 of 4 samples." in found.notes


def test_choices_and_messages_and_long_texts_are_read(tmp_path):
    path = log(tmp_path, [])
    data = json.loads(path.read_text())
    parts = [{"type": "text", "text": "attachment://abc"}]
    data["samples"] = [
        sample(1, "C", choices=["Rome", "Oslo"], attachments={"abc": "a long question"})
        | {"target": "B", "input": [{"role": "user", "content": parts}]}
    ]
    data["samples"][0]["scores"]["match"]["answer"] = "B"
    path.write_text(json.dumps(data))
    row = read_measurement(path).rows[0]
    assert (row.prompt, row.answer, row.said, row.measure, row.choices) == (
        "a long question",
        "Oslo",
        "Oslo",
        "choice",
        ("Rome", "Oslo"),
    )


def test_a_log_without_samples_has_its_mean(tmp_path):
    scores = [
        {"name": "match", "metrics": {"accuracy": {"value": 0.7}, "stderr": {"value": 0.05}}, "scored_samples": 80}
    ]
    found = read_measurement(log(tmp_path, [], results={"scores": scores}))
    assert (found.means[0].value, found.means[0].error, found.means[0].samples) == (0.7, 0.05, 80)


@pytest.mark.parametrize("status", ["error", "cancelled", "started"])
def test_a_log_that_was_not_finished_is_refused(tmp_path, status):
    path = log(tmp_path, ["C"] * 9, status=status, error={"message": "out of\nmemory"})
    with pytest.raises(
        MeasurementError, match=f"was not finished .status {status}: out of memory.; run the evaluation again"
    ):
        read_measurement(path)
    with zipfile.ZipFile(tmp_path / "crashed.eval", "w") as file:
        file.writestr("_journal/start.json", "{}")
    with pytest.raises(MeasurementError, match="was not finished: it has no header.json"):
        read_measurement(tmp_path / "crashed.eval")
    with pytest.raises(MeasurementError, match="was marked as invalid"):
        read_measurement(log(tmp_path, ["C"], invalidated=True))


def test_of_a_folder_the_newest_log_of_each_task_is_taken_for_one_model(tmp_path):
    log(tmp_path, ["C"] * 9, day="2026-01-01T00:00:00+00:00", status="error")
    log(tmp_path, ["I"] * 9, day="2026-01-02T00:00:00+00:00", form="eval")
    log(tmp_path, ["C"] * 9, day="2026-01-03T00:00:00+00:00")
    log(tmp_path, ["I"] * 5, task="capitals", day="2026-01-01T00:00:00+00:00")
    found = read_measurement(tmp_path)
    assert [row.capability for row in found.rows if row.right] == ["sums"] * 9 and len(found.rows) == 14
    assert "left out, since newer files have their tasks" in found.notes[1] and "2026-01-02" in found.notes[1]
    log(tmp_path / "other", ["C"], model="other")
    with pytest.raises(MeasurementError, match=r"2 models \(m, other\)|2 models \(other, m\)"):
        read_measurement(tmp_path)


def test_two_variants_of_a_task_do_not_replace_each_other(tmp_path):
    for place, subject in enumerate(("art", "law")):
        path = log(tmp_path, ["C"] * 9, task="exam", day=f"2026-01-0{place + 1}T00:00:00+00:00")
        data = json.loads(path.read_text())
        data["eval"]["task_args_passed"] = {"subject": subject}
        path.write_text(json.dumps(data))
    found = read_measurement(tmp_path, ["exam (subject law)=match"])
    assert {row.capability for row in found.rows} == {"exam (subject art)", "exam (subject law)"} and len(
        found.rows
    ) == 18


def test_a_perplexity_is_a_loss(tmp_path):
    path = log(tmp_path, [])
    data = json.loads(path.read_text())
    data["samples"] = [sample(n, None) | {"scores": {"perplexity": {"value": 20.0 + n}}} for n in range(9)]
    path.write_text(json.dumps(data))
    row = read_measurement(path).rows[0]
    assert row.measure == "loss" and row.loss == pytest.approx(2.9957, abs=1e-3)


def test_what_was_run_differently_does_not_pair(tmp_path):
    sides = [
        log(tmp_path / str(t), ["C"] * 9, plan={"config": {"temperature": t}, "steps": [{"solver": "generate"}]})
        for t in (0.0, 0.7)
    ]
    with pytest.raises(
        MeasurementError, match="is temperature 0.0 in the baseline and temperature 0.7 in the candidate"
    ):
        decide(*sides)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text(max_size=5),
    lambda x: st.lists(x, max_size=2) | st.dictionaries(st.text(max_size=5), x, max_size=2),
    max_leaves=4,
)


def outcome(folder_or_file: Path) -> None:
    """A measurement that every report can show, or one sentence."""
    try:
        decision = decide(REAL / "reckless", folder_or_file)
    except (MeasurementError, DataError) as error:
        assert "\n" not in str(error)
    else:
        show(decision)
        html(decision)


@pytest.mark.training
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_change_to_a_log_makes_a_crash(tmp_path_factory, data):
    """One value somewhere is replaced."""
    content = unpack(data.draw(st.sampled_from(sorted((REAL / "base").iterdir()))))
    place = content
    while isinstance(place, (dict, list)) and place:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else [0, len(place) - 1]))
        if not isinstance(place[key], (dict, list)) or not place[key] or data.draw(st.integers(0, 3)) == 0:
            place[key] = data.draw(anything)
            break
        place = place[key]
    path = tmp_path_factory.mktemp("changed") / "log.json"
    path.write_text(json.dumps(content))
    outcome(path)


@pytest.mark.training
@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from(["base", "deflate"]), st.binary(max_size=4))
def test_no_damage_to_the_bytes_of_a_log_makes_a_crash(tmp_path_factory, data, which, planted):
    source = data.draw(st.sampled_from(sorted((REAL / which).iterdir())))
    content = source.read_bytes()
    place = data.draw(st.integers(0, len(content)))
    path = tmp_path_factory.mktemp("damaged") / source.name
    path.write_bytes(content[:place] + planted + content[place + data.draw(st.integers(0, 40)) :])
    outcome(path)


# --- What is missing, or was made otherwise, is no proof --------------------------------------------------------
@pytest.mark.parametrize("reduced", [False, True])
@pytest.mark.parametrize("lost", ["failed", "absent", "not a number"])
def test_epochs_that_have_no_score_are_refused(tmp_path, reduced, lost):
    """A model that fails over what it would get wrong is not right in the rest."""
    failed = {"failed": None, "absent": None, "not a number": float("nan")}[lost]
    reductions = [
        {"scorer": "match", "reducer": "mean", "samples": [{"sample_id": n, "value": 1.0} for n in range(60)]}
    ]
    more = {"reductions": reductions} if reduced else {}
    whole = log(tmp_path / "a", [["C"] * 4] * 60, epochs=4, **more)
    path = log(tmp_path / "b", [["C", "C", failed, failed]] * 60, epochs=4, **more)
    if lost == "absent":
        data = json.loads(path.read_text())
        data["samples"] = [one for one in data["samples"] if one["epoch"] < 3]
        path.write_text(json.dumps(data))
    assert decide(whole, whole).word == "passed"
    with pytest.raises(MeasurementError, match=r"of sums, 120 of 240 epochs have no score by match; run them again\."):
        decide(whole, path)


def test_a_log_that_does_not_say_its_epochs_is_not_compared_with_fewer(tmp_path):
    sides = [log(tmp_path / str(n), [["C"] * n] * 60) for n in (4, 1)]
    with pytest.raises(MeasurementError, match="measure both alike"):
        decide(*sides)


def test_an_epoch_that_was_run_again_counts_once(tmp_path):
    path = log(tmp_path, [[None, "C"], ["C", "C"]], epochs=2)
    data = json.loads(path.read_text())
    data["samples"].append(sample(0, "I", epoch=1))
    path.write_text(json.dumps(data))
    assert [row.share for row in read_measurement(path).rows] == [0.5, 1.0]


@pytest.mark.parametrize("counts", [{"total_samples": 80, "completed_samples": 20}, {"unscored_samples": 60}])
def test_a_mean_of_some_samples_is_refused(tmp_path, counts):
    """The log without samples does not say which of them failed."""
    score = {"name": "match", "metrics": {"accuracy": {"value": 0.7}, "stderr": {"value": 0.05}}, "scored_samples": 20}
    results = {"scores": [score], **counts}
    if "unscored_samples" in counts:
        results = {"scores": [{**score, **counts}]}
    with pytest.raises(MeasurementError, match="60 samples have no score by match, and the log does not say which"):
        read_measurement(log(tmp_path, [], results=results))


@pytest.mark.parametrize("reduced", [False, True])
def test_samples_that_ask_the_same_are_paired_by_their_id(tmp_path, reduced):
    """Such a log is in the order in which the samples were done, and half of these were lost and as many gained."""
    sides = []
    for name, right in (("base", range(30)), ("tuned", range(30, 60)), ("again", range(30))):
        values = ["C" if n in right else "I" for n in range(60)]
        reductions = [{"sample_id": n, "value": float(value == "C")} for n, value in enumerate(values)]
        more = {"reductions": [{"scorer": "match", "samples": reductions[::-1] if name == "again" else reductions}]}
        path = log(tmp_path / name, values, **(more if reduced else {}))
        data = json.loads(path.read_text())
        data["samples"] = [{**one, "input": "Find the flag.", "target": ""} for one in data["samples"]]
        data["samples"] = data["samples"][::-1] if name == "again" else data["samples"]
        path.write_text(json.dumps(data))
        sides.append(path)
    changed = [(line.lost, line.gained) for side in sides[1:] for line in decide(sides[0], side).comparisons]
    assert changed == [(30, 30), (0, 0)]


@pytest.mark.parametrize("scorer", ["toxicity", "hallucination_rate", "gender_bias", "loss", "polite,toxicity"])
def test_letters_say_themselves_what_is_right(tmp_path, scorer):
    """A scorer whose name tells of what is bad grades C where the answer was good."""
    name, _, part = scorer.partition(",")
    sides = []
    for side, right in (("a", 270), ("b", 30)):
        path = log(tmp_path / side, ["C" if n < right else "I" for n in range(300)])
        data = json.loads(path.read_text())
        for one in data["samples"]:
            value = one["scores"].pop("match")["value"]
            one["scores"][name] = {"value": {part: value} if part else value}
        path.write_text(json.dumps(data))
        sides.append(path)
    assert decide(*sides).word == "regressed" and "less is better" not in " ".join(read_measurement(sides[0]).notes)
    assert decide(*sides[::-1]).word == "passed"


PROMPT = "Answer the following question as well as you can. "  # of which 40 signs are shown


def solved(*steps, model="m", **spec):
    def change(data):
        data["eval"] |= {"model": model, **spec}
        data["plan"] = {"steps": [{"solver": name, "params": params} for name, params in steps]}

    return change  # fmt: skip


@pytest.mark.parametrize(("ours", "theirs"), [
    (solved(("prompt_template", {"template": "{prompt}"})), solved(("prompt_template", {"template": "Think. {prompt}"}))),
    (solved(("multiple_choice", {"cot": False})), solved(("multiple_choice", {"cot": True}))),
    (solved(("generate", {})), solved(("generate", {}), ("generate", {}))),
    (solved(("agent", {"tools": [{"name": "bash", "params": {"timeout": 1, "user": "a"}}]})),
     solved(("agent", {"tools": [{"name": "bash", "params": {"timeout": 1, "user": "b"}}]}))),
    (solved(task_args={"prompt": PROMPT + "Be brief."}), solved(task_args={"prompt": PROMPT + "Think aloud."})),
    (solved(config={"token_limit": 100}), solved(config={"token_limit": 1000})),
    (solved(model_generate_config={"stop_seqs": ["."]}), solved(model_generate_config={"stop_seqs": []})),
    (solved(scorers=[{"name": "match", "options": {"template": PROMPT}}]),
     solved(scorers=[{"name": "match", "options": {"template": PROMPT + "Be kind."}}])),
])  # fmt: skip
def test_answers_that_were_made_otherwise_do_not_pair(tmp_path, ours, theirs):
    sides = []
    for name, change in (("a", ours), ("b", theirs)):
        path = log(tmp_path / name, ["C"] * 60)
        data = json.loads(path.read_text())
        change(data)
        path.write_text(json.dumps(data))
        sides.append(path)
    with pytest.raises(MeasurementError, match="measure both alike") as refused:
        decide(*sides)
    assert "\n" not in str(refused.value)


def test_the_model_itself_and_what_changes_no_answer_may_differ_in_the_parameters(tmp_path):
    sides = []
    for name, seed, default in (("base", 1, {"cot": False, "tool_calls": "loop"}), ("tuned", 2, {})):
        path = log(tmp_path / name, ["C"] * 60)
        data = json.loads(path.read_text())
        critic = {"model": {"model": f"hf/{name}", "config": {}}, "critic": f"hf/{name}", "rounds": 2}
        steps = (("generate", {"seed": seed, "max_connections": seed, **default}), ("self_critique", critic))
        solved(*steps, model=f"hf/{name}")(data)
        path.write_text(json.dumps(data))
        sides.append(path)
    assert decide(*sides).word == "passed"
