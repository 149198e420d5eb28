"""Load a model from a folder, a GGUF file or the hub: whole, or with one sentence that says why not."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from capability_guard.adapters import holds_weights, own_tokenizer, with_adapter
from capability_guard.loading import Loading, is_gguf
from capability_guard.quantized import GGUF, kind_of_gguf
from capability_guard.reading import ModelUnavailable, check_device, first_line, on_best_device, refused, weights_of


def load_model(
    name: str | Path,
    adapter: str | Path | None = None,
    *,
    same_base: bool = False,
    trust_remote_code: bool = False,
    **options: Any,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """(model, tokenizer), in evaluation mode: in float32 and on the GPU where there is one, unless options say otherwise.

    name: a folder that ``save_pretrained`` wrote, a GGUF file, or an id on the Hugging Face hub. adapter: a folder with a peft
    adapter. same_base: the adapter's base model has another name here. trust_remote_code: run Python that comes with the model;
    otherwise none runs. options: dtype, quantization, device, device_map, revision and tokenizer, as in ``Loading``.
    Weights are read from safetensors or GGUF only, never from pickle.
    Raises ModelUnavailable, DataError or, for an adapter that does not fit, MeasurementError: one sentence each.

    >>> model, tokenizer = load_model(MODEL)
    >>> model.training
    False
    >>> load_model(MODEL, dtype="bfloat16")[0].dtype
    torch.bfloat16
    """
    how = Loading(trust_remote_code=trust_remote_code, **options)
    chosen = str(name).strip()
    how.check(chosen)
    check_device(how)
    path = Path(chosen).expanduser()  # what is here goes before a hub id of the same name: no surprise from the network
    if is_gguf(chosen):
        model, tokenizer = from_gguf(path, chosen, how)
    elif path.is_dir():
        model, tokenizer = from_folder(path, chosen, trust_remote_code, how)
    else:
        model, tokenizer = from_hub(chosen, chosen, trust_remote_code, how)
    if adapter is not None:
        model = with_adapter(model, str(adapter), chosen, same_base, trust_remote_code)
        tokenizer = tokenizer if how.tokenizer else tokenizer_of(adapter, trust_remote_code) or tokenizer
    return on_best_device(model, chosen, how.device).eval(), tokenizer


def tokenizer_of(adapter: str | Path, trust: bool = False) -> PreTrainedTokenizerBase | None:
    """The tokenizer that was saved with an adapter, with its chat template and its added tokens; None where there is none.

    Raises ModelUnavailable where it is damaged.

    >>> tokenizer_of(FOLDER) is None
    True
    """
    if not own_tokenizer(adapter):
        return None
    try:
        return AutoTokenizer.from_pretrained(adapter, local_files_only=True, trust_remote_code=trust)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, AttributeError) as error:
        raise refused(str(adapter), error) or ModelUnavailable(
            f"The tokenizer that was saved with the adapter {adapter} cannot be read ({first_line(error)}); save it again."
        ) from error


def from_folder(
    folder: Path, name: str, trust: bool = False, how: Loading | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """What ``save_pretrained`` wrote, asking no network. ``name`` is what an error calls it. Raises ModelUnavailable.

    >>> model, tokenizer = from_folder(MODEL, "my model")
    >>> model.dtype, tokenizer.decode(tokenizer("What is 2+2?").input_ids)
    (torch.float32, 'What is 2+2?')
    """
    if (folder / "adapter_config.json").is_file():  # transformers would put that adapter on top, without a word
        raise ModelUnavailable(
            f"{name!r} holds an adapter beside the model's weights, which may have it merged in already; move adapter_config.json "
            "away to measure the model as it is, or give the base as the model and a folder with the adapter alone as the adapter."
            if holds_weights(folder)
            else f"{name!r} is an adapter and no model; give its base as the model (--model) and this as the adapter (--adapter)."
        )
    options = {"local_files_only": True, "trust_remote_code": trust}
    try:
        model = weights_of(folder, name, how, **options)
        return model, _other_tokenizer(how) or AutoTokenizer.from_pretrained(folder, **options)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        raise refused(name, error) or ModelUnavailable(
            f"{name!r} at {folder} is not a whole model ({first_line(error)}); "
            "it needs config.json, weights as safetensors, and a tokenizer."
        ) from error


def from_hub(
    source: str, name: str, trust: bool = False, how: Loading | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """From the Hugging Face hub or its local cache. source: its id. ``name`` is what an error calls it.

    Raises ModelUnavailable.

    >>> from_hub("no/such/model", "no/such/model")
    Traceback (most recent call last):
    capability_guard.reading.ModelUnavailable: 'no/such/model' is neither a folder nor ...
    """
    options = {"trust_remote_code": trust}
    if how is not None and how.revision is not None:
        options["revision"] = how.revision
    try:
        model = weights_of(source, name, how, **options)
        return model, _other_tokenizer(how) or AutoTokenizer.from_pretrained(source, **options)
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        raise refused(name, error) or ModelUnavailable(
            f"{name!r} is neither a folder nor to be had from the Hugging Face hub or its cache ({first_line(error)}); "
            "check the spelling, the connection and, for a private model, HF_TOKEN; or give the path of a local copy."
        ) from error


def from_gguf(file: Path, name: str, how: Loading) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """What llama.cpp reads, through transformers' own reader: its weights are unpacked into ``how.precision``.

    So it is the rounding of the file that is measured, and not the arithmetic of llama.cpp; for that, ask its server.
    Raises ModelUnavailable.

    >>> _ = (FOLDER / "half.gguf").write_bytes(b"GGUF")
    >>> from_gguf(FOLDER / "half.gguf", "half.gguf", Loading())
    Traceback (most recent call last):
    capability_guard.reading.ModelUnavailable: 'half.gguf' is no whole GGUF file that transformers reads (...); ...
    """
    reader = logging.getLogger("transformers.modeling_gguf_pytorch_utils")  # it reports every tensor
    level = reader.level
    reader.setLevel(logging.ERROR)
    options = {"gguf_file": file.name, "local_files_only": True}
    try:
        kind = kind_of_gguf(file)
        model = weights_of(file.parent, name, how, **options)
        tokenizer = _other_tokenizer(how) or AutoTokenizer.from_pretrained(file.parent, **options)
    except Exception as error:  # a reader of foreign files may fail in any way
        raise refused(name, error) or ModelUnavailable(
            f"{name!r} is no whole GGUF file that transformers reads ({first_line(error)}); convert it again, or ask it through "
            "llama.cpp's server (--endpoint)."
        ) from error
    finally:
        reader.setLevel(level)
    if hasattr(model.config, "quantization_config"):  # it is unpacked, so an adapter goes on it as on any other
        del model.config.quantization_config
    setattr(model.config, GGUF, kind)
    return model, tokenizer


def _other_tokenizer(how: Loading | None) -> PreTrainedTokenizerBase | None:
    """The tokenizer that was asked for besides the model's own; None where none was. Raises ModelUnavailable."""
    if how is None or how.tokenizer is None:
        return None
    local = Path(how.tokenizer).expanduser()
    source = local if local.is_dir() else str(how.tokenizer)
    try:
        return AutoTokenizer.from_pretrained(source, trust_remote_code=how.trust_remote_code)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, AttributeError) as error:
        raise refused(str(how.tokenizer), error) or ModelUnavailable(
            f"The tokenizer {str(how.tokenizer)!r} cannot be read ({first_line(error)}); give a folder that has one, or a hub id."
        ) from error


__all__ = ["ModelUnavailable", "from_folder", "from_gguf", "from_hub", "load_model", "on_best_device", "tokenizer_of"]
