"""Results of lighteval go through the gate. lighteval/README.md says how the real ones were made."""

import builtins
import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capability_guard.formats import read_measurement, read_pair
from capability_guard.gate.reports import html
from capability_guard.gate.rule import judge
from capability_guard.gate.terminal import show
from capability_guard.jsonl import DataError
from capability_guard.measurement import MeasurementError

REAL = Path(__file__).parent / "lighteval"
pyarrow = pytest.importorskip("pyarrow", reason="reads the details")
DAY = "2026-01-02T03-04-05.123456"


def results(folder: Path) -> Path:
    return next(folder.rglob("results_*.json"))


@pytest.fixture
def reckless(tmp_path) -> Path:
    return shutil.copytree(REAL / "reckless", tmp_path / "reckless")


def edit(path: Path, change) -> None:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def decide(baseline: Path, candidate: Path, metric=None, **rules):
    return judge(*read_pair(baseline, candidate, metric), **rules)


def written(out: Path, details: dict[str, list[dict]], scores: dict, model="m", day=DAY, **general) -> Path:
    """As lighteval lays it out, under names that every file system has."""
    from pyarrow import parquet

    (out / "results" / model).mkdir(parents=True, exist_ok=True)
    data = {"config_general": {"model_name": model, **general}, "results": scores, "versions": {}, "config_tasks": {}}
    (out / "results" / model / f"results_{day}.json").write_text(json.dumps(data))
    folder = out / "details" / model / day
    folder.mkdir(parents=True, exist_ok=True)
    for task, rows in details.items():
        name = task.replace(":", "_").replace("|", "_")
        parquet.write_table(pyarrow.Table.from_pylist(rows), folder / f"details_{name}_{day}.parquet")
    return out


def detail(n: int, **metric) -> dict:
    doc = {"query": f"q{n}", "choices": [" yes", " no"], "gold_index": 1, "id": str(n)}
    return {"doc": doc, "metric": metric, "model_response": {"text": [], "logprobs": [-1.0, -2.0]}}


def test_real_results_are_read_and_agree_with_lighteval():
    for name in ("base", "reckless"):
        found = read_measurement(REAL / name)
        scores = json.loads(results(REAL / name).read_text())["results"]
        assert found.model == f"{name}-model" and len(found.rows) == 24 and not found.means
        for task, metric in (("course:sums|0", "em"), ("course:capitals|0", "acc")):
            right = [row.right for row in found.rows if row.capability == task]
            assert sum(right) / len(right) == pytest.approx(scores[task][metric])
    sums = next(row for row in found.rows if row.capability == "course:sums|0")
    assert (sums.prompt, sums.answer, sums.measure, sums.said) == ("What is 14+1?", "15.", "exact", "16.")
    choice = next(row for row in found.rows if row.capability == "course:capitals|0")
    assert choice.measure == "choice" and len(choice.choices) == 4 and choice.said == choice.answer
    assert "Left out, as means of tasks that are counted: course:_average|0." in found.notes


def test_the_gate_compares_them_pair_by_pair():
    decision = decide(REAL / "base", REAL / "reckless", max_drop=15)
    line = next(row for row in decision.comparisons if row.name == "course:sums|0")
    assert line.lost == 6 and line.drop == pytest.approx(50)
    assert decide(
        results(REAL / "base"), results(REAL / "reckless")
    ).comparisons  # by the file as well as by the folder


def test_a_metric_can_be_chosen():
    found = read_measurement(REAL / "reckless", ["course:sums|0=f1", "acc:logprob_normalization"])
    assert found.settings["course:sums|0"] == 'version 1, f1, generation_size 4, stop_sequence ["\\n"]'
    assert found.settings["course:capitals|0"].startswith("version 1, acc:logprob_normalization=")
    with pytest.raises(MeasurementError, match=r"has no task 'course:sum\|0', for which a metric was named"):
        read_measurement(REAL / "reckless", "course:sum|0=f1")


def test_names_as_lighteval_gives_them_are_found(reckless):
    for file in reckless.rglob("*.parquet"):
        try:
            file.rename(file.with_name(file.name.replace("course_", "course:").replace("_0_", "|0_")))
        except OSError:
            pytest.skip("no such names on this file system")
    assert read_measurement(reckless).rows == read_measurement(REAL / "reckless").rows


def test_without_details_the_means_are_those_that_were_computed(reckless):
    """lighteval writes a 0 for metrics of other tasks."""
    shutil.rmtree(reckless / "details")
    found = read_measurement(reckless)
    assert {mean.name: mean.value for mean in found.means} == {"course:sums|0": 0.5, "course:capitals|0": 1.0}
    assert "course:sums|0 has no details beside" in " ".join(found.notes)
    with pytest.raises(MeasurementError, match="has no metric 'em' for 'course:capitals|0'; it has acc"):
        read_measurement(reckless, "course:capitals|0=em")


