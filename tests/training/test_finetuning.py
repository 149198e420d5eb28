"""finetune trains what its config says, the same way each time, and the monitor watches without touching."""

import copy
import math
import random
import tempfile
import warnings

import pytest
import torch
from datasets import Dataset
from peft import get_peft_model
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments

from capability_guard.jsonl import DataError
from capability_guard.monitor import RegressionMonitor
from capability_guard.probes import Probe, load_probes
from utils.training.config import FineTuneConfig
from utils.training.data import GENERAL, REPERTOIRE, load_task, replay_texts
from utils.training.finetuning import finetune
from utils.training.models import parameter_counts
from utils.training.rows import training_rows
from utils.training.trainer import build_trainer, lora_config

pytestmark = pytest.mark.training

QUICK = FineTuneConfig(steps=6, evaluate_every=2, learning_rate=3e-3)


def test_lora_on_gpt2_trains_exactly_what_the_lesson_says():
    """GPT-2's true shapes; the weights are empty, since only their number matters."""
    with torch.device("meta"):
        model = GPT2LMHeadModel(GPT2Config())
    config = FineTuneConfig(model="gpt2", rank=8, lora_alpha=16, target_modules="c_attn")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # peft warns where fan_in_fan_out is not set for Conv1D
        wrapped = get_peft_model(model, lora_config(config, model))
    assert parameter_counts(wrapped) == (294_912, 124_734_720)


def test_a_gpt2_of_true_shapes_trains_and_is_measured(tmp_path, practice):
    """The gpt2 path end to end on a local folder: 124 million random weights, one step."""
    GPT2LMHeadModel(GPT2Config()).save_pretrained(tmp_path)
    practice[1].save_pretrained(tmp_path)  # any tokenizer whose ids fit will do
    config = FineTuneConfig(model=str(tmp_path), target_modules="c_attn", steps=1, batch_size=2)
    result = finetune(config, probes=load_probes(GENERAL)[:4], live=4, questions=())
    assert (result.trainable, result.parameters) == (294_912, 124_734_720)
    assert [c.step for c in result.checkpoints] == [0, 1]
    assert result.checkpoints[0].held_out_loss > 5


def test_step_0_is_the_untouched_model_and_every_checkpoint_is_there(practice):
    seen = []
    result = finetune(QUICK, base=practice, on_checkpoint=seen.append)
    assert [c.step for c in result.checkpoints] == [0, 2, 4, 6] == [c.step for c in seen]
    assert result.checkpoints[0].kl == pytest.approx(0, abs=1e-6)
    assert result.answers_before == ["4.", "Paris.", "Heat it until it bubbles."]
    assert result.checkpoints[-1].held_out_loss < result.checkpoints[0].held_out_loss
    assert result.checkpoints[-1].kl > 0
    assert set(result.checkpoints[0].retention) == {p.capability for p in load_probes(REPERTOIRE)}
    assert len(result.before) == len(result.after) == len(load_probes(REPERTOIRE))
    assert result.trainable < 0.1 * result.parameters and 0 < result.seconds_measuring < result.seconds


def test_the_same_seed_gives_the_same_curve_and_another_seed_another(practice):
    def curve(seed):
        config = QUICK.with_(seed=seed, replay=0.25)
        return [c.held_out_loss for c in finetune(config, base=practice, questions=()).checkpoints]

    torch.rand(random.randint(1, 9))  # whatever was drawn before must not matter
    first = curve(3)
    torch.rand(5)
    assert curve(3) == first
    assert curve(4) != first


@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_base_model_is_left_alone(practice, method):
    model, tokenizer = practice
    before = {name: p.clone() for name, p in model.named_parameters()}
    modes = [m.training for m in model.modules()]
    state = torch.get_rng_state()
    result = finetune(QUICK.with_(method=method), base=practice, questions=(), keep_model=True)
    assert all(torch.equal(p, before[name]) and p.requires_grad for name, p in model.named_parameters())
    assert [m.training for m in model.modules()] == modes and not hasattr(model, "peft_config")
    assert torch.equal(torch.get_rng_state(), state)
    assert (result.trainable == result.parameters) == (method == "full")
    assert result.model is not None and result.config.scale == (None if method == "full" else 2)


class Weights(TrainerCallback):
    """Keeps the training loss of each step."""

    def __init__(self):
        self.losses = []

    def on_log(self, args, state, control, logs=None, **kwargs):
        if logs and "loss" in logs:
            self.losses.append(logs["loss"])


