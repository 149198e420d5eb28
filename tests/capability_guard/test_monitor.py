"""The monitor in other people's training: resumed, in several processes, with reporters, accumulation and bfloat16."""

import copy

import pytest
import torch
from datasets import Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments

from capability_guard.baseline import KEPT
from capability_guard.jsonl import DataError
from capability_guard.monitor import RegressionMonitor
from capability_guard.probes import Probe, load_probes
from capability_guard.weights import trained_weights
from utils.training.data import REPERTOIRE, load_task

pytestmark = pytest.mark.training

HELD_OUT = ["Customer: Where is my order? Agent: Thank you for asking. It is on the van."]


@pytest.fixture(scope="module")
def data(practice):
    ids = practice[1](
        list(load_task()["train"]["text"])[:16], padding="max_length", max_length=48, truncation=True
    ).input_ids
    return Dataset.from_dict({"input_ids": ids, "labels": ids})


def trainer_of(practice, data, folder, monitors, **settings) -> Trainer:
    """A plain Trainer that fine-tunes the whole model: eight steps at a rate that makes it forget."""
    arguments = {"max_steps": 8, "per_device_train_batch_size": 4, "learning_rate": 3e-3, "use_cpu": True,
                 "report_to": "none", "save_strategy": "no", "logging_steps": 1, "disable_tqdm": True} | settings  # fmt: skip
    torch.manual_seed(0)
    return Trainer(
        copy.deepcopy(practice[0]), TrainingArguments(str(folder), **arguments), train_dataset=data, callbacks=monitors
    )


def monitor_of(practice, **settings) -> RegressionMonitor:
    return RegressionMonitor(practice[1], load_probes(REPERTOIRE)[::12], held_out_texts=HELD_OUT, every=2, **settings)


def losses(trainer) -> list[float]:
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


@pytest.mark.parametrize(
    "settings", [{}, {"gradient_accumulation_steps": 2}, {"bf16": True}], ids=["plain", "accumulation", "bf16"]
)
def test_the_loss_curve_is_bit_identical_to_a_run_without_it(practice, data, tmp_path, settings):
    runs = []
    for monitors in ([], [monitor_of(practice)]):
        trainer = trainer_of(practice, data, tmp_path, monitors, **settings)
        trainer.train()
        runs.append((losses(trainer), trained_weights(trainer.model), torch.get_rng_state()))
    (bare, weights, state), (watched, others, other_state) = runs
    assert bare == watched and len(bare) == 8
    assert all(torch.equal(weights[name], others[name]) for name in weights)
    assert torch.equal(state, other_state)


