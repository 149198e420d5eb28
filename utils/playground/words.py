"""What a playground says: its state, its verdict and its figure in plain sentences, made from a View and nothing else."""

from __future__ import annotations

import math
import time

from utils.playground.runs import Run, View
from utils.training.data import QUESTIONS


def caption(run: Run) -> str:
    """Which run this is: all that it would take to repeat it."""
    config = run.config
    words = f"{config.model}, {config.label}, {config.steps} steps of {config.batch_size} rows"
    if config.examples:
        words += f", {config.examples} examples"
    return f"{words}, seed {config.seed}"


def headline(view: View) -> str:
    """The figure's title: what the run on show says, or how far it is."""
    run = view.shown
    if run is None:
        return "Nothing was run with these settings yet: press Run"
    if run.state in ("waiting", "running"):
        return f"Training: step {run.checkpoints[-1].step if run.checkpoints else 0} of {run.config.steps}"
    if run.state == "stopped":
        return f"Stopped at step {run.step} of {run.config.steps}"
    if run.state == "failed":
        return "The run failed: see below"
    if run.result.diverged:
        return f"Diverged at step {run.checkpoints[-1].step}: the loss is no number any more"
    first = 100 * sum(run.result.before) / len(run.result.before)
    faded = view.faded
    if faded is not None and faded.whole:
        trained = f"(as trained: {100 * run.result.learned:.0f} % and {run.kept:.0f} %)"
        return f"At strength {faded.strength:.2f}: new-task loss {moved(faded.learned)}; retention {faded.kept:.0f} % {trained}"
    memory = "  (remembered)" if view.remembered else ""
    return f"New-task loss {moved(run.result.learned)}; retention went from {first:.0f} % to {run.kept:.0f} %{memory}"


def scale(view: View) -> str:
    """The LoRA scale in words, to stand beside the rank."""
    config = view.config
    if config.scale is None:
        return "no adapter: the rank has no effect"
    root = "√" if config.scaling == "rslora" else ""
    return f"scale = alpha / {root}r = {config.alpha} / {root}{config.rank} = {config.scale:.3g}"


def strength(view: View) -> str:
    """What the fader does, to stand beside it."""
    if view.shown is None or view.shown.result is None:
        return "turns a finished run down; trains nothing"
    if view.config.strength == 1:
        return "1 is as trained, 0 the untouched model; trains nothing"
    if view.faded is None or not view.faded.whole:
        return "asking every probe ..."
    return f"learned {100 * view.faded.learned:.0f} %, lost {view.faded.forgotten:.1f} points"


def status(view: View) -> str:
    """One sentence on what goes on now."""
    run = view.shown
    if view.notice:
        return view.notice
    if run is None:
        return "These settings have not been run. Press Run."
    if run.state == "failed":
        return f"The run failed. {run.trouble}"
    if view.left > 1 or (view.left and run.state not in ("waiting", "running")):
        now = view.working
        return f"Running other seeds, {view.left} to go: seed {now.config.seed} is at step {now.step} of {now.config.steps}."
    if run.state == "waiting":
        return "Starting."
    if run.state == "running":
        left = f", about {seconds_left(run):.0f} s left" if run.step and run.config.model != "practice" else ""
        if run.step >= run.config.steps:
            last = (
                f"Now the remedy ({run.config.cure.title}), then every probe."
                if run.config.at("after")
                else "Asking every probe."
            )
            return f"All steps are done. {last}"
        return f"Training: step {run.step} of {run.config.steps}{left}."
    if run.state == "stopped":
        return f"Stopped at step {run.step} of {run.config.steps}. The curve up to there stays. Press Run to train it whole."
    if view.remembered:
        return "Remembered: these settings were run before in this session. Press Run again to repeat the run."
    return f"Finished in {run.result.seconds:.1f} s."


def seconds_left(run: Run) -> float:
    """How long the steps to come will take, at the pace of those that are done."""
    return (time.monotonic() - run.began) / run.step * (run.config.steps - run.step)