def test_merging_the_adapter_of_a_kept_model_does_not_spoil_the_next_run():
    first = finetune(QUICK, questions=())
    finetune(QUICK.with_(learning_rate=2e-2), questions=(), keep_model=True).model.merge_and_unload()
    again = finetune(QUICK, questions=())
    assert [c.held_out_loss for c in again.checkpoints] == [c.held_out_loss for c in first.checkpoints]


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_training_with_and_without_the_monitor_is_bit_identical(practice, tmp_path, dropout):
    model, tokenizer = practice
    config = QUICK.with_(lora_dropout=dropout)
    rows = training_rows(config, list(load_task()["train"]["text"]))
    weights = []
    for monitors in (
        [],
        [RegressionMonitor(tokenizer, load_probes(REPERTOIRE)[:20], held_out_texts=["The map is old."], every=1)],
    ):
        trainer = build_trainer(config, model, tokenizer, rows, monitors, tmp_path)
        trainer.train()
        weights.append({n: p.detach().clone() for n, p in trainer.model.named_parameters() if p.requires_grad})
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_the_monitor_works_in_a_plain_trainer_and_writes_to_its_log(practice, tmp_path):
    model, tokenizer = copy.deepcopy(practice[0]), practice[1]
    ids = tokenizer(list(load_task()["train"]["text"])[:8]).input_ids
    data = Dataset.from_dict({"input_ids": ids, "labels": ids})
    monitor = RegressionMonitor(tokenizer, load_probes(REPERTOIRE)[:10], every=1)
    Trainer(
        model, TrainingArguments(str(tmp_path), max_steps=2, per_device_train_batch_size=1, use_cpu=True, report_to="none"),
        train_dataset=data, callbacks=[monitor],
    ).train()  # fmt: skip
    assert [c.step for c in monitor.checkpoints] == [0, 1, 2]
    assert monitor.checkpoints[0].held_out_loss is None and monitor.checkpoints[0].kl is None


def test_the_log_history_has_the_monitors_figures(practice, tmp_path):
    model, tokenizer = practice
    monitor = RegressionMonitor(tokenizer, load_probes(REPERTOIRE)[:10], original_texts=["The map is old."], every=2)
    rows = training_rows(QUICK, list(load_task()["train"]["text"]))
    trainer = build_trainer(QUICK, model, tokenizer, rows, [monitor], tmp_path)
    trainer.train()
    entries = [entry for entry in trainer.state.log_history if "monitor/accuracy" in entry]
    assert [entry["step"] for entry in entries] == [0, 2, 4, 6]
    assert {"monitor/original_loss", "monitor/retention/arithmetic"} <= entries[0].keys()


@pytest.mark.parametrize("method", ["lora", "full"])
def test_measuring_beside_the_training_changes_no_figure(practice, method):
    def figures(beside):
        config, seen = QUICK.with_(method=method, evaluate_every=4), []
        run = finetune(
            config, base=practice, questions=(), beside=beside, early=(1,), on_checkpoint=seen.append, keep_model=True
        )
        curve = [(c.step, c.held_out_loss, c.train_loss, c.original_loss, c.kl, c.retention) for c in run.checkpoints]
        weights = {name: p.detach() for name, p in run.model.named_parameters()}
        assert [c.step for c in seen] == [c.step for c in run.checkpoints] == [0, 1, 4, 6]
        return curve, run.before, run.after, weights

    *within, weights = figures(beside=False)
    *beside, the_same = figures(beside=True)
    assert within == beside
    assert weights.keys() == the_same.keys()
    assert all(torch.equal(weights[name], the_same[name]) for name in weights)


def test_the_cores_of_a_machine_move_no_figure_of_a_small_model(practice):
    threads, curves = torch.get_num_threads(), []
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            curves.append([c.held_out_loss for c in finetune(QUICK, base=practice, questions=()).checkpoints])
            assert torch.get_num_threads() == number, "what it was before, it is again"
    finally:
        torch.set_num_threads(threads)
    assert curves[0] == curves[1]


def test_a_drop_budget_is_not_watched_from_beside(practice):
    with pytest.raises(ValueError, match="A drop budget decides at each checkpoint"):
        finetune(QUICK, base=practice, questions=(), max_drop=5, beside=True)


def test_the_last_point_is_shown_before_the_other_probes_are_asked(practice):
    """Whoever watches has the whole curve, while ``after`` still lacks what was asked last."""
    model, tokenizer = practice
    seen = []
    monitor = RegressionMonitor(tokenizer, load_probes(REPERTOIRE)[:60], live=10, every=2,
                                on_checkpoint=lambda c: seen.append((c.step, len(monitor.after))))  # fmt: skip
    rows = training_rows(QUICK, list(load_task()["train"]["text"]))
    with tempfile.TemporaryDirectory() as scratch:
        build_trainer(QUICK, model, tokenizer, rows, [monitor], scratch).train()
    assert [step for step, _ in seen] == [0, 2, 4, 6] and seen[0][1] == 0
    assert len(monitor.before) == len(monitor.after) == 60 and monitor.before is not monitor.after


