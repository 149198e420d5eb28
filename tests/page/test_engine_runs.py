"""Whole runs of the page's engine against ``finetune``: the same settings and seed give the same curve."""

from statistics import mean

import pytest
from node_engine import NodeEngine, exported, needs_node, rounded, without_dropout

from utils.training import finetuning
from utils.training.config import FineTuneConfig
from utils.training.data import DATA
from utils.training.presets import preset
from utils.training.sweeps import load

pytestmark = [pytest.mark.training, needs_node]
QUESTIONS = ("What is 2+2?", "What is the capital of France?")


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    engine = NodeEngine(exported(tmp_path_factory.mktemp("practice"), "practice"), "weights.f32")
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    engine = NodeEngine(exported(tmp_path_factory.mktemp("small"), "practice-small"), "weights.f32")
    yield engine
    engine.close()


def trained_by_python(config: FineTuneConfig, base, monkeypatch):
    """(what ``finetune`` gives, its training loss at each step), for a base that drops nothing."""
    losses = []
    build = finetuning.build_trainer

    def recording(*arguments, **named):
        trainer = build(*arguments, **named)
        compute = trainer.compute_loss

        def compute_loss(model, inputs, return_outputs=False, num_items_in_batch=None):
            # Divided by all tokens, as TRL 1.16 does; other versions may leave out the first of each row.
            rows = inputs["labels"].ne(-100)
            result = compute(model, inputs, return_outputs=return_outputs, num_items_in_batch=rows.sum())
            losses.append((result[0] if return_outputs else result).item())
            return result

        trainer.compute_loss = compute_loss
        return trainer

    monkeypatch.setattr(finetuning, "build_trainer", recording)
    return finetuning.finetune(config, base=base, questions=QUESTIONS), losses