def verdict(view: View) -> str:
    """What the run on show did to the old skills, with its uncertainty."""
    run = view.shown
    if run is None or run.result is None:
        return ""
    if run.result.diverged:
        return (
            f"The run diverged: {run.result.stopped}. A step was so large that the weights became useless numbers. "
            "Lower the learning rate or the scale. The next run starts from the untouched model."
        )
    faded = view.faded
    if faded is not None and faded.whole:
        return (
            f"At strength {faded.strength:.2f}, learned: the new task's held-out loss {moved(faded.learned)}. Forgotten: the model "
            f"{faded.verdict}. Nothing was trained for it."
        )
    words = f"Learned: the new task's held-out loss {moved(run.result.learned)}. Forgotten: the model {run.verdict}."
    if len(view.band) > 1:
        drops = [other.result.forgotten for other in view.band]
        words += f" Over {len(drops)} seeds, the drop was {min(drops):.1f} to {max(drops):.1f} points."
    return words


def score(view: View) -> str:
    """How the learner's guesses did."""
    if view.pending_guess is not None:
        return f"Your guess for the next run: {view.pending_guess:.0f} %."
    if not view.score:
        return "No guess yet. Mark where retention will end, then run."
    off = [abs(guess - truth) for guess, truth in view.score]
    guess, truth = view.score[-1]
    many = f" {len(off)} guesses so far, {sum(off) / len(off):.0f} points off on average." if len(off) > 1 else ""
    return f"You guessed {guess:.0f} %, and it was {truth:.0f} %: {off[-1]:.0f} points off.{many}"


def in_words(view: View) -> str:
    """The figure for those who do not see it."""
    run = view.shown
    if run is None or not run.checkpoints:
        return f"{headline(view)}. The figure has no curve yet."
    first, last = run.checkpoints[0], run.checkpoints[-1]
    parts = ", ".join(f"{name} {share:.0%}" for name, share in last.retention.items())
    words = (
        f"{caption(run)}. {headline(view)}. From step {first.step} to step {last.step}, held-out new-task loss went from "
        f"{first.held_out_loss:.1f} to {_number(last.held_out_loss)}, and retention on the sampled probes from "
        f"{first.accuracy:.0%} to {last.accuracy:.0%}: {parts}."
    )
    if path := fade_path(run):
        points = "; ".join(f"{at:.2f}: learned {learned:.0f} %, lost {lost:.1f} points" for at, learned, lost in path)
        words += f" Turned down after the training, by strength: {points}."
    if run.guess is not None:
        words += f" Your guess for the end was {run.guess:.0f} %."
    if view.pinned:
        pins = "; ".join(
            f"{other.pin}, {other.config.label}: learned {other.result.learned:.0%}, forgot {other.result.forgotten:.0f} points"
            for other in view.pinned
        )
        words += f" Pinned: {pins}."
    return words


def fade_path(run: Run) -> list[tuple[float, float, float]]:
    """(strength, per cent learned, points lost) of the run at each strength that is known, from the untouched model up."""
    if run.result is None or run.result.diverged or not run.faded:
        return []
    known = [(s, 100 * faded.learned, faded.forgotten) for s, faded in sorted(run.faded.items()) if faded.whole]
    return [*known, (1.0, 100 * run.result.learned, run.result.forgotten)]


def answer_columns(view: View, step: int) -> tuple[str, str, str]:
    """What stands above the answers."""
    return (
        "question",
        "before training",
        f"at strength {view.config.strength:.2f}" if _at_strength(view, step) else f"at step {step}",
    )


def _at_strength(view: View, step: int) -> bool:
    """Whether the answers are those of the faded run: at the end of a run whose fader is down."""
    run = view.shown
    return view.config.strength < 1 and run is not None and run.result is not None and step == run.checkpoints[-1].step


def answers(view: View, step: int) -> list[tuple[str, str, str]]:
    """(question, answer before training, answer now) for each question; an answer not yet known is dots.

    Now: at the checkpoint of ``step`` or, at the end of a run whose fader is down, at that strength.
    """
    known = dict(view.shown.answers) if view.shown is not None else {}
    for run in view.finished:  # before training, every run of a model says the same
        if run.config.model == view.config.model and 0 in run.answers:
            known.setdefault(0, run.answers[0])
    missing = ["..."] * len(QUESTIONS)
    said = known.get(step, missing)
    if _at_strength(view, step):
        said = (view.faded.answers if view.faded is not None else ()) or missing
    rows = zip(QUESTIONS, known.get(0, missing), said, strict=True)
    return [(question, before or "(nothing)", now or "(nothing)") for question, before, now in rows]


def moved(learned: float) -> str:
    """What the loss did, in words. learned: the share by which it fell."""
    return f"fell {learned:.0%}" if learned >= 0 else f"rose to {1 - learned:.1f} times what it was"


def _number(value: float) -> str:
    return f"{value:.1f}" if math.isfinite(value) else "no number"
