"""What a measurement's figures depend on, as one short key: weights, prompts, probes, versions and the guard's own code."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

import capability_guard
from capability_guard.conditions import circumstances
from capability_guard.measurement import PACKAGES, installed
from capability_guard.probes import Probe

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

CHUNK = 1 << 20  # numbers that are summed at once


def key_of(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, probes: Sequence[Probe], how: dict[str, Any]
) -> str:
    """Sixteen letters that change with anything that the figures depend on. how: what ``measure`` is told of the asking.

    >>> how = {"chat": False, "max_new_tokens": 32}
    >>> before = key_of(model, tokenizer, [], how)
    >>> _ = model.lm_head.weight.data[7].mul_(1.001)
    >>> before == key_of(model, tokenizer, [], how)
    False
    """
    asked = circumstances(model, tokenizer, probes, how["chat"], how["max_new_tokens"])
    # What answers depend on besides the weights: the architecture's settings, how text is cut, what ends it, and the guard itself.
    backend = getattr(tokenizer, "backend_tokenizer", None)
    parts = (
        model.config.to_json_string(),
        backend and backend.to_str(),
        str(getattr(model, "generation_config", None)),
        sources(),
    )
    task = [] if how.get("task") is None else list(how["task"])
    known = (
        capability_guard.__version__,
        installed(PACKAGES),
        list(probes),
        asked,
        how.get("repeat", False),
        task,
        parts,
    )
    key = hashlib.sha256(repr(known).encode())
    for part in checksums(model):
        key.update(part)
    return key.hexdigest()[:16]


def checksums(model: torch.nn.Module) -> Iterator[bytes]:
    """Of each weight its name, its shape, and the sums of its bits, a million numbers at a time: as fast as memory is read.

    A weight that lies on disk until its layer runs is fetched.

    >>> len(list(checksums(model))) > 50
    True
    """
    for path, module in model.named_modules():
        own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        if not own:
            continue
        with _fetched(module, own):
            own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
            for name, tensor in own:
                yield f"{path}.{name} {tuple(tensor.shape)} {tensor.dtype}".encode()
                if tensor.device.type != "meta":
                    yield from _sums(tensor.detach())


def _fetched(module: torch.nn.Module, own: list) -> Any:
    from contextlib import nullcontext

    if all(tensor.device.type != "meta" for _, tensor in own):
        return nullcontext()
    from accelerate.utils import align_module_device  # peft requires it, and it put the weight on disk

    return align_module_device(module, "cpu")


def _sums(tensor: torch.Tensor) -> Iterator[bytes]:
    flat = tensor.contiguous().flatten()
    width = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}.get(flat.element_size())
    flat = flat.view(width) if width is not None else flat.view(torch.uint8)
    yield bytes(str([int(part.sum(dtype=torch.int64)) for part in flat.split(CHUNK)]), "ascii")


def sources() -> str:
    """A fingerprint of the guard's own code: a version is not raised with each change of it.

    >>> sources() == sources()
    True
    """
    files = sorted(Path(capability_guard.__file__).parent.rglob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
