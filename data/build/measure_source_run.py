"""What the common tutorial's own run would need at GPT-2's true size: ``python data/build/measure_source_run.py``.

A GPT-2 of 124 million parameters with random weights, which cost as much as trained ones: time and memory depend on shapes.
The tutorial's settings: LoRA r=8, alpha 16 on c_attn, 3 examples, 2 epochs in batches of 2 (4 steps), rate 5e-5; three
questions answered before and after, up to 50 new tokens each. Texts are the course's own, as tokens of the practice model,
whose tokens are no longer than GPT-2's: the true run is no slower. Writes data/claims/source-run.json.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
DATA = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(DATA.parent))

import torch  # noqa: E402 - the course's own folder must be on the path first
from transformers import GPT2Config, GPT2LMHeadModel  # noqa: E402

from capability_guard.files import write_whole  # noqa: E402
from utils.course.lesson import start  # noqa: E402
from utils.training.answers import answer  # noqa: E402
from utils.training.config import FineTuneConfig  # noqa: E402
from utils.training.data import QUESTIONS, load_task  # noqa: E402
from utils.training.models import load_model, parameter_counts  # noqa: E402
from utils.training.results import RunResult  # noqa: E402
from utils.training.rows import training_rows  # noqa: E402
from utils.training.trainer import build_trainer  # noqa: E402

FILE = DATA / "claims" / "source-run.json"
CONFIG = FineTuneConfig(
    model="gpt2", learning_rate=5e-5, lora_dropout=0.05, target_modules="c_attn", steps=4, batch_size=2, examples=3
)


def measure() -> dict:
    """Seconds of wall clock and of processor for each part, and the most memory that the process ever held."""
    start()
    seconds: dict[str, dict[str, float]] = {}

    def timed(name, action):
        wall, processor = time.perf_counter(), time.process_time()
        done = action()
        seconds[name] = {
            "wall": round(time.perf_counter() - wall, 1),
            "processor": round(time.process_time() - processor, 1),
        }
        return done

    tokenizer = load_model("practice", quiet=True)[1]
    idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    model = timed("make the model", lambda: GPT2LMHeadModel(GPT2Config()).eval())
    timed("3 answers before", lambda: answer(model, tokenizer, QUESTIONS, max_new_tokens=50))
    rows = training_rows(CONFIG, load_task()["train"]["text"])
    with tempfile.TemporaryDirectory() as scratch:
        trainer = timed("build the trainer", lambda: build_trainer(CONFIG, model, tokenizer, rows, [], scratch))
        timed("4 training steps", trainer.train)
    trainable, parameters = parameter_counts(trainer.model)
    timed("3 answers after", lambda: answer(trainer.model, tokenizer, QUESTIONS, max_new_tokens=50))
    blank = RunResult(CONFIG)
    return {
        "config": str(CONFIG), "trainable": trainable, "parameters": parameters, "tokens_in_3_examples": [
            len(tokenizer(text).input_ids) for text in dict.fromkeys(rows)],
        "seconds": seconds, "threads": torch.get_num_threads(),
        "peak_memory_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
        "of_which_libraries_gb": round(idle / 1e6, 2), "versions": blank.versions, "machine": blank.machine,
    }  # fmt: skip


if __name__ == "__main__":
    found = measure()
    print(json.dumps(found, indent=1))
    write_whole(FILE, json.dumps(found, indent=1) + "\n")
