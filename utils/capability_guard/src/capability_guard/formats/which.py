"""Which model was evaluated, from the arguments that it was loaded with; the others say how it was run."""

from __future__ import annotations

import re
from collections.abc import Mapping

# An adapter or another change of the weights goes before the model that it was put on.
CHANGED = ("peft", "delta", "lora_local_path", "lora_path", "lora", "adapter", "adapter_path", "adapter_name_or_path")
MODEL = ("pretrained", "model", "path", "engine", "model_path", "model_name")
_WHICH = re.compile(
    r"(^|_)(peft|delta|loras?|adapters?|pretrained|model|path|engine|revision|subfolder|gguf|checkpoint|ckpt|steer|weights|filename)(_|$)"
)
_HOW = re.compile(  # that have such a word and say something else
    r"^(enable_|max_|long_|fully_)|tokenizer|template|config|cache|memory|parallel|device|_(rank|dtype|len|length|impl|size|type|class|format)$"
)
_NONE = ("", "None", "none", "null", "main", "False", "True", "auto", "[]", "{}")


def which(arguments: Mapping[str, str]) -> dict[str, str]:
    """Those arguments that say which model it is.

    >>> which({"pretrained": "base", "lora_local_path": "runs/tuned", "enable_lora": "True", "max_lora_rank": "16", "dtype": "auto"})
    {'pretrained': 'base', 'lora_local_path': 'runs/tuned'}
    """
    return {
        name: str(value)
        for name, value in arguments.items()
        if _WHICH.search(name.lower()) and not _HOW.search(name.lower()) and str(value) not in _NONE
    }


def named(name: str, arguments: Mapping[str, str]) -> str:
    """The model's name with whatever tells it from another of that name. name: as the results have it, "" if they have none.

    >>> named("base", {"pretrained": "base", "lora_local_path": "runs/tuned"}), named("", {"pretrained": "base", "peft": "tuned"})
    ('base (lora_local_path runs/tuned)', 'tuned')
    """
    found = which(arguments)
    name = name or next((found[key] for key in (*CHANGED, *MODEL) if key in found), "")
    others = [f"{key} {value}" for key, value in found.items() if key not in MODEL and value != name]
    return f"{name} ({', '.join(others)})" if others else name
