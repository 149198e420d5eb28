"""Weights kept at checkpoints bring back exactly what the model was."""

import pytest
import torch

from capability_guard.asking import score_probes
from capability_guard.weights import put_back, trained_weights
from utils.training.answers import answer
from utils.training.config import FineTuneConfig
from utils.training.data import QUESTIONS, load_task
from utils.training.finetuning import default_probes, finetune
from utils.training.snapshots import Snapshots, StartFrom

pytestmark = pytest.mark.training

CONFIG = FineTuneConfig(learning_rate=1.3e-2, steps=5, evaluate_every=2)
RUN = dict(questions=(), live=None, keep_model=True)


@pytest.fixture(scope="module")
def run(practice):
    snapshots = Snapshots(every=2)
    probes = default_probes("practice")[:40]
    result = finetune(CONFIG, load_task("jazz_riff"), probes, base=practice, callbacks=[snapshots], **RUN)
    return snapshots, result, probes


def test_snapshots_are_taken_from_step_0_to_the_end(run):
    snapshots, result, _ = run
    assert snapshots.steps == [0, 2, 4, 5] == [c.step for c in result.checkpoints]


def test_a_snapshot_put_back_scores_as_it_did_then(run, practice):
    snapshots, result, probes = run
    for checkpoint in result.checkpoints:
        put_back(result.model, snapshots.weights[checkpoint.step])
        assert score_probes(result.model, practice[1], probes).accuracy == checkpoint.accuracy


def test_answers_go_from_the_base_model_to_the_last_one(run, practice):
    snapshots, result, _ = run
    said = snapshots.answers(result.model, practice[1], QUESTIONS)
    assert list(said) == [0, 2, 4, 5]
    assert said[0] == answer(*practice, QUESTIONS)
    assert said[5] == answer(result.model, practice[1], QUESTIONS), "the model is left as it ended"


def test_a_run_can_start_where_another_ended(run, practice):
    earlier, _, probes = run
    later = Snapshots(every=10)
    callbacks = [StartFrom(earlier.weights[5]), later]
    finetune(CONFIG.with_(steps=1), load_task("jazz_riff"), probes, base=practice, callbacks=callbacks, **RUN)
    assert all(torch.equal(later.weights[0][name], kept) for name, kept in earlier.weights[5].items())
    assert any(not torch.equal(later.weights[1][name], kept) for name, kept in earlier.weights[5].items())


def test_a_snapshot_is_a_copy(run):
    _, result, _ = run
    kept = trained_weights(result.model)
    name = next(iter(kept))
    kept[name] += 1
    assert not torch.equal(dict(result.model.named_parameters())[name], kept[name])


def test_faults_are_said(practice):
    with pytest.raises(ValueError, match="at least 1"):
        Snapshots(every=0)
    with pytest.raises(ValueError, match="not of this model"):
        put_back(practice[0], {"lora_A": torch.zeros(1)})
