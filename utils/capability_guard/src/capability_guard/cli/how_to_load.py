"""Options that say how a model is loaded, checked before anything heavy is imported."""

from __future__ import annotations

import argparse
from typing import Any

from capability_guard.loading import DTYPES, QUANTIZATIONS, Loading

NAMES = ("dtype", "quantization", "device", "device_map", "revision", "tokenizer")


def add_loading_options(parser: argparse.ArgumentParser) -> None:
    """In which precision, on which device, from which revision."""
    parser.add_argument("--dtype", metavar="NAME", help=f"precision of the weights: {', '.join(DTYPES)} (as they were saved); "
                        "without it float32, or bfloat16 beside --quantization")  # fmt: skip
    parser.add_argument("--quantization", metavar="BITS", help=f"{' or '.join(QUANTIZATIONS)}: quantize while loading; it takes "
                        "bitsandbytes (pip install 'capability-guard[quantization]')")  # fmt: skip
    parser.add_argument("--device", metavar="NAME", help="as cpu or cuda:1; without it, the GPU where there is one")
    parser.add_argument(
        "--device-map", metavar="auto", help="auto: spread the model over all GPUs, the memory and the disk"
    )
    parser.add_argument("--revision", metavar="NAME", help="of a model on the hub: a branch, a tag or a commit")
    parser.add_argument(
        "--tokenizer", metavar="NAME", help="another tokenizer than the model's own: a folder or a hub id"
    )


def loading_of(asked: argparse.Namespace) -> dict[str, Any]:
    """What was asked for, as ``load_model`` takes it."""
    return {name: getattr(asked, name) for name in NAMES} | {"trust_remote_code": asked.trust_remote_code}


def check_loading(asked: argparse.Namespace, *models: str) -> None:
    """Raises DataError, one sentence, for settings that cannot be, or not for one of these models."""
    how = Loading(**loading_of(asked))
    for model in models:
        how.check(model)
