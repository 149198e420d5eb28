"""``capability-guard gate``: did the candidate get worse than the baseline? Two files in, a verdict out.

With several candidates, each gets its verdict, and the best within the budget is named.
"""

from __future__ import annotations

import argparse

from capability_guard.cli.options import add_policy_option, add_report_options, add_rule_options, report, rules_of

EPILOG = """\
Exit code 0: passed. 1: regressed. 2: cannot certify, be it that the two do not match, that there are too few probes, or
that a file cannot be read. With several candidates: 0: at least one passed, and the best of those is named. 1: all regressed.
2: none passed, and at least one did not regress.

The best is the candidate that passed and learned most (measured with --task), or else the one that lost least. It is chosen on the
probes that judge it, so alpha is divided: of k candidates, each may pass by mistake with a chance of alpha / k. Name all that
you tried on these probes: those that are left out count as well.

  capability-guard gate baseline.json candidate.json --max-drop 5 --html report.html
  capability-guard gate baseline.json careful.json hasty.json --max-drop 5 --html report.html
  capability-guard gate baseline.json candidate.json --policy guard.toml --markdown summary.md
  capability-guard gate lm_eval_base/ lm_eval_tuned/ --critical arc_easy --markdown summary.md
"""


def add_to(commands: argparse._SubParsersAction) -> None:
    """The command's options."""
    parser = commands.add_parser(
        "gate", help="judge a candidate, or name the best of several", description=__doc__, epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("baseline", help="a measurement, or results of lm-evaluation-harness (file or folder)")
    parser.add_argument(
        "candidate", nargs="+", help="the same, of the model that is to ship; several: the best is named"
    )
    add_rule_options(parser)
    add_policy_option(parser)
    parser.add_argument("--metric", nargs="+", default=[], metavar="[TASK=]NAME[:lower|:higher]",
                        help='of another harness, as "acc" or "gsm8k=exact_match,strict-match"; several may be given. ":lower" or '
                             '":higher" says which way is better where the results do not, as "safety=harmfulness:lower"')  # fmt: skip
    add_report_options(parser)
    parser.set_defaults(run=run)


def run(asked: argparse.Namespace) -> int:
    """Read, judge, report; the exit code."""
    from capability_guard.gate import Decision, compare_files
    from capability_guard.gate.rule import UNSURE
    from capability_guard.gate.several import judge_files, unable
    from capability_guard.jsonl import DataError
    from capability_guard.measurement import MeasurementError

    several = len(asked.candidate) > 1
    try:
        if several:
            found = judge_files(asked.baseline, asked.candidate, asked.metric, **rules_of(asked))
        else:
            found = compare_files(asked.baseline, asked.candidate[0], asked.metric, **rules_of(asked))
    except (MeasurementError, DataError) as error:
        found = unable(asked.candidate, str(error)) if several else Decision(UNSURE, str(error))
    return report(found, asked, (asked.baseline, *asked.candidate))
