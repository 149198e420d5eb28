"""``capability-guard fade``: an adapter that forgot too much, turned down after the training to what the budget allows.

One half of the probes chooses the largest strength, from 0 (the base) to 1 (the adapter as it is), at which the gate passes it.
The other half had no part in that, and reports. The faded adapter is written to a folder of its own, and is used like any other.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capability_guard.cli.options import (
    add_model_options,
    add_rule_options,
    blank,
    how_to_ask,
    quiet_libraries,
    refuse,
    rules_of,
)

if TYPE_CHECKING:
    from capability_guard.fading.strengths import BestStrength, Step
    from capability_guard.gate import Decision
    from capability_guard.probes import Probe

EPILOG = """\
Exit code 0: written, and the half that reports lost no more than is allowed. 1: written, and it lost more: do not ship it.
2: nothing was written, be it that no strength is within the budget, that the method of fine-tuning cannot be faded exactly, or
that something was wrong; one sentence says what. Whether it may ship is for `compare` to say, which asks all probes.

  capability-guard fade --model my_model --adapter my_adapter --probes my_probes.jsonl --max-drop 5 --out my_faded
  capability-guard compare --model my_model --adapter my_faded --probes my_probes.jsonl --max-drop 5
  capability-guard fade --model my_model --adapter my_adapter --strength 0.6 --out my_faded
  capability-guard fade --model my_model --tuned my_tuned_model --probes my_probes.jsonl --out my_faded_model
"""


def add_to(commands: argparse._SubParsersAction) -> None:
    """The command's options."""
    parser = commands.add_parser(
        "fade", help="turn a fine-tuning down to what the budget allows", description=__doc__, epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--model", required=True, help="the base: a folder, or an id on the Hugging Face hub")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--adapter", help="what to fade, as a folder with a peft adapter for that base")
    what.add_argument("--tuned", metavar="FOLDER", help="what to fade, as a folder with a whole fine-tuned model")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="where to write it; --adapter is left as it is")
    parser.add_argument(
        "--probes", help="a JSONL file of probes, or a folder with several; half of them choose the strength"
    )
    parser.add_argument("--strength", type=float, metavar="S",
                        help="from 0 to 1: write this one, and choose none; all probes, if there are any, report")  # fmt: skip
    parser.add_argument("--as-seen", action="store_true",
                        help="choose by the drop as it was seen, and not by what may be lost: keeps more of what was learned and "
                             "takes fewer probes, but the gate may then not certify it")  # fmt: skip
    add_model_options(parser)
    add_rule_options(parser)
    parser.set_defaults(run=run)


def run(asked: argparse.Namespace) -> int:
    """Check all that can be checked, then load, choose, write and show; the exit code."""
    from capability_guard.fading.methods import FadingError
    from capability_guard.jsonl import DataError
    from capability_guard.measurement import MeasurementError

    try:
        settings, probes, how = _check(asked)
        quiet_libraries()
        return _fade(asked, settings, probes, how)
    except (DataError, MeasurementError, FadingError) as error:
        return refuse(error)


def _check(asked: argparse.Namespace) -> tuple[dict[str, Any], list[Probe], dict[str, Any]]:
    """(the adapter's settings, the probes, how they are asked). Raises DataError, MeasurementError or FadingError."""
    from capability_guard.fading.folder import check_place, settings_of
    from capability_guard.fading.halves import check_half, halves, rules_of_half
    from capability_guard.fading.methods import FadingError, checked
    from capability_guard.gate.rule import Rules
    from capability_guard.measurement import Measurement
    from capability_guard.probes import load_probes

    if why := blank(asked, ("model", "adapter", "tuned", "out", "probes")):
        raise FadingError(why)
    if asked.strength is None and asked.probes is None:
        raise FadingError(
            "There are no probes to choose a strength by; give --probes, or the strength with --strength."
        )
    if asked.probes is None and asked.task is not None:
        raise FadingError("--task is measured beside the probes; give --probes as well.")
    if asked.strength is not None:
        checked(asked.strength)
    check_place(
        asked.out, [x for x in (asked.model, asked.adapter, asked.tuned, asked.probes, asked.task) if x is not None]
    )
    settings = settings_of(asked.adapter) if asked.adapter is not None else {}
    if asked.tuned is not None and not Path(asked.tuned).is_dir():
        raise FadingError(f"{asked.tuned} is no folder; give one with a whole model, as save_pretrained wrote it.")
    rules = Rules(**rules_of(asked))
    probes = load_probes(asked.probes) if asked.probes is not None else []
    if probes:
        rules.check_names({probe.capability for probe in probes})
    if asked.strength is None:  # if not even a base that knows them all could pass, no model need be loaded
        for half in halves(probes):
            right = [None if probe.measure == "loss" else True for probe in half]
            known = Measurement.of(half, right, [0.0] * len(half), model=asked.model)
            check_half(known, rules_of_half(half, rules), not asked.as_seen)
    return settings, probes, how_to_ask(asked)


