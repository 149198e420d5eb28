"""Eight steps of a plain Trainer with the monitor, in one process or in several; each writes what it saw.

python tests/capability_guard/train_in_processes.py FOLDER ROWS_A_PROCESS MAX_DROP        (or through ``accelerate launch``)
"""

import json
import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch  # noqa: E402 - the course's own folder must be on the path first
import torch.distributed as dist  # noqa: E402
from datasets import Dataset  # noqa: E402
from transformers import Trainer, TrainingArguments  # noqa: E402

from capability_guard.monitor import RegressionMonitor  # noqa: E402
from capability_guard.probes import load_probes  # noqa: E402
from utils.training.data import (
    REPERTOIRE,  # noqa: E402
    load_task,  # noqa: E402
)
from utils.training.models import load_model  # noqa: E402

TEXT = "Customer: Where is my order? Agent: Thank you for asking. It is on the van."


def main(folder: str, rows: str, max_drop: str) -> None:
    torch.set_num_threads(1)
    model, tokenizer = load_model("practice", quiet=True)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0  # what two processes drop is not what one drops
    texts = list(load_task()["train"]["text"])[:16]
    ids = tokenizer(texts, padding="max_length", max_length=48, truncation=True).input_ids
    monitor = RegressionMonitor(
        tokenizer, load_probes(REPERTOIRE)[::12], held_out_texts=[TEXT], every=2, max_drop=float(max_drop)
    )
    arguments = TrainingArguments(
        folder, max_steps=8, per_device_train_batch_size=int(rows), learning_rate=3e-3, use_cpu=True, report_to="none",
        save_strategy="no", logging_steps=1, disable_tqdm=True, max_grad_norm=0.0, train_sampling_strategy="sequential",
    )  # fmt: skip
    data = Dataset.from_dict({"input_ids": ids, "labels": ids})
    trainer = Trainer(model, arguments, train_dataset=data, callbacks=[monitor])
    trainer.train()
    seen = {
        "curve": [(c.step, c.accuracy, c.held_out_loss) for c in monitor.checkpoints],
        "step": trainer.state.global_step,
        "stopped": monitor.stopped,
        "weights": sum(p.double().sum().item() for p in model.parameters()),
        "world": arguments.world_size,
    }
    (Path(folder) / f"rank{os.environ.get('RANK', '0')}.json").write_text(json.dumps(seen))
    if dist.is_initialized():
        dist.barrier()  # both have written
        # torch's own clearing up, of gloo and DDP together, now and then hangs or aborts: it is not under test.
        os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
