"""Sweeps: nothing is run twice, an interrupt loses one run at most, and the store says what is wrong with it."""

import json
import math

import pytest

from utils import sweep as module
from utils.config import FineTuneConfig
from utils.finetune import finetune
from utils.fixes import EXPERIMENTS, STORE
from utils.plots import plot_plane
from utils.sweep import Point, at_same_learning, load, means, sweep

SHORT = FineTuneConfig(steps=2, evaluate_every=2, batch_size=2)


def test_a_sweep_runs_what_is_missing_and_nothing_else(tmp_path, capsys, monkeypatch):
    store = tmp_path / "deep" / "sweep.json"
    first = sweep([SHORT], seeds=(0, 1), store=store)
    assert [p.config.seed for p in first] == [0, 1] and first[0].steps == (0, 2)
    assert "0 of 2 runs come from sweep.json; 2 to run." in capsys.readouterr().out
    ran = []
    monkeypatch.setattr(module, "finetune", lambda config, **k: ran.append(config) or finetune(config, **k))
    again = sweep([SHORT, SHORT.with_(rank=1)], seeds=(0, 1), store=store)
    assert again[:2] == first and [c.rank for c in ran] == [1, 1]
    assert load(store) == again and "2 of 4 runs come from sweep.json" in capsys.readouterr().out
    one = finetune(SHORT, questions=())
    assert (first[0].learned, first[0].forgotten) == (round(one.learned, 4), round(one.forgotten, 2))


def test_an_interrupted_sweep_keeps_the_runs_before(tmp_path, monkeypatch):
    def stops_at_the_second(config, **options):
        if config.seed == 1:
            raise KeyboardInterrupt
        return finetune(config, **options)

    monkeypatch.setattr(module, "finetune", stops_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        sweep([SHORT], seeds=(0, 1), store=tmp_path / "s.json")
    assert [p.config.seed for p in load(tmp_path / "s.json")] == [0]


@pytest.mark.parametrize(
    ("content", "says"),
    [("{", "not a readable sweep"), ("[]", "not a readable sweep"), ('{"schema": 9, "runs": []}', "has schema 9"),
     ('{"schema": 1, "runs": [{"learned": 1}]}', "not a readable sweep")],
)  # fmt: skip
def test_a_broken_store_is_one_sentence(tmp_path, content, says):
    (tmp_path / "s.json").write_text(content)
    with pytest.raises(ValueError, match=says):
        load(tmp_path / "s.json")


def test_means_over_seeds():
    points = [Point(SHORT.with_(seed=seed), 0.5, lost, 3.0, 1.0) for seed, lost in enumerate((10, 20, 30))]
    assert means(points) == {SHORT: (0.5, 20.0, 10.0)}


def test_the_stored_sweep_holds_every_experiment_and_is_true_of_this_machine():
    known = {point.config: point for point in load(STORE)}
    wanted = {config.with_(seed=seed) for configs in EXPERIMENTS.values() for config in configs for seed in (0, 1, 2)}
    assert wanted <= set(known), "run data/sweep_fixes.py"
    config = FineTuneConfig(learning_rate=5e-3, rank=64)
    now = Point.of(finetune(config, questions=()))
    assert now.learned == pytest.approx(known[config].learned, abs=0.03)
    assert now.forgotten == pytest.approx(known[config].forgotten, abs=6)
    assert json.loads(STORE.read_text())["versions"]["torch"]


def test_matched_learning_reads_between_settings_and_never_beyond():
    points = [
        Point(SHORT.with_(rank=rank), learned, lost, 3.0, 1.0) for rank, learned, lost in ((1, 0.4, 0), (2, 0.6, 10))
    ]
    assert at_same_learning(points, 0.5) == pytest.approx(5) and at_same_learning(points, 0.6) == 10
    assert math.isnan(at_same_learning(points, 0.7)) and math.isnan(at_same_learning(points, 0.1))


def test_the_plane_shows_each_setting_once_with_its_spread():
    points = [
        Point(SHORT.with_(rank=rank, seed=seed), 0.5, 10 * rank + seed, 3.0, 1.0) for rank in (1, 2) for seed in (0, 1)
    ]
    axes = plot_plane({"a group": points}, "rank", "A title").axes[0]
    assert [text.get_text() for text in axes.texts] == ["1", "2"]
    assert [round(y, 1) for y in axes.get_lines()[0].get_ydata()] == [-10.5, -20.5]
