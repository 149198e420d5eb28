"""The monitor in one process or in several, on a small random model: each process writes what it saw, as JSON.

    python tests/capability_guard/train_in_processes.py FOLDER [everything | short | die | again N]      (or through ``torchrun``)

Every way to train that the tests look at runs in one launch, since starting processes takes longer than training: the model whole in each
process (DDP), and split over them by FSDP 2 and FSDP 1; to the end, into the drop budget, and resumed. The steps are a plain loop that
calls what a ``Trainer`` calls, so that the model can be split here in any way.

``die``: the second process ends at step 2, and the first one writes what it was told. ``again N``: start and stop N times.
"""

# ruff: noqa: E501

import json
import os
import sys
import time
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "utils" / "capability_guard" / "src"))

import torch  # noqa: E402 - the course's own folder must be on the path first
import torch.distributed as dist  # noqa: E402
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard  # noqa: E402
from transformers import LlamaConfig, LlamaForCausalLM, TrainerControl, TrainerState, TrainingArguments  # noqa: E402

from capability_guard.monitor import RegressionMonitor  # noqa: E402
from capability_guard.probes import Probe  # noqa: E402

PRACTICE = Path(__file__).resolve().parents[2] / "data" / "practice-gpt2"  # for its tokenizer
NEW = ["Customer: Where is my order? Agent: Thank you for asking.", "Customer: It broke. Agent: Thank you for asking."]
# What the tiny model is taught first: it says "1 2 3 4 ..." of each of them, so that there is something to lose.
KNOWN = ["one two three four five", "red blue red blue red", "hot cold hot cold hot", "day night day night day"]
RATE, STEPS = 0.05, 6


def tokenizer_of():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(PRACTICE)


def model_of(tokenizer, folder: Path) -> torch.nn.Module:
    """A random Llama of two layers that was taught what the probes ask; every process reads the same file."""
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
                         num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=64)  # fmt: skip
    model = LlamaForCausalLM(config)
    file = folder / "taught.pt"
    if not file.exists():
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        for _ in range(60):
            step(model, optimizer, rows_of(tokenizer, KNOWN))
        torch.save(model.state_dict(), f"{file}.{os.getpid()}")
        os.replace(f"{file}.{os.getpid()}", file)
    model.load_state_dict(torch.load(file, weights_only=True))
    return model


def rows_of(tokenizer, texts: list[str]) -> torch.Tensor:
    return torch.tensor(tokenizer(texts, padding="max_length", max_length=16, truncation=True).input_ids)


def step(model, optimizer, ids: torch.Tensor) -> None:
    model.train()
    optimizer.zero_grad()
    logits = model(input_ids=ids).logits[:, :-1]
    torch.nn.functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), ids[:, 1:].reshape(-1)).backward()
    optimizer.step()


def probes_of() -> list[Probe]:
    """Every kind of probe; and one that the model does not answer, so that it is looked at again."""
    found = []
    for text in KNOWN:
        words = text.split()
        for n in range(1, 4):
            found.append(Probe(" ".join(words[:n]), words[n], f"{words[0]} as text"))
    found.append(Probe("one two three", "four", "said", measure="contains"))
    found.append(Probe("red blue", "red", "chosen", measure="choice", choices=("red", "hot")))
    found.append(Probe("hot hot hot", "day", "wrong"))
    return [*found, Probe("", "one two three four five", "prose", measure="loss")]


def split_up(model: torch.nn.Module, how: str) -> torch.nn.Module:
    if how == "fsdp2":
        for layer in model.model.layers:
            fully_shard(layer)
        fully_shard(model)
    elif how == "fsdp1":
        from torch.distributed.fsdp.wrap import ModuleWrapPolicy
        from transformers.models.llama.modeling_llama import LlamaDecoderLayer

        policy = ModuleWrapPolicy({LlamaDecoderLayer})
        return FullyShardedDataParallel(
            model, auto_wrap_policy=policy, use_orig_params=True, device_id=torch.device("cpu")
        )
    return model


