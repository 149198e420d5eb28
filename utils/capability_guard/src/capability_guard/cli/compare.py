"""``capability-guard compare``: base, adapter and probes in, verdict out. Both are measured and judged in one command.

The base is loaded once. What it knew is kept in a folder, under a fingerprint of its weights, the probes and the way of
asking, so that the next adapter of the same base is measured alone.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capability_guard.cli.options import (
    add_model_options,
    add_report_options,
    add_rule_options,
    blank,
    how_to_ask,
    quiet_libraries,
    refuse,
    report,
    rules_of,
)

if TYPE_CHECKING:
    import torch

    from capability_guard.measurement import Measurement

CANDIDATE = "candidate.json"  # in the folder that is kept: the last one measured
EPILOG = """\
Exit code 0: passed. 1: regressed. 2: cannot certify, or something was wrong.

  capability-guard compare --model my_model --adapter my_adapter --probes my_probes.jsonl --max-drop 5 --html report.html
  capability-guard compare --model my_model --candidate my_tuned_model --probes my_probes.jsonl
"""


def add_to(commands: argparse._SubParsersAction) -> None:
    """The command's options."""
    parser = commands.add_parser(
        "compare", help="measure a base and its adapter, and judge", description=__doc__, epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--model", required=True, help="the base: a folder, or an id on the Hugging Face hub")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--adapter", help="the candidate, as a folder with a peft adapter for that base")
    what.add_argument("--candidate", help="the candidate, as a model of its own: a folder or a hub id")
    parser.add_argument("--probes", required=True, help="a JSONL file of probes, or a folder with several")
    parser.add_argument("--keep", default=".capability-guard", metavar="FOLDER",
                        help="where the measurements are kept (default: %(default)s)")  # fmt: skip
    add_model_options(parser)
    add_rule_options(parser)
    add_report_options(parser)
    parser.set_defaults(run=run)


def run(asked: argparse.Namespace) -> int:
    """Measure what is not known yet, judge, report; the exit code."""
    from capability_guard.gate import judge
    from capability_guard.gate.rule import Rules
    from capability_guard.jsonl import DataError
    from capability_guard.measurement import MeasurementError
    from capability_guard.probes import load_probes

    if why := blank(asked, ("model", "probes", "adapter", "candidate", "keep")):
        return refuse(why)
    keep = Path(asked.keep)
    if keep.exists() and not keep.is_dir():
        return refuse(f"{keep} is a file; name a folder to keep the measurements in.")
    try:
        probes = load_probes(asked.probes)
        rules = Rules(
            **{**rules_of(asked), "critical": tuple(asked.critical), "informational": tuple(asked.informational)}
        )
        rules.check_names({probe.capability for probe in probes})  # now, and not after minutes of measuring
        baseline, candidate = measure_both(asked, probes, keep)
        decision = judge(baseline, candidate, **rules_of(asked))
    except (DataError, MeasurementError) as error:
        return refuse(error)
    except OSError as error:
        return refuse(
            f"{keep} cannot be written ({error.strerror or error}); free some space, or choose another --keep."
        )
    return report(decision, asked, [*keep.glob("baseline-*.json"), keep / CANDIDATE])


def measure_both(asked: argparse.Namespace, probes: list, keep: Path) -> tuple[Measurement, Measurement]:
    """(what the base knows, what the candidate knows); both are kept. Raises DataError, MeasurementError or OSError."""
    from capability_guard.adapters import check_weights, with_adapter
    from capability_guard.measurement import MeasurementError
    from capability_guard.measuring import measure
    from capability_guard.models import ModelUnavailable, load_model, tokenizer_of

    how = how_to_ask(asked)
    quiet_libraries()
    trust = asked.trust_remote_code
    try:
        model, tokenizer = load_model(asked.model, trust_remote_code=trust)
        known = keep / f"baseline-{_key(model, tokenizer, probes, how)}.json"
        baseline = _kept(known)
        if baseline is None:
            check_weights(model)
            baseline = measure(model, tokenizer, probes, name=asked.model, **how)
            baseline.save(known)
            print(f"The base was measured in {baseline.seconds:.1f} s, and is kept in {known}.", flush=True)
        else:
            print(f"The base was measured before ({baseline.measured}): {known}.", flush=True)
        if asked.adapter is not None:
            model = with_adapter(model, asked.adapter, asked.model, asked.same_base, trust)
            tokenizer = tokenizer_of(asked.adapter, trust) or tokenizer
        else:
            del model  # two whole models need not be in memory at once
            model, tokenizer = load_model(asked.candidate, trust_remote_code=trust)
    except ModelUnavailable as error:
        raise MeasurementError(str(error)) from error
    check_weights(model)
    name = asked.model if asked.adapter is not None else asked.candidate
    candidate = measure(model, tokenizer, probes, name=name, adapter=asked.adapter, **how)
    candidate.save(keep / CANDIDATE)
    return baseline, candidate


def _key(model: torch.nn.Module, tokenizer, probes: list, how: dict[str, Any]) -> str:
    """Sixteen letters that change with anything that the baseline's figures depend on: weights, prompts, probes, versions."""
    import torch

    from capability_guard import __version__
    from capability_guard.measurement import PACKAGES, installed
    from capability_guard.measuring import circumstances

    asked = circumstances(model, tokenizer, probes, how["chat"], how["max_new_tokens"])
    # What answers depend on besides the weights: the architecture's settings, how text is cut, what ends it, and the guard itself.
    key_parts = (model.config.to_json_string(), getattr(tokenizer, "backend_tokenizer", None) and tokenizer.backend_tokenizer.to_str(),
                 str(getattr(model, "generation_config", None)), _sources())  # fmt: skip
    task = [] if how["task"] is None else list(how["task"])
    key = hashlib.sha256(
        repr((__version__, installed(PACKAGES), list(probes), asked, how["repeat"], task, key_parts)).encode()
    )
    for name, tensor in model.state_dict().items():
        key.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        key.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return key.hexdigest()[:16]


def _sources() -> str:
    """A fingerprint of the guard's own code: a version is not raised with each change of it."""
    import capability_guard

    files = sorted(Path(capability_guard.__file__).parent.rglob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _kept(file: Path) -> Measurement | None:
    """An earlier baseline, if it is there and whole."""
    from capability_guard.measurement import Measurement, MeasurementError

    try:
        return Measurement.load(file) if file.is_file() else None
    except MeasurementError:  # damaged: it is measured again, and replaced
        return None
