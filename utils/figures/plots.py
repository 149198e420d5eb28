"""Draw a ``RunResult``. No widget and no training here: results in, matplotlib figures out.

Colours are Okabe and Ito's palette, which stays apart in the common kinds of colour blindness; line styles and
markers say the same a second time.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from capability_guard.curve import Checkpoint, series
from capability_guard.power import power, probes_needed
from utils.training.results import RunResult, by_setting

if TYPE_CHECKING:
    from utils.training.fader import Faded
    from utils.training.sweeps import Point

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (3, 1)), "-")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
INK, QUIET = "#1a1a1a", "#6b6b6b"


def plot_run(result: RunResult, title: str | None = None) -> Figure:
    """Two curves on one time axis: what was learned above, what was forgotten below, both from step 0.

    The title says the finding in figures; pass ``title`` to replace it.
    """
    figure = plot_checkpoints(result.checkpoints, title or finding(result))
    _caption(figure, result)
    return figure


def plot_checkpoints(checkpoints: Sequence[Checkpoint], title: str) -> Figure:
    """The two curves of any run that a monitor watched: new-task loss above, if it was measured, retention below."""
    drawn = {name: series(checkpoints, f"{name}_loss", finite=True) for name in ("train", "held_out")}
    if any(values for _, values in drawn.values()):
        figure, (loss, kept) = _two_panels(sharex=True, ratios=(1, 1.15))
        loss.plot(*drawn["train"], color=COLOURS[5], ls="--", marker="s", ms=4, label="training rows")
        loss.plot(*drawn["held_out"], color=COLOURS[0], marker="o", ms=5, lw=2.4, label="held-out rows")
        loss.set_ylabel("new-task loss\n(nats per token)")
        loss.set_ylim(bottom=0)
        loss.legend(*_those_with_points(loss), frameon=False, loc="upper right")
    else:
        figure, kept = _one_panel(height=3.4)
    for i, capability in enumerate(checkpoints[0].retention):
        kept.plot(*series(checkpoints, capability), color=COLOURS[(i + 1) % 6], ls=STYLES[(i + 1) % 6],
                  marker=MARKERS[i % 7], ms=4, lw=1.3, alpha=0.9, label=capability)  # fmt: skip
    kept.plot(*series(checkpoints, "accuracy"), color=INK, lw=3, marker="o", ms=6, label="all together")
    kept.set_ylabel("retention\n(probes answered right)")
    kept.set_ylim(-0.03, 1.03)
    kept.yaxis.set_major_formatter(PercentFormatter(1))
    kept.set_xlabel("training step")
    kept.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10))
    kept.legend(frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5))
    _headline(figure, title)
    return figure


def _those_with_points(axes: Axes) -> tuple[list, list]:
    """Handles and labels for a legend, without those of empty lines."""
    pairs = [pair for pair in zip(*axes.get_legend_handles_labels(), strict=True) if len(pair[0].get_xdata())]
    return [handle for handle, _ in pairs], [label for _, label in pairs]


def plot_runs(results: Sequence[RunResult], labels: Sequence[str] | None = None, title: str | None = None) -> Figure:
    """Several runs on the same two axes: new-task loss and overall retention, one colour and style a run."""
    labels = list(labels) if labels else [result.config.label for result in results]
    figure, (loss, kept) = _two_panels(sharex=False, ratios=(1, 1))
    longest = max(result.config.steps for result in results)
    for i, (result, label) in enumerate(zip(results, labels, strict=True)):
        look = dict(color=COLOURS[i % 7], ls=STYLES[i % 7], marker=MARKERS[i % 7], ms=5, lw=2.2)
        loss.plot(*result.series("held_out_loss"), label=label, **look)
        kept.plot(*result.series("accuracy"), label=label, **look)
    for axes in (loss, kept):
        axes.set_xlim(-0.02 * longest, 1.02 * longest)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10))
    loss.set_ylabel("held-out new-task loss\n(nats per token)")
    loss.set_ylim(bottom=0)
    loss.tick_params(labelbottom=False)
    kept.set_ylabel("retention\n(probes answered right)")
    kept.set_ylim(-0.03, 1.03)
    kept.yaxis.set_major_formatter(PercentFormatter(1))
    kept.set_xlabel("training step")
    figure.legend(
        *kept.get_legend_handles_labels(),
        frameon=False,
        loc="outside lower center",
        ncols=min(3, len(labels)),
    )
    if title:
        _headline(figure, title)
    return figure


def plot_plane(
    groups: dict[str, Sequence[Point]],
    varied: str,
    title: str | None = None,
    fades: Mapping[str, Sequence[Faded]] | None = None,
) -> Figure:
    """Learning against forgetting: for each group a line through its settings, each the mean over its seeds.

    varied: the field of the settings that differs within a group; its value stands at each point. The bars reach from
    the lowest to the highest seed. fades: single runs, turned down step by step, by name. Better is up and right.
    """
    figure, axes = _one_panel(height=4.8)
    for i, (name, points) in enumerate(groups.items()):
        settings = by_setting(points)
        x = [100 * sum(p.learned for p in same) / len(same) for same in settings.values()]
        y = [-sum(p.forgotten for p in same) / len(same) for same in settings.values()]
        spread = [[at + max(p.forgotten for p in same) for at, same in zip(y, settings.values(), strict=True)],
                  [-at - min(p.forgotten for p in same) for at, same in zip(y, settings.values(), strict=True)]]  # fmt: skip
        axes.errorbar(
            x, y, yerr=spread, color=COLOURS[i], ls=STYLES[i], marker=MARKERS[i], ms=7, lw=1.8, capsize=3, label=name
        )
        differs = len({getattr(config, varied) for config in settings}) > 1
        for config, at_x, at_y in zip(settings, x, y, strict=True) if differs else ():
            axes.annotate(_short(getattr(config, varied)), (at_x, at_y), xytext=(7, (6, -13, -22)[i % 3]), fontsize=9,
                          textcoords="offset points", color=COLOURS[i])  # fmt: skip
    for i, (name, path) in enumerate((fades or {}).items(), len(groups)):
        x, y = [100 * at.learned for at in path], [-at.forgotten for at in path]
        axes.plot(x, y, color=COLOURS[i], ls=STYLES[i], marker=MARKERS[i], ms=7, lw=2.2, label=name)
        for at in path:
            axes.annotate(f"{at.strength:g}", (100 * at.learned, -at.forgotten), xytext=(7, 6), fontsize=9,
                          textcoords="offset points", color=COLOURS[i])  # fmt: skip
    axes.axhline(0, color=QUIET, lw=0.8)
    axes.set_xlabel("learned: held-out new-task loss fell by (%)")
    axes.set_ylabel("change of retention (points)")
    axes.margins(x=0.09, y=0.1)
    axes.legend(frameon=False, loc="lower left")
    _headline(figure, title or "")
    return figure


def plot_dose(points: Sequence[Point], title: str) -> Figure:
    """Dose and response: the learning rate, on a logarithmic axis, against the change of retention; every run is a point."""
    figure, axes = _one_panel(height=3.8)
    groups = {config.learning_rate: [-p.forgotten for p in same] for config, same in by_setting(points).items()}
    axes.plot(
        list(groups),
        [sum(same) / len(same) for same in groups.values()],
        color=COLOURS[0],
        lw=2.2,
        label="mean over seeds",
    )
    for rate, same in groups.items():
        axes.plot([rate] * len(same), same, color=COLOURS[1], ls="none", marker="o", ms=5, mfc="none",
                  label="one run" if rate == min(groups) else None)  # fmt: skip
    axes.set_xscale("log")
    axes.set_xticks(list(groups), [f"{rate:g}" for rate in groups])
    axes.minorticks_off()
    axes.set_xlabel("learning rate (logarithmic)")
    axes.set_ylabel("change of retention (points)")
    axes.legend(frameon=False, loc="lower left")
    _headline(figure, title)
    return figure


def plot_power(drops: Sequence[float] = (20, 10, 5, 2), gained: float = 1.0) -> Figure:
    """The chance to see a drop that is really there, against the number of probes: one curve a drop, in points.

    gained: points that go from wrong to right meanwhile. The dots are where the chance first reaches 80 %.
    """
    figure, axes = _one_panel(height=4.0)
    counts = np.unique(np.geomspace(8, 1000, 60).astype(int))
    for i, drop in enumerate(drops):
        chances = [power(int(n), drop, gained) for n in counts]
        axes.plot(counts, chances, color=COLOURS[i], ls=STYLES[i], lw=2.4, label=f"{drop:g} points")
        needed = probes_needed(drop, 0.8, gained)
        if needed <= counts[-1]:
            axes.plot([needed], [0.8], marker="o", ms=8, color=COLOURS[i])
            axes.annotate(
                f"{needed}", (needed, 0.8), xytext=(-7, 5), textcoords="offset points", ha="right", color=COLOURS[i]
            )
    axes.axhline(0.8, color=QUIET, lw=0.9, ls=":")
    axes.set_xscale("log")
    axes.set_xticks([10, 20, 50, 100, 200, 500, 1000], ["10", "20", "50", "100", "200", "500", "1,000"])
    axes.set_ylim(0, 1.03)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlabel("probes (logarithmic)")
    axes.set_ylabel("chance to see the drop")
    axes.legend(frameon=False, loc="upper left", title="true drop")
    _headline(figure, "A few questions see only a disaster; a small drop needs hundreds")
    return figure


def plot_dashboard(result: RunResult) -> Figure:
    """What most dashboards show: the new task's losses, and nothing of the original domain."""
    figure, axes = _one_panel(height=3.2)
    axes.plot(*result.series("train_loss"), color=COLOURS[5], ls="--", marker="s", ms=4, label="training rows")
    axes.plot(*result.series("held_out_loss"), color=COLOURS[0], marker="o", ms=5, lw=2.4, label="held-out rows")
    axes.set_ylabel("new-task loss\n(nats per token)")
    axes.set_xlabel("training step")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, loc="upper right")
    _headline(figure, f"Loss down by {result.learned:.0%}: a success?")
    return figure


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)


