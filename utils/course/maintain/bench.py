"""Measure the speed and the memory of the course: ``make bench``. Figures are ratios within one run.

1. A bare torch loop of forty steps, against its own matrix products alone: nothing that trains the same can be faster.
2. SFTTrainer, and ``finetune`` with ten checkpoints, against that loop over the same peft model and the same rows.
3. The playground: from letting go of a slider to its first points and to the finished run, against the same loop.
4. The peak memory and the time of each lesson, in a kernel of its own, without the part at real scale.

All of the first three on one thread, as ``finetune`` trains a small model; the loop on every core beside it. What was measured
is added to the log beside this file, with the date, the machine and the versions, so that a slower commit is seen.

With --only, also what is measured for lessons/TEACHING.md: "binder", each lesson under Binder's memory limit, and
"classroom", many playgrounds at once. Those write their tables there. "threads": what OpenMP's waiting costs. "remedies": what
a training step costs with each.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from importlib.metadata import version
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
from utils.course.maintain import binder_limit, classroom_load, remedies_table, threads_table  # noqa: E402
from utils.course.maintain.classroom_load import one_run  # noqa: E402
from utils.course.maintain.products import Products  # noqa: E402
from utils.training.config import FineTuneConfig  # noqa: E402
from utils.training.data import load_task  # noqa: E402
from utils.training.finetuning import finetune, old_objects_left_alone  # noqa: E402
from utils.training.models import load_model, working_copy  # noqa: E402
from utils.training.rows import training_rows  # noqa: E402
from utils.training.trainer import build_trainer, lora_config  # noqa: E402

LOG = Path(__file__).with_name("bench-log.jsonl")
console = Console(width=100)
CONFIG = FineTuneConfig(learning_rate=1e-3, steps=40, evaluate_every=4)


class Loop:
    """The plainest loop that does the same training: same model, rows, optimizer and schedule."""

    def __init__(self, base, rows: list[str], threads: int = 1) -> None:
        model, tokenizer = base
        torch.manual_seed(CONFIG.seed)
        self.threads, self.pad = threads, tokenizer.pad_token_id
        self.model = get_peft_model(working_copy(model, share_weights=True), lora_config(CONFIG, model)).train()
        self.ids = [torch.tensor(row + [tokenizer.eos_token_id]) for row in tokenizer(rows).input_ids]
        trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=CONFIG.learning_rate, fused=True)
        self.schedule = get_linear_schedule_with_warmup(self.optimizer, 0, CONFIG.steps)

    def step(self, number: int) -> None:
        batch = self.ids[number * CONFIG.batch_size : (number + 1) * CONFIG.batch_size]
        inputs = torch.nn.utils.rnn.pad_sequence(batch, batch_first=True, padding_value=self.pad)
        labels = torch.nn.utils.rnn.pad_sequence(batch, batch_first=True, padding_value=-100)
        mask = (labels != -100).long()
        self.model(input_ids=inputs, attention_mask=mask, labels=labels, use_cache=False).loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()

    def seconds(self) -> float:
        with threads(self.threads):
            began = time.perf_counter()
            for number in range(CONFIG.steps):
                self.step(number)
            return time.perf_counter() - began


def bare_loop(base, rows: list[str], threads: int = 1) -> float:
    """Seconds of the loop."""
    return Loop(base, rows, threads).seconds()


def floor(base, rows: list[str]) -> float:
    """Seconds of the matrix products of one step, times the steps."""
    loop = Loop(base, rows)
    with threads(1):
        with Products() as products:
            loop.step(0)
        products.seconds()
        return CONFIG.steps * statistics.median(products.seconds() for _ in range(5))


@contextmanager
def threads(number: int):
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def sft_trainer(base, rows: list[str]) -> tuple[float, float]:
    """(seconds to build, seconds to train) of the trainer that ``finetune`` uses, without the monitor."""
    with tempfile.TemporaryDirectory() as scratch, threads(1), old_objects_left_alone():
        began = time.perf_counter()
        trainer = build_trainer(CONFIG, *base, rows, [], scratch)
        built = time.perf_counter()
        trainer.train()
        return built - began, time.perf_counter() - built


class Figures:
    """Named figures of several rounds, as a table with their medians, and as one line of the log."""

    def __init__(self, title: str) -> None:
        self.table = Table("what", "median", "lowest to highest", "at most", title=title)
        self.medians: dict[str, float] = {}

    def add(self, what: str, values: list[float], form: str, most: str = "") -> None:
        low, middle, high = (form.format(x) for x in (min(values), statistics.median(values), max(values)))
        self.table.add_row(what, middle, f"{low} to {high}", most)
        self.medians[what] = round(statistics.median(values), 4)


def speed(rounds: int) -> dict[str, float]:
    base = load_model("practice", quiet=True)
    rows = training_rows(CONFIG, list(load_task()["train"]["text"]))
    (
        bare_loop(base, rows),
        sft_trainer(base, rows),
        finetune(CONFIG, base=base, questions=()),
    )  # imports, caches, the baseline
    seen: dict[str, list[float]] = {
        name: [] for name in ("products", "bare", "all", "build", "train", "whole", "share")
    }
    for _ in range(rounds):  # taken in turn, so that a busy machine is unfair to nobody
        seen["products"].append(floor(base, rows))
        seen["bare"].append(bare_loop(base, rows))
        seen["all"].append(bare_loop(base, rows, torch.get_num_threads()))
        built, trained = sft_trainer(base, rows)
        seen["build"].append(built)
        seen["train"].append(trained)
        result = finetune(CONFIG, base=base, questions=())
        seen["whole"].append(result.seconds)
        seen["share"].append(result.seconds_measuring / result.seconds)

    def over(name: str, other: str) -> list[float]:
        return [x / y for x, y in zip(seen[name], seen[other], strict=True)]

    points = len(result.checkpoints) - 1
    figures = Figures(f"{CONFIG.steps} LoRA steps, {rounds} rounds")
    figures.add("matrix products alone", seen["products"], "{:.2f} s")
    figures.add("bare torch loop", seen["bare"], "{:.2f} s")
    figures.add("bare loop / its matrix products", over("bare", "products"), "{:.2f}", "1.5")
    figures.add(f"bare loop on {torch.get_num_threads()} threads", seen["all"], "{:.2f} s")
    figures.add("SFTTrainer: building it", seen["build"], "{:.2f} s")
    figures.add("SFTTrainer: the same steps", seen["train"], "{:.2f} s")
    figures.add("SFTTrainer / bare loop", over("train", "bare"), "{:.2f}", "1.15")
    figures.add(f"finetune with {points} checkpoints", seen["whole"], "{:.2f} s")
    figures.add("finetune / bare loop", over("whole", "bare"), "{:.2f}", "1.3")
    figures.add("share of it in which training waits for the monitor", seen["share"], "{:.1%}", "12 %")
    console.print(figures.table)
    return figures.medians


def playing(rounds: int) -> dict[str, float]:
    """In the kernel, without a browser: the picture is ready to be sent. tests/course/test_jupyter.py measures in the page."""
    from utils.playground import live, playground

    base = load_model("practice", quiet=True)
    rows = training_rows(CONFIG, list(load_task()["train"]["text"]))
    play = playground(run=False)
    path, live.PATH = live.PATH, ()  # else a fade path goes on beside the loop, and draws the run before once more
    one_run(play, 900)  # the first run pays for caches
    bare_loop(base, rows)
    seen: dict[str, list[float]] = {name: [] for name in ("bare", "zero", "point", "end")}
    for round_ in range(rounds):
        seen["bare"].append(bare_loop(base, rows))
        run = one_run(play, round_ + 1)
        for name in ("zero", "point", "end"):
            seen[name].append(run[name])
    live.PATH = path
    steps = [seconds / CONFIG.steps for seconds in seen["bare"]]

    def in_steps(name: str) -> list[float]:
        return [x / step for x, step in zip(seen[name], steps, strict=True)]

    figures = Figures(f"The playground, {CONFIG.steps} steps, ten checkpoints")
    figures.add("release to the picture with step 0", seen["zero"], "{:.2f} s")
    figures.add("to step 0, in bare steps", in_steps("zero"), "{:.1f}", "2")
    figures.add("release to the first trained point", seen["point"], "{:.2f} s")
    figures.add("to the first trained point, in bare steps", in_steps("point"), "{:.1f}", "4 and one measurement")
    figures.add("release to the finished run", seen["end"], "{:.2f} s")
    figures.add(
        "finished run / bare loop", [x / y for x, y in zip(seen["end"], seen["bare"], strict=True)], "{:.2f}", "1.35"
    )
    console.print(figures.table)
    return figures.medians


def note(medians: dict[str, dict[str, float]], log: Path) -> None:
    """Add a line to the log: what was measured, when, on what kind of machine, with which versions."""
    about = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "load": round(os.getloadavg()[0], 1),
        "versions": {name: version(name) for name in ("torch", "transformers", "peft", "trl")},
    }
    with log.open("a", encoding="utf-8") as file:
        file.write(json.dumps(about | medians) + "\n")


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
    parser.add_argument("--only", choices=("speed", "play", "lessons", "threads", "remedies", "binder", "classroom"))
    parser.add_argument("--log", type=Path, default=LOG, help="the file that a line is added to")
    options = parser.parse_args()
    if options.only in ("binder", "classroom"):
        return {"binder": binder_limit, "classroom": classroom_load}[options.only].main([])
    if options.only in ("threads", "remedies"):
        table = {"threads": threads_table, "remedies": remedies_table}[options.only]
        return table.main(["--rounds", str(options.rounds)])
    start()
    wanted = {name: measure for name, measure in (("speed", speed), ("play", playing)) if options.only in (None, name)}
    if medians := {name: measure(options.rounds) for name, measure in wanted.items()}:
        note(medians, options.log)
    if options.only in (None, "lessons"):
        lessons()
    return 0


if __name__ == "__main__":
    sys.exit(main())
