"""One figure a claim: the runs above, every one a dot, the learner's own among them; the contrasts below, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from utils.claims import experiments as x
from utils.claims import league
from utils.claims.experiments import MATTERS, Claim, Contrast
from utils.claims.statistics import Finding
from utils.claims.verdicts import Verdict, in_words
from utils.figures.plots import COLOURS, INK, MARKERS, QUIET, STYLES, style_axes
from utils.training.config import FineTuneConfig
from utils.training.results import by_setting
from utils.training.sweeps import Point

OUTCOMES = {
    "shown": (COLOURS[0], "o"),
    "opposite": (COLOURS[1], "X"),
    "differs": (COLOURS[1], "X"),
    "too small to matter": (QUIET, "s"),
    "open": (COLOURS[4], "D"),
}
UNITS = {"rho": "rank correlation (rho)"}  # as an axis names them; the others are their own names
YOURS = dict(color=COLOURS[3], marker="*", ms=15, mec=INK, mew=0.8, ls="none", zorder=5)


@dataclass(frozen=True)
class Panel:
    """What the upper half shows. groups: settings by legend entry; at: where a run stands on the horizontal axis.

    ticks: where that axis is labelled, if it is logarithmic. joined: whether a line joins the means of a group. curves: draw
    each run over its steps instead.
    """

    label: str
    groups: Mapping[str, Sequence[FineTuneConfig]]
    at: Callable[[Point], float] = lambda run: 100 * run.learned
    ticks: Sequence[float] = ()
    joined: bool = True
    curves: bool = False


LEARNED = "learned: held-out new-task loss fell by (%)"
RATE = "learning rate (logarithmic)"


def _rate(run: Point) -> float:
    return run.config.learning_rate


PANELS = {
    "forgetting": Panel(LEARNED, {"practice model, eleven rates": x.CURVE, "SmolLM2, four rates": x.SMOL_CURVE}),
    "rate": Panel(LEARNED, {"40 steps, eleven rates": x.CURVE, "3e-3 for 80 and 1.5e-3 for 160 steps": x.LONGER,
                            "SmolLM2, four rates": x.SMOL_CURVE}),
    "rank": Panel("rank (logarithmic)",
                  {"alpha fixed at 16: scale 16 / r": tuple(x.RANK["fixed"].values()),
                   "alpha = 2r: scale 2": tuple(x.RANK["2r"].values()),
                   "rsLoRA: scale 16 / root of r": tuple(x.RANK["rslora"].values())},
                  at=lambda run: run.config.rank, ticks=x.RANKS),
    "replay": Panel(LEARNED, {"no replay, eleven rates": x.CURVE, "1.3e-2 with 1, 2 or 4 of 8 rows replayed": tuple(x.REPLAY.values()),
                              "1.3e-2, two rows fewer": (x.FEWER_ROWS,)}),
    "capacity": Panel("different new-task examples (logarithmic)",
                      {"2.1 M parameters, 40 steps": (*x.FEW.values(), x.MIDDLE),
                       "0.8 M parameters, 40 steps": (*x.SMALL_FEW.values(), x.SMALL_MIDDLE),
                       "2.1 M, as many rounds: 2, 7, 40 steps": (x.FEW_EPOCHS[3], x.FEW_EPOCHS[12], x.MIDDLE)},
                      at=lambda run: run.config.examples or 72, ticks=(3, 12, 72)),
    "full": Panel(LEARNED, {"full fine-tuning": x.FULL, "LoRA": x.CURVE}),
    "threshold": Panel(RATE, {"practice model": x.CURVE, "SmolLM2": x.SMOL_CURVE}, at=_rate, ticks=(1e-4, 5e-4, 1.5e-3, 5e-3, 1.3e-2)),
    "during": Panel("training step", {"reckless, 1.3e-2": (x.DENSE["reckless"],), "middle, 5e-3": (x.DENSE["middle"],)}, curves=True),
    "kl": Panel("KL to the base model on new-task text (nats per token)",
                {"LoRA": tuple(c for c in x.WITHOUT_REPLAY if c.method == "lora"), "full fine-tuning": x.FULL,
                 "with replay": (*x.REPLAY.values(), x.REPLAY_MIDDLE)},
                at=lambda run: run.kl[-1], joined=False),
    "recovery": Panel("training step", {"reckless, 1.3e-2": (x.DENSE["reckless"],), "then 8 original rows": (x.RECOVER[8],),
                                        "then the new task again": (x.RECOVER[0],)}, curves=True),
    "fader": Panel(LEARNED, {"practice model, as trained at ten rates": league.PLAIN, "1.3e-2, turned down": league.RECKLESS,
                             "full fine-tuning, as trained": league.FULL, "full at 1.5e-3, turned down": league.FULL_FADED}),
    "no_old_data": Panel(LEARNED, {"nothing but a lower rate": league.PLAIN, "a quarter of replay": league.REAL[0.25],
                                   "the fader": league.RECKLESS, "KL to the base": league.WITH["kl"],
                                   "mean of two runs": league.WITH["average_of_two"]}),
    "own_replay": Panel(LEARNED, {"no replay": league.PLAIN, "a quarter of old rows": league.REAL[0.25],
                                  "a quarter, sampled questions": league.STEMS[0.25],
                                  "a quarter, sampled from nothing": league.OWN[0.25]}),
    "placement": Panel(LEARNED, {"all linear layers": league.PLAIN, "the MLP alone": league.WITH["mlp_only"],
                                 "the attention alone": league.WITH["attention_only"]}),
    "pairs": Panel(LEARNED, {"a quarter of replay": league.REAL[0.25], "the fader": league.RECKLESS,
                             "a quarter of replay, then the fader": league.REPLAY_FADED}),
}  # fmt: skip


def plot_claim(claim: Claim, found: Verdict, points: Sequence[Point], yours: Sequence[Point] = ()) -> Figure:
    """The figure of a card. points: all runs that were stored. yours: the learner's own, drawn as stars or dashed curves."""
    units = list(dict.fromkeys(f.unit for f in found.findings))
    rows = [[(f, c) for f, c in zip(found.findings, claim.contrasts, strict=True) if f.unit == unit] for unit in units]
    heights = [3.6, *(0.46 * len(same) + 0.55 for same in rows)]
    figure, (above, *below) = plt.subplots(
        len(heights), 1, figsize=(8.6, sum(heights)), height_ratios=heights, layout="constrained", facecolor="white"
    )
    plt.close(figure)
    for axes in (above, *below):
        style_axes(axes)
    _runs(above, claim, points, yours)
    for axes, unit, same in zip(below, units, rows, strict=True):
        _forest(axes, unit, same)
    figure.suptitle(f"{claim.title}: {found.word}", x=0.02, ha="left", fontsize=13, fontweight="bold", color=INK)
    figure.alt = words(claim, found, yours)
    return figure


