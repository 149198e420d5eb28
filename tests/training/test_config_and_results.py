"""Settings check themselves and survive a copy and paste; results survive the disk."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capability_guard.curve import Checkpoint
from utils.training.config import METHODS, SCALINGS, FineTuneConfig
from utils.training.results import SCHEMA, RunResult

CONFIGS = st.builds(
    FineTuneConfig,
    model=st.sampled_from(["practice", "gpt2", "smollm2", "someone/a-model", "./a folder=x"]),
    method=st.sampled_from(METHODS),
    scaling=st.sampled_from(SCALINGS),
    learning_rate=st.floats(1e-9, 1, allow_nan=False),
    rank=st.integers(1, 1024),
    lora_alpha=st.integers(1, 4096),
    lora_dropout=st.floats(0, 0.9),
    target_modules=st.sampled_from(["all-linear", "c_attn", "q_proj,v_proj"]),
    steps=st.integers(1, 10**6),
    batch_size=st.integers(1, 4096),
    replay=st.floats(0, 0.9),
    examples=st.integers(0, 10**6),
    seed=st.integers(0, 2**32 - 1),
    evaluate_every=st.integers(1, 10**6),
)


@given(CONFIGS)
def test_a_config_survives_the_string_and_the_dict(config):
    assert FineTuneConfig.from_string(str(config)) == config
    assert FineTuneConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"learning_rate": 0.0}, "learning_rate is 0.0; it must be more than 0"),
        ({"learning_rate": 10**400}, "it must be more than 0 and at most 1"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"rank": 0}, "rank is 0; it must be at least 1"),
        ({"rank": 2.5}, "rank is 2.5; it must be a whole number"),
        ({"rank": True}, "rank is True"),
        ({"method": "qlora"}, "method is 'qlora'; use one of lora, full"),
        ({"replay": 1.0}, "replay is 1.0; it must be at least 0 and at most 0.9"),
        ({"steps": "40"}, "steps is '40'; it must be a whole number"),
        ({"model": " "}, "model is empty"),
        ({"model": "a;b"}, "cannot be pasted"),
        ({"target_modules": "a;b"}, "cannot be pasted"),
        ({"target_modules": ",,"}, "give module names with a comma between them"),
    ],
)
def test_a_bad_setting_names_field_value_and_range(changes, says):
    with pytest.raises(ValueError) as error:
        FineTuneConfig(**changes)
    assert says in str(error.value)


@pytest.mark.parametrize("text", ["lr=3", "rank", "rank=many", "rank=8;;steps=x"])
def test_a_bad_string_names_the_part(text):
    with pytest.raises(ValueError, match="is not a setting|must be a whole number"):
        FineTuneConfig.from_string(text)


def test_the_scale_follows_from_the_scaling():
    assert FineTuneConfig(rank=4).scale == 4
    assert FineTuneConfig(rank=64, scaling="2r").scale == 2
    assert FineTuneConfig(rank=64, scaling="rslora").scale == 2
    assert FineTuneConfig(method="full").scale is None
    assert "scale 4" in FineTuneConfig(rank=4).label


def result():
    curve = [
        Checkpoint(0, 0.0, 1.0, {"a": 1.0}, 9.0, 10.0, 2.0, 0.0),
        Checkpoint(4, 0.5, 0.5, {"a": 0.5}, None, 4.0, float("nan"), 0.3),
    ]
    return RunResult(
        FineTuneConfig(rank=4),
        curve,
        ["q", "r"],
        ["a", "a"],
        [True, True],
        [True, False],
        ["q"],
        ["4."],
        ["nan"],
    )


def test_a_result_survives_the_disk(tmp_path):
    path = result().save(tmp_path / "deep" / "run.json")
    back = RunResult.load(path)
    assert math.isnan(back.checkpoints[1].original_loss) and back.checkpoints[1].train_loss is None
    assert back.answers_after == ["nan"], "only figures are read as numbers"
    back.checkpoints[1] = result().checkpoints[1]
    assert repr(back) == repr(result())
    assert [p.name for p in path.parent.iterdir()] == ["run.json"], "no draft is left behind"
    assert back.learned == pytest.approx(0.6) and back.forgotten == 50


def test_a_failed_write_leaves_the_old_file_whole(tmp_path, monkeypatch):
    path = result().save(tmp_path / "run.json")
    old = path.read_bytes()
    monkeypatch.setattr("capability_guard.files.os.replace", lambda *a: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        result().save(path)
    assert path.read_bytes() == old and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [("{", "not a readable result"), ("[]", "no result of a run"), ("{}", "no result of a run"),
     (json.dumps({"schema": SCHEMA + 1}), "schema 2"),
     (json.dumps({"schema": SCHEMA, "checkpoints": []}), "not a whole result")],
)  # fmt: skip
def test_a_file_that_is_no_result_is_one_sentence(tmp_path, content, says):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(ValueError, match=says):
        RunResult.load(tmp_path / "x.json")
