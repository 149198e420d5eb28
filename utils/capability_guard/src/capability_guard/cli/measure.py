"""``capability-guard measure``: ask one model every probe, and write what it knew to a file that the gate compares."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from capability_guard.cli.options import add_model_options, blank, check_writable, how_to_ask, quiet_libraries, refuse

if TYPE_CHECKING:
    from capability_guard.measurement import Measurement

EPILOG = """\
Exit code 0: measured and written. 2: it could not be, one sentence says why, and nothing was written. Weights are read from
safetensors only, never from pickle, and no Python that comes with a model runs unless --trust-remote-code says so.

  capability-guard measure --model my_model --probes my_probes.jsonl --out baseline.json
  capability-guard measure --model my_model --adapter my_adapter --probes my_probes.jsonl --out candidate.json
"""


def add_to(commands: argparse._SubParsersAction) -> None:
    """The command's options."""
    parser = commands.add_parser(
        "measure", help="measure one model, for the gate to compare", description=__doc__, epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--model", required=True, help="a folder, or an id on the Hugging Face hub")
    parser.add_argument("--adapter", help="a folder with a peft adapter for this model")
    parser.add_argument("--probes", required=True, help="a JSONL file of probes, or a folder with several")
    parser.add_argument("--out", required=True, help="the JSON file to write")
    add_model_options(parser)
    parser.set_defaults(run=run)


def run(asked: argparse.Namespace) -> int:
    """Check all that can be checked, then load, measure, write and show; the exit code."""
    from capability_guard.folders import left_out
    from capability_guard.jsonl import DataError
    from capability_guard.measurement import MeasurementError
    from capability_guard.probes import load_probes

    if why := blank(asked, ("model", "probes", "out", "adapter")):
        return refuse(why)
    try:
        check_writable(asked.out, asked.probes)
        probes = load_probes(asked.probes)
        how = how_to_ask(asked) | {"notes": left_out(asked.probes)}
        measurement = check(asked.model, probes, asked.adapter, asked.trust_remote_code, asked.same_base, **how)
        measurement.save(asked.out)
    except (DataError, MeasurementError) as error:
        return refuse(error)
    except OSError as error:
        return refuse(
            f"{asked.out} cannot be written ({error.strerror or error}); nothing was left there. Free some space."
        )
    show(measurement, asked.out)
    return 0


def check(
    model: str,
    probes: list,
    adapter: str | None = None,
    trust_remote_code: bool = False,
    same_base: bool = False,
    **how: Any,
) -> Measurement:
    """Load a model, with its adapter if there is one, and measure it.

    same_base: the adapter's base model has another name here. how: what ``measure`` takes, as chat and max_new_tokens.
    Raises MeasurementError or DataError with one sentence.
    """
    from capability_guard.adapters import check_weights
    from capability_guard.measurement import MeasurementError
    from capability_guard.measuring import measure
    from capability_guard.models import ModelUnavailable, load_model

    quiet_libraries()
    try:
        loaded, tokenizer = load_model(model, adapter, same_base=same_base, trust_remote_code=trust_remote_code)
    except ModelUnavailable as error:
        raise MeasurementError(str(error)) from error
    check_weights(loaded)
    return measure(loaded, tokenizer, probes, name=model, adapter=adapter, **how)


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
        loss = sum(row.loss for row in rows) / len(rows)
        share = f"{sum(right) / len(right):.0%}" if right else ""
        table.add_row(escape(clean(name)), str(len(rows)), share, f"{loss:.3f}")
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
