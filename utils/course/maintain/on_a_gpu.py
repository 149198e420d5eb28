"""What only a GPU can show: ``make gpu``, at most six minutes, from no network. Prints one table, writes ``on-a-gpu.json``.

1. memory: lesson 08's own cells, in which CUDA itself refuses a batch, and half of it, until one fits.
2. precision: the same probes in float32, bfloat16 and 4 bits; how many outcomes flip.
3. size: ``measure`` on random weights in the shape of a model of 7 billion parameters: seconds, and memory beside the weights.
4. monitor: GPT-2's true shape fine-tuned under the monitor; the share of the time that measuring takes.
5. processes: the same with two processes, where there are two GPUs.

Each part is a process of its own, with a limit: one that fails says why, and the others still run. ``--rehearse`` runs every part
on a CPU at a small size, and writes nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402 - the course's own folder must be on the path first

from capability_guard.files import write_whole  # noqa: E402

FILE = Path(__file__).with_name("on-a-gpu.json")
MEMORY = ROOT / "utils" / "capability_guard" / "benches" / "memory_of_measuring.py"
MINUTES, REHEARSAL = 6, 20


def memory(rehearse: bool) -> dict:
    """Lesson 08 up to its section 5, run as it stands; what the two cells under ``tight_memory`` printed."""
    cells = json.loads((ROOT / "lessons" / "08_error_recovery.ipynb").read_text(encoding="utf-8"))["cells"]
    cells = [cell for cell in cells if cell["cell_type"] == "code"]
    last = max(i for i, cell in enumerate(cells) if "with tight_memory(" in "".join(cell["source"]))
    names: dict = {"__name__": "lesson"}
    said = []
    os.chdir(ROOT / "lessons")
    for cell in cells[: last + 1]:
        source, wrong = "".join(cell["source"]), "raises-exception" in cell["metadata"].get("tags", ())
        with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.suppress(*[Exception] * wrong):
            exec(compile(source, "lesson 08", "exec"), names)
        if "with tight_memory(" in source:
            said.append(printed.getvalue().strip().splitlines()[-1])
    return {"refused": said[0], "recovered": said[-1], "by CUDA itself": torch.cuda.is_available()}


def precision(rehearse: bool) -> dict:
    """The same probes asked of the same model in three precisions, and how many outcomes are not those of float32."""
    from capability_guard import load_model, load_probes, measure
    from utils.training import models

    name = "smollm2" if models.is_available("smollm2") and not rehearse else "practice"
    folder = models.model_folder(models.load_model(name, quiet=True)[0])
    probes = load_probes(models.probe_source(name))[:: 8 if rehearse else 1]
    found: dict = {"model": name, "probes": len(probes)}
    first = None
    for precision_, options in {
        "float32": {},
        "bfloat16": {"dtype": "bfloat16"},
        "4 bits": {"dtype": "bfloat16", "quantization": "4bit"},
    }.items():
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        model, tokenizer = load_model(folder, **options)
        measured = measure(model, tokenizer, probes)
        right = [row.right for row in measured.rows]
        first = first or right
        flips = sum(a != b for a, b in zip(first, right, strict=True))
        found[precision_] = {
            "right": right.count(True),
            "flips": flips,
            "seconds": measured.seconds,
            "peak GB": _peak(),
        }
        del model
    return found


def size(rehearse: bool) -> dict:
    """What the guard's own bench of memory prints, as figures."""
    shape = ["--shape", "tiny", "--probes", "40"] if rehearse else ["--shape", "7b", "--device", "cuda"]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "figures.json"
        subprocess.run([sys.executable, str(MEMORY), *shape, "--json", str(file)], check=True, stdout=sys.stderr)
        return json.loads(file.read_text())