def test_a_resumed_run_keeps_its_baseline(practice, data, tmp_path):
    whole = monitor_of(practice)
    trainer_of(practice, data, tmp_path / "whole", [whole]).train()

    class Stop(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            control.should_training_stop = state.global_step == 4

    saving = {"save_strategy": "steps", "save_steps": 4}
    trainer_of(practice, data, tmp_path / "cut", [monitor_of(practice), Stop()], **saving).train()
    assert (tmp_path / "cut" / KEPT).exists()
    resumed = monitor_of(practice)
    trainer_of(practice, data, tmp_path / "cut", [resumed], **saving).train(resume_from_checkpoint=True)
    assert resumed.before == whole.before
    steps = [checkpoint.step for checkpoint in resumed.checkpoints]
    assert steps == [0, 2, 4, 6, 8], steps
    for ours, theirs in zip(resumed.checkpoints, whole.checkpoints, strict=True):
        assert ours.accuracy == pytest.approx(theirs.accuracy) and ours.kl == pytest.approx(theirs.kl, abs=1e-4)
    assert resumed.after == whole.after

    other = RegressionMonitor(practice[1], load_probes(REPERTOIRE)[:5])
    with pytest.raises(ValueError, match="other probes or texts than its baseline"):
        trainer_of(practice, data, tmp_path / "cut", [other], **saving).train(resume_from_checkpoint=True)


def test_a_run_resumed_without_a_baseline_says_so(practice, data, tmp_path):
    saving = {"save_strategy": "steps", "save_steps": 4}
    trainer_of(practice, data, tmp_path, [], **saving).train()
    with pytest.raises(ValueError, match="resumed at step 4, and nothing was measured at its step 0"):
        trainer_of(practice, data, tmp_path, [monitor_of(practice)], **saving).train(
            resume_from_checkpoint=str(tmp_path / "checkpoint-4")
        )


def test_a_folder_of_an_earlier_run_does_not_lend_its_kl(practice, data, tmp_path):
    """The first run's log-probabilities lie in the folder; the second run's replace them, and other texts find none."""
    saving = {"save_strategy": "steps", "save_steps": 4, "max_steps": 4}
    earlier = RegressionMonitor(practice[1], load_probes(REPERTOIRE)[::12], held_out_texts=["The map is old."], every=2)
    trainer_of(practice, data, tmp_path, [earlier], **saving).train()
    trainer_of(practice, data, tmp_path, [monitor_of(practice)], **saving).train()
    resumed = monitor_of(practice)
    trainer_of(practice, data, tmp_path, [resumed], **saving | {"max_steps": 8}).train(resume_from_checkpoint=True)
    assert len(resumed.baseline.log_probabilities) != len(earlier.baseline.log_probabilities)
    assert all(checkpoint.kl is not None for checkpoint in resumed.checkpoints)


def test_the_budget_at_the_end_is_of_all_probes(practice, data, tmp_path, capsys):
    """A sample of a few easy probes may hold while the others are lost: the last word is that of all of them."""
    easy = [Probe("What is 2+2?", "4.", "sums")]
    others = [p for p in load_probes(REPERTOIRE) if p.capability in ("capitals", "how-to")]
    monitor = RegressionMonitor(practice[1], easy + others, every=100, live=1, max_drop=5)
    monitor.live = easy
    trainer_of(practice, data, tmp_path, [monitor]).train()
    assert "at step 8, more than the budget of 5" in monitor.stopped
    assert "The weights of step 0 are back." in capsys.readouterr().out
    assert monitor.after == monitor.before


def test_a_monitor_is_for_one_model_and_a_baseline_for_one_set(practice, data, tmp_path):
    monitor = monitor_of(practice)
    trainer = trainer_of(practice, data, tmp_path, [monitor], max_steps=2)
    trainer.train()
    trainer.train()
    assert [c.step for c in monitor.checkpoints] == [0, 2], "the same model, trained on: one baseline"
    with pytest.raises(ValueError, match="make a new one for each model"):
        trainer_of(practice, data, tmp_path, [monitor], max_steps=2).train()
    other = RegressionMonitor(practice[1], load_probes(REPERTOIRE)[:7], every=2, baseline=monitor.baseline)
    with pytest.raises(ValueError, match="measured on other probes or texts"):
        trainer_of(practice, data, tmp_path, [other], max_steps=2).train()


@pytest.mark.parametrize("other", ["tokenizer", "max_new_tokens"])
def test_a_baseline_that_was_read_otherwise_is_refused(practice, data, tmp_path, other):
    first = monitor_of(practice)
    trainer_of(practice, data, tmp_path, [first], max_steps=1).train()
    assert trainer_of(practice, data, tmp_path, [monitor_of(practice, baseline=first.baseline)], max_steps=1).train()
    model, tokenizer = practice
    if other == "tokenizer":
        tokenizer = copy.deepcopy(tokenizer)
        tokenizer.add_tokens(["Paris"])  # the tokens that the baseline was made with would be asked of this model, too
    more = {"max_new_tokens": 64} if other == "max_new_tokens" else {}
    again = monitor_of((model, tokenizer), baseline=first.baseline, **more)
    with pytest.raises(ValueError, match="or with another tokenizer or max_new_tokens"):
        trainer_of(practice, data, tmp_path, [again], max_steps=1).train()


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"probes": "my_probes.jsonl"}, "probes is 'my_probes.jsonl'; give probes, as load_probes reads them"),
        ({"every": 2.5}, "every is 2.5"),
        ({"held_out_texts": "one text"}, "The texts for held_out_loss are 'one text'; give a list"),
    ],
)
def test_settings_of_the_wrong_kind_are_said(practice, settings, fault):
    with pytest.raises(ValueError, match=fault):
        RegressionMonitor(practice[1], **{"probes": load_probes(REPERTOIRE)[:3]} | settings)


