"""The monitor where two processes train one model: whole in each of them (DDP), or split over them (FSDP 2 and 1).

One process by itself gives the figures that are wanted. Both launches are shared by all tests; each wait has an end.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.training
SCRIPT = Path(__file__).with_name("train_in_processes.py")
WAYS = ("ddp", "fsdp2", "fsdp1")


def start(folder: Path, processes: int, *what: str) -> list[subprocess.Popen]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder.mkdir(exist_ok=True)
    about = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(processes), "OMP_NUM_THREADS": "1"}
    started = []
    for rank in range(processes):
        own = {"RANK": str(rank), "LOCAL_RANK": str(rank), **about} if processes > 1 else {}
        with (folder / f"rank{rank}.log").open("w") as log:
            command = [sys.executable, str(SCRIPT), str(folder), *what]
            started.append(subprocess.Popen(command, env=os.environ | own, stdout=log, stderr=subprocess.STDOUT))
    return started


def what_they_saw(folder: Path, started: list[subprocess.Popen], of: int | None = None) -> list[dict]:
    """What the first ``of`` processes wrote. None of them is left running."""
    try:
        for one in started[:of]:
            assert one.wait(timeout=900) == 0, (folder / "rank0.log").read_text()[-3000:]
    finally:
        for one in started:
            one.kill()
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(len(started[:of]))]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    return what_they_saw(folder, start(folder, 1))[0]


@pytest.fixture(scope="module")
def both(tmp_path_factory, alone):
    folder = tmp_path_factory.mktemp("two")
    return what_they_saw(folder, start(folder, 2))


@pytest.mark.parametrize("way", WAYS)
def test_the_figures_are_those_of_one_process(alone, both, way):
    one, (first, second) = alone["alone"], [side[way] for side in both]
    assert [c[0] for c in one["curve"]] == [0, 2, 4, 6]
    assert one["before"].count(True) > 10 and one["after"] != one["before"], (
        "there was something to lose, and it was lost"
    )
    assert first["curve"] == second["curve"] and first["after"] == second["after"], "both have the same"
    assert first["before"] == one["before"] and first["after"] == one["after"], "the outcomes are equal"
    for ours, theirs in zip(first["curve"], one["curve"], strict=True):
        assert ours[:2] == theirs[:2]
        assert ours[2:] == pytest.approx(theirs[2:], abs=1e-3), "losses and KL"
    assert first["weights"] == pytest.approx(second["weights"]) == pytest.approx(one["weights"], abs=1e-2)


@pytest.mark.parametrize("way", WAYS)
def test_a_run_beyond_the_budget_stops_in_both_with_the_best_weights(alone, both, way):
    one, (first, second) = alone["alone stopped"], [side[f"{way} stopped"] for side in both]
    assert first["stopped"] == second["stopped"] == one["stopped"] != ""
    assert first["step"] == second["step"] == one["step"] < 6
    assert first["weights"] == pytest.approx(one["weights"], abs=1e-4) and second["weights"] == pytest.approx(
        first["weights"]
    )
    assert first["after"] == first["before"] == one["before"], "the weights of step 0 are back"


@pytest.mark.parametrize("way", ("ddp", "fsdp2"))
def test_a_resumed_run_keeps_its_baseline(alone, both, way):
    for resumed in (alone["alone resumed"], *(side[f"{way} resumed"] for side in both)):
        assert [c[0] for c in resumed["curve"]] == [0, 2, 4, 6]
        assert resumed["before"] == alone["alone"]["before"] and resumed["after"] == alone["alone"]["after"]
        assert resumed["curve"][-1] == pytest.approx(alone["alone"]["curve"][-1], abs=1e-3), "with the KL"


def test_the_probes_are_shared_out_where_each_has_the_model(alone, both):
    """Counted in rows that went through the model, which a busy machine cannot move as it moves seconds."""
    one, shares = alone["alone"]["rows"], [side["ddp"]["rows"] for side in both]
    assert max(shares) < 0.75 * one and sum(shares) < 1.3 * one, (one, shares)
    assert all(side["fsdp2"]["rows"] >= 0.9 * one for side in both), "all take part in each pass where it is split"


def test_zero_3_is_refused_in_a_sentence(tmp_path):
    import torch
    import train_in_processes as tiny
    from transformers import TrainerControl, TrainerState

    from capability_guard.monitor import RegressionMonitor

    model = torch.nn.Linear(2, 2)
    model.weight.ds_numel = 4  # as DeepSpeed marks what it has split
    with pytest.raises(
        ValueError, match="split by DeepSpeed ZeRO-3, which the monitor does not ask; use FSDP or ZeRO-2"
    ):
        RegressionMonitor(None, tiny.probes_of()).on_train_begin(None, TrainerState(), TrainerControl(), model=model)


def test_nothing_is_left_behind(both):
    for side in both:
        for way in WAYS:
            assert side[way]["training"] and not side[way]["inference"]


def test_a_process_that_died_is_a_sentence_within_a_minute(tmp_path):
    started = start(tmp_path / "die", 2, "die")
    (first,) = what_they_saw(tmp_path / "die", started, of=1)
    assert started[1].returncode in (9, -9)
    assert "gone or hangs: it never came to the measurement at step 2. Read what it said last" in first["said"]
    assert first["seconds"] < 60
