"""``capability-guard compare``: base, adapter and probes in, verdict out. Both are measured and judged in one command.

The base is loaded once. What it knew is kept in a folder, under a fingerprint of its weights, the probes and the way of
asking, so that the next adapter of the same base is measured alone. Of several adapters, the best within the budget is named.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from capability_guard.cli.as_shipped import SHIPPED, add_as_shipped_options, judge_as_shipped
from capability_guard.cli.earlier import earlier
from capability_guard.cli.how_to_load import NAMES, add_loading_options, check_loading, loading_of
from capability_guard.cli.in_turn import same_model
from capability_guard.cli.options import (
    add_model_options,
    add_policy_option,
    add_report_options,
    add_rule_options,
    blank,
    follow_policy,
    how_to_ask,
    quiet_libraries,
    refuse,
    report,
    rules_of,
)

if TYPE_CHECKING:
    from capability_guard.gate import Decision
    from capability_guard.gate.several import Choice
    from capability_guard.measurement import Measurement, MeasurementError

CANDIDATE = "candidate.json"  # in the folder that is kept: the last one measured
EPILOG = """\
Exit code 0: passed. 1: regressed. 2: cannot certify, or something was wrong. With several candidates: 0: at least one passed, and
the best of those is named. 1: all regressed. 2: anything else. `capability-guard gate --help` says how the best is chosen.

  capability-guard compare --model my_model --adapter my_adapter --probes my_probes.jsonl --max-drop 5 --html report.html
  capability-guard compare --model my_model --candidate my_tuned_model --probes my_probes.jsonl
  capability-guard compare --model my_model --adapter my_adapter --as-shipped my_merged_model --probes my_probes.jsonl
"""


def add_to(commands: argparse._SubParsersAction) -> None:
    """The command's options."""
    parser = commands.add_parser(
        "compare", help="measure a base and its adapter, and judge", description=__doc__, epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--model", required=True, help="the base: a folder, or an id on the Hugging Face hub")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--adapter", nargs="+", action="extend", metavar="FOLDER",
                      help="the candidate, as a folder with a peft adapter for that base; several: the best is named")  # fmt: skip
    what.add_argument("--candidate", nargs="+", action="extend", metavar="MODEL",
                      help="the candidate, as a model of its own: a folder or a hub id; several: the best is named")  # fmt: skip
    parser.add_argument("--probes", help="a JSONL file of probes, or a folder with several; else those of the policy")
    parser.add_argument("--keep", default=".capability-guard", metavar="FOLDER",
                        help="where the measurements are kept (default: %(default)s)")  # fmt: skip
    add_as_shipped_options(parser)
    add_loading_options(parser)
    add_model_options(parser)
    add_rule_options(parser)
    add_policy_option(parser)
    add_report_options(parser)
    parser.set_defaults(run=run, misused=parser.error)


def run(asked: argparse.Namespace) -> int:
    """Measure what is not known yet, judge, report; the exit code."""
    from capability_guard.gate.rule import Rules
    from capability_guard.jsonl import DataError
    from capability_guard.measurement import MeasurementError
    from capability_guard.probes import load_probes

    if why := blank(asked, ("model", "probes", "adapter", "candidate", "keep", "as_shipped", "served_name", *NAMES)):
        return refuse(why)
    if not (asked.adapter or asked.candidate or asked.as_shipped):
        asked.misused("There is nothing to compare --model with; give --adapter, --candidate or --as-shipped.")
    if (itself := next((one for one in asked.candidate or () if same_model(one, asked.model)), None)) is not None:
        return refuse(
            f"--candidate {itself} is --model; a model always passes against itself. Give the one that is to ship."
        )
    keep = Path(asked.keep)
    if keep.exists() and not keep.is_dir():
        return refuse(f"{keep} is a file; name a folder to keep the measurements in.")
    try:
        follow_policy(asked)
        probes = load_probes(asked.probes)
        rules = Rules(**rules_of(asked))
        rules.check_names({probe.capability for probe in probes})  # now, and not after minutes of measuring
        if asked.as_shipped is not None:
            decision = judge_as_shipped(asked, probes, keep)
        else:
            decision = _judged(asked, *measure_all(asked, probes, keep))
    except (DataError, MeasurementError) as error:
        return refuse(error)
    except OSError as error:
        return refuse(
            f"{keep} cannot be written ({error.strerror or error}); free some space, or choose another --keep."
        )
    kept = [file for name in ("baseline-*", "trained-*", "candidate-*") for file in keep.glob(f"{name}.json")]
    return report(decision, asked, [*kept, keep / CANDIDATE, keep / SHIPPED])


def _judged(
    asked: argparse.Namespace, baseline: Measurement, found: list[Measurement | MeasurementError]
) -> Decision | Choice:
    """The verdict on the only candidate, or the choice among several. Raises MeasurementError."""
    from capability_guard.gate import judge
    from capability_guard.gate.names import short_names
    from capability_guard.gate.several import judge_all

    if len(found) > 1:
        names = short_names(asked.adapter or asked.candidate)
        return judge_all(baseline, dict(zip(names, found, strict=True)), **rules_of(asked))
    if isinstance(found[0], Exception):
        raise found[0]
    return judge(baseline, found[0], **rules_of(asked))


def measure_all(
    asked: argparse.Namespace, probes: list, keep: Path
) -> tuple[Measurement, list[Measurement | MeasurementError]]:
    """(what the base knows, what each candidate knows, or why that could not be measured); all are kept.

    Raises DataError, MeasurementError or OSError.
    """
    from capability_guard.adapters import check_weights
    from capability_guard.cli.in_turn import Base, measure_in_turn
    from capability_guard.cli.progress import as_it_goes
    from capability_guard.folders import left_out
    from capability_guard.identity import key_of
    from capability_guard.measurement import MeasurementError
    from capability_guard.measuring import measure
    from capability_guard.models import ModelUnavailable, load_model

    check_loading(asked, asked.model, *(asked.candidate or []))
    how = how_to_ask(asked) | {"notes": left_out(asked.probes)}
    quiet_libraries()
    try:
        base = Base(asked, *load_model(asked.model, **loading_of(asked)))
        known = keep / f"baseline-{key_of(base.model, base.tokenizer, probes, how)}.json"
        baseline = earlier(known)
        if baseline is None:
            check_weights(base.model)
            baseline = measure(base.model, base.tokenizer, probes, name=asked.model, **as_it_goes(known), **how)
            baseline.save(known)
            print(f"The base was measured in {baseline.seconds:.1f} s, and is kept in {known}.", flush=True)
        else:
            print(f"The base was measured before ({baseline.measured}): {known}.", flush=True)
    except ModelUnavailable as error:
        raise MeasurementError(str(error)) from error
    many = len(asked.adapter or asked.candidate)
    files = [keep / (CANDIDATE if many == 1 else f"candidate-{i}.json") for i in range(1, many + 1)]
    return baseline, measure_in_turn(base, probes, how, files)