SETTINGS = {
    "careful": FineTuneConfig(learning_rate=1.5e-3),
    "reckless": FineTuneConfig(learning_rate=1.3e-2, seed=3),
    "replay": FineTuneConfig(learning_rate=1.3e-2, replay=0.25, steps=12, seed=4_000_000_000),
    "rsLoRA, rank 64": FineTuneConfig(learning_rate=3e-3, rank=64, scaling="rslora", steps=8, evaluate_every=3),
    "2r, rank 3": FineTuneConfig(learning_rate=5e-3, rank=3, scaling="2r", steps=8, target_modules="c_attn"),
    "rank 1": FineTuneConfig(learning_rate=5e-3, rank=1, steps=8, examples=5, seed=7),
    "full": FineTuneConfig(method="full", learning_rate=1.5e-3, steps=12, seed=2),
    "many rows": FineTuneConfig(learning_rate=5e-3, batch_size=20, steps=4, seed=5),
    "turned down": FineTuneConfig(learning_rate=1.3e-2, steps=12, strength=0.6, seed=11),
    "full, turned down": FineTuneConfig(method="full", learning_rate=3e-3, steps=8, strength=0.5),
    "small": FineTuneConfig(model="practice-small", learning_rate=1.3e-2, steps=20, seed=1),
    "small, full": FineTuneConfig(model="practice-small", method="full", learning_rate=1.5e-3, steps=8),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_the_curve_is_pythons(request, monkeypatch, name):
    config = SETTINGS[name].with_(lora_dropout=0.0)
    engine = request.getfixturevalue("small" if config.model == "practice-small" else "engine")
    result, losses = trained_by_python(config, without_dropout(config.model), monkeypatch)
    ours = engine("run", config.to_dict() | {"dropout": False})
    assert ours["stopped"] == ""
    assert ours["training_loss"] == pytest.approx(losses, abs=1e-4)
    assert ours["steps"] == [c.step for c in result.checkpoints]
    assert ours["retention"] == [c.accuracy for c in result.checkpoints]
    for capability, shares in ours["by_capability"].items():
        assert shares == [c.retention[capability] for c in result.checkpoints]
    for loss in ("train_loss", "held_out_loss", "original_loss"):
        assert ours[loss] == pytest.approx([getattr(c, loss) for c in result.checkpoints], abs=2e-4)
    assert (ours["before"], ours["after"]) == (result.before, result.after)
    assert [engine("answer", question) for question in QUESTIONS] == result.answers_after


@pytest.mark.parametrize("name", ["careful", "reckless"])
def test_the_pages_own_weights_give_torchs_curve_and_nearly_that_of_the_real_ones(engine, monkeypatch, name):
    """40 steps: torch with the same rounded weights gives the same curve. Prints how far the real weights' curve is from it."""
    config = SETTINGS[name].with_(lora_dropout=0.0, seed=0)
    result, losses = trained_by_python(config, rounded("practice"), monkeypatch)
    page = NodeEngine(engine.folder, "weights.bin")
    ours, real = (each("run", config.to_dict() | {"dropout": False}) for each in (page, engine))
    page.close()
    assert ours["training_loss"] == pytest.approx(losses, abs=1e-4)
    assert ours["retention"] == [c.accuracy for c in result.checkpoints] and ours["after"] == result.after
    loss = max(abs(a - b) for a, b in zip(ours["held_out_loss"], real["held_out_loss"], strict=True))
    flipped = sum(a != b for a, b in zip(ours["after"], real["after"], strict=True))
    kept = [100 * mean(run["after"]) for run in (ours, real)]
    print(
        f"{name}: {flipped} of {len(real['after'])} outcomes flipped, kept {kept[0]:.1f} and {kept[1]:.1f} %, loss {loss:.4f} apart"
    )
    assert loss < 0.05 and abs(kept[0] - kept[1]) < 2


def test_the_same_run_twice_is_the_same_to_the_last_bit(engine):
    """Whatever ran in between, and with all dropout on."""
    engine("reload", {"embd_pdrop": 0.1, "resid_pdrop": 0.1})
    config = {"learning_rate": 1.3e-2, "steps": 6, "evaluate_every": 3, "lora_dropout": 0.3}
    first = engine("run", config)
    engine("run", {"method": "full", "steps": 2})
    again, other = engine("run", config), engine("run", config | {"seed": 1})
    for result in (first, again):
        del result["config"]
    assert again == first and other["training_loss"] != first["training_loss"]
    engine("reload", {})


def test_a_run_stops_within_one_step(engine):
    result = engine("run", {"steps": 30, "evaluate_every": 30}, {"stop_at": 4})
    assert result["stopped"] == "stopped at step 4"
    assert len(result["training_loss"]) == 4 and result["steps"] == [0]


def test_early_steps_are_measured_besides(engine):
    result = engine("run", {"steps": 6, "evaluate_every": 3}, {"early": [1, 3, 6]})
    assert result["steps"] == [0, 1, 3, 6]


def test_a_run_that_diverges_ends_and_says_so(small):
    config = {"method": "full", "steps": 6, "evaluate_every": 3}
    result = small("diverge", config)
    assert result["stopped"] == "the loss was NaN at step 3: the run diverged"
    assert result["steps"] == [0, 3] and result["retention"] == [1, 0]


def test_memory_does_not_grow(small):
    small("manyRuns", 65)  # every rank, and both methods
    before = small("bytes")
    small("manyRuns", 200)
    assert small("bytes") == before < 80e6


def test_a_run_forgets_what_the_stored_runs_do(tmp_path):
    """Five seeds, as the page runs them, rounded weights and all, against the runs in data/claims of the same seeds."""
    config = preset("reckless").with_(evaluate_every=40)
    stored = [p for p in load(DATA / "claims" / "practice.jsonl") if p.config.with_(seed=0) == config and p.after]
    assert len(stored) >= 5
    engine = NodeEngine(exported(tmp_path, "practice"), "weights.bin")
    runs = [engine("run", point.config.to_dict(), {"every": 40}) for point in stored[:5]]
    engine.close()
    kept = mean(mean(run["after"]) for run in runs)
    theirs = [point.after.count("1") / len(point.after) for point in stored]
    # A mean of five wanders less than its parts; where all of them agree, an answer or two may be left to rounding.
    assert min(theirs) - 0.01 <= kept <= max(theirs) + 0.01
    assert abs(kept - mean(theirs)) <= 0.01 + (max(theirs) - min(theirs)) / 2


def test_the_defaults_are_pythons(engine):
    assert engine("start", {}) == FineTuneConfig().to_dict() | {"dropout": True, "scale": FineTuneConfig().scale}
