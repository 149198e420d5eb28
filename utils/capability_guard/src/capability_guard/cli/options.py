"""Options that several commands share, and what is done with them."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from capability_guard.gate import Decision
    from capability_guard.gate.several import Choice

# What an earlier report of each kind has near its beginning: only that may be overwritten.
MARKS = {"json": '"verdict"', "junit": "<testsuites", "html": "<!doctype html", "markdown": "<!-- capability-guard -->"}


def refuse(why: object, code: int = 2) -> int:
    """Say one sentence on stderr; the exit code."""
    print(why, file=sys.stderr)
    return code


def blank(asked: argparse.Namespace, names: Sequence[str]) -> str:
    """What is wrong where an option was given as an empty text, as by a variable that is not set; "" if nothing is."""
    for name in names:
        given = getattr(asked, name)
        values = given if isinstance(given, list) else [given]
        if any(value is not None and not str(value).strip() for value in values):
            return f"--{name.replace('_', '-')} is empty; give a name, or leave out what is not needed."
    return ""


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """How a model is loaded and asked."""
    parser.add_argument("--chat", action="store_true", help="ask through the tokenizer's chat template")
    parser.add_argument("--system", metavar="TEXT", help="with --chat: a system turn before each question")
    parser.add_argument("--template-variable", action="append", default=[], metavar="NAME=VALUE",
                        help="with --chat: what the template may be told, as enable_thinking=false; may be given again")  # fmt: skip
    parser.add_argument("--date", metavar="DAY", help="with --chat: what the template takes for today, as 2026-11-28")
    parser.add_argument("--max-new-tokens", type=int, default=32, metavar="N",
                        help='how much the model may say to a "contains" probe (default: %(default)s)')  # fmt: skip
    parser.add_argument("--task", metavar="FILE",
                        help='held-out text of the new task, JSON lines with "text": its loss says what was learned')  # fmt: skip
    parser.add_argument("--repeat-check", action="store_true",
                        help="ask again, in other batches and in bfloat16, and note how many outcomes flip by that")  # fmt: skip
    parser.add_argument("--same-base", action="store_true", help="the adapter's base model has another name here")
    parser.add_argument("--trust-remote-code", action="store_true", help="run Python that comes with the model")


def how_to_ask(asked: argparse.Namespace) -> dict[str, Any]:
    """The options of ``measure`` that say how the questions are put. Raises DataError, one sentence."""
    from capability_guard.chat import Chat
    from capability_guard.files import parse_json
    from capability_guard.jsonl import DataError, load_jsonl

    variables = {}
    for pair in asked.template_variable:
        name, found, value = pair.partition("=")
        if not found or not name.isidentifier():
            raise DataError(
                f"--template-variable is {pair!r}; write it as NAME=VALUE, for example enable_thinking=false."
            )
        try:
            variables[name] = parse_json(value)
        except ValueError:  # a text without its quotation marks, which a shell takes off
            variables[name] = value
    if not asked.chat and (variables or asked.system is not None or asked.date is not None):
        raise DataError("--system, --template-variable and --date are for a chat template; add --chat.")
    if asked.max_new_tokens < 1:
        raise DataError(f"--max-new-tokens is {asked.max_new_tokens}; give at least 1.")
    chat = Chat(system=asked.system, variables=variables, date=asked.date) if asked.chat else False
    task = None if asked.task is None else [row["text"] for row in load_jsonl(asked.task, ("text",))]
    return {"chat": chat, "max_new_tokens": asked.max_new_tokens, "repeat": asked.repeat_check, "task": task}


def add_rule_options(parser: argparse.ArgumentParser) -> None:
    """What counts as a loss, and in what."""
    # No defaults here: those of ``judge`` hold, and what was said beside a policy can be told.
    parser.add_argument("--max-drop", type=float, metavar="POINTS",
                        help="points that a capability may lose (default: 5)")  # fmt: skip
    parser.add_argument("--max-loss-rise", type=float, metavar="NATS",
                        help="by how much the loss of a text may rise, nats a token (default: 0.05)")  # fmt: skip
    parser.add_argument("--critical", nargs="+", action="extend", metavar="NAME",
                        help="capabilities that decide; without this, all that are not informational")  # fmt: skip
    parser.add_argument("--informational", nargs="+", action="extend", metavar="NAME",
                        help="capabilities that are shown and decide nothing")  # fmt: skip
    parser.add_argument("--certify", choices=("together", "each"),
                        help="what must be within the budget to pass: all critical probes together (and none regressed), or each "
                             "capability by itself (default: together)")  # fmt: skip
    parser.add_argument("--alpha", type=float, help="chance of a false alarm, and of a false pass (default: 0.05)")


RULES = ("max_drop", "max_loss_rise", "critical", "informational", "alpha", "certify")


def add_policy_option(parser: argparse.ArgumentParser) -> None:
    """All of the rules in one file."""
    parser.add_argument("--policy", metavar="FILE",
                        help="a TOML file that says what may be lost, in place of the options for that")  # fmt: skip


def follow_policy(asked: argparse.Namespace) -> None:
    """Ask what the policy wants asked: its probes, and twice if it says so. Raises DataError, one sentence."""
    from capability_guard.gate.policy import probes_of, read_tables
    from capability_guard.jsonl import DataError

    tables = {} if asked.policy is None else read_tables(asked.policy)
    named = probes_of(tables, asked.policy)
    if asked.probes is None and named is None:
        raise DataError("There are no probes; give --probes, or name them in the policy.")
    if named is not None and asked.probes is not None and Path(asked.probes).resolve() != named.resolve():
        raise DataError(f"--probes is {asked.probes} and {asked.policy} names {named}; leave one out.")
    asked.probes = str(named) if asked.probes is None else asked.probes
    asked.repeat_check = asked.repeat_check or tables.get("repeat_check", False)


def rules_of(asked: argparse.Namespace) -> dict[str, Any]:
    """The rules that were asked for, as ``judge`` takes them. Raises DataError for a policy that cannot be used."""
    from capability_guard.gate.policy import read_policy
    from capability_guard.jsonl import DataError

    said = {name: getattr(asked, name) for name in RULES if getattr(asked, name) is not None}
    policy = getattr(asked, "policy", None)
    if policy is None:
        return said
    if said:
        option = f"--{next(iter(said)).replace('_', '-')}"
        raise DataError(
            f"--policy and {option} both say what may be lost; leave out {option}, or write it into {policy}."
        )
    return read_policy(policy)


def add_report_options(parser: argparse.ArgumentParser) -> None:
    """Where the decision is written, besides the terminal."""
    parser.add_argument("--json", metavar="FILE", help="write the decision as JSON")
    parser.add_argument("--junit", metavar="FILE",
                        help="write it as JUnit XML, one test case a capability, or of several candidates one each")  # fmt: skip
    parser.add_argument("--html", metavar="FILE", help="write it as one page to read")
    parser.add_argument("--markdown", metavar="FILE", help="write it as Markdown, for a pull request or a job summary")
    parser.add_argument("--history", metavar="FILE",
                        help="add the verdict to this file of JSON lines, and draw the trend in the reports")  # fmt: skip


def report(decision: Decision | Choice, asked: argparse.Namespace, inputs: Sequence[str | Path]) -> int:
    """Print the decision and write each report that was asked for; the exit code. inputs: files that must stay as they are."""
    from capability_guard.gate import history, markdown, reports, several_reports, terminal
    from capability_guard.gate.rule import EXIT, UNSURE, Decision
    from capability_guard.jsonl import DataError

    if isinstance(decision, Decision):
        terminal.show(decision)
        files, write_markdown = reports, markdown.write_markdown
    else:
        terminal.show_several(decision)
        files, write_markdown = several_reports, markdown.write_markdown_several
    writers = {
        "json": files.write_json,
        "junit": files.write_junit,
        "html": files.write_html,
        "markdown": write_markdown,
    }
    wanted = {kind: getattr(asked, kind) for kind in writers if getattr(asked, kind) is not None}
    if len(set(wanted.values())) < len(wanted):
        return refuse("Two reports have one name; give each its own.", EXIT[UNSURE])
    for kind, path in wanted.items():
        if why := _protected(path, MARKS[kind], [one for one in inputs if os.path.exists(one)]):
            return refuse(why, EXIT[UNSURE])
    # Of several candidates the best is the version that ships.
    version = decision if isinstance(decision, Decision) else decision.best and decision.best.decision
    trend = []
    if asked.history is not None and version is not None:
        try:
            trend = history.note(asked.history, version)
        except (DataError, OSError) as error:
            return refuse(
                f"{error}" if isinstance(error, DataError) else _unwritable(asked.history, error), EXIT[UNSURE]
            )
    drawn = {"html": [trend], "markdown": [trend]}
    for kind, path in wanted.items():
        try:
            writers[kind](decision, path, *drawn.get(kind, []))
        except OSError as error:
            return refuse(_unwritable(path, error), EXIT[UNSURE])
    return decision.exit_code


def _unwritable(path: str, error: OSError) -> str:
    return f"{path} cannot be written ({error.strerror or error}); nothing was left there."


def _protected(path: str, mark: str, inputs: Sequence[str | Path]) -> str:
    """Why a report must not be written there; "" if it may. mark: what an earlier report of its kind has near its beginning."""
    if not path.strip():
        return "A report has an empty name; give it one, or leave the option out."
    if not os.path.isfile(path):
        return ""
    if any(os.path.samefile(path, one) for one in inputs):
        return f"{path} is a measurement, and would be overwritten; give the report another name."
    with open(path, encoding="utf-8", errors="replace") as file:
        beginning = file.read(500)
    there = beginning and mark not in beginning
    return f"{path} is there and no earlier report; give the report another name." if there else ""


def check_writable(out: str, probes: str) -> None:
    """Raises MeasurementError now, and not after minutes of measuring, when the output cannot be written."""
    from capability_guard.measurement import MeasurementError

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


def quiet_libraries() -> None:
    """Hints to who writes the loading code are not for who waits for a verdict."""
    import logging
    import warnings

    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning)
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # each retry of a hub that is not reachable