def _fade(asked: argparse.Namespace, settings: dict[str, Any], probes: list[Probe], how: dict[str, Any]) -> int:
    """Choose, write and show; the exit code."""
    from capability_guard.fading.folder import write_adapter, write_model
    from capability_guard.fading.methods import FadingError
    from capability_guard.fading.strengths import best_strength
    from capability_guard.fading.turning import fade
    from capability_guard.gate import judge
    from capability_guard.measuring import measure

    model, tokenizer, base, base_tokenizer = _load(asked, settings)
    strength, best, decision = asked.strength, None, None
    if strength is None:
        how_to_choose = {"base": base, "base_tokenizer": base_tokenizer, "certain": not asked.as_seen, "each": _say}
        best = best_strength(model, tokenizer, probes, **how_to_choose, **how, **rules_of(asked))
        strength, decision = best.strength, best.decision
        if not strength:
            return refuse(f"Nothing was written: {best}.")
    elif probes:
        sides = []
        for at, tokens, name in ((0, base_tokenizer, asked.model), (strength, tokenizer, f"strength {strength:g}")):
            with fade(model, at, base=base):
                sides.append(measure(model, tokens, probes, name=name, **how))
        decision = judge(*sides, **rules_of(asked))
    record = _record(asked, strength, probes, best, decision)
    write, source = (write_adapter, asked.adapter) if asked.adapter is not None else (write_model, asked.tuned)
    try:
        with fade(model, strength, base=base):
            write(model, source, asked.out, record)
    except OSError as error:
        raise FadingError(
            f"{asked.out} cannot be written ({error.strerror or error}); nothing was left there. Free some space."
        ) from error
    return _show(asked, strength, best, decision)


def _load(asked: argparse.Namespace, settings: dict[str, Any]) -> tuple:
    """(the tuned model, its tokenizer, the base's weights that it takes to fade it, the base's tokenizer)."""
    from capability_guard.adapters import check_weights, with_adapter
    from capability_guard.fading.folder import base_of_adapter
    from capability_guard.measurement import MeasurementError
    from capability_guard.models import ModelUnavailable, load_model, tokenizer_of

    trust = asked.trust_remote_code
    try:
        model, base_tokenizer = load_model(asked.model, trust_remote_code=trust)
        if asked.adapter is not None:
            base = base_of_adapter(model, asked.adapter, settings)
            model = with_adapter(model, asked.adapter, asked.model, asked.same_base, trust)
            tokenizer = tokenizer_of(asked.adapter, trust) or base_tokenizer
        else:
            base = model.cpu()  # it is not asked, so it needs no room on the GPU
            model, tokenizer = load_model(asked.tuned, trust_remote_code=trust)
    except ModelUnavailable as error:
        raise MeasurementError(str(error)) from error
    check_weights(model)
    return model, tokenizer, base, base_tokenizer


def _say(step: Step) -> None:
    """One line for each strength, as it was tried."""
    learned = "" if step.learned is None else f", {step.learned:.0%} learned".replace("%", " %")
    within = "within the budget" if step.passed else "not within the budget"
    print(
        f"{step.strength:4g}: {step.drop:.1f} points lost, and up to {step.most:.1f} may be{learned}: {within}",
        flush=True,
    )


def _record(
    asked: argparse.Namespace,
    strength: float,
    probes: list[Probe],
    best: BestStrength | None,
    decision: Decision | None,
) -> dict[str, Any]:
    """What is kept of it beside the weights."""
    from capability_guard import __version__
    from capability_guard.fading.folder import RECORD, fingerprint
    from capability_guard.measurement import PACKAGES, installed, read_json
    from capability_guard.probes import fingerprint as of_probes

    source = asked.adapter if asked.adapter is not None else asked.tuned
    record = {"made_by": f"capability-guard {__version__}", "strength": strength, "model": asked.model,
              "adapter" if asked.adapter is not None else "tuned": source, "of_sha256": fingerprint(source),
              "versions": installed(PACKAGES)}  # fmt: skip
    if (Path(source) / RECORD).is_file():  # this strength is one of what was faded before
        record["faded_before"] = read_json(Path(source) / RECORD)
    if decision is not None:
        record |= {"rules": asdict(decision.rules), "probes": of_probes(probes), "verdict": decision.word, "why": decision.why,
                   "reported": [asdict(row) for row in decision.comparisons]}  # fmt: skip
    if best is not None:
        record |= {"curve": [asdict(step) for step in best.curve.values()], "choosing": best.choosing,
                   "reporting": best.reporting, "report": asdict(best.report), "learned": best.learned,
                   "learned_whole": best.learned_whole}  # fmt: skip
    return record


def _show(asked: argparse.Namespace, strength: float, best: BestStrength | None, decision: Decision | None) -> int:
    """What was lost, in a table and in words; the exit code."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from capability_guard.fading.halves import whole
    from capability_guard.fading.strengths import within
    from capability_guard.gate.reports import clean
    from capability_guard.gate.rule import REGRESSED
    from capability_guard.gate.terminal import cells

    console = Console()
    if not console.is_terminal:
        console = Console(width=130)  # a log has no edge to wrap at
    source = asked.adapter if asked.adapter is not None else asked.tuned
    said, code = [], 0
    if decision is not None:
        title = escape(clean(f"{source} at {strength:g}"))
        table = Table("capability", "base", "faded", "lost / gained", "drop (bounds)", title=title)
        for row in decision.comparisons:
            table.add_row(*(escape(clean(cell)) for cell in cells(row)[:5]))
        console.print(table)
        code = 0 if within(decision) else 1
        line = whole(decision)
        unit = "points" if line.unit == "points" else "nats a token"
        said.append(f"{str(best)[0].upper()}{str(best)[1:]}." if best is not None else
                    f"{line.drop:.2g} {unit} are lost, and up to {line.high:.2g} may be ({line.name}).")  # fmt: skip
    said.append(f"Written to {asked.out}; {source} is as it was.")
    if code:
        over = [row for row in decision.comparisons if row.critical and row.word == REGRESSED] or [line]
        said.append(
            f"More was lost than is allowed ({over[0].name}): {over[0].why} Allow fewer points (--max-drop), or add probes."
        )
    for line in said:
        console.print(escape(clean(line)), soft_wrap=True, highlight=False)
    return code
