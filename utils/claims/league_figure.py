"""The league in one figure: each remedy where it has learned 72 %, what it loses there, in order."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from utils.claims.league import AT
from utils.claims.league_table import Row, load
from utils.figures.plots import COLOURS, INK, QUIET, style_axes
from utils.training.results import RunResult
from utils.training.sweeps import Point

KINDS = {"old data": (COLOURS[0], "o", "needs old data"), "nothing": (COLOURS[2], "D", "needs no data and no extra pass"),
         "": (COLOURS[4], "s", "needs no old data, but more than the run")}  # fmt: skip


def plot_league(runs: Sequence[RunResult | Point] = (), rows: Sequence[Row] | None = None) -> Figure:
    """Points lost where 72 % is learned, with 95 % intervals: what loses least is above.

    runs: your own, drawn as stars at what they lost; how much they learned stands beside them. rows: another table.
    """
    few = (" 0.01", " 0.05")  # of replay: they do what little replay does, and crowd the figure
    rows = list(rows) if rows is not None else [row for row in load() if not row.name.endswith(few)]
    own = [(f"yours: learned {run.learned:.0%}", run.forgotten) for run in runs]
    figure, axes = plt.subplots(
        figsize=(8.8, 1.4 + 0.29 * (len(rows) + len(own))), layout="constrained", facecolor="white"
    )
    plt.close(figure)
    style_axes(axes)
    axes.grid(visible=False, axis="y")
    drawn, edge = set(), 1.25 * max([row.lost for row in rows] + [lost for _, lost in own])
    for at, row in enumerate(rows):
        colour, marker, kind = (
            (QUIET, "X", "as it is usually done") if row.name == "plain" else KINDS.get(row.needs, KINDS[""])
        )
        axes.plot([max(row.low, 0), row.high], [at, at], color=colour, lw=2.2)
        axes.plot([row.lost], [at], color=colour, marker=marker, ms=7, ls="none", label=None if kind in drawn else kind)
        inside = row.high < 0.93 * edge
        for end, beyond, arrow in ((0, row.low < 0, "<"), (edge, row.high > edge, ">")):
            if beyond:
                axes.plot([end], [at], color=colour, marker=arrow, ms=6, ls="none", clip_on=False)
        axes.annotate(f"{row.lost:.1f}", (row.high if inside else 0.93 * edge, at), xytext=(6, 0 if inside else 8),
                      textcoords="offset points", va="center", fontsize=9, color=INK)  # fmt: skip
        drawn.add(kind)
    for at, (_, lost) in enumerate(own, len(rows)):
        axes.plot([lost], [at], color=COLOURS[3], marker="*", ms=14, mec=INK, mew=0.8, ls="none")
    axes.set_yticks(range(len(rows) + len(own)), [row.title for row in rows] + [name for name, _ in own], fontsize=9.5)
    for label, row in zip(axes.get_yticklabels(), rows, strict=False):
        label.set_fontweight("bold" if row.name in ("plain", "fader") else "normal")
    axes.set_ylim(len(rows) + len(own) - 0.4, -0.6)
    axes.set_xlim(0, edge)  # a bar that reaches the edge goes on
    axes.set_xlabel(f"points of retention lost where {AT:.0f} % is learned, 95 % interval")
    axes.legend(frameon=False, loc="upper right", fontsize=9.5)
    axes.tick_params(axis="y", labelcolor=INK)
    first, plain = rows[0], next((row for row in rows if row.name == "plain"), None)
    words = [f"{row.title[0].upper()}{row.title[1:]}: {row.lost:.1f}" for row in (first, plain) if row is not None]
    figure.suptitle(f"Points lost at {AT:.0f} % learned. {'; '.join(words)}", x=0.01, ha="left", fontsize=11.5,
                    fontweight="bold", color=INK)  # fmt: skip
    figure.alt = f"Points lost where {AT:.0f} % is learned: " + "; ".join(
        f"{row.title} {row.lost:.1f} ({row.low:.1f} to {row.high:.1f}), needs {row.needs}" for row in rows
    )
    return figure
