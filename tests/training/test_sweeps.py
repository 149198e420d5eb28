"""Sweeps: nothing is run twice, a kill loses the run in flight at most, and the store says what is wrong with it."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import joblib
import pytest

from capability_guard.curve import Checkpoint
from capability_guard.probes import load_probes
from utils.figures.plots import plot_plane
from utils.training import sweeps as module
from utils.training.config import FineTuneConfig
from utils.training.data import REPERTOIRE
from utils.training.finetuning import finetune
from utils.training.fixes import EXPERIMENTS, STORE
from utils.training.sweeps import Point, at_same_learning, fingerprint, load, means, save, sweep

pytestmark = pytest.mark.training

SHORT = FineTuneConfig(steps=2, evaluate_every=2, batch_size=2)


def without_seconds(points):
    return [replace(point, seconds=0) for point in points]


def counted(monkeypatch):
    """The settings that are really run from here on."""
    ran = []
    monkeypatch.setattr(module, "finetune", lambda config, **k: ran.append(config) or finetune(config, **k))
    return ran


def signed(config):
    """A run that says in which process it was made."""
    return replace(finetune(config, questions=()), machine=str(os.getpid()))


def test_a_sweep_runs_what_is_missing_and_nothing_else(tmp_path, capsys, monkeypatch):
    store = tmp_path / "deep" / "sweep.jsonl"
    first = sweep([SHORT], seeds=(0, 1), store=store)
    assert [p.config.seed for p in first] == [0, 1] and first[0].steps == (0, 2)
    said = capsys.readouterr()
    assert "0 of 2 runs come from sweep.jsonl; 2 to run." in said.out and "2/2" in said.err  # the progress bar
    ran = counted(monkeypatch)
    again = sweep([SHORT, SHORT.with_(rank=1)], seeds=(0, 1), store=store)
    assert again[:2] == first and [c.rank for c in ran] == [1, 1]
    assert load(store) == again and "2 of 4 runs come from sweep.jsonl" in capsys.readouterr().out


def test_a_point_keeps_what_a_claim_needs(tmp_path):
    one = finetune(SHORT.with_(learning_rate=2e-2), questions=())
    point = load(save([one], tmp_path / "s.jsonl"))[0]
    assert (point.learned, point.forgotten) == (round(one.learned, 4), round(one.forgotten, 2))
    assert [bit == "1" for bit in point.before] == one.before and [bit == "1" for bit in point.after] == one.after
    assert len(point.after) == len(load_probes(REPERTOIRE)) and "0" in point.after
    last = one.checkpoints[-1]
    ends = (point.held_out[-1], point.retention[-1], point.original[-1], point.kl[-1])
    assert ends == pytest.approx((last.held_out_loss, last.accuracy, last.original_loss, last.kl), abs=1e-4)
    assert point.probes == fingerprint(one.probes) != fingerprint(one.probes[::-1])
    row = json.loads((tmp_path / "s.jsonl").read_text())
    assert row["versions"] == one.versions and row["machine"] == one.machine


def test_another_way_to_run_and_several_at_a_time(tmp_path):
    points = sweep([SHORT], seeds=(0, 1), jobs=2, store=tmp_path / "s.jsonl")
    assert without_seconds(points) == without_seconds(sweep([SHORT], seeds=(0, 1)))
    mine = sweep(
        [SHORT], seeds=(0,), run=lambda config: finetune(config, probes=load_probes(REPERTOIRE)[:5], questions=())
    )
    assert len(mine[0].before) == 5


def test_the_same_call_on_a_dask_cluster_gives_the_same_runs(tmp_path):
    from distributed import Client, LocalCluster

    settings, store = [SHORT, SHORT.with_(rank=2, learning_rate=1e-2)], tmp_path / "s.jsonl"
    here = sweep(settings, seeds=(0, 1))
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, local_directory=tmp_path) as cluster,
        Client(cluster) as client,
        joblib.parallel_config(backend="dask"),
    ):
        there = sweep(settings, seeds=(0, 1), store=store, run=signed)
        workers = {str(number) for number in client.run(os.getpid).values()}
    assert without_seconds(here) == without_seconds(there)
    assert {point.config for point in load(store)} == {point.config for point in here}
    ran_in = {json.loads(line)["machine"] for line in store.read_text().splitlines()}
    assert ran_in <= workers and len(workers) == 2 and str(os.getpid()) not in workers


def test_an_interrupted_sweep_keeps_the_runs_before(tmp_path, monkeypatch):
    def stops_at_the_second(config, **options):
        if config.seed == 1:
            raise KeyboardInterrupt
        return finetune(config, **options)

    monkeypatch.setattr(module, "finetune", stops_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        sweep([SHORT], seeds=(0, 1), store=tmp_path / "s.jsonl")
    assert [p.config.seed for p in load(tmp_path / "s.jsonl")] == [0]


def test_a_killed_sweep_goes_on_where_it_was(tmp_path, root, monkeypatch):
    """SIGKILL gives no chance to tidy up. What had ended is there, byte for byte, and only the rest is run."""
    store, seeds = tmp_path / "s.jsonl", tuple(range(40))
    code = f"""