def plot_claim_in_brief(claim: Claim, found: Verdict, points: Sequence[Point], yours: Sequence[Point] = ()) -> Figure:
    """The upper half of ``plot_claim`` alone: the runs, the learner's own among them."""
    figure, axes = plt.subplots(figsize=(7.4, 3.4), layout="constrained", facecolor="white")
    plt.close(figure)
    style_axes(axes)
    _runs(axes, claim, points, yours)
    figure.suptitle(f"{claim.title}: {found.word}", x=0.02, ha="left", fontsize=12, fontweight="bold", color=INK)
    figure.alt = words(claim, replace(found, findings=found.findings[:1]), yours)
    return figure


def _runs(axes: Axes, claim: Claim, points: Sequence[Point], yours: Sequence[Point]) -> None:
    panel, settings = PANELS[claim.key], by_setting(points)
    axes.axhspan(-MATTERS, MATTERS, color="#ececec", lw=0, zorder=0)
    for i, (name, configs) in enumerate(panel.groups.items()):
        runs = [settings[config.with_(seed=0)] for config in configs if config.with_(seed=0) in settings]
        if runs:
            (_curves if panel.curves else _dots)(axes, panel, name, runs, i)
    if yours:
        _yours(axes, panel, yours)
    if panel.ticks:
        axes.set_xscale("log")
        axes.set_xticks(panel.ticks, [f"{tick:g}" for tick in panel.ticks])
        axes.minorticks_off()
    axes.set_xlabel(panel.label)
    axes.set_ylabel("change of retention\n(points)")
    # Above the axes, where it covers no run.
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0, ncols=2, fontsize=9.5)


def _dots(axes: Axes, panel: Panel, name: str, runs: list[list[Point]], i: int) -> None:
    """Every run a hollow dot, the mean of its setting a filled one."""
    colour = COLOURS[i]
    for same in runs:
        axes.plot([panel.at(p) for p in same], [-p.forgotten for p in same], color=colour, ls="none", marker=MARKERS[i],
                  ms=4, mfc="none", alpha=0.7)  # fmt: skip
    means = [(np.mean([panel.at(p) for p in same]), -np.mean([p.forgotten for p in same])) for same in runs]  # in order
    axes.plot(*zip(*means, strict=True), color=colour, ls=STYLES[i] if panel.joined else "none", marker=MARKERS[i], ms=7,
              lw=2, label=name)  # fmt: skip