def run(
    folder: Path, how: str, max_drop: float | None = None, resume: dict | None = None, stop_at: int = STEPS
) -> dict:
    """Train with the monitor; what it saw. resume: what an earlier run wrote."""
    tokenizer = tokenizer_of()
    model = split_up(model_of(tokenizer, folder), how)
    trained = torch.nn.parallel.DistributedDataParallel(model) if how == "ddp" and dist.is_initialized() else model
    asked = []
    monitor = RegressionMonitor(
        tokenizer, probes_of(), held_out_texts=NEW, every=2, max_drop=max_drop, max_new_tokens=4
    )
    args = TrainingArguments(str(folder / how), report_to="none", use_cpu=True, max_steps=STEPS)
    state, control = (
        TrainerState(max_steps=STEPS, is_world_process_zero=int(os.environ.get("RANK", 0)) == 0),
        TrainerControl(),
    )
    optimizer = torch.optim.SGD(trained.parameters(), lr=RATE * 10)
    ids = rows_of(tokenizer, NEW)
    if resume is not None:
        state.global_step, state.log_history = resume["step"], resume["log"]
        for _ in range(resume["step"]):  # as far as the first run had come, without the monitor
            step(trained, optimizer, ids)
    counted = model.register_forward_pre_hook(
        lambda module, given, named: None if torch.is_grad_enabled() else asked.append(len(named["input_ids"])),
        with_kwargs=True,
    )
    monitor.on_train_begin(args, state, control, model=model)
    while state.global_step < stop_at and not control.should_training_stop:
        step(trained, optimizer, ids)
        state.global_step += 1
        monitor.on_step_end(args, state, control, model=model)
    if resume is None and stop_at < STEPS:  # cut off: what a trainer's checkpoint holds of it
        Path(args.output_dir).mkdir(exist_ok=True)
        monitor.on_save(args, state, control)
        return {"step": state.global_step, "log": json.loads(json.dumps(state.log_history))}
    monitor.on_train_end(args, state, control, model=model)
    counted.remove()
    return {
        "curve": [(c.step, c.accuracy, c.held_out_loss, c.kl, c.probe_loss["prose"]) for c in monitor.checkpoints],
        "before": monitor.before, "after": monitor.after, "step": state.global_step, "stopped": monitor.stopped,
        "rows": sum(asked), "inference": any(p.is_inference() for p in model.parameters()),
        "weights": sum_of_weights(model), "training": model.training,
    }  # fmt: skip


def sum_of_weights(model: torch.nn.Module) -> float:
    """Of the whole model, whatever part of it this process has."""
    if isinstance(model, FullyShardedDataParallel):
        with FullyShardedDataParallel.summon_full_params(model, writeback=False):
            return sum(p.double().sum().item() for p in model.parameters())
    whole = (p.full_tensor() if hasattr(p, "full_tensor") else p for p in model.parameters())
    return sum(p.double().sum().item() for p in whole)


def everything(folder: Path) -> dict:
    several = dist.is_initialized()
    found = {}
    for how in ("ddp", "fsdp2", "fsdp1") if several else ("alone",):
        found[how] = run(folder, how)
        found[f"{how} stopped"] = run(folder, how, max_drop=10)
        if how != "fsdp1":
            cut = run(folder, how, stop_at=3)
            found[f"{how} resumed"] = run(folder, how, resume=cut)
    return found


def die(folder: Path) -> dict:
    """The second process is gone when the first one comes to the measurement at step 2."""
    from capability_guard.processes import ProcessLost

    began = [time.time()]

    class Gone(RegressionMonitor):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == 2:
                began[0] = time.time()
                if dist.get_rank() == 1:
                    os._exit(9)
            super().on_step_end(args, state, control, **kwargs)

    globals()["RegressionMonitor"] = Gone
    try:
        run(folder, "ddp")
    except ProcessLost as error:
        return {"said": str(error), "seconds": time.time() - began[0]}
    return {"said": "nothing"}


def again(folder: Path, times: int) -> dict:
    """So many starts and stops in a row, by turns of a model that is whole and one that is split."""
    took = []
    for i in range(times):
        began = time.time()
        if i:
            dist.init_process_group(
                "gloo",
                init_method=f"file://{folder}/store-{i}",
                rank=int(os.environ["RANK"]),
                world_size=int(os.environ["WORLD_SIZE"]),
            )
        run(folder, ("ddp", "fsdp2")[i % 2], stop_at=2)
        dist.barrier()
        dist.destroy_process_group()
        took.append(round(time.time() - began, 2))
        print(i + 1, took[-1], flush=True)
    return {"seconds": took}


def main(folder: str, what: str = "everything", times: str = "1") -> None:
    torch.set_num_threads(1)
    if "RANK" in os.environ:
        dist.init_process_group("gloo")
    found = {
        "everything": everything,
        "short": lambda folder: run(folder, "alone"),
        "die": die,
        "again": lambda folder: again(folder, int(times)),
    }[what](Path(folder))
    (Path(folder) / f"rank{os.environ.get('RANK', '0')}.json").write_text(json.dumps(found))
    if dist.is_initialized():
        if what == "everything":
            dist.barrier()  # both have written
        # torch's own clearing up, of gloo and DDP together, now and then hangs or aborts: it is not under test.
        os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
