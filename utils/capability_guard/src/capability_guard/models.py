"""Load a model from a folder or from the hub: whole, in float32, or with one sentence that says why not."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import cached_file

from capability_guard.adapters import holds_weights, own_tokenizer, with_adapter
from capability_guard.files import read_text

DTYPE = "dtype" if hasattr(PretrainedConfig(), "dtype") else "torch_dtype"  # its name before transformers 4.56


class ModelUnavailable(RuntimeError):
    """The model cannot be loaded here; the message says what to do.

    >>> load_model(FOLDER)
    Traceback (most recent call last):
    capability_guard.models.ModelUnavailable: '...' at ... is not a whole model (...); it needs config.json, ...
    """


def load_model(
    name: str | Path,
    adapter: str | Path | None = None,
    *,
    same_base: bool = False,
    trust_remote_code: bool = False,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """(model, tokenizer), in float32 and evaluation mode, on the GPU where there is one.

    name: a folder that ``save_pretrained`` wrote, or an id on the Hugging Face hub. adapter: a folder with a peft adapter.
    same_base: the adapter's base model has another name here. trust_remote_code: run Python that comes with the model;
    otherwise none runs. Weights are read from safetensors only, never from pickle.
    Raises ModelUnavailable or, for an adapter that does not fit, MeasurementError: one sentence each.

    >>> model, tokenizer = load_model(MODEL)
    >>> model.training
    False
    """
    chosen = str(name).strip()
    folder = Path(chosen).expanduser()  # a folder goes before a hub id of the same name: no surprise from the network
    read, source = (from_folder, folder) if folder.is_dir() else (from_hub, chosen)
    model, tokenizer = read(source, chosen, trust_remote_code)
    if adapter is not None:
        model = with_adapter(model, str(adapter), chosen, same_base, trust_remote_code)
        tokenizer = tokenizer_of(adapter, trust_remote_code) or tokenizer
    return on_best_device(model, chosen).eval(), tokenizer


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
        raise _refused(str(adapter), error) or ModelUnavailable(
            f"The tokenizer that was saved with the adapter {adapter} cannot be read ({_first_line(error)}); save it again."
        ) from error


def on_best_device(model: PreTrainedModel, name: str) -> PreTrainedModel:
    """The model on the GPU, where there is one. Raises ModelUnavailable when it does not fit.

    name: what the error calls it.

    >>> on_best_device(model, "practice").device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    True
    """
    try:
        return model.to("cuda" if torch.cuda.is_available() else "cpu")
    except torch.cuda.OutOfMemoryError as error:
        raise ModelUnavailable(
            f"{name!r} takes {model.get_memory_footprint() / 1e9:.1f} GB as float32, more than the GPU has free; hide the GPU "
            "(CUDA_VISIBLE_DEVICES=-1), or take a larger one."
        ) from error


def from_folder(folder: Path, name: str, trust: bool = False) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
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
        return _weights(folder, name, **options), AutoTokenizer.from_pretrained(folder, **options)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        raise _refused(name, error) or ModelUnavailable(
            f"{name!r} at {folder} is not a whole model ({_first_line(error)}); "
            "it needs config.json, weights as safetensors, and a tokenizer."
        ) from error


def from_hub(source: str, name: str, trust: bool = False) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """From the Hugging Face hub or its local cache. source: its id. ``name`` is what an error calls it.

    Raises ModelUnavailable.

    >>> from_hub("no/such/model", "no/such/model")
    Traceback (most recent call last):
    capability_guard.models.ModelUnavailable: 'no/such/model' is neither a folder nor ...
    """
    try:
        model = _weights(source, name, trust_remote_code=trust)
        return model, AutoTokenizer.from_pretrained(source, trust_remote_code=trust)
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        raise _refused(name, error) or ModelUnavailable(
            f"{name!r} is neither a folder nor to be had from the Hugging Face hub or its cache ({_first_line(error)}); "
            "check the spelling, the connection and, for a private model, HF_TOKEN; or give the path of a local copy."
        ) from error


def _weights(source: str | Path, name: str, **options) -> PreTrainedModel:
    """The model, every weight of it from the file: transformers would fill those that are absent with random numbers."""
    # float32, because with half precision rounding decides between two answers that are nearly as likely, and does so
    # differently on another machine. Safetensors, because to read a pickle is to run whatever code is in it.
    options |= {DTYPE: torch.float32, "use_safetensors": True, "output_loading_info": True}
    try:
        model, found = AutoModelForCausalLM.from_pretrained(source, **options)
    except (TypeError, ValueError, AttributeError) as error:
        # How text was to be drawn from the model is of no account here, so settings for it that transformers refuses are none
        # either. Only the tokens that end a text are taken from them.
        try:
            model, found = AutoModelForCausalLM.from_pretrained(source, generation_config=GenerationConfig(), **options)
        except Exception:
            raise error from None
        model.generation_config.eos_token_id = _ends_in(source, options.get("local_files_only", False))
    if absent := sorted(found["missing_keys"]):
        raise ModelUnavailable(
            f"{name!r} lacks {len(absent)} of its weights, {absent[0]!r} for one; save it again with save_pretrained."
        )
    if extra := sorted(key for key in found["unexpected_keys"] if "lora_" in key or "adapter" in key):
        raise ModelUnavailable(
            f"{name!r} holds weights that the model does not read, {extra[0]!r} for one: an adapter that was not merged. Merge it, or "
            "save it as an adapter and give it as one."
        )
    return model


def _ends_in(source: str | Path, local: bool) -> list[int] | None:
    """The tokens that end a text, from a ``generation_config.json`` that is not read as a whole."""
    try:
        settings = json.loads(read_text(cached_file(str(source), "generation_config.json", local_files_only=local)))
        named = settings["eos_token_id"]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    ends = [end for end in (named if isinstance(named, list) else [named]) if type(end) is int]
    return ends or None


def _refused(name: str, error: Exception) -> ModelUnavailable | None:
    """What is said of a model that is there and is not taken; None for any other error."""
    if isinstance(error, ModelUnavailable):
        return error
    if "trust_remote_code" in str(error):  # transformers raises a plain ValueError, told by its words alone
        return ModelUnavailable(
            f"{name!r} comes with Python of its own, which is not run; use trust_remote_code (--trust-remote-code) if you "
            "have read it and trust it."
        )
    if isinstance(error, ImportError):
        return ModelUnavailable(f"{name!r} needs a package that is not here ({_first_line(error)}); install it.")
    return None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:160]
