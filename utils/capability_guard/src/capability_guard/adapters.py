"""A peft adapter on the model that it was trained on."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from capability_guard.measurement import MeasurementError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def check_weights(model: PreTrainedModel) -> None:
    """Raises MeasurementError, naming the first, when a weight is NaN or infinite."""
    import torch

    for name, weight in model.named_parameters():
        if not torch.isfinite(weight).all():
            raise MeasurementError(
                f"The weights {name!r} hold NaN or infinity: the training diverged; use an earlier checkpoint, or a "
                "lower learning rate."
            )


def with_adapter(
    model: PreTrainedModel, folder: str, base: str, same_base: bool = False, trust_remote_code: bool = False
) -> PreTrainedModel:
    """The model with a peft adapter on it. Raises MeasurementError when the adapter is not whole, or not for this model."""
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors import SafetensorError, safe_open

    path = Path(folder)
    config, weights = path / "adapter_config.json", path / "adapter_model.safetensors"
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
        names = {_name(base), _name(getattr(model, "name_or_path", ""))}
        if trained_on and _name(trained_on) not in names and not same_base:
            raise MeasurementError(
                f"The adapter {folder} was trained on {trained_on!r} and the model is {base!r}; give --model "
                f"{trained_on}, or --same-base if it is the same model under another name."
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about keys that are absent: looked at below
            adapted = PeftModel.from_pretrained(model, folder)
        with safe_open(weights, "pt") as stored:
            there = set(stored.keys())
    except MeasurementError:
        raise
    except SafetensorError as error:
        raise MeasurementError(f"{weights} is damaged ({error}); save the adapter again.") from error
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        said = " ".join(str(error).split())[:160]
        raise MeasurementError(
            f"The adapter {folder} does not fit {base!r} ({said} ...); give the base model that it was trained on."
        ) from error
    if odd := there ^ set(get_peft_model_state_dict(adapted)):
        raise MeasurementError(f"The adapter {folder} does not fit {base!r}: {min(odd)!r} is on one side only.")
    return adapted.eval()


def _config(file: Path) -> dict:
    """What an adapter says of itself. Raises MeasurementError when that is no JSON object."""
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise MeasurementError(f"{file} is damaged ({error}); save the adapter again.") from error
    if not isinstance(about, dict):
        raise MeasurementError(f"{file} is damaged: it holds no settings; save the adapter again.")
    return about


def _name(name: str) -> str:
    """The last part of a path or hub id, which is what two machines agree on."""
    return str(name).replace("\\", "/").rstrip("/").split("/")[-1].lower()
