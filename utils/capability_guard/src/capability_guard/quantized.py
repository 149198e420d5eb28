"""What a model's weights are stored as: full precision, or fewer bits, and by which method."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.nn import Module

    from capability_guard.loading import Loading

GGUF = "capability_guard_gguf"  # where a model that was read from a GGUF file says so


def quantizer(how: Loading) -> Any:
    """The settings by which transformers quantizes while it loads; None where nothing is to be.

    Four bits are NF4, computed in ``how.precision``, as in QLoRA (Dettmers et al. 2023, arXiv 2305.14314).

    >>> from capability_guard.loading import Loading
    >>> quantizer(Loading()) is None
    True
    """
    if how.quantization is None:
        return None
    import torch
    from transformers import BitsAndBytesConfig

    if how.quantization == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    dtype = torch.bfloat16 if how.precision == "auto" else getattr(torch, how.precision)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)


def quantization_of(model: Module) -> str:
    """How the weights are quantized, in words; "none" where they are not.

    >>> quantization_of(model)
    'none'
    """
    config = getattr(model, "config", None)
    if said := getattr(config, GGUF, None):
        return said
    settings = getattr(config, "quantization_config", None)
    if settings is None:
        return "none"
    if not isinstance(settings, dict):
        settings = settings.to_dict()
    method = getattr(settings.get("quant_method"), "value", settings.get("quant_method")) or "unknown"
    if method == "bitsandbytes":
        bits = "8bit" if settings.get("load_in_8bit") else f"4bit {settings.get('bnb_4bit_quant_type')}"
        return f"{bits} (bitsandbytes)"
    bits = settings.get("bits", settings.get("weight_bits"))
    return f"{bits}bit ({method})" if bits else str(method)


def kind_of_gguf(file: Path) -> str:
    """What a GGUF file says that its weights are stored as. Raises ValueError or OSError for a file that is none.

    >>> kind_of_gguf(FOLDER / "no.gguf")
    Traceback (most recent call last):
    FileNotFoundError: [Errno 2] No such file or directory: '...no.gguf'
    """
    gguf = import_module("gguf")  # an extra
    field = gguf.GGUFReader(file).fields.get("general.file_type")
    if field is None:
        return "GGUF"
    kind = int(field.parts[field.data[0]][0])
    names = {member.value: member.name for member in gguf.LlamaFileType}
    return f"GGUF {names.get(kind, str(kind)).removeprefix('MOSTLY_').removeprefix('ALL_')}"
