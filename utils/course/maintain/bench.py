"""Measure the speed and the memory of the course: ``make bench``. Figures are ratios within one run.

1. Forty SFTTrainer steps, without the monitor, against a bare torch loop over the same peft model and the same rows.
2. The monitor's share of a run with ten checkpoints.
3. The playground: from letting go of a slider to its first points and to the finished run, against the same bare loop.
4. The peak memory and the time of each lesson, in a kernel of its own, without the part at real scale.

With --only, also what is measured for lessons/TEACHING.md: "binder", each lesson under Binder's memory limit, and
"classroom", many playgrounds at once. Those write their tables there.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

import nbformat  # noqa: E402
import psutil  # noqa: E402
import torch  # noqa: E402
from nbclient import NotebookClient  # noqa: E402
from peft import get_peft_model  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from transformers import get_linear_schedule_with_warmup  # noqa: E402

from utils.course.lesson import start  # noqa: E402
from utils.course.maintain import binder_limit, classroom_load, threads_table  # noqa: E402
from utils.course.maintain.classroom_load import one_run  # noqa: E402
from utils.training.config import FineTuneConfig  # noqa: E402
from utils.training.data import load_task  # noqa: E402
from utils.training.finetuning import build_trainer, finetune, lora_config, training_rows  # noqa: E402
from utils.training.models import load_model, working_copy  # noqa: E402

console = Console(width=100)
CONFIG = FineTuneConfig(learning_rate=1e-3, steps=40, evaluate_every=4)


def bare_loop(base, rows: list[str]) -> float:
    """Seconds of the plainest loop that does the same training: same model, rows, optimizer and schedule."""
    model, tokenizer = base
    torch.manual_seed(CONFIG.seed)
    model = get_peft_model(working_copy(model, share_weights=True), lora_config(CONFIG, model)).train()
    ids = [torch.tensor(row + [tokenizer.eos_token_id]) for row in tokenizer(rows).input_ids]
    began = time.perf_counter()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=CONFIG.learning_rate)
    schedule = get_linear_schedule_with_warmup(optimizer, 0, CONFIG.steps)
    for step in range(CONFIG.steps):
        batch = ids[step * CONFIG.batch_size : (step + 1) * CONFIG.batch_size]
        inputs = torch.nn.utils.rnn.pad_sequence(batch, batch_first=True, padding_value=tokenizer.pad_token_id)
        labels = torch.nn.utils.rnn.pad_sequence(batch, batch_first=True, padding_value=-100)
        model(input_ids=inputs, attention_mask=(labels != -100).long(), labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    return time.perf_counter() - began


def sft_trainer(base, rows: list[str]) -> tuple[float, float]:
    """(seconds to build, seconds to train) of the trainer that ``finetune`` uses, without the monitor."""
    with tempfile.TemporaryDirectory() as scratch:
        began = time.perf_counter()
        trainer = build_trainer(CONFIG, *base, rows, [], scratch)
        built = time.perf_counter()
        trainer.train()
        return built - began, time.perf_counter() - built


def add(table: Table, what: str, values: list[float], form: str, most: str) -> None:
    """One row: the median, and from where to where."""
    low, middle, high = (form.format(x) for x in (min(values), statistics.median(values), max(values)))
    table.add_row(what, middle, f"{low} to {high}", most)


def speed(rounds: int) -> None:
    base = load_model("practice", quiet=True)
    rows = training_rows(CONFIG, list(load_task()["train"]["text"]))
    bare_loop(base, rows), sft_trainer(base, rows)  # the first of everything pays for imports and caches
    bare, build, train, whole, share, points = [], [], [], [], [], []
    for _ in range(rounds):  # taken in turn, so that a busy machine is unfair to nobody
        bare.append(bare_loop(base, rows))
        seconds = sft_trainer(base, rows)
        build.append(seconds[0])
        train.append(seconds[1])
        result = finetune(CONFIG, base=base, questions=())
        points.append(len(result.checkpoints) - 1)
        whole.append(result.seconds)
        share.append(result.seconds_measuring / result.seconds)
    ratios = [t / b for t, b in zip(train, bare, strict=True)]
    table = Table("what", "median", "lowest to highest", "at most", title=f"{CONFIG.steps} LoRA steps, {rounds} rounds")

    add(table, "bare torch loop", bare, "{:.2f} s", "")
    add(table, "SFTTrainer: building it", build, "{:.2f} s", "")
    add(table, "SFTTrainer: the same steps", train, "{:.2f} s", "")
    add(table, "SFTTrainer / bare loop", ratios, "{:.2f}", "2")
    add(table, f"finetune with {points[0]} checkpoints", whole, "{:.2f} s", "")
    add(table, "finetune / bare loop", [w / b for w, b in zip(whole, bare, strict=True)], "{:.2f}", "")
    add(table, "the monitor's share of it", share, "{:.1%}", "25 %")
    console.print(table)


def playing(rounds: int) -> None:
    """In the kernel, without a browser: the picture is ready to be sent. tests/playground/test_browser.py measures in the page."""
    from utils.playground import playground

    base = load_model("practice", quiet=True)
    rows = training_rows(CONFIG, list(load_task()["train"]["text"]))
    play = playground(run=False)
    one_run(play, 900)  # the first run pays for caches
    bare_loop(base, rows)
    zero, point, whole, ratios = [], [], [], []
    for round_ in range(rounds):
        bare = bare_loop(base, rows)
        seen = one_run(play, round_ + 1)
        zero.append(seen["zero"])
        point.append(seen["point"])
        whole.append(seen["end"])
        ratios.append(seen["end"] / bare)
    table = Table(
        "what", "median", "lowest to highest", "at most", title=f"The playground, {CONFIG.steps} steps, ten checkpoints"
    )
    for what, values, form, most in (
        ("release to the picture with step 0", zero, "{:.2f} s", "0.3 s"),
        ("release to the first trained point", point, "{:.2f} s", ""),
        ("release to the finished run", whole, "{:.2f} s", ""),
        ("finished run / bare loop", ratios, "{:.2f}", "2"),
    ):
        add(table, what, values, form, most)
    console.print(table)


def peak_memory(process: psutil.Process, peak: list[float], done: threading.Event) -> None:
    """Note the largest resident memory of a process tree, in GB, ten times a second."""
    while not done.wait(0.1):
        try:
            tree = [process, *process.children(recursive=True)]
            peak[0] = max(peak[0], sum(p.memory_info().rss for p in tree) / 1e9)
        except psutil.Error:
            continue


def lessons() -> None:
    os.environ["COURSE_REAL_SCALE"] = "0"
    table = Table("lesson", "seconds", "peak memory", "at most", title="Each lesson in its own kernel, practice model")
    for path in sorted((ROOT / "lessons").glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        client = NotebookClient(
            notebook,
            timeout=600,
            kernel_name="python3",
            resources={"metadata": {"path": path.parent}},
            extra_arguments=["--log-level=ERROR"],  # of the kernel: else it warns that it sends without encryption
        )
        peak, done = [0.0], threading.Event()
        began = time.perf_counter()
        with client.setup_kernel():
            kernel = psutil.Process(client.km.provisioner.process.pid)
            watcher = threading.Thread(target=peak_memory, args=(kernel, peak, done))
            watcher.start()
            try:
                for index, cell in enumerate(notebook.cells):
                    client.execute_cell(cell, index)
            finally:
                done.set()
                watcher.join()
        table.add_row(path.stem, f"{time.perf_counter() - began:.0f}", f"{peak[0]:.2f} GB", "1.2 GB")
    console.print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", choices=("speed", "play", "lessons", "threads", "binder", "classroom"))
    options = parser.parse_args()
    if options.only in ("binder", "classroom"):
        return {"binder": binder_limit, "classroom": classroom_load}[options.only].main([])
    if options.only == "threads":
        return threads_table.main(["--rounds", str(options.rounds)])
    start()
    for name, measure in (("speed", speed), ("play", playing)):
        if options.only in (None, name):
            measure(options.rounds)
    if options.only in (None, "lessons"):
        lessons()
    return 0


if __name__ == "__main__":
    sys.exit(main())
