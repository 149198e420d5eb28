"""A run and its fader in one figure: what it forgot while it trained, and what comes back when it is turned down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from utils.figures.plots import COLOURS, INK, MARKERS, QUIET, style_axes
from utils.training.results import RunResult

if TYPE_CHECKING:
    from utils.training.fader import Faded


def plot_fader(result: RunResult, path: Sequence[Faded]) -> Figure:
    """On the left loss and retention over the steps; on the right the same run at each strength of ``path``.

    Up and to the right is better. The title names the strength that keeps the most of what was learned and of what was known
    together.
    """
    best = max(path, key=lambda at: min(at.learned / max(result.learned, 1e-9), 1) + at.kept / 100)
    figure = plt.figure(figsize=(9.4, 4.6), layout="constrained", facecolor="white")
    plt.close(figure)
    grid = figure.add_gridspec(2, 2, width_ratios=(1, 1.15))
    above = figure.add_subplot(grid[0, 0])
    below, right = figure.add_subplot(grid[1, 0], sharex=above), figure.add_subplot(grid[:, 1])
    for axes in (above, below, right):
        style_axes(axes)

    above.plot(
        *result.series("held_out_loss"), color=COLOURS[0], marker="o", ms=4, lw=2.2, label="held-out new-task loss"
    )
    above.set_ylabel("new-task loss\n(nats per token)")
    above.set_ylim(bottom=0)
    above.tick_params(labelbottom=False)
    below.plot(*result.series("accuracy"), color=COLOURS[1], marker="s", ms=4, lw=2.2, label="retention")
    below.set_ylabel("retention\n(old questions right)")
    below.set_xlabel("training step")
    below.set_ylim(0, 1.04)
    below.yaxis.set_major_formatter(PercentFormatter(1))

    right.plot([100 * at.learned for at in path], [at.kept for at in path], color=COLOURS[2], marker=MARKERS[0], ms=7, lw=2.4,
               label="turned down after the training, by strength")  # fmt: skip
    for at in path:
        right.annotate(f"{at.strength:g}", (100 * at.learned, at.kept), xytext=(-5, -7), textcoords="offset points",
                       ha="right", va="center", fontsize=10, color=COLOURS[2])  # fmt: skip
    trained = path[0] if path[0].strength == 1 else None
    if trained is not None:
        right.plot(
            [100 * trained.learned], [trained.kept], color=COLOURS[1], marker="s", ms=9, ls="none", label="as trained"
        )
    right.axhline(100, color=QUIET, lw=0.8)
    right.set_xlabel("learned: held-out new-task loss fell by (%)")
    right.set_ylabel("retention (%)")
    right.set_ylim(0, 104)
    right.legend(frameon=False, loc="lower left", fontsize=9.5)
    figure.suptitle(
        f"As trained: learned {result.learned:.0%}, kept {path[0].kept:.0f}%. "
        f"Turned down to {best.strength:g}: learned {best.learned:.0%}, kept {best.kept:.0f}%",
        x=0.01, ha="left", fontsize=12.5, fontweight="bold", color=INK,
    )  # fmt: skip
    return figure
