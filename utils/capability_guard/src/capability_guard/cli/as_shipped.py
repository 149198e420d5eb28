"""``capability-guard compare --as-shipped``: is what ships the model that was trained? Both are measured, and judged by probe."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capability_guard.cli.earlier import earlier
from capability_guard.cli.endpoints import add_patience_options, endpoint_of
from capability_guard.cli.how_to_load import check_loading, loading_of
from capability_guard.cli.options import how_to_ask, quiet_libraries, rules_of

if TYPE_CHECKING:
    from capability_guard.endpoint import Endpoint
    from capability_guard.gate import Decision
    from capability_guard.measurement import Measurement

SHIPPED = "shipped.json"  # in the folder that is kept


def add_as_shipped_options(parser: argparse.ArgumentParser) -> None:
    """What ships, and how it is asked if it is served."""
    parser.add_argument("--as-shipped", metavar="WHAT",
                        help="compare the model with its adapter, as trained, with what ships: a merged folder, a GGUF file, 4bit or "
                             "8bit (quantized while loading), or the URL of a server")  # fmt: skip
    parser.add_argument(
        "--served-name", metavar="NAME", help="with a URL: what the server calls the model, if not as --model"
    )
    add_patience_options(parser)


def judge_as_shipped(asked: argparse.Namespace, probes: list, keep: Path) -> Decision:
    """The verdict on what ships. Raises DataError, MeasurementError or OSError."""
    from capability_guard.folders import left_out
    from capability_guard.jsonl import DataError
    from capability_guard.shipped import judge_shipped

    if asked.candidate is not None or len(asked.adapter or []) > 1:
        raise DataError(
            "--as-shipped compares one trained model with what ships: give --model, and its adapter if it has one."
        )
    served = asked.as_shipped.startswith(("http://", "https://"))
    endpoint = endpoint_of(asked, asked.as_shipped, asked.served_name or asked.model) if served else None
    shipped = loading_of(asked) | ({"quantization": asked.as_shipped} if _is_bits(asked.as_shipped) else {})
    other = asked.as_shipped if not served and not _is_bits(asked.as_shipped) else asked.model
    check_loading(asked, asked.model)
    check_loading(argparse.Namespace(**{**vars(asked), **shipped}), other)
    how = how_to_ask(asked) | {"notes": left_out(asked.probes)}
    quiet_libraries()
    trained = _trained(asked, probes, how, keep)
    found = _served(endpoint, probes, how, keep) if endpoint else _loaded(asked, other, shipped, probes, how, keep)
    found.save(keep / SHIPPED)
    return judge_shipped(trained, found, **rules_of(asked))


def _is_bits(what: str) -> bool:
    from capability_guard.loading import QUANTIZATIONS

    return what in QUANTIZATIONS


def _trained(asked: argparse.Namespace, probes: list, how: dict[str, Any], keep: Path) -> Measurement:
    """What the model knows as it was trained, and how many answers flip by themselves; measured once and kept."""
    from capability_guard.identity import key_of

    how = how | {"repeat": True}
    adapter = asked.adapter[0] if asked.adapter else None
    model, tokenizer = _load(asked.model, adapter, asked.same_base, loading_of(asked))
    file = keep / f"trained-{key_of(model, tokenizer, probes, how)}.json"
    if (known := earlier(file)) is not None:
        print(f"The trained model was measured before ({known.measured}): {file}.", flush=True)
        return known
    found = _measure(model, tokenizer, probes, file, {"name": asked.model, "adapter": adapter, **how})
    print(f"The trained model was measured in {found.seconds:.1f} s, and is kept in {file}.", flush=True)
    return found


def _loaded(
    asked: argparse.Namespace, name: str, loading: dict[str, Any], probes: list, how: dict[str, Any], keep: Path
) -> Measurement:
    """What a model knows that ships as a folder, a file, or in fewer bits. Only the last still has an adapter of its own."""
    adapter = asked.adapter[0] if asked.adapter and _is_bits(asked.as_shipped) else None
    model, tokenizer = _load(name, adapter, asked.same_base, loading)
    return _measure(
        model, tokenizer, probes, keep / SHIPPED, {"name": name, "adapter": adapter, **how, "repeat": False}
    )


def _served(endpoint: Endpoint, probes: list, how: dict[str, Any], keep: Path) -> Measurement:
    from capability_guard.cli.progress import as_it_goes
    from capability_guard.endpoint import measure_endpoint

    how = how | {"repeat": False, "task": None}
    return measure_endpoint(endpoint, probes, **as_it_goes(keep / SHIPPED), **how)


def _load(name: str, adapter: str | None, same_base: bool, loading: dict[str, Any]) -> tuple:
    from capability_guard.adapters import check_weights
    from capability_guard.measurement import MeasurementError
    from capability_guard.models import ModelUnavailable, load_model

    try:
        model, tokenizer = load_model(name, adapter, same_base=same_base, **loading)
    except ModelUnavailable as error:
        raise MeasurementError(str(error)) from error
    check_weights(model)
    return model, tokenizer


def _measure(model: Any, tokenizer: Any, probes: list, file: Path, how: dict[str, Any]) -> Measurement:
    from capability_guard.cli.progress import as_it_goes
    from capability_guard.measuring import measure

    found = measure(model, tokenizer, probes, **as_it_goes(file), **how)
    found.save(file)
    return found
