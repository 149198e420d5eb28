"""What the tests of the engine share: the engine in node, behind a pipe, and torch models that it must agree with."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from utils.page.engine.export import export, pack_weights, unpack_weights, weights_of
from utils.training.models import load_model

NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="there is no node here, and the engine runs in it")


class EngineError(Exception):
    """What the engine refused, as "NAME: sentence"."""


class NodeEngine:
    """The engine of one exported model. ``engine("step")`` calls what engine_check.mjs names."""

    def __init__(self, folder: Path, weights: str) -> None:
        command = [NODE, str(Path(__file__).with_name("engine_check.mjs")), str(folder), str(folder / weights)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.folder = folder
        self.data = json.loads((folder / "data.json").read_text(encoding="utf-8"))

    def __call__(self, call: str, *arguments):
        self.process.stdin.write(json.dumps([call, *arguments]) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"node ended in {call}"
        answer = json.loads(line)
        if "error" in answer:
            raise EngineError(answer["error"])
        return answer["result"]

    def gradient(self, rows: list[list[int]]) -> tuple[float, np.ndarray]:
        """(nats, the gradient of nats over tokens) of one batch."""
        path = self.folder / "gradient.f32"
        nats = self("gradient", rows, str(path))
        return nats, np.fromfile(path, "<f4")

    def set_trained(self, values: np.ndarray) -> None:
        path = self.folder / "trained.f32"
        values.astype("<f4").tofile(path)
        self("setTrained", str(path))

    def trained(self) -> np.ndarray:
        path = self.folder / "trained.f32"
        self("trained", str(path))
        return np.fromfile(path, "<f4")

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(timeout=20)


def exported(folder: Path, name: str) -> Path:
    """A folder with what the page downloads, and weights.f32 besides: those of torch, to the last bit."""
    export(folder, name)
    weights_of(load_model(name, quiet=True)[0]).tofile(folder / "weights.f32")
    return folder


def without_dropout(name: str):
    """(model, tokenizer) of a practice model that drops nothing."""
    model, tokenizer = load_model(name, quiet=True)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model, tokenizer


def rounded(name: str):
    """(model, tokenizer) of a practice model that has the very weights that the page computes with, and drops nothing."""
    model, tokenizer = without_dropout(name)
    model = copy.deepcopy(model)
    weights = weights_of(model)
    rest = torch.from_numpy(unpack_weights(pack_weights(weights), len(weights)))
    with torch.no_grad():
        for key, tensor in model.state_dict().items():
            if key != "lm_head.weight":
                tensor.copy_(rest[: tensor.numel()].view_as(tensor))
                rest = rest[tensor.numel() :]
    assert not len(rest)
    return model, tokenizer


def torch_loss(model, rows: list[list[int]]) -> torch.Tensor:
    """Nats of a batch over all its tokens, as TRL divides them."""
    nats = 0
    for row in rows:
        ids = torch.tensor([row])
        logits = model(input_ids=ids[:, :-1]).logits[0]
        nats = nats + torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum")
    return nats / sum(map(len, rows))