def plot_guess(result: RunResult, guess: dict[int, float]) -> tuple[Figure, str]:
    """The two curves of a run with the learner's guess of the lower one, {step: per cent}, and how good it was in words.

    Raises ValueError for a guess that is no per cent or has no step of the run.
    """
    for step, share in guess.items():
        if not 0 <= share <= 100:
            raise ValueError(f"The guess for step {step} is {share}; give per cent, 0 to 100.")
    measured = dict(zip(*result.series("accuracy"), strict=True))
    steps = [step for step in sorted(guess) if 0 <= step <= result.config.steps]
    if not steps:
        raise ValueError(f"The guess has no step from 0 to {result.config.steps}; give some, such as {{10: 90}}.")
    nearest = {step: min(measured, key=lambda known: abs(known - step)) for step in steps}
    off = [abs(guess[step] - 100 * measured[nearest[step]]) for step in steps if step]
    words = (
        f"{finding(result)}. Your guess was {sum(off) / len(off):.0f} points off on average."
        if off
        else finding(result)
    )
    figure, (loss, kept) = _two_panels(sharex=True, ratios=(1, 1))
    loss.plot(*result.series("held_out_loss"), color=COLOURS[0], marker="o", ms=5, lw=2.4, label="measured")
    loss.set_ylabel("held-out new-task loss\n(nats per token)")
    loss.set_ylim(bottom=0)
    kept.plot(*result.series("accuracy"), color=INK, marker="o", ms=5, lw=2.4, label="measured")
    kept.plot(
        steps, [guess[step] / 100 for step in steps], color=COLOURS[1], ls="--", marker="D", ms=6, label="your guess"
    )
    kept.set_ylabel("retention\n(probes answered right)")
    kept.set_ylim(-0.03, 1.05)
    kept.yaxis.set_major_formatter(PercentFormatter(1))
    kept.set_xlabel("training step")
    kept.legend(frameon=False, loc="lower left")
    _headline(figure, finding(result))
    _caption(figure, result)
    return figure, words


