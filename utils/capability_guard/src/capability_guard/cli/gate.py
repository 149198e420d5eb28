"""``capability-guard gate``: did the candidate get worse than the baseline? Two files in, a verdict out."""

from __future__ import annotations

import argparse

from capability_guard.cli.options import add_report_options, add_rule_options, report, rules_of

EPILOG = """\
Exit code 0: passed. 1: regressed. 2: cannot certify, be it that the two do not match, that there are too few probes, or
that a file cannot be read.

  capability-guard gate baseline.json candidate.json --max-drop 5 --html report.html
  capability-guard gate lm_eval_base/ lm_eval_tuned/ --critical arc_easy --markdown summary.md
"""


def add_to(commands: argparse._SubParsersAction) -> None:
    """The command's options."""
    parser = commands.add_parser(
        "gate", help="judge two measurements", description=__doc__, epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("baseline", help="a measurement, or results of lm-evaluation-harness (file or folder)")
    parser.add_argument("candidate", help="the same, of the model that is to ship")
    add_rule_options(parser)
    parser.add_argument("--metric", nargs="+", default=[], metavar="[TASK=]NAME",
                        help='of another harness, as "acc" or "gsm8k=exact_match,strict-match"; several may be given')  # fmt: skip
    add_report_options(parser)
    parser.set_defaults(run=run)


def run(asked: argparse.Namespace) -> int:
    """Read, judge, report; the exit code."""
    from capability_guard.gate import Decision, compare_files
    from capability_guard.gate.rule import UNSURE
    from capability_guard.jsonl import DataError
    from capability_guard.measurement import MeasurementError

    try:
        decision = compare_files(asked.baseline, asked.candidate, asked.metric, **rules_of(asked))
    except (MeasurementError, DataError) as error:
        decision = Decision(UNSURE, str(error))
    return report(decision, asked, (asked.baseline, asked.candidate))
