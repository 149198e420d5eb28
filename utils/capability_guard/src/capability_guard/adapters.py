"""A peft adapter on the model that it was trained on."""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from capability_guard.files import parse_json, read_text
from capability_guard.measurement import MeasurementError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def check_weights(model: PreTrainedModel) -> None:
    """Raises MeasurementError, naming the first, when a weight is NaN or infinite.

    >>> import torch
    >>> _ = torch.nn.init.constant_(model.lm_head.weight, float("nan"))
    >>> check_weights(model)
    Traceback (most recent call last):
    capability_guard.rows.MeasurementError: The weights 'transformer.wte.weight' hold NaN or infinity: the training
    diverged; use an earlier checkpoint, or a lower learning rate.
    """
    import torch

    for name, weight in model.named_parameters():
        if weight.device.type == "meta":  # on disk until its layer runs
            continue
        if not torch.isfinite(weight).all():
            raise MeasurementError(
                f"The weights {name!r} hold NaN or infinity: the training diverged; use an earlier checkpoint, or a "
                "lower learning rate."
            )


def with_adapter(
    model: PreTrainedModel, folder: str, base: str, same_base: bool = False, trust_remote_code: bool = False
) -> PreTrainedModel:
    """The model with a peft adapter on it. Raises MeasurementError when the adapter is not whole, or not for this model.

    folder: what ``save_pretrained`` of a peft model wrote. base: the name that the model was loaded by. same_base: take
    the adapter although its own base has another name. trust_remote_code: let peft import what the adapter names.

    >>> from peft import LoraConfig, get_peft_model
    >>> from capability_guard.models import load_model
    >>> get_peft_model(load_model(MODEL)[0], LoraConfig(fan_in_fan_out=True)).save_pretrained(FOLDER)
    >>> with_adapter(model, str(FOLDER), "another-model", same_base=True).peft_config["default"].r
    8
    """
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors import SafetensorError, safe_open

    path = Path(folder)
    config, weights = path / "adapter_config.json", path / "adapter_model.safetensors"
    if config.is_file() and (whole := holds_weights(path)):
        raise MeasurementError(
            f"{folder} holds a whole model ({whole}) beside the adapter, which may be merged into it already; measure it with "
            f"--model {folder} after moving {config.name} away, or give a folder that holds the adapter alone."
        )
    for file in (config, weights):
        if not file.is_file():
            raise MeasurementError(
                f"{folder} has no {file.name}; an adapter is a folder that save_pretrained wrote, as safetensors."
            )
    try:
        about = _config(config)
        if about.get("megatron_config") is not None and not trust_remote_code:  # peft would import a module it names
            raise MeasurementError(f"{config} names Python to run; add --trust-remote-code if you trust it.")
        trained_on = about.get("base_model_name_or_path") or ""
        names = {base, getattr(model, "name_or_path", "")}
        if trained_on and not same_base and not any(same_model(trained_on, name) for name in names):
            raise MeasurementError(
                f"The adapter {folder} was trained on {trained_on!r} and the model is {base!r}; give --model "
                f"{trained_on}, or --same-base if it is the same model under another name."
            )
        with safe_open(weights, "pt") as stored:
            there = set(stored.keys())
            _make_room(model, {name: stored.get_slice(name).get_shape() for name in there}, about)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about keys that are absent: looked at below
            adapted = PeftModel.from_pretrained(model, folder)
    except MeasurementError:  # is a ValueError, and says already what the last clause would say of it
        raise
    except SafetensorError as error:
        raise MeasurementError(f"{weights} is damaged ({error}); save the adapter again.") from error
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        said = " ".join(str(error).split())[:160]
        raise MeasurementError(
            f"The adapter {folder} does not fit {base!r} ({said} ...); give the base model that it was trained on."
        ) from error
    # peft loads the keys that it knows and leaves the rest at their start values: the untouched base would be measured
    # under the adapter's name, and nothing would seem to be forgotten.
    if odd := there ^ set(get_peft_model_state_dict(adapted)):
        raise MeasurementError(f"The adapter {folder} does not fit {base!r}: {min(odd)!r} is on one side only.")
    return adapted.eval()


def holds_weights(folder: Path) -> str:
    """The name of a whole model's weights in a folder; "" where there are none.

    >>> holds_weights(Path(MODEL))
    'model.safetensors'
    """
    names = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
    return next((name for name in names if (folder / name).is_file()), "")


