"""How far weights moved: nothing for nothing, the right share for a known change, and adapters counted in."""

import copy

import pytest
import torch

from utils.figures.movement import plot_movement
from utils.training.config import FineTuneConfig
from utils.training.finetuning import finetune
from utils.training.moved import movement

pytestmark = pytest.mark.training


def test_an_untouched_copy_has_not_moved_and_a_known_change_is_measured(practice):
    base, _ = practice
    tuned = copy.deepcopy(base)
    assert set(movement(tuned, base).values()) == {0.0}
    with torch.no_grad():
        tuned.transformer.h[1].mlp.c_fc.weight.mul_(1.5)
    moved = movement(tuned, base)
    assert moved["transformer.h.1.mlp.c_fc.weight"] == pytest.approx(0.5, abs=1e-4)
    assert sum(share > 0 for share in moved.values()) == 1


def test_an_adapter_counts_and_the_model_that_was_given_is_left_alone(practice):
    base, _ = practice
    result = finetune(
        FineTuneConfig(steps=2, learning_rate=5e-3, batch_size=2), base=practice, questions=(), keep_model=True
    )
    moved = movement(result.model, base)
    assert hasattr(result.model, "peft_config") and moved["transformer.h.0.attn.c_attn.weight"] > 0
    assert moved["transformer.wte.weight"] == 0, "LoRA leaves the embeddings alone"
    figure = plot_movement({"a run": moved})
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == [f"block {i}" for i in range(4)]
    assert len(figure.axes[0].texts) == 16


def test_two_different_models_are_one_sentence(practice):
    with pytest.raises(ValueError, match="compare a model with its own untouched base"):
        movement(torch.nn.Linear(2, 2), practice[0])
