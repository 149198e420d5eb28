"""The playground's one figure, drawn quickly, in three layers: the axes, which hardly ever change; the earlier runs, which change
when one ends or begins; and the run on show, which changes with each point. Each layer is kept as pixels for the one above it. No
widget: a View in, PNG bytes out.
"""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator, PercentFormatter
from PIL import Image

from capability_guard.curve import series
from utils.figures.plots import COLOURS, INK, MARKERS, QUIET, STYLES, style_axes
from utils.playground import words as live_words
from utils.playground.runs import Run, View

SIZE = (9.0, 5.7)  # inches: 990 x 627 pixels, which fit a notebook cell 900 pixels wide nearly one to one
DPI = 110
FAINT = "#9a9a9a"
CACHED = "#8c8c8c"
ENDED = "#a34700"
LOSS, TRAIN = COLOURS[0], COLOURS[5]
TURNED = "#00694d"  # what the fader shows


class LiveFigure:
    """Keeps one figure and redraws of it what changed.

    cached: (learned, forgotten) of earlier runs, drawn faintly in the plane: a share of the loss, and points.
    """

    def __init__(self, cached: Sequence[tuple[float, float]] = ()) -> None:
        self.cached = list(cached)
        self._axes_key: object = None
        self._earlier_key: object = None

    def png(self, view: View, mark: int | None = None) -> bytes:
        """The picture of a view, as PNG. ``mark``: a step to point out, where the learner reads the answers."""
        view = _of_one_model(view)
        if (key := _of_the_axes(view)) != self._axes_key:
            self._build(view)
            self.canvas.draw()
            self._axes, self._earlier_key = self.canvas.copy_from_bbox(self.figure.bbox), None
            self._axes_key = key
        if (key := _of_the_earlier(view)) != self._earlier_key:
            self.canvas.restore_region(self._axes)
            for artist in self._earlier(view):
                self.figure.draw_artist(artist)
                artist.remove()
            self._below = self.canvas.copy_from_bbox(self.figure.bbox)
            self._earlier_key = key
        self.canvas.restore_region(self._below)
        for artist in [*self._moving(view), *self._mark(mark)]:
            self.figure.draw_artist(artist)
            if isinstance(artist, Text):  # matplotlib has put it into a list of its own
                artist.remove()
        picture = io.BytesIO()
        Image.fromarray(np.asarray(self.canvas.buffer_rgba())).convert("RGB").save(picture, "PNG", compress_level=1)
        return picture.getvalue()

    # --- The axes -----------------------------------------------------------------------------------------
    def _build(self, view: View) -> None:
        """A fresh figure with axes and legends."""
        self.figure = Figure(figsize=SIZE, dpi=DPI, facecolor="white")
        self.canvas = FigureCanvasAgg(self.figure)
        edges = dict(top=0.9, bottom=0.125, left=0.078, right=0.985)
        grid = self.figure.add_gridspec(20, 2, width_ratios=(1.35, 1), wspace=0.19, hspace=0.5, **edges)
        self.loss, self.kept = self.figure.add_subplot(grid[:9, 0]), self.figure.add_subplot(grid[10:, 0])
        self.plane = self.figure.add_subplot(grid[:15, 1])
        for axes in (self.loss, self.kept, self.plane):
            style_axes(axes)
            axes.tick_params(labelsize=9)
        self._label_axes(view)
        self._label_plane(view)

    def _label_axes(self, view: View) -> None:
        steps = view.shown.config.steps if view.shown is not None else view.config.steps
        for axes in (self.loss, self.kept):
            axes.set_xlim(-0.02 * steps, 1.06 * steps)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, steps=[1, 2, 5, 10]))
        self.loss.tick_params(labelbottom=False)
        self.loss.set_ylim(0, _top(view))
        self.loss.set_ylabel("new-task loss (nats per token)", fontsize=9)
        self.kept.set_ylim(-0.03, 1.05)
        self.kept.yaxis.set_major_formatter(PercentFormatter(1))
        self.kept.set_ylabel("retention (probes right)", fontsize=9)
        self.kept.set_xlabel("training step", fontsize=9)
        before = [Line2D([], [], color=FAINT, ls=(0, (4, 2)), label="the run before")] if _faint(view) else []
        self.loss.legend(
            handles=[Line2D([], [], color=LOSS, marker="o", ms=4, lw=2.2, label="held out"),
                     Line2D([], [], color=TRAIN, lw=1.2, marker="s", ms=3.5, mfc="white", ls="--", label="training rows"),
                     *before],
            loc="upper right", fontsize=8.5, frameon=False,
        )  # fmt: skip
        names = _capabilities(view)
        handles = [Line2D([], [], color=INK, lw=2.6, marker="o", ms=4, label="all (sample)")]
        handles += [_line([], [], i, name) for i, name in enumerate(names)]
        self.figure.legend(handles=handles, loc="lower right", bbox_to_anchor=(0.995, 0.045), ncols=2, fontsize=8.5,
                           frameon=False, handlelength=3, columnspacing=1.5, labelspacing=0.35)  # fmt: skip
        self.plane.set_xlim(0, 100)
        self.plane.set_ylim(-103, 8)
        self.plane.set_xlabel("learned: new-task loss fell by (%)", fontsize=9)
        self.plane.set_ylabel("change of retention (points)", fontsize=9)
        self.plane.set_title("better is up and right", fontsize=9, color=QUIET, loc="right")

    def _label_plane(self, view: View) -> None:
        handles = []
        if self.cached:
            whose = "none with a remedy" if view.config.remedy else "not yours"
            look = dict(color="none", marker="o", ms=4, mfc="none", mec=CACHED, mew=0.9)
            handles.append(Line2D([], [], **look, label=f"{len(self.cached)} cached runs, {whose}"))
        if _ended(view):
            handles += [Line2D([], [], color="none", marker="o", ms=6.5, mfc=LOSS, mec=LOSS, label="your runs"),
                        Line2D([], [], color=LOSS, lw=1.2, ls="--", label="your frontier")]  # fmt: skip
        self.plane.legend(handles=handles, loc="lower left", fontsize=8, frameon=False)

    # --- The earlier runs ---------------------------------------------------------------------------------
    def _earlier(self, view: View) -> list[Artist]:
        """The run before, the band, the pins and the points of the plane, from the lowest to the highest."""
        panels = (self.loss, self.kept, self.plane)
        before = {id(artist) for axes in panels for artist in axes.get_children()}
        if _faint(view):
            self._pair(view.faint, color=FAINT, lw=1.4, ls=(0, (4, 2)))
        if len(view.band) > 1:
            self._band(view.band)
        for run in view.pinned:
            if view.shown is None or run.config != view.shown.config:
                self._pair(run, color=_pin_colour(run), lw=1.8, ls="-.", label=run.pin)
        self._points(view)
        new = [artist for axes in panels for artist in axes.get_children() if id(artist) not in before]
        return sorted(new, key=Artist.get_zorder)

    def _pair(self, run: Run, **look) -> None:
        """One earlier run in both panels: held-out loss and overall retention."""
        label = look.pop("label", "")
        shift = 9 * _place(run) if label else 0
        for axes, name in ((self.loss, "held_out_loss"), (self.kept, "accuracy")):
            x, y = _series(run, name)
            axes.plot(x, y, **look)
            if label and y:
                axes.annotate(label, (x[-1], y[-1]), xytext=(5 + shift, 0), textcoords="offset points", va="center",
                              fontsize=9, fontweight="bold", color=look["color"])  # fmt: skip

    def _band(self, runs: Sequence[Run]) -> None:
        """Lowest to highest over seeds, at the steps that all of them measured."""
        for axes, name, colour in ((self.loss, "held_out_loss", LOSS), (self.kept, "accuracy", INK)):
            curves = [dict(zip(*_series(run, name), strict=True)) for run in runs]
            steps = sorted(set.intersection(*(set(curve) for curve in curves)))
            values = [[curve[step] for curve in curves] for step in steps]
            axes.fill_between(steps, [min(v) for v in values], [max(v) for v in values], color=colour, alpha=0.18, lw=0)
            axes.annotate(f"{len(runs)} seeds, lowest to highest", (0.985, 0.03 if name == "accuracy" else 0.5),
                          xycoords="axes fraction", ha="right", fontsize=8, color=QUIET)  # fmt: skip

    def _points(self, view: View) -> None:
        """The plane: cached runs behind, this session's runs, and the frontier that they reached."""
        if self.cached:
            self.plane.scatter([100 * x for x, _ in self.cached], [-y for _, y in self.cached], s=16, facecolors="none",
                               edgecolors=CACHED, linewidths=0.9)  # fmt: skip
        runs = _ended(view)
        points = [(100 * run.result.learned, -run.result.forgotten) for run in runs]
        if points:
            self.plane.scatter(*zip(*points, strict=True), s=42, color=LOSS, zorder=3)
            best = frontier(points)
            self.plane.plot(*zip(*best, strict=True), color=LOSS, lw=1.2, ls="--")
        for run, (x, y) in zip(runs, points, strict=True):
            if run.pin:
                self.plane.annotate(run.pin, (x, y), xytext=(7 + 10 * _place(run), 5), textcoords="offset points", fontsize=10,
                                    fontweight="bold", color=_pin_colour(run))  # fmt: skip

    # --- The run on show ----------------------------------------------------------------------------------
    def _moving(self, view: View) -> list[Artist]:
        """The run on show, its title and its caption."""
        run = view.shown
        title = self._text(0.012, 0.985, live_words.headline(view), size=12.5, weight="bold", va="top")
        if run is None:
            return [title]
        words = textwrap.shorten(live_words.caption(run), 130)
        artists = [title, self._text(0.012, 0.012, words, size=8.5, color=QUIET)]
        if run.guess is not None:
            artists += self._guess(run)
        if not run.checkpoints:
            return artists
        busy = len(view.band) > 1 or bool(view.pinned)  # with overlays, the single capabilities step back
        for i, name in enumerate(run.checkpoints[0].retention):
            artists.append(_on(self.kept, _line(*_series(run, name), i, alpha=0.6 if busy else 0.9)))
        artists.append(_on(self.loss, Line2D(*_series(run, "held_out_loss"), color=LOSS, lw=2.2, marker="o", ms=4)))
        train = dict(color=TRAIN, ls="--", lw=1.2, marker="s", ms=3.5, mfc="white")  # on top, as the two often meet
        artists.append(_on(self.loss, Line2D(*_series(run, "train_loss"), **train)))
        artists.append(_on(self.kept, Line2D(*_series(run, "accuracy"), color=INK, lw=2.6, marker="o", ms=4.5)))
        artists.append(_on(self.plane, self._path(run)))
        artists += self._faded(view)
        if run.result is not None and not run.result.diverged:
            artists += self._end(run)
        return artists

    def _mark(self, step: int | None) -> list[Artist]:
        if step is None:
            return []
        look = dict(color=QUIET, lw=1, ls=(0, (2, 2)))
        return [_on(axes, Line2D([step, step], axes.get_ylim(), **look)) for axes in (self.loss, self.kept)]

    def _path(self, run: Run) -> Line2D:
        """The way of the run through the plane, from the untouched model on."""
        first = run.checkpoints[0]
        points = [(100 * (1 - c.held_out_loss / first.held_out_loss), 100 * (c.accuracy - first.accuracy))
                  for c in run.checkpoints if math.isfinite(c.held_out_loss)]  # fmt: skip
        return Line2D(*zip(*points, strict=True), color=COLOURS[1], lw=1.6, marker="o", ms=3, alpha=0.9)

    def _faded(self, view: View) -> list[Artist]:
        """The path of a finished run that is turned down, and where on it the fader stands."""
        run, now, artists = view.shown, view.faded, []
        if path := live_words.fade_path(run):
            points = [(learned, -lost) for _, learned, lost in path]
            look = dict(color=TURNED, lw=2.2, marker="s", ms=3.5, mfc="white", mew=1, alpha=0.95)
            artists.append(_on(self.plane, Line2D(*zip(*points, strict=True), **look)))
            x, y = max(
                points, key=lambda point: point[0] + 2 * point[1]
            )  # where the path bends, so that its words are clear
            words = self.plane.annotate("turned down\nafter training", (x, y), xytext=(-8, -26), textcoords="offset points",
                                        ha="right", va="top", fontsize=8.5, color=TURNED, animated=True,
                                        bbox=dict(facecolor="white", edgecolor="none", alpha=0.85, pad=1))  # fmt: skip
            artists.append(words)
        if now is None:
            return artists
        spot = dict(marker="s", ms=9, mfc=TURNED, mec="white", mew=1.2, ls="none", clip_on=False, zorder=6)
        step = run.checkpoints[-1].step
        for axes, then, value in ((self.loss, run.checkpoints[-1].held_out_loss, now.held_out_loss),
                                  (self.kept, run.checkpoints[-1].accuracy, now.accuracy)):  # fmt: skip
            artists.append(_on(axes, Line2D([step, step], [then, value], color=TURNED, lw=1.8, ls=(0, (2, 1)))))
            artists.append(_on(axes, Line2D([step], [value], **spot)))
        if now.whole:
            artists.append(_on(self.plane, Line2D([100 * now.learned], [-now.forgotten], **spot)))
            words = f"■ at strength {now.strength:.2f}: {now.kept:.0f} % right"
            artists.append(self._text(0.632, 0.19, words, size=10, color=TURNED, weight="bold"))
        return artists

    def _guess(self, run: Run) -> list[Artist]:
        y = run.guess / 100
        line = _on(self.kept, Line2D([0, 1.06 * run.config.steps], [y, y], color=COLOURS[3], lw=1.8, ls=":"))
        label = self.kept.text(0, y - 0.015, f"your guess: {run.guess:.0f} %", color="#a0447c", fontsize=9, va="top",
                               animated=True, bbox=dict(facecolor="white", edgecolor="none", alpha=0.8, pad=1))  # fmt: skip
        return [line, label]

    def _end(self, run: Run) -> list[Artist]:
        """The measurement on all probes, in the panel and in the plane."""
        step = run.checkpoints[-1].step
        diamond = dict(marker="D", ms=9, mfc="none", mec=ENDED, mew=2, ls="none", clip_on=False, zorder=5)
        label = self._text(
            0.632, 0.222, f"◇ asked all {len(run.result.after)} probes: {run.kept:.0f} % right", size=10, color=ENDED
        )
        spot = Line2D([100 * run.result.learned], [-run.result.forgotten], **diamond)
        return [_on(self.kept, Line2D([step], [run.kept / 100], **diamond)), label, _on(self.plane, spot)]

    def _text(self, x: float, y: float, words: str, size: float, color: str = INK, **look) -> Artist:
        return self.figure.text(x, y, words, fontsize=size, color=color, animated=True, **look)


