"""Time the engine against torch on one thread: ``python -m utils.page.engine.bench``. Figures are ratios within one run.

Both do the same steps and the same measurements, turn by turn, so that other work on the machine slows both down.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from peft import get_peft_model

from capability_guard.asking import ask, encode_probes, score
from capability_guard.encoding import context_length, encode
from capability_guard.forward import undisturbed
from capability_guard.probes import live_subset
from utils.page.engine.export import export
from utils.training.config import FineTuneConfig
from utils.training.data import everyday_texts, load_task
from utils.training.finetuning import LIVE_PROBES, LIVE_TEXTS, default_probes
from utils.training.models import load_model, working_copy
from utils.training.rows import training_rows
from utils.training.trainer import lora_config

HERE = Path(__file__).parent
WARM_UP = 5  # a browser's compiler needs a step or two until it is done


def torch_step(config: FineTuneConfig) -> tuple[Callable[[], None], Callable[[], None]]:
    """(one training step, one measurement) of the plainest loop that does what the engine does, without any dropout."""
    torch.set_num_threads(1)
    base, tokenizer = load_model(config.model, quiet=True)
    model = working_copy(base, share_weights=config.method == "lora")
    if config.method == "lora":
        model = get_peft_model(model, lora_config(config, base))
    model.eval()  # no dropout; the gradients are the same
    task = load_task("customer_service")
    rows = training_rows(config, list(task["train"]["text"]))
    ids = iter([torch.tensor(row + [tokenizer.eos_token_id]) for row in tokenizer(rows).input_ids])
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=config.learning_rate, weight_decay=0, fused=True)

    def step() -> None:
        batch = [next(ids) for _ in range(config.batch_size)]
        inputs = torch.nn.utils.rnn.pad_sequence(batch, batch_first=True, padding_value=tokenizer.pad_token_id)
        labels = torch.nn.utils.rnn.pad_sequence(batch, batch_first=True, padding_value=-100)
        model(input_ids=inputs, attention_mask=(labels != -100).long(), labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()

    longest = context_length(base)
    probes = encode_probes(tokenizer, live_subset(default_probes(config.model), LIVE_PROBES), longest)
    groups = (list(task["train"]["text"]), list(task["held_out"]["text"]), everyday_texts())
    texts = [encode(tokenizer, group[:LIVE_TEXTS], longest) for group in groups]

    def measure() -> None:
        with undisturbed(model):
            ask(model, tokenizer, probes)
            for text in texts:
                score(model, text)

    return step, measure


def timed(call: Callable[[], None]) -> tuple[float, float]:
    """(milliseconds around the clock, and of the processor)."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return 1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - cpu)


def compare(method: str, steps: int, measurements: int, runs: int) -> None:
    """Print the median times of both, and the ratio."""
    config = FineTuneConfig(method=method, lora_dropout=0.0, steps=1000)
    step, measure = torch_step(config)
    with tempfile.TemporaryDirectory() as folder:
        export(folder)
        command = ["node", str(HERE / "bench.mjs"), folder, method]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as engine:

            def ask_engine(line: str) -> list[float]:
                engine.stdin.write(line + "\n")
                engine.stdin.flush()
                return [float(x) for x in engine.stdout.readline().split()[:2]]

            for name, call, count in (("step", step, steps), ("measure", measure, measurements)):
                pairs = [(timed(call), ask_engine(name)) for _ in range(WARM_UP + count)][WARM_UP:]
                for clock, which in (("around the clock", 0), ("of the processor", 1)):
                    ours, theirs = (
                        [side[which] for side in sides] for sides in zip(*[p[::-1] for p in pairs], strict=True)
                    )
                    ratio = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
                    print(f"{method} {name}, {clock}: engine {statistics.median(ours):.0f} ms, torch "
                          f"{statistics.median(theirs):.0f} ms, {ratio:.2f} times as long")  # fmt: skip
            if runs:
                for count in (2, runs):
                    engine.stdin.write(f"runs {count}\n")
                    engine.stdin.flush()
                    megabytes = float(engine.stdout.readline().split()[2]) / 1e6
                    print(f"memory after {count} runs of both methods: {megabytes:.1f} MB")
            engine.stdin.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--method", choices=("lora", "full"), default="lora")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--measurements", type=int, default=10)
    parser.add_argument("--runs", type=int, default=0, help="also: so many runs in one instance, and its memory then")
    arguments = parser.parse_args()
    compare(arguments.method, arguments.steps, arguments.measurements, arguments.runs)


if __name__ == "__main__":
    main()