from utils.training.config import FineTuneConfig
from utils.training.sweeps import sweep
sweep([FineTuneConfig.from_string({str(SHORT)!r})], seeds=range(40), store={str(store)!r})
"""
    environment = os.environ | {"PYTHONPATH": str(root)}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.DEVNULL)
    try:
        while not store.exists() or store.read_bytes().count(b"\n") < 2:
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL if os.name != "nt" else signal.SIGTERM)
        process.wait()
    survived = store.read_bytes()
    done = len(load(store))
    assert 2 <= done < len(seeds)
    ran = counted(monkeypatch)
    seeds = seeds[: done + 2]
    points = sweep([SHORT], seeds=seeds, store=store)
    assert [c.seed for c in ran] == list(seeds[done:]) and [p.config.seed for p in points] == list(seeds)
    assert store.read_bytes().startswith(survived[: survived.rfind(b"\n") + 1])


def test_half_a_line_is_not_there_and_is_written_over(tmp_path, monkeypatch):
    store = tmp_path / "s.jsonl"
    points = sweep([SHORT], seeds=(0, 1), store=store)
    whole = store.read_bytes()
    store.write_bytes(whole[:-40])  # as a full disk or a kill in the middle of a write would leave it
    assert load(store) == points[:1]
    ran = counted(monkeypatch)
    assert without_seconds(sweep([SHORT], seeds=(0, 1), store=store)) == without_seconds(points)
    assert [c.seed for c in ran] == [1] and len(store.read_text().splitlines()) == 2 and load(store)


def test_a_run_that_diverged_is_named_and_not_tried_again(tmp_path, capsys, monkeypatch):
    def diverges(config, **options):
        result = finetune(config, **options)
        if config.seed == 1:
            result.stopped = "the loss was nan"
            result.checkpoints.append(Checkpoint(2, 0.0, 0.0, {}, held_out_loss=math.nan))
        return result

    monkeypatch.setattr(module, "finetune", diverges)
    for _ in range(2):
        assert [p.config.seed for p in sweep([SHORT], seeds=(0, 1), store=tmp_path / "s.jsonl")] == [0]
        assert f"Left out, since they diverged: {SHORT.with_(seed=1)}" in capsys.readouterr().out
        monkeypatch.setattr(module, "finetune", None)  # a second try would fail
    assert [p.config.seed for p in load(tmp_path / "s.jsonl")] == [0]


@pytest.mark.parametrize(
    ("content", "says"),
    [("{\n", "not a readable sweep"), ("[]\n", "not a readable sweep"), ('{"schema": 9}\n', "has schema 9"),
     ('{"schema": 2, "learned": 1}\n', "line 1"), ('{"schema": 2, "config": "default", "learned": 1}\n', "readable")],
)  # fmt: skip
def test_a_broken_store_is_one_sentence(tmp_path, content, says):
    (tmp_path / "s.jsonl").write_text(content)
    with pytest.raises(ValueError, match=says):
        load(tmp_path / "s.jsonl")


def test_means_over_seeds():
    points = [Point(SHORT.with_(seed=seed), 0.5, lost, 3.0, 1.0) for seed, lost in enumerate((10, 20, 30))]
    assert means(points) == {SHORT: (0.5, 20.0, 10.0)}


def test_the_stored_sweep_holds_every_experiment_and_is_true_of_this_machine():
    known = {point.config: point for point in load(STORE)}
    wanted = {config.with_(seed=seed) for configs in EXPERIMENTS.values() for config in configs for seed in (0, 1, 2)}
    assert wanted <= set(known), "run data/build/sweep_fixes.py"
    config = FineTuneConfig(learning_rate=5e-3, rank=64)
    now = Point.of(finetune(config, questions=()))
    assert now.learned == pytest.approx(known[config].learned, abs=0.03)
    assert now.forgotten == pytest.approx(known[config].forgotten, abs=6)


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