def frontier(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no other beats in both: (learned, change of retention), more is better in both."""
    best: list[tuple[float, float]] = []
    for x, y in sorted(points, reverse=True):
        if not best or y > best[-1][1]:
            best.append((x, y))
    return best[::-1]


def _of_one_model(view: View) -> View:
    """Runs of another model have other losses and other probes: they do not belong into this picture."""
    model = view.config.model

    def own(runs) -> tuple[Run, ...]:
        return tuple(run for run in runs if run.config.model == model)

    faint = view.faint if view.faint is not None and view.faint.config.model == model else None
    return replace(view, faint=faint, finished=own(view.finished), pinned=own(view.pinned))


def _of_the_axes(view: View) -> object:
    """Changes exactly when the axes have to be drawn again."""
    steps = view.shown.config.steps if view.shown is not None else view.config.steps
    return steps, _top(view), tuple(_capabilities(view)), _faint(view), bool(_ended(view)), bool(view.config.remedy)


def _of_the_earlier(view: View) -> object:
    """Changes exactly when the earlier runs have to be drawn again."""
    return (
        view.shown.config if view.shown is not None else view.config,
        None if view.faint is None else (id(view.faint.cancelled), len(view.faint.checkpoints), view.faint.pin),
        tuple((id(run), run.pin) for run in view.finished),
        tuple(id(run) for run in view.band),
    )


def _ended(view: View) -> list[Run]:
    """The runs of this session that have a place in the plane."""
    return [run for run in view.finished if not run.result.diverged]


def _faint(view: View) -> bool:
    """Whether the run before is drawn: a pinned one is drawn already."""
    return view.faint is not None and not view.faint.pin


def _top(view: View) -> float:
    """The loss axis goes from 0 to a round number above all that is drawn."""
    runs = [run for run in (view.shown, view.faint, *view.pinned) if run is not None]
    values = [c.held_out_loss for run in runs for c in run.checkpoints if math.isfinite(c.held_out_loss)]
    highest = max(values, default=10.0)
    return next(top for top in (4, 6, 8, 12, 16, 24, 48, 100, math.ceil(highest)) if highest <= top)


def _capabilities(view: View) -> list[str]:
    runs = [run for run in (view.shown, view.faint, *view.finished) if run is not None and run.checkpoints]
    return list(runs[0].checkpoints[0].retention) if runs else []


def _series(run: Run, name: str) -> tuple[list[int], list[float]]:
    return series(run.checkpoints, name, finite=True)


def _line(x, y, i: int, label: str = "", alpha: float = 0.9) -> Line2D:
    return Line2D(x, y, color=COLOURS[(i + 1) % 6], ls=STYLES[(i + 1) % 6], marker=MARKERS[i % 7], ms=3, lw=1.2,
                  alpha=alpha, label=label)  # fmt: skip


def _on(axes, artist: Artist) -> Artist:
    """Put an artist into axes for drawing by itself, outside of the axes' own list: nothing piles up."""
    artist.set_animated(True)
    artist.set_figure(axes.figure)
    artist.axes = axes
    artist.set_transform(axes.transData)
    if artist.get_clip_on():
        artist.set_clip_box(axes.bbox)
    return artist


def _pin_colour(run: Run) -> str:
    return ("#5b3f8c", "#7a4a00", "#a0447c", "#3d6b1f", "#8c1d1d", "#2f5d73")[_place(run)]


def _place(run: Run) -> int:
    """Which pin it is, 0 to 5: pins stand side by side where their curves end together."""
    return (ord(run.pin[0]) - ord("A")) % 6
