"""``capability-guard measure``: ask one model every probe, and write what it knew to a file that the gate compares."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capability_guard.cli.endpoints import add_endpoint_options, check_served, endpoint_of
from capability_guard.cli.how_to_load import NAMES, add_loading_options, check_loading, loading_of
from capability_guard.cli.options import add_model_options, blank, check_writable, how_to_ask, quiet_libraries, refuse

if TYPE_CHECKING:
    from capability_guard.measurement import Measurement, MeasurementError

EPILOG = """\
Exit code 0: measured and written. 2: it could not be, one sentence says why, and nothing was written. Weights are read from
safetensors or GGUF only, never from pickle, and no Python that comes with a model runs unless --trust-remote-code says so.

  capability-guard measure --model my_model --probes my_probes.jsonl --out baseline.json
  capability-guard measure --model my_model --adapter my_adapter --probes my_probes.jsonl --out candidate.json
  capability-guard measure --model my_model --adapter one --adapter other --probes my_probes.jsonl --out results/
  capability-guard measure --model my_model.gguf --dtype bfloat16 --probes my_probes.jsonl --out shipped.json
  capability-guard measure --endpoint http://localhost:8000 --model my_model --probes my_probes.jsonl --out served.json
"""


def add_to(commands: argparse._SubParsersAction) -> None:
    """The command's options."""
    parser = commands.add_parser(
        "measure", help="measure one model, for the gate to compare", description=__doc__, epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--model", required=True,
                        help="a folder, a GGUF file, or an id on the Hugging Face hub; with --endpoint a name there")  # fmt: skip
    parser.add_argument("--adapter", nargs="+", action="extend", metavar="FOLDER",
                        help="a folder with a peft adapter for this model; several are measured in turn on one base")  # fmt: skip
    parser.add_argument("--probes", required=True, help="a JSONL file of probes, or a folder with several")
    parser.add_argument(
        "--out", required=True, help="the JSON file to write; of several adapters, a folder for one file each"
    )
    add_endpoint_options(parser)
    add_loading_options(parser)
    add_model_options(parser)
    parser.set_defaults(run=run)


def run(asked: argparse.Namespace) -> int:
    """Check all that can be checked, then load, measure, write and show; the exit code."""
    from capability_guard.folders import left_out
    from capability_guard.jsonl import DataError
    from capability_guard.measurement import MeasurementError
    from capability_guard.probes import load_probes

    if why := blank(asked, ("model", "probes", "out", "adapter", "endpoint", "key_variable", *NAMES)):
        return refuse(why)
    try:
        files = _files(asked)
        if asked.endpoint is None:
            check_loading(asked, asked.model)
        else:
            check_served(asked)
        for file in files:
            check_writable(str(file), asked.probes)
        probes = load_probes(asked.probes)
        how = how_to_ask(asked) | {"notes": left_out(asked.probes)}
        found = (
            _served(asked, probes, how, files[0])
            if asked.endpoint is not None
            else _measured(asked, probes, how, files)
        )
    except (DataError, MeasurementError) as error:
        return refuse(error)
    except OSError as error:
        return refuse(
            f"{asked.out} cannot be written ({error.strerror or error}); nothing was left there. Free some space."
        )
    failed = 0
    for one, file in zip(found, files, strict=True):
        if isinstance(one, MeasurementError):
            failed = refuse(one)
        else:
            show(one, str(file))
    return failed


def _files(asked: argparse.Namespace) -> list[Path]:
    """Where each result is written. Raises MeasurementError where several have no folder."""
    from capability_guard.gate.names import short_names
    from capability_guard.measurement import MeasurementError

    adapters = asked.adapter or []
    if len(adapters) < 2:
        return [Path(asked.out)]
    folder = Path(asked.out)
    if folder.is_file() or folder.suffix == ".json":
        raise MeasurementError(
            f"{asked.out} is one file, and there are {len(adapters)} adapters; name a folder to write to."
        )
    return [folder / f"{name.replace('/', '-')}.json" for name in short_names(adapters)]


def _served(asked: argparse.Namespace, probes: list, how: dict[str, Any], file: Path) -> list[Measurement]:
    """What a model knows that is served; written. Raises MeasurementError, DataError or OSError."""
    from capability_guard.cli.progress import as_it_goes
    from capability_guard.endpoint import measure_endpoint

    endpoint = endpoint_of(asked, asked.endpoint, asked.model)
    measurement = measure_endpoint(endpoint, probes, **as_it_goes(file), **how)
    measurement.save(file)
    return [measurement]


def _measured(
    asked: argparse.Namespace, probes: list, how: dict[str, Any], files: list[Path]
) -> list[Measurement | MeasurementError]:
    """What the model knows, or each of several adapters on it; each is written. Raises MeasurementError, DataError or OSError."""
    from capability_guard.adapters import check_weights
    from capability_guard.cli.in_turn import Base, measure_in_turn
    from capability_guard.cli.progress import as_it_goes
    from capability_guard.measurement import MeasurementError
    from capability_guard.measuring import measure
    from capability_guard.models import ModelUnavailable, load_model

    quiet_libraries()
    adapters = asked.adapter or []
    try:
        if len(adapters) > 1:
            return measure_in_turn(Base(asked, *load_model(asked.model, **loading_of(asked))), probes, how, files)
        adapter = adapters[0] if adapters else None
        model, tokenizer = load_model(asked.model, adapter, same_base=asked.same_base, **loading_of(asked))
    except ModelUnavailable as error:
        raise MeasurementError(str(error)) from error
    check_weights(model)
    measurement = measure(model, tokenizer, probes, name=asked.model, adapter=adapter, **as_it_goes(files[0]), **how)
    measurement.save(files[0])
    return [measurement]


def show(measurement: Measurement, out: str) -> None:
    """A table with one row a capability."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from capability_guard.doubts import without_end
    from capability_guard.gate.reports import clean

    groups: dict[str, list] = {}
    for row in measurement.rows:
        groups.setdefault(row.capability, []).append(row)
    table = Table("capability", "probes", "right", "loss (nats a token)", title=escape(clean(measurement.name)))
    for name, rows in sorted(groups.items()):
        right = [row.right for row in rows if row.right is not None]
        known = [row.loss for row in rows if row.loss is not None]
        share = f"{sum(right) / len(right):.0%}" if right else ""
        table.add_row(escape(clean(name)), str(len(rows)), share, f"{sum(known) / len(known):.3f}" if known else "")
    console = Console()
    console.print(table)
    said = f"{len(measurement.rows)} probes in {measurement.seconds:.1f} s, written to {out}"
    console.print(said, soft_wrap=True, markup=False)
    for note in (*without_end(measurement.rows), *measurement.notes):
        console.print(f"Note: {escape(clean(note))}", soft_wrap=True, highlight=False)
    if measurement.noise is not None:
        flips = sum(measurement.noise.values())
        said = f"{flips} of {len(measurement.rows)} outcomes flip when the same model is asked in other batches or in bfloat16."
        console.print(said, soft_wrap=True, highlight=False)