def test_details_that_need_a_package_say_which(monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(
        MeasurementError, match="is a parquet file, and reading it needs one package more: `pip install pyarrow`"
    ):
        read_measurement(REAL / "base")


def test_shares_and_unusual_metrics_block_nothing(tmp_path):
    sides = []
    for name, f1, right in (("base", 0.8, 54), ("tuned", 0.4, 30)):
        details = {
            "qa|0": [detail(n, f1=f1 + n % 5 / 25) for n in range(60)],
            "arc|0": [detail(n, acc=int(n < right)) for n in range(60)],
            "odd|0": [detail(n, thing=n) for n in range(8)],
        }
        scores = {"qa|0": {"f1": f1}, "arc|0": {"acc": right / 60}, "odd|0": {"thing": 3.5}, "all": {"f1": f1}}
        sides.append(written(tmp_path / name, details, scores, name))
    decision = decide(*sides)
    lines = {row.name: row for row in decision.comparisons}
    assert decision.word == "regressed" and lines["qa|0"].drop == pytest.approx(40) and lines["arc|0"].lost == 24
    assert "odd|0 is left out: of its details, no metric says how right an answer is (thing)." in decision.notes


def test_the_flat_details_of_older_versions_are_read(tmp_path):
    rows = [
        {"example": f"q{n}", "full_prompt": f"Q: q{n}", "choices": "[' yes', ' no']", "gold_index": "[1]", "gold": "[' no']",
         "predictions": "[' no']", "metrics": {"em": n % 2}} for n in range(8)
    ]  # fmt: skip
    found = read_measurement(written(tmp_path, {"leaderboard|gsm8k|5": rows}, {"leaderboard|gsm8k|5": {"em": 0.5}}))
    assert (found.rows[0].prompt, found.rows[0].answer, found.rows[0].said, found.rows[0].right) == (
        "Q: q0",
        "no",
        "no",
        False,
    )


def test_several_results_of_one_model_are_merged_and_of_two_refused(tmp_path):
    for task, day in (("arc|0", "2026-01-01T00-00-00.000000"), ("qa|0", DAY)):
        written(tmp_path, {task: [detail(n, acc=1) for n in range(5)]}, {task: {"acc": 1.0}}, day=day)
    assert {row.capability for row in read_measurement(tmp_path).rows} == {"arc|0", "qa|0"}
    written(tmp_path, {}, {"qa|0": {"acc": 1.0}}, model="other")
    with pytest.raises(MeasurementError, match="has results of 2 models"):
        read_measurement(tmp_path)


def test_a_limit_does_not_pair_with_none(tmp_path):
    sides = [
        written(tmp_path / str(most), {}, {"qa|0": {"acc": 0.5, "acc_stderr": 0.1}}, max_samples=most)
        for most in (None, 10)
    ]
    with pytest.raises(
        MeasurementError, match=r"qa\|0 is version None, acc in the baseline and .*at most 10 samples in the candidate"
    ):
        decide(*sides)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"{}"])
def test_damaged_details_are_one_sentence(reckless, content):
    file = next(reckless.rglob("*sums*.parquet"))
    file.write_bytes(content)
    with pytest.raises(MeasurementError, match="is not what lighteval writes") as caught:
        read_measurement(reckless)
    assert "\n" not in str(caught.value)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text(max_size=5),
    lambda x: st.lists(x, max_size=2) | st.dictionaries(st.text(max_size=5), x, max_size=2),
    max_leaves=4,
)


def outcome(folder: Path) -> None:
    """A measurement that every report can show, or one sentence."""
    try:
        decision = decide(REAL / "base", folder)
    except (MeasurementError, DataError) as error:
        assert "\n" not in str(error)
    else:
        show(decision)
        html(decision)


@pytest.mark.training
@settings(max_examples=60, deadline=None)
@given(st.data(), st.booleans())
def test_no_change_to_the_results_makes_a_crash(tmp_path_factory, data, details):
    folder = shutil.copytree(REAL / "reckless", tmp_path_factory.mktemp("changed") / "r")
    if not details:
        shutil.rmtree(folder / "details")
    content = json.loads(results(folder).read_text())
    place = content
    while isinstance(place, (dict, list)) and place:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else [0, len(place) - 1]))
        if not isinstance(place[key], (dict, list)) or not place[key] or data.draw(st.integers(0, 3)) == 0:
            place[key] = data.draw(anything)
            break
        place = place[key]
    results(folder).write_text(json.dumps(content))
    outcome(folder)


@pytest.mark.training
@settings(max_examples=40, deadline=None)
@given(st.data(), st.binary(max_size=4))
def test_no_damage_to_the_bytes_of_details_makes_a_crash(tmp_path_factory, data, planted):
    folder = shutil.copytree(REAL / "reckless", tmp_path_factory.mktemp("damaged") / "r")
    path = data.draw(st.sampled_from(sorted(folder.rglob("*.parquet"))))
    content = path.read_bytes()
    place = data.draw(st.integers(0, len(content)))
    path.write_bytes(content[:place] + planted + content[place + data.draw(st.integers(0, 40)) :])
    outcome(folder)
