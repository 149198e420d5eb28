"""The monitor in TRL's trainers, two steps each on a tiny model, and in a script under ``accelerate launch``."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import train_in_processes as tiny
from datasets import Dataset

from capability_guard.monitor import RegressionMonitor

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def tokenizer():
    tokenizer = tiny.tokenizer_of()
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }} {% endfor %}"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


@pytest.fixture
def model(tokenizer, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "taught"
    folder.mkdir(exist_ok=True)
    model = tiny.model_of(tokenizer, folder)
    model.save_pretrained(folder / "model")  # DPO reads its reference model from where this one is
    model.name_or_path = model.config.name_or_path = str(folder / "model")
    return model


def settings(folder: Path) -> dict:
    return {
        "output_dir": str(folder), "max_steps": 2, "per_device_train_batch_size": 2, "learning_rate": 0.05, "bf16": False,
        "use_cpu": True, "report_to": "none", "save_strategy": "no", "logging_steps": 1, "disable_tqdm": True,
        "gradient_checkpointing": False,
    }  # fmt: skip


def watched(trainer, monitor) -> None:
    monitor.log_to(trainer)
    trainer.train()
    assert [c.step for c in monitor.checkpoints] == [0, 1, 2]
    assert len(monitor.before) == len(monitor.after) == len(tiny.probes_of()) and monitor.checkpoints[0].accuracy > 0.5
    assert monitor.checkpoints[-1].held_out_loss != monitor.checkpoints[0].held_out_loss, "it was trained meanwhile"
    logged = [entry["monitor/accuracy"] for entry in trainer.state.log_history if "monitor/accuracy" in entry]
    assert logged == [c.accuracy for c in monitor.checkpoints]


@pytest.fixture
def monitor(tokenizer):
    return RegressionMonitor(tokenizer, tiny.probes_of(), held_out_texts=tiny.NEW, every=1)


def test_sft(model, tokenizer, monitor, tmp_path):
    from trl import SFTConfig, SFTTrainer

    data = Dataset.from_dict({"text": tiny.NEW * 4})
    watched(SFTTrainer(model, SFTConfig(**settings(tmp_path), max_length=32), train_dataset=data, processing_class=tokenizer,
                       callbacks=[monitor]), monitor)  # fmt: skip


def test_dpo(model, tokenizer, monitor, tmp_path):
    from trl import DPOConfig, DPOTrainer

    data = Dataset.from_dict(
        {"prompt": ["Where is my order?"] * 8, "chosen": [" On the van."] * 8, "rejected": [" No."] * 8}
    )
    watched(DPOTrainer(model, args=DPOConfig(**settings(tmp_path), max_length=32), train_dataset=data, processing_class=tokenizer,
                       callbacks=[monitor]), monitor)  # fmt: skip


def test_grpo(model, tokenizer, monitor, tmp_path):
    from trl import GRPOConfig, GRPOTrainer

    def shortness(completions, **kwargs):
        return [-float(len(text)) for text in completions]

    data = Dataset.from_dict({"prompt": ["Where is my order?", "It broke."] * 4})
    how = GRPOConfig(**settings(tmp_path), num_generations=2, max_completion_length=4)
    watched(
        GRPOTrainer(model, shortness, args=how, train_dataset=data, processing_class=tokenizer, callbacks=[monitor]),
        monitor,
    )


def test_accelerate_launch(tmp_path):
    """The script itself, as one process that ``accelerate`` starts."""
    script = Path(tiny.__file__)
    launch = [
        sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes=1", "--num_machines=1",
        "--mixed_precision=no", "--dynamo_backend=no", "--num_cpu_threads_per_process=1", str(script), str(tmp_path), "short",
    ]  # fmt: skip
    done = subprocess.run(
        launch, capture_output=True, text=True, timeout=900, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "rank0.json").exists()
