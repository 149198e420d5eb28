"""Write what the page downloads: ``python -m utils.page.engine.export FOLDER [--model practice-small]``.

config.json and tokenizer.json as they are, weights.bin in 12 bits a weight, and data.json: the rows to train on, the probes
and the texts as tokens, so that the page measures the very rows that the monitor of the course does.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from capability_guard.encoding import answer_ids, context_length, text_ids
from capability_guard.files import write_whole
from capability_guard.probes import live_subset
from utils.training.config import FineTuneConfig
from utils.training.data import QUESTIONS, everyday_texts, load_task, replay_texts
from utils.training.finetuning import LIVE_PROBES, LIVE_TEXTS, default_probes
from utils.training.models import SHIPPED, load_model
from utils.training.trainer import MAX_LENGTH

BLOCK = 64  # weights that share a scale
# Bits a weight: the page is 3.5 MB with 12, and the line, not the machine, is what a reader waits for. Against the real weights, of
# 339 probes none changes its outcome at step 0, none after 40 careful steps, and 3 after 40 reckless ones (135 right, not 132);
# losses differ by 0.0001, 0.0004 and 0.005 nats. test_engine_runs.py prints it.
BITS = 12


def weights_of(model: PreTrainedModel) -> np.ndarray:
    """All weights as one float32 array, in the order of ``state_dict``; the output layer, tied to the embedding, is left out."""
    return np.concatenate([t.contiguous().numpy().ravel() for t in _tensors(model)]).astype("<f4")


def _tensors(model: PreTrainedModel) -> list[torch.Tensor]:
    return [t for name, t in model.state_dict().items() if name != "lm_head.weight"]


def pack_weights(weights: np.ndarray, bits: int = BITS) -> bytes:
    """One unit (float32), one scale in units for each block of 64 (uint16), one code of so many bits a weight; weights.mjs reads it.

    The largest weight of a block gets the largest code, so that a block needs no exponents of its own. Scales are rounded up:
    no weight is ever cut off.
    """
    blocks = np.pad(weights, (0, -len(weights) % BLOCK)).reshape(-1, BLOCK).astype("f8")
    largest = 2 ** (bits - 1) - 1
    wanted = np.abs(blocks).max(axis=1) / largest
    unit = np.float32(np.nextafter(np.float32(wanted.max() / (2**16 - 1)), np.float32(np.inf)))
    scales = np.ceil(wanted / (unit or 1)).astype("<u2")
    codes = np.round(blocks / np.where(scales, scales * np.float64(unit), 1)[:, None]).astype("i4") + largest
    ones = (codes.reshape(-1, 1) >> np.arange(bits, dtype="i4") & 1).astype("u1")
    return unit.tobytes() + scales.tobytes() + np.packbits(ones, bitorder="little").tobytes()


def unpack_weights(packed: bytes, count: int) -> np.ndarray:
    """The inverse of ``pack_weights``: what the page computes with, to the last bit."""
    blocks = -(-count // BLOCK)
    unit, scales = np.frombuffer(packed, "<f4", 1), np.frombuffer(packed, "<u2", blocks, 4)
    ones = np.unpackbits(np.frombuffer(packed, "u1", offset=4 + 2 * blocks), bitorder="little")
    bits = len(ones) // (blocks * BLOCK)
    codes = ones.reshape(-1, bits) @ (1 << np.arange(bits, dtype="i4")) - (2 ** (bits - 1) - 1)
    return (codes.reshape(blocks, BLOCK) * (scales * unit.astype("f8"))[:, None]).ravel()[:count].astype("<f4")


def rounded_as_packed(model: PreTrainedModel) -> PreTrainedModel:
    """The model with the weights that the page computes with; changed in place."""
    weights = weights_of(model)
    weights, at = torch.from_numpy(unpack_weights(pack_weights(weights), len(weights))), 0
    with torch.no_grad():
        for tensor in _tensors(model):
            tensor.copy_(weights[at : at + tensor.numel()].view_as(tensor))
            at += tensor.numel()
    return model


def data_of(name: str, tokenizer: PreTrainedTokenizerBase, longest: int) -> dict:
    """All that a run trains on and is measured on, as tokens."""
    task, probes = load_task("customer_service"), default_probes(name)
    live = set(live_subset(probes, LIVE_PROBES))
    train = list(task["train"]["text"])
    texts = {"train_loss": train, "held_out_loss": list(task["held_out"]["text"]), "original_loss": everyday_texts()}
    return {
        "model": name,
        "defaults": FineTuneConfig(model=name).to_dict(),
        "train": _training_rows(tokenizer, train),
        "replay": _training_rows(tokenizer, replay_texts()),
        "texts": {loss: [text_ids(tokenizer, text) for text in lines[:LIVE_TEXTS]] for loss, lines in texts.items()},
        "probes": [_probe(tokenizer, probe, longest) for probe in probes],
        "live": [i for i, probe in enumerate(probes) if probe in live],
        "questions": list(QUESTIONS),
    }


def _training_rows(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[list[int]]:
    """As ``build_trainer`` makes them: cut, and ended by the token that ends a text."""
    ids = tokenizer(texts, truncation=True, max_length=MAX_LENGTH - 1).input_ids
    return [row + [tokenizer.eos_token_id] for row in ids]


def _probe(tokenizer: PreTrainedTokenizerBase, probe, longest: int) -> dict:
    if probe.measure != "exact":
        raise ValueError(f"{probe.prompt[:60]!r} is measured by {probe.measure!r}; the page asks exact probes only.")
    prompt = text_ids(tokenizer, probe.prompt)
    ids = prompt + answer_ids(tokenizer, prompt, probe.prompt, " " + probe.answer)
    if len(ids) > longest:
        raise ValueError(f"{probe.text[:60]!r} is {len(ids)} tokens and the model reads {longest}; shorten it.")
    return {
        "prompt": probe.prompt, "answer": probe.answer, "capability": probe.capability, "kind": probe.kind,
        "ids": ids, "prompt_tokens": len(prompt),
    }  # fmt: skip


def export(folder: str | Path, name: str = "practice") -> dict[str, int]:
    """Write the files of one practice model into a folder. Gives the bytes of each."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    model, tokenizer = load_model(name, quiet=True)
    for file in ("config.json", "tokenizer.json"):
        shutil.copyfile(SHIPPED[name] / file, folder / file)
    (folder / "weights.bin").write_bytes(pack_weights(weights_of(model)))
    data = data_of(name, tokenizer, context_length(model))
    write_whole(folder / "data.json", json.dumps(data, separators=(",", ":"), ensure_ascii=False))
    return {file.name: file.stat().st_size for file in sorted(folder.iterdir())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="practice", choices=list(SHIPPED))
    arguments = parser.parse_args()
    for file, size in export(arguments.folder, arguments.model).items():
        print(f"{file:16} {size:>9,} bytes")


if __name__ == "__main__":
    main()