def monitor(rehearse: bool) -> dict:
    """GPT-2 in its true shape, random weights: they cost as much as trained ones. Under ``torchrun``, one of its processes."""
    from transformers import GPT2Config, GPT2LMHeadModel

    from capability_guard import RegressionMonitor, load_probes
    from utils.training.config import FineTuneConfig
    from utils.training.data import REPERTOIRE, load_task
    from utils.training.models import load_model
    from utils.training.rows import training_rows
    from utils.training.trainer import build_trainer

    tokenizer = load_model("practice", quiet=True)[1]
    model = GPT2LMHeadModel(GPT2Config(n_layer=2, n_embd=64, n_head=2) if rehearse else GPT2Config()).eval()
    several = int(os.environ.get("WORLD_SIZE", "1"))
    config = FineTuneConfig(model="gpt2", learning_rate=2e-4, steps=4 if rehearse else 200, batch_size=8)
    task = load_task()
    probes = load_probes(REPERTOIRE)
    watch = RegressionMonitor(
        tokenizer, probes, held_out_texts=task["held_out"]["text"][:24], every=config.steps // 4, live=60
    )
    rows = training_rows(config, list(task["train"]["text"])) * several  # each process trains as many steps
    with tempfile.TemporaryDirectory() as scratch:
        trainer = build_trainer(config, model, tokenizer, rows, [watch], scratch)
        began = time.perf_counter()
        trainer.train()
    seconds = time.perf_counter() - began
    return {"parameters": sum(p.numel() for p in model.parameters()), "steps": config.steps, "probes": len(probes),
            "checkpoints": len(watch.checkpoints), "seconds": round(seconds, 1), "processes": several,
            "measuring": round(watch.seconds_measuring, 1), "share": round(watch.seconds_measuring / seconds, 3),
            "peak GB": _peak()}  # fmt: skip


def processes(rehearse: bool) -> dict:
    """``monitor`` in two processes under ``torchrun``: the probes are shared out between them."""
    if torch.cuda.device_count() < 2 and not rehearse:
        raise RuntimeError(f"needs two GPUs, and there are {torch.cuda.device_count()}")
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", __spec__.name]
    environ = os.environ | {"OMP_NUM_THREADS": "1"}
    return _figures([*launch, "--part", "monitor", *["--rehearse"] * rehearse], environ, timeout=REHEARSAL * 60)


PARTS: dict[str, Callable[[bool], dict]] = {
    "memory": memory, "precision": precision, "size": size, "monitor": monitor, "processes": processes,
}  # fmt: skip


def _peak() -> float | None:
    return round(torch.cuda.max_memory_allocated() / 1e9, 2) if torch.cuda.is_available() else None


def _figures(words: list[str], environ: dict[str, str], timeout: float) -> dict:
    """What a part wrote as its figures. Raises RuntimeError with its last line where it failed."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "figures.json"
        command = [sys.executable, *words, "--figures", str(file)]
        try:
            done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=timeout)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"not done after {timeout:.0f} s") from None
        if not file.exists():
            raise RuntimeError((done.stderr.strip().splitlines() or ["ended without a word"])[-1][:300])
        return json.loads(file.read_text())


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rehearse", action="store_true", help="on a CPU, small, and without writing the file")
    parser.add_argument("--part", choices=PARTS, help="this one alone, in this process")
    parser.add_argument("--figures", type=Path, help="where a part writes its figures")
    asked = parser.parse_args(arguments)
    if asked.part:
        figures = PARTS[asked.part](asked.rehearse)
        print(json.dumps(figures))
        if asked.figures and os.environ.get("RANK", "0") == "0":
            write_whole(asked.figures, json.dumps(figures))
        return 0
    if not torch.cuda.is_available() and not asked.rehearse:
        print("There is no GPU here that torch can use; `make gpu ARGS=--rehearse` runs every part on the CPU, small.")
        return 2
    end = time.monotonic() + 60 * (REHEARSAL if asked.rehearse else MINUTES)
    found: dict = {"date": time.strftime("%Y-%m-%d"), "torch": torch.__version__, "system": platform.system(),
                   "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None}  # fmt: skip
    for name in PARTS:
        words = ["-m", __spec__.name, "--part", name, *["--rehearse"] * asked.rehearse]
        began = time.monotonic()
        try:
            found[name] = _figures(words, dict(os.environ), timeout=max(1.0, end - began))
        except RuntimeError as error:
            found[name] = {"failed": str(error)}
        print(f"{name} ({time.monotonic() - began:.0f} s)", flush=True)
        for what, value in found[name].items():
            print(f"    {what:16} {value}", flush=True)
        if not asked.rehearse:  # after each part: what was measured is kept, whatever becomes of the next
            write_whole(FILE, json.dumps(found, indent=1) + "\n")
    return 1 if any("failed" in found[name] for name in PARTS if name != "processes") else 0


if __name__ == "__main__":
    sys.exit(main())