def test_a_drop_budget_stops_the_run_and_brings_the_best_weights_back(practice):
    config = FineTuneConfig(learning_rate=2e-2, steps=40, evaluate_every=2)
    result = finetune(config, base=practice, max_drop=10, live=None, questions=())
    assert "more than the budget of 10" in result.stopped
    assert result.checkpoints[-2].step < 40, "it stopped early"
    assert result.forgotten <= 10, "the weights that came back are within the budget"
    worst = max(100 * (result.checkpoints[0].accuracy - c.accuracy) for c in result.checkpoints)
    assert worst > 10, "and there was something to come back from"


def test_a_budget_exceeded_at_the_last_step_is_seen_too(practice):
    config = FineTuneConfig(learning_rate=2e-2, steps=12, evaluate_every=100)
    result = finetune(config, base=practice, max_drop=10, live=None, questions=())
    assert "at step 12" in result.stopped and result.forgotten == 0, "step 0 is the best within the budget"


def test_a_diverging_run_says_so_and_keeps_its_curve(practice):
    class Poison(TrainerCallback):
        def on_step_end(self, args, state, control, model=None, **kwargs):
            if state.global_step == 3:
                next(p for p in model.parameters() if p.requires_grad).data.fill_(float("nan"))

    result = finetune(QUICK.with_(evaluate_every=1), base=practice, callbacks=[Poison()], questions=())
    assert result.diverged and "diverged" in result.stopped
    assert math.isfinite(result.checkpoints[2].held_out_loss) and result.checkpoints[-1].step <= 4
    assert not finetune(QUICK, base=practice, questions=()).diverged, "the next run is clean"


def test_an_interrupted_run_keeps_its_curve(practice):
    class Interrupt(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == 3:
                raise KeyboardInterrupt

    result = finetune(QUICK, base=practice, callbacks=[Interrupt()], questions=())
    assert result.stopped == "interrupted at step 3"
    assert [c.step for c in result.checkpoints] == [0, 2, 3]


@pytest.mark.parametrize(("replay", "batch_size", "rows_a_batch"), [(0.25, 8, 2), (0.0, 8, 0), (0.5, 4, 2)])
def test_each_batch_has_its_share_of_replay(replay, batch_size, rows_a_batch):
    config = FineTuneConfig(replay=replay, batch_size=batch_size, steps=10, examples=12)
    new, old = list(load_task()["train"]["text"]), set(replay_texts())
    rows = training_rows(config, new)
    assert len(rows) == 10 * batch_size
    for step in range(10):
        batch = rows[step * batch_size : (step + 1) * batch_size]
        assert sum(row in old for row in batch) == rows_a_batch
    assert len({row for row in rows if row not in old}) == 12
    assert rows == training_rows(config, new) != training_rows(config.with_(seed=1), new)


def test_settings_that_cannot_work_are_said(practice):
    with pytest.raises(DataError, match="examples is 100 and the task has 72"):
        finetune(FineTuneConfig(examples=100), base=practice)
    with pytest.raises(ValueError, match="less than half a row"):
        finetune(FineTuneConfig(replay=0.05, batch_size=4, steps=2), base=practice)
    wrapped = copy.deepcopy(practice[0])
    get_peft_model(wrapped, lora_config(QUICK, wrapped))  # puts its layers into the model itself
    with pytest.raises(ValueError, match="has an adapter in it already"):
        finetune(QUICK, base=(wrapped, practice[1]))
    with pytest.raises(DataError, match="no probes"):
        RegressionMonitor(practice[1], [])
    with pytest.raises(ValueError, match="every is 0"):
        RegressionMonitor(practice[1], [Probe("a", "b", "c")], every=0)
    with pytest.raises(ValueError, match="max_drop is 150"):
        RegressionMonitor(practice[1], [Probe("a", "b", "c")], max_drop=150)


def test_smollm2_trains(smollm2):
    config = FineTuneConfig(model="smollm2", target_modules="q_proj,v_proj", steps=2, batch_size=2, evaluate_every=1)
    result = finetune(config, base=smollm2, probes=load_probes(GENERAL)[:6], live=6, questions=())
    assert result.checkpoints[-1].train_loss < result.checkpoints[0].train_loss