def _curves(axes: Axes, panel: Panel, name: str, runs: list[list[Point]], i: int) -> None:
    """Every run a thin curve over its steps, their mean a thick one. A run that recovers starts where the other ended."""
    for same in runs:
        if same[0].config.with_(seed=0) in x.RECOVER.values():
            steps = x.RECKLESS.steps + np.array([0, same[0].steps[-1]])
            kept = np.array(
                [[100 * outcomes.count("1") / len(outcomes) - 100 for outcomes in (p.before, p.after)] for p in same]
            )
        else:
            steps = np.array(same[0].steps)
            kept = np.array([[100 * (share - p.retention[0]) for share in p.retention] for p in same])
        axes.plot(steps, kept.T, color=COLOURS[i], lw=0.8, alpha=0.5)
        axes.plot(steps, kept.mean(axis=0), color=COLOURS[i], ls=STYLES[i], marker=MARKERS[i], ms=5, lw=2.4, label=name)


def _yours(axes: Axes, panel: Panel, yours: Sequence[Point]) -> None:
    for i, run in enumerate(yours):
        label = None if i else "your runs in this notebook"
        if panel.curves:
            kept = [100 * (share - run.retention[0]) for share in run.retention]
            axes.plot(run.steps, kept, **YOURS | {"ls": ":", "ms": 10}, label=label)
            if run.steps[-1:] == run.steps[-2:-1]:  # a budget stopped the run, which was then measured again
                at = (run.steps[-1], kept[-1])
                axes.annotate("best weights back", at, (8, 6), textcoords="offset points", fontsize=9.5)
        else:
            axes.plot([panel.at(run)], [-run.forgotten], **YOURS, label=label)


def _forest(axes: Axes, unit: str, rows: Sequence[tuple[Finding, Contrast]]) -> None:
    """Two lines a contrast: what it asks and what came out, and below it the effect with its interval.

    A thin line marks where the claim begins, in grey what is too small to matter. What cannot be compared has no bar.
    """
    for at, (f, c) in enumerate(rows):
        colour, marker = OUTCOMES.get(f.outcome, (QUIET, "o"))
        axes.add_patch(Rectangle((f.beyond - c.matters, at), 2 * c.matters, 0.44, color="#ececec", lw=0, zorder=0))
        axes.plot([f.beyond, f.beyond], [at, at + 0.44], color=INK, lw=1, zorder=1)
        if np.isfinite(f.effect):
            effect, low, high = f.whole()
            big = dict(ms=12, mec="white", mew=1) if marker == "X" else dict(ms=8)
            axes.plot([low, high], [at + 0.22, at + 0.22], color=colour, lw=2.4)
            axes.plot([effect], [at + 0.22], color=colour, marker=marker, mfc=colour if f.counts else "white", **big)
        for text, place, weight in ((f.asks, 0.01, "normal"), (f.outcome, 0.995, "bold")):
            axes.annotate(text, (place, at - 0.22), xycoords=("axes fraction", "data"), ha="left" if place < 0.5 else "right",
                          va="center", fontsize=9.5, color=INK, fontweight=weight,
                          bbox=dict(fc="white", ec="none", pad=0.5))  # fmt: skip
    axes.set_yticks([])
    axes.grid(visible=False, axis="y")
    axes.set_ylim(len(rows) - 0.4, -0.6)
    right = "claimed: none" if all(c.predicts == "none" for _, c in rows) else "right of the line: as claimed"
    grey = "; grey: too small to matter" if any(c.matters for _, c in rows) else ""
    axes.set_xlabel(f"{UNITS.get(unit, unit)}, 95 % interval ({right}{grey})", fontsize=9.5)


def words(claim: Claim, found: Verdict, yours: Sequence[Point] = ()) -> str:
    """The figure for those who do not see it."""
    text = f"{claim.title}: {found.word}. " + ". ".join(in_words(f) for f in found.findings) + "."
    if yours:
        own = "; ".join(
            f"{run.config.label}: learned {run.learned:.0%}, forgot {run.forgotten:.1f} points" for run in yours
        )
        text += f" Your runs: {own}."
    return text
