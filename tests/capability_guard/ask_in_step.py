"""Two processes ask, train and ask again a model that is split over them; each prints what it saw as JSON, a line a thing.

    RANK=0 WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=29500 python tests/capability_guard/ask_in_step.py

Nothing but torch is imported, so that it starts at once. At the end the second process dies, and the first one says what it was told.
"""

import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "utils" / "capability_guard" / "src"))

import torch  # noqa: E402 - the guard must be on the path first
import torch.distributed as dist  # noqa: E402
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard  # noqa: E402
from torch.distributed.fsdp.wrap import ModuleWrapPolicy  # noqa: E402

from capability_guard.in_step import in_step, together  # noqa: E402
from capability_guard.processes import ProcessLost, from_the_first, gathered, is_split, meet  # noqa: E402
from capability_guard.weights import put_back, trained_weights  # noqa: E402

IDS = torch.arange(12).reshape(2, 6)


@dataclass
class Said:
    logits: torch.Tensor


class Tiny(torch.nn.Module):
    """Always the same random weights: an embedding, two layers and a head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.head = torch.nn.Embedding(20, 8), torch.nn.Linear(8, 20, bias=False)
        self.layers = torch.nn.ModuleList([torch.nn.Linear(8, 8) for _ in range(2)])

    def forward(self, input_ids: torch.Tensor) -> Said:
        x = self.embedding(input_ids)
        for layer in self.layers:
            x = x + torch.tanh(layer(x))
        return Said(self.head(x))


def asked(model: torch.nn.Module) -> torch.Tensor:
    with in_step(model) as whole, torch.no_grad() if together() else torch.inference_mode():
        return whole(input_ids=IDS).logits.clone()


def run(model: torch.nn.Module, trained: torch.nn.Module) -> list[torch.Tensor]:
    """The logits before training, after each of three steps, and with the first weights back."""
    optimizer = torch.optim.SGD(trained.parameters(), lr=0.5)
    found, kept = [asked(model)], trained_weights(model)
    for _ in range(3):
        optimizer.zero_grad()
        logits = trained(input_ids=IDS).logits[:, :-1]
        torch.nn.functional.cross_entropy(logits.reshape(-1, 20), IDS[:, 1:].reshape(-1)).backward()
        optimizer.step()
        found.append(asked(model))
    put_back(model, kept)
    return [*found, asked(model)]


def split(way: str) -> tuple[torch.nn.Module, torch.nn.Module]:
    """(the model, what is trained)."""
    model = Tiny()
    if way == "fsdp1":
        policy = ModuleWrapPolicy({torch.nn.Linear})
        model = FullyShardedDataParallel(
            model, auto_wrap_policy=policy, use_orig_params=True, device_id=torch.device("cpu")
        )
    elif way == "fsdp2":
        for layer in model.layers:
            fully_shard(layer)
        fully_shard(model)
    return model, torch.nn.parallel.DistributedDataParallel(model) if way == "ddp" else model


def tell(**what) -> None:
    print(json.dumps(what), flush=True)


def main() -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    alone = Tiny()
    wanted = run(alone, alone)
    for way in ("fsdp2", "fsdp1", "ddp"):
        model, trained = split(way)
        found = run(model, trained)
        tell(
            way=way, split=is_split(model), apart=[(a - b).abs().max().item() for a, b in zip(found, wanted, strict=True)],
            moved=(wanted[0] - wanted[3]).abs().max().item(), inference=any(p.is_inference() for p in model.parameters()),
        )  # fmt: skip
    tell(way="all", gathered=gathered(dist.get_rank()), first=from_the_first(f"from {dist.get_rank()}"))
    meet(3)
    if dist.get_rank() == 1:
        os._exit(9)
    began = time.time()
    try:
        meet(4)
    except ProcessLost as error:
        tell(way="died", said=str(error), seconds=time.time() - began)
    os._exit(0)  # torch's own clearing up waits for the process that is gone


if __name__ == "__main__":
    main()