def own_tokenizer(folder: str | Path) -> bool:
    """Whether an adapter was saved with its tokenizer: then it was trained with that one, and is asked with it.

    >>> own_tokenizer(FOLDER)
    False
    """
    return any(
        (Path(folder) / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json", "tokenizer.model")
    )


# Ways to start an adapter from the model's own weights: untouched, it is not zero, and it changes nothing all the same.
FROM_THE_WEIGHTS = ("pissa", "olora", "corda", "loftq", "eva", "lora_ga", "milora")


def carries_trained_adapter(model: PreTrainedModel) -> bool:
    """Whether a LoRA adapter in the model has been trained, so that the model is no baseline. An untouched one has B = 0.

    An adapter that was started from the model's own weights (PiSSA and the like) cannot be told apart, and counts as untouched.

    >>> from peft import LoraConfig, get_peft_model
    >>> carries_trained_adapter(get_peft_model(model, LoraConfig(fan_in_fan_out=True)))
    False
    """
    from capability_guard.weights import own_part

    starts = [getattr(config, "init_lora_weights", True) for config in getattr(model, "peft_config", {}).values()]
    if any(isinstance(start, str) and start.lower().startswith(FROM_THE_WEIGHTS) for start in starts):
        return False
    return any(bool(own_part(p).any()) for name, p in model.named_parameters() if "lora_B" in name)


def _make_room(model: PreTrainedModel, shapes: dict[str, list[int]], about: dict) -> None:
    """Give the model as many embeddings as the adapter was trained with, where it brings tokens of its own."""
    rows = model.get_input_embeddings().weight.shape[0]
    wanted = [shape[0] for name, shape in shapes.items()
              if len(shape) == 2 and ("embed_tokens" in name or "wte" in name or "lm_head" in name) and "lora" not in name.lower()
              and "token_adapter" not in name]  # fmt: skip
    tokens = about.get("trainable_token_indices") or {}
    indices = tokens if isinstance(tokens, list) else [i for some in tokens.values() for i in some]
    size = max([*wanted, *(int(i) + 1 for i in indices)], default=rows)
    if size > rows:  # not by the mean of the others, which draws random numbers; the adapter brings the new ones
        model.resize_token_embeddings(size, mean_resizing=False)


def _config(file: Path) -> dict:
    """What an adapter says of itself. Raises MeasurementError when that is no JSON object."""
    try:
        about = parse_json(read_text(file))
    except ValueError as error:
        raise MeasurementError(f"{file} is damaged ({error}); save the adapter again.") from error
    if not isinstance(about, dict):
        raise MeasurementError(f"{file} is damaged: it holds no settings; save the adapter again.")
    if not isinstance(about.get("base_model_name_or_path"), (str, type(None))):
        raise MeasurementError(f"{file} is damaged: the name of its base model is no text; save the adapter again.")
    return about


# Parts of a path that say nothing of which model lies there: half of all training scripts write to "final".
_WORDS = (
    "adapter|base|best|checkpoints?|ckpt|content|data|dpo|epoch|export|finetuned?|fine|final|full|global|hf|last|latest|llm|lm|local|lora|"
    "merged|model|models|new|old|out|output|outputs|pretrained|result|results|run|runs|save|saved|sft|snapshots?|step|target|temp|tmp|"
    "trained|training|tuned|weights|workspace|v"
)
_GENERIC = re.compile(rf"(?:(?:{_WORDS}|\d+)(?:[-_.]|(?=\d)|$))+|[0-9a-f]{{7,64}}|\.{{0,2}}")


def same_model(one: str, other: str) -> bool:
    """Whether two paths or hub ids name one model, as far as names can tell.

    They do if they are one place, or end alike: a model is kept under its name on many machines. As far as the endings are words
    that any model's folder may have, the folders above must be alike as well.

    >>> same_model("meta-llama/Llama-3.2-1B", "/models/Llama-3.2-1B"), same_model("runs/a/final", "runs/b/final")
    (True, False)
    >>> same_model("me/runs/a/checkpoint-500", "/home/me/runs/a/checkpoint-500")
    True
    """
    if one and other and os.path.exists(one) and os.path.exists(other) and os.path.samefile(one, other):
        return True
    ours, theirs = _telling(one), _telling(other)
    return ours == theirs and ours is not None


def _telling(name: str) -> tuple[str, ...] | None:
    """The end of a path or hub id, from the last part on that tells one model from another; None where none does."""
    parts = [part for part in str(name).replace("\\", "/").lower().split("/") if part]
    for i in range(len(parts) - 1, -1, -1):
        # The hub's cache writes "models--owner--name/snapshots/<commit>".
        part = parts[i].rpartition("--")[2] if parts[i].startswith("models--") else parts[i]
        if not _GENERIC.fullmatch(part):
            behind = () if parts[i].startswith("models--") else tuple(parts[i + 1 :])
            return (part, *behind)
    return None
