"""The monitor's figures in what ``report_to`` names: looked for in the log that was written."""

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.training
# A run of its own, since trackio keeps its folder and its server from when it was imported.
RUN = """
import json, sys
from pathlib import Path
sys.path.insert(0, {here!r})
from train_in_processes import NEW, probes_of, rows_of, tokenizer_of, model_of
from transformers import Trainer, TrainingArguments
from capability_guard.monitor import RegressionMonitor

tokenizer = tokenizer_of()
monitor = RegressionMonitor(tokenizer, probes_of(), held_out_texts=NEW, every=1)
args = TrainingArguments("run", max_steps=2, use_cpu=True, report_to={reporter!r}, project="guard", run_name="watched",
                         logging_steps=1, save_strategy="no", disable_tqdm=True, learning_rate=0.01)
rows = [{{"input_ids": ids, "labels": ids}} for ids in rows_of(tokenizer, NEW).tolist()]
trainer = Trainer(model_of(tokenizer, Path(".")), args, train_dataset=rows, callbacks=[monitor])
monitor.log_to(trainer)
trainer.train()
print("CURVE", json.dumps([[c.step, c.accuracy, c.held_out_loss] for c in monitor.checkpoints]))
"""


def trained(root, folder, reporter: str, **environment: str) -> list[list[float]]:
    code = RUN.format(here=str(root / "tests" / "capability_guard"), reporter=reporter)
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=os.environ | environment, capture_output=True, text=True,
                          timeout=900)  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    (curve,) = (line for line in done.stdout.splitlines() if line.startswith("CURVE"))
    return json.loads(curve.removeprefix("CURVE"))


def test_figures_reach_trackio(root, tmp_path):
    trackio = pytest.importorskip("trackio")
    curve = trained(root, tmp_path, "trackio", TRACKIO_DIR=str(tmp_path / "trackio"))
    read = (
        "import trackio, json; run = trackio.Api().runs('guard')[0];"
        "print(json.dumps([{k: v for k, v in row.items() if k.startswith(('train/', 'step'))} for row in run.history()]))"
    )
    done = subprocess.run([sys.executable, "-c", read], env=os.environ | {"TRACKIO_DIR": str(tmp_path / "trackio")},
                          capture_output=True, text=True, timeout=300)  # fmt: skip
    assert done.returncode == 0, (trackio.__version__, done.stderr[-2000:])
    rows = [row for row in json.loads(done.stdout.splitlines()[-1]) if "train/monitor/accuracy" in row]
    assert [[row["train/monitor/accuracy"], row["train/monitor/held_out_loss"]] for row in rows] == [
        [pytest.approx(accuracy), pytest.approx(loss)] for _, accuracy, loss in curve
    ]
