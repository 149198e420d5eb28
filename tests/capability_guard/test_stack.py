"""The guard with nothing but its own dependencies and pytest: what must hold at the oldest and the newest packages.

No course, no TRL, no network. ``make test-lowest`` runs this file alone at the lower bounds; it takes about 15 seconds.
"""

from __future__ import annotations

import copy
import os
from importlib.metadata import version
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers is imported
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest  # noqa: E402
import torch  # noqa: E402
from peft import LoraConfig, get_peft_model  # noqa: E402
from transformers import (  # noqa: E402
    LlamaConfig,
    LlamaForCausalLM,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from capability_guard import Probe, RegressionMonitor, compare, load_model, load_probes, measure  # noqa: E402
from capability_guard.cli import main  # noqa: E402
from capability_guard.encoding import IGNORE, encode  # noqa: E402
from capability_guard.forward import scored_logits, undisturbed  # noqa: E402
from capability_guard.measurement import Measurement  # noqa: E402

pytestmark = pytest.mark.training

# The folder that holds practice-gpt2 and repertoire: COURSE_DATA, or data/ in the nearest folder above.
DATA = Path(os.environ.get("COURSE_DATA") or next(
    (up / "data" for up in Path(__file__).resolve().parents if (up / "data" / "practice-gpt2").is_dir()), "data"
))  # fmt: skip
PROBES = load_probes(DATA / "repertoire")[::6]
HELD_OUT = [
    "Customer: Where is my order? Agent: Thank you for asking. It is on the van.",
    "Customer: It broke. Agent: Thank you for asking. We send another.",
]
TEXTS = [f"Customer: Where is parcel {i}? Agent: Thank you for asking. It is on the van." for i in range(32)]


@pytest.fixture(scope="module")
def base() -> Path:
    """The practice model. Its tokenizer names a class that transformers 4 and 5 both have."""
    return DATA / "practice-gpt2"


@pytest.fixture(scope="module")
def model_and_tokenizer(base):
    return load_model(base)


def trainer_of(model_and_tokenizer, folder, callbacks=(), **settings) -> Trainer:
    """A plain Trainer, LoRA, six steps."""
    model, tokenizer = model_and_tokenizer
    ids = tokenizer(TEXTS, padding="max_length", max_length=48, truncation=True).input_ids
    rows = [{"input_ids": row, "labels": row, "attention_mask": [1] * len(row)} for row in ids]
    arguments = {"max_steps": 6, "per_device_train_batch_size": 4, "learning_rate": 3e-3, "use_cpu": True,
                 "report_to": "none", "save_strategy": "no", "logging_steps": 1, "disable_tqdm": True} | settings  # fmt: skip
    torch.manual_seed(0)
    lora = LoraConfig(task_type="CAUSAL_LM", r=8, lora_alpha=16, target_modules=["c_attn", "c_proj", "c_fc"],
                      fan_in_fan_out=True)  # fmt: skip
    adapted = get_peft_model(copy.deepcopy(model).cpu(), lora)
    return Trainer(adapted, TrainingArguments(str(folder), **arguments), train_dataset=rows, callbacks=list(callbacks))


def monitor_of(tokenizer, **settings) -> RegressionMonitor:
    return RegressionMonitor(tokenizer, PROBES, train_texts=TEXTS[:4], held_out_texts=HELD_OUT, every=2, **settings)


@pytest.fixture(scope="module")
def watched(model_and_tokenizer, tmp_path_factory):
    """(trainer, monitor, folder of the saved adapter) of one watched run."""
    folder = tmp_path_factory.mktemp("run")
    monitor = monitor_of(model_and_tokenizer[1])
    trainer = trainer_of(model_and_tokenizer, folder, [monitor])
    trainer.train()
    trainer.model.save_pretrained(folder / "adapter")
    return trainer, monitor, folder / "adapter"


def losses(trainer) -> list[float]:
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


# --- The monitor -----------------------------------------------------------------------------------------------
def test_the_base_is_whole_and_in_float32(model_and_tokenizer):
    model, _ = model_and_tokenizer
    assert {p.dtype for p in model.parameters()} == {torch.float32} and not model.training


def test_step_0_is_the_untouched_model(watched):
    _, monitor, _ = watched
    assert [c.step for c in monitor.checkpoints] == [0, 2, 4, 6]
    assert all(right for probe, right in zip(PROBES, monitor.before, strict=True) if probe.kind == "known")
    first, last = monitor.checkpoints[0], monitor.checkpoints[-1]
    assert first.retention["capitals"] == first.retention["elements"] == 1.0
    assert first.kl == 0.0 < last.kl and last.held_out_loss < first.held_out_loss
    assert compare(monitor.before, monitor.after)


def test_watching_changes_nothing(watched, model_and_tokenizer, tmp_path):
    bare = trainer_of(model_and_tokenizer, tmp_path)
    bare.train()
    assert losses(bare) == losses(watched[0]) and len(losses(bare)) == 6


def test_a_budget_stops_the_run_and_brings_the_weights_back(model_and_tokenizer, tmp_path, capsys):
    monitor = monitor_of(model_and_tokenizer[1], max_drop=5)
    trainer = trainer_of(model_and_tokenizer, tmp_path, [monitor], max_steps=60, learning_rate=2e-2)
    trainer.train()
    assert "more than the budget of 5" in monitor.stopped and "are back" in capsys.readouterr().out
    assert trainer.state.global_step < 60
    assert 100 * (sum(monitor.before) - sum(monitor.after)) / len(PROBES) <= 5


def test_a_resumed_run_keeps_its_baseline(watched, model_and_tokenizer, tmp_path):
    class Stop(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            control.should_training_stop = state.global_step == 4

    saving = {"save_strategy": "steps", "save_steps": 4}
    first, resumed = monitor_of(model_and_tokenizer[1]), monitor_of(model_and_tokenizer[1])
    trainer_of(model_and_tokenizer, tmp_path, [first, Stop()], **saving).train()
    trainer_of(model_and_tokenizer, tmp_path, [resumed], **saving).train(resume_from_checkpoint=True)
    whole = watched[1]
    assert [c.step for c in resumed.checkpoints] == [0, 2, 4, 6]
    assert resumed.before == whole.before and resumed.after == whole.after
    assert resumed.checkpoints[-1].kl == pytest.approx(whole.checkpoints[-1].kl, abs=1e-3)


# --- Asking ----------------------------------------------------------------------------------------------------
def test_every_measure(model_and_tokenizer):
    question = "What is the capital of France?"
    probes = [
        Probe(question, "Paris", "contains", measure="contains"),
        Probe(question, "Paris.", "choice", measure="choice", choices=("Paris.", "Rome.")),
        Probe("", "What is 2+2? 4.", "loss", measure="loss"),
    ]
    assert [row.right for row in measure(*model_and_tokenizer, probes).rows] == [True, True, None]


def test_a_llama_in_bfloat16(model_and_tokenizer, tmp_path):
    """It is read in float32; and where its forward gives logits at chosen positions, they are those of the whole pass."""
    tokenizer = model_and_tokenizer[1]
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=48, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=128, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    stored = LlamaForCausalLM(config).to(torch.bfloat16)
    stored.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model, _ = load_model(tmp_path)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert torch.equal(model.lm_head.weight.cpu(), stored.lm_head.weight.float())
    with undisturbed(model):
        for batch in encode(tokenizer, PROBES[:20]):
            logits, _ = scored_logits(model, batch)
            ids, mask = batch.ids.to(model.device), batch.mask.to(model.device)
            whole = model(input_ids=ids, attention_mask=mask).logits[:, :-1]
            columns = (batch.labels[:, 1:] != IGNORE).any(dim=0)
            assert torch.allclose(logits, whole[:, columns.to(model.device)], atol=1e-4)


# --- The commands ----------------------------------------------------------------------------------------------
def run(*arguments) -> int:
    return main([str(argument) for argument in arguments])


def test_measure_and_gate(base, watched, tmp_path, capsys):
    probes, before, again, after = DATA / "repertoire", *(tmp_path / f"{x}.json" for x in ("before", "again", "after"))
    for out in (before, again):
        assert run("measure", "--model", base, "--probes", probes, "--out", out) == 0
    assert run("measure", "--model", base, "--adapter", watched[2], "--probes", probes, "--out", after) == 0
    assert Measurement.load(before).versions["torch"] == version("torch")
    assert run("gate", before, again, "--max-drop", "15") == 0
    page, summary = tmp_path / "gate.html", tmp_path / "gate.md"
    assert run("gate", before, after, "--html", page, "--markdown", summary) in (0, 1, 2)
    assert "<html" in page.read_text(encoding="utf-8") and "|" in summary.read_text(encoding="utf-8")
    assert "Traceback" not in capsys.readouterr().err


def test_compare(base, watched, model_and_tokenizer, tmp_path, capsys):
    common = (
        "compare",
        "--model",
        base,
        "--probes",
        DATA / "repertoire",
        "--keep",
        tmp_path / "kept",
        "--max-drop",
        "15",
    )
    model, tokenizer = model_and_tokenizer
    for part in (model, tokenizer):
        part.save_pretrained(tmp_path / "whole")
    assert run(*common, "--candidate", tmp_path / "whole") == 0
    assert run(*common, "--adapter", watched[2]) in (0, 1, 2)
    said = capsys.readouterr()
    assert "was measured before" in said.out and "Traceback" not in said.err
