"""The command ``capability-guard``: measure a model, compare two, and say so with an exit code.

Each subcommand is a file here, which adds its options to the parser and imports what it needs only when it runs: a help
text, or a gate that compares two files, must not wait for torch.
"""

from __future__ import annotations

import argparse
import sys
import traceback

from capability_guard import __version__
from capability_guard.cli import compare, fade, gate, measure, probes
from capability_guard.threads import wait_briefly

UNABLE = 2
DESCRIPTION = """\
Catch what fine-tuning made a language model forget.

  capability-guard probes  my_probes.jsonl                    is the file sound, and what drop can it show?
  capability-guard compare --model M --adapter A --probes P   measure both and judge, in one command
  capability-guard measure --model M --probes P --out R.json  measure one model, for later
  capability-guard gate    baseline.json candidate.json       judge two measurements
  capability-guard fade    --model M --adapter A --probes P --out B   turn A down to what the budget allows
"""
EPILOG = "Exit code 0: passed (or done). 1: regressed. 2: it cannot be certified, or something was wrong; one sentence says what."


def main(arguments: list[str] | None = None) -> int:
    """The command line; the exit code is returned. Python's own code for a crash is 1, which here means "regressed"."""
    asked = _parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):  # a sign that a console cannot show is no reason to fail
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    wait_briefly()
    try:
        return asked.run(asked)
    except KeyboardInterrupt:
        print("Stopped before it was through.", file=sys.stderr)
        return 130
    except ModuleNotFoundError as error:
        print(
            f"{error.name} is not installed for {sys.executable}; run `pip install capability-guard` again.",
            file=sys.stderr,
        )
        return UNABLE
    except Exception:
        traceback.print_exc()
        return UNABLE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="capability-guard",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"capability-guard {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in (probes, compare, measure, gate, fade):
        command.add_to(commands)
    return parser
