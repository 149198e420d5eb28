"""Read a model's weights, every one of them, or say in one sentence why not; and put it on its device."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, GenerationConfig, PretrainedConfig, PreTrainedModel
from transformers.utils import cached_file

from capability_guard.files import parse_json, read_text
from capability_guard.loading import Loading
from capability_guard.memory import LESS, ran_out
from capability_guard.quantized import quantizer

DTYPE = "dtype" if hasattr(PretrainedConfig(), "dtype") else "torch_dtype"  # its name before transformers 4.56


class ModelUnavailable(RuntimeError):
    """The model cannot be loaded here; the message says what to do.

    >>> from capability_guard.models import load_model
    >>> load_model(FOLDER)
    Traceback (most recent call last):
    capability_guard.reading.ModelUnavailable: '...' at ... is not a whole model (...); it needs config.json, ...
    """


def on_best_device(model: PreTrainedModel, name: str, device: str | None = None) -> PreTrainedModel:
    """The model on ``device``, or on the GPU where there is one. Raises ModelUnavailable when it does not fit.

    A model that was quantized, or spread over several devices, stays where it was put. name: what the error calls it.

    >>> on_best_device(model, "practice").device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    True
    """
    if getattr(model, "hf_device_map", None) is not None or getattr(model, "quantization_method", None) is not None:
        return model
    try:
        return model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    except torch.cuda.OutOfMemoryError as error:
        raise ModelUnavailable(
            f"{name!r} takes {model.get_memory_footprint() / 1e9:.1f} GB as {str(model.dtype).removeprefix('torch.')}, more than the "
            "GPU has free; load it in fewer bits (--dtype bfloat16, --quantization 4bit), spread it (--device-map auto), or hide "
            "the GPU (CUDA_VISIBLE_DEVICES=-1)."
        ) from error


def check_device(how: Loading) -> None:
    """Raises ModelUnavailable, before minutes of reading, where the device is not here.

    >>> check_device(Loading(device="cpu"))
    >>> check_device(Loading(device="xyz"))
    Traceback (most recent call last):
    capability_guard.reading.ModelUnavailable: The device 'xyz' is not to be had here (...); leave it out, or use cpu.
    """
    if how.device is None:
        return
    try:
        torch.empty(1, device=how.device)
    except (RuntimeError, AssertionError, ImportError, NotImplementedError) as error:
        raise ModelUnavailable(
            f"The device {how.device!r} is not to be had here ({first_line(error)}); leave it out, or use cpu."
        ) from error


def weights_of(source: str | Path, name: str, how: Loading | None = None, **options) -> PreTrainedModel:
    """The model, every weight of it from the file: transformers would fill those that are absent with random numbers.

    source, options: as ``from_pretrained`` takes them. name: what an error calls it. Raises ModelUnavailable, or what that raises.

    >>> weights_of(MODEL, "my model", Loading(dtype="float16")).dtype
    torch.float16
    """
    # float32 unless another precision is asked for, because with half precision rounding decides between two answers that are
    # nearly as likely, and does so differently on another machine. Safetensors, because to read a pickle is to run its code.
    how = how or Loading()
    options |= {
        DTYPE: "auto" if how.precision == "auto" else getattr(torch, how.precision),
        "output_loading_info": True,
    }
    options |= {} if "gguf_file" in options else {"use_safetensors": True}
    if how.device_map is not None:
        options["device_map"] = how.device_map
    if how.quantization is not None:
        where = how.device or ("cuda" if torch.cuda.is_available() else "cpu")
        options |= {"quantization_config": quantizer(how), "device_map": how.device_map or {"": where}}
    try:
        model, found = AutoModelForCausalLM.from_pretrained(source, **options)
    except (TypeError, ValueError, AttributeError, RuntimeError) as error:
        if how.quantization is not None and not ran_out(error):
            raise ModelUnavailable(
                f"{name!r} could not be quantized to {how.quantization} here ({first_line(error)}); it takes a GPU, or a bitsandbytes "
                "that knows this device; use --dtype bfloat16 instead."
            ) from error
        if isinstance(error, RuntimeError):
            raise
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
        settings = parse_json(read_text(cached_file(str(source), "generation_config.json", local_files_only=local)))
        named = settings["eos_token_id"]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    ends = [end for end in (named if isinstance(named, list) else [named]) if type(end) is int]
    return ends or None


def refused(name: str, error: Exception) -> ModelUnavailable | None:
    """What is said of a model that is there and is not taken; None for any other error.

    >>> refused("my model", ImportError("sentencepiece"))
    ModelUnavailable("'my model' needs a package that is not here (sentencepiece); install it.")
    """
    if isinstance(error, ModelUnavailable):
        return error
    if ran_out(error):
        return ModelUnavailable(f"{name!r} takes more memory than there is ({first_line(error)}); {LESS}.")
    if "trust_remote_code" in str(error):  # transformers raises a plain ValueError, told by its words alone
        return ModelUnavailable(
            f"{name!r} comes with Python of its own, which is not run; use trust_remote_code (--trust-remote-code) if you "
            "have read it and trust it."
        )
    if isinstance(error, ImportError):
        return ModelUnavailable(f"{name!r} needs a package that is not here ({first_line(error)}); install it.")
    return None


def first_line(error: Exception) -> str:
    """What an error says, on one line.

    >>> first_line(ValueError("No such file. It was moved."))
    'No such file. It was moved'
    """
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:160]