def finding(result: RunResult) -> str:
    """What the run's two curves say, in one line of measured figures."""
    if result.diverged:
        return f"The run diverged: {result.stopped}"
    loss = result.series("held_out_loss")[1]
    kept = result.series("accuracy")[1]
    return f"New-task loss went from {loss[0]:.1f} to {loss[-1]:.1f}; retention from {kept[0]:.0%} to {kept[-1]:.0%}"


def alt_text(result: RunResult) -> str:
    """The figure of ``plot_run`` in words, for those who do not see it."""
    last = result.checkpoints[-1]
    parts = ", ".join(f"{name} {share:.0%}" for name, share in last.retention.items())
    words = f"{finding(result)}. At step {last.step} the probes answered right are: {parts}."
    return textwrap.fill(words, 95, break_on_hyphens=False)  # a notebook would cut a long line in mid-word


def _two_panels(sharex: bool, ratios: Sequence[float]) -> tuple[Figure, Sequence[Axes]]:
    figure, axes = plt.subplots(
        2,
        1,
        figsize=(8.6, 5.6),
        sharex=sharex,
        height_ratios=ratios,
        layout="constrained",
        facecolor="white",
    )
    plt.close(figure)  # shown where it is returned, not a second time by the notebook's own flush
    for ax in axes:
        style_axes(ax)
    return figure, axes


def _one_panel(height: float) -> tuple[Figure, Axes]:
    figure, axes = plt.subplots(figsize=(8.6, height), layout="constrained", facecolor="white")
    plt.close(figure)
    style_axes(axes)
    return figure, axes


def _headline(figure: Figure, words: str) -> None:
    figure.suptitle(words, x=0.02, ha="left", fontsize=13, fontweight="bold", color=INK)


def style_axes(axes: Axes) -> None:
    """The course's one look: a quiet grid, no box."""
    axes.grid(True, color="#e4e4e4", lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=QUIET)
    axes.yaxis.label.set_color(INK)


def _caption(figure: Figure, result: RunResult) -> None:
    """Which run this is, in small print: a figure copied out of its notebook still says so."""
    config = result.config
    words = f"{config.model}, {config.label}, {config.steps} steps of {config.batch_size} rows, seed {config.seed}"
    figure.supxlabel(words, fontsize=8.5, color=QUIET, x=0.02, ha="left")