def test_a_trained_adapter_at_step_0_is_warned_of(practice, data, tmp_path):
    from peft import LoraConfig, get_peft_model

    adapter = LoraConfig(r=2, target_modules=["c_attn"], fan_in_fan_out=True, init_lora_weights=False)
    trainer = trainer_of(practice, data, tmp_path, [], max_steps=1)
    trainer = Trainer(
        get_peft_model(trainer.model, adapter), trainer.args, train_dataset=data, callbacks=[monitor_of(practice)]
    )
    with pytest.warns(UserWarning, match="carries a trained adapter at step 0"):
        trainer.train()


def test_figures_reach_tensorboard(practice, data, tmp_path, monkeypatch):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path))
    monitor = monitor_of(practice)
    trainer = trainer_of(practice, data, tmp_path, [monitor], report_to="tensorboard")
    monitor.log_to(trainer)
    trainer.train()
    assert len(losses(trainer)) == 8, "the trainer's own losses are all there still"
    seen = {}
    for file in sorted(tmp_path.rglob("events.out.tfevents.*")):
        log = events.EventAccumulator(str(file))
        log.Reload()
        for event in log.Scalars("train/monitor/accuracy") if "train/monitor/accuracy" in log.Tags()["scalars"] else []:
            seen[event.step] = event.value
    assert seen == {c.step: pytest.approx(c.accuracy) for c in monitor.checkpoints}


# --- Probes of every kind ---------------------------------------------------------------------------------------
MIXED = [
    Probe("What is 2+2?", "4.", "sums"),
    Probe("What is the capital of France?", "Paris", "capitals", measure="contains"),
    Probe(
        "What is the capital of Italy?", "Rome.", "capitals", measure="choice", choices=("Paris.", "Rome.", "Lisbon.")
    ),
    Probe("", "The lamp is in the kitchen.", "prose", measure="loss"),
]


def test_a_monitor_of_mixed_probes(practice, data, tmp_path):
    monitor = RegressionMonitor(practice[1], MIXED, every=4)
    trainer_of(practice, data, tmp_path, [monitor], learning_rate=2e-2).train()
    first, last = monitor.checkpoints[0], monitor.checkpoints[-1]
    assert monitor.before == [True, True, True, None] and first.accuracy == 1.0
    assert first.retention == {"capitals": 1.0, "sums": 1.0} and last.accuracy < 1
    assert last.probe_loss["prose"] > first.probe_loss["prose"] > 0


def test_loss_probes_alone_have_a_curve_and_no_budget(practice, data, tmp_path):
    monitor = RegressionMonitor(practice[1], MIXED[3:], every=4)
    trainer_of(practice, data, tmp_path, [monitor]).train()
    assert all(c.accuracy is None and c.probe_loss["prose"] > 0 for c in monitor.checkpoints)
    with pytest.raises(ValueError, match="max_drop is 5 points and every probe is a loss probe"):
        RegressionMonitor(practice[1], MIXED[3:], max_drop=5)
    ten = [Probe("", f"The lamp is in room {i}.", "a prose", measure="loss") for i in range(9)] + MIXED[:1]
    with pytest.raises(ValueError, match="live is 1, which leaves loss probes alone; raise live"):
        RegressionMonitor(practice[1], ten, max_drop=5, live=1)


def test_a_run_that_diverged_ends_even_without_texts(practice, data, tmp_path, capsys):
    class Poison(TrainerCallback):
        def on_step_end(self, args, state, control, model=None, **kwargs):
            next(p for p in model.parameters() if p.requires_grad).data.fill_(float("nan"))

    monitor = RegressionMonitor(practice[1], MIXED[:3], every=1)
    trainer = trainer_of(practice, data, tmp_path, [Poison(), monitor])
    trainer.train()
    assert trainer.state.global_step == 1 and monitor.stopped == "the loss was nan at step 1: the run diverged"
    assert "The weights of step 0 are back" not in capsys.readouterr().out, "without max_drop none are kept"


def test_chat_needs_a_template(practice, data, tmp_path):
    monitor = RegressionMonitor(practice[1], MIXED[:1], chat=True)
    with pytest.raises(DataError, match="no chat template"):
        trainer_of(practice, data, tmp_path, [monitor]).train()
