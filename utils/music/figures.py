"""Draw what was played: piano rolls with the slips marked, and note accuracy over a run. Notes in, figures out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator, PercentFormatter

from utils.figures.plots import COLOURS, INK, MARKERS, QUIET, STYLES, style_axes
from utils.music.notes import Note, accuracy, align, is_right, parse, sentence

RIGHT, WRONG = COLOURS[0], COLOURS[1]
THICK = 0.9  # of a semitone: neighbours do not touch


def piano_roll(piece: str, score: str, takes: Mapping[str, str] | None = None, title: str | None = None) -> Figure:
    """One row a take, time in beats to the right, pitch upwards; without takes, the score alone. Melodies are in ABC.

    Right notes are filled. Wrong ones have another colour, a hatch and a cross; what the score asked for in their place
    is outlined. A question mark stands where something was written that is no note.
    """
    notes = parse(score)
    played = {name: parse(take) for name, take in takes.items()} if takes else {"": notes}
    everything = [note for melody in (notes, *played.values()) for note in melody]
    pitches = [note.pitch for note in everything if note.pitch is not None] or [60, 72]
    low, high = min(pitches), max(pitches)
    tall = 1.15 + 0.045 * min(high - low, 24)  # inches a row: a wide range needs room
    figure, rows = plt.subplots(
        len(played), 1, figsize=(8.6, 1.1 + tall * len(played)), sharex=True, sharey=True, squeeze=False,
        layout="constrained", facecolor="white",
    )  # fmt: skip
    plt.close(figure)  # shown where it is returned, not a second time by the notebook's own flush
    for axes, (name, melody) in zip(rows[:, 0], played.items(), strict=True):
        _draw(axes, notes, melody, low - 1)
        style_axes(axes)
        axes.tick_params(axis="y", labelsize=9)
        axes.set_ylabel("note")
        if takes:
            axes.set_title(f"{name}: {sentence(notes, melody)}", loc="left", fontsize=10.5, color=INK)
    axes.set_ylim(low - 1.8, high + 1)
    axes.set_xlim(-0.15, max([note.start + note.beats for note in everything], default=4) + 0.15)
    ticks = _ticks(notes, everything)
    axes.set_yticks(list(ticks), list(ticks.values()))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10))
    axes.set_xlabel("time (beats); C4 is middle C")
    if takes:
        figure.legend(handles=_key(), frameon=False, loc="outside lower center", ncols=3)
    words = title or roll_finding(piece, score, takes or {})
    figure.suptitle(words, x=0.02, ha="left", fontsize=13, fontweight="bold", color=INK)
    return figure


def _ticks(score: Sequence[Note], everything: Sequence[Note]) -> dict[int, str]:
    """Pitch -> name, the notes of the score first. Where the range is wide, none a semitone from another: names would
    touch."""
    pitches = [note.pitch for note in everything if note.pitch is not None]
    apart = 1 if not pitches or max(pitches) - min(pitches) <= 8 else 2
    chosen: dict[int, str] = {}
    for melody in (score, everything):
        for note in sorted((n for n in melody if n.pitch is not None), key=lambda n: n.pitch):
            if all(abs(note.pitch - other) >= apart for other in chosen):
                chosen[note.pitch] = note.name
    return chosen


def roll_finding(piece: str, score: str, takes: Mapping[str, str]) -> str:
    """The title: the first take against the last, in note accuracy."""
    names = list(takes)
    shares = [
        f"{accuracy(parse(score), parse(takes[name])):.0%} ({name})" for name in dict.fromkeys(names[:1] + names[-1:])
    ]
    return f"{piece}: note accuracy {', '.join(shares)}" if shares else f"{piece}, as it is written"


def _draw(axes: Axes, score: Sequence[Note], played: Sequence[Note], floor: float) -> None:
    for pair in align(score, played):
        wanted, note = pair
        if is_right(pair):
            if note.pitch is not None:
                _box(axes, note, facecolor=RIGHT, edgecolor="white", lw=0.5)
            continue
        if wanted is not None and wanted.pitch is not None:
            _box(axes, wanted, facecolor="none", edgecolor=QUIET, ls="--", lw=1.2)
        if note is None:
            continue
        if note.pitch is not None:
            _box(axes, note, facecolor=WRONG, edgecolor="white", hatch="////", lw=0.5)
            axes.plot(note.start + note.beats / 2, note.pitch, "x", color="black", ms=6, mew=1.6, zorder=4)
        elif not note.readable:
            axes.text(note.start, floor, "?", color=WRONG, ha="center", va="center", fontweight="bold")


def _box(axes: Axes, note: Note, **look) -> None:
    width = max(note.beats - 0.06, 0.05)
    axes.add_patch(Rectangle((note.start, note.pitch - THICK / 2), width, THICK, zorder=3, **look))


def _key() -> list[Patch | Line2D]:
    return [
        Patch(facecolor=RIGHT, label="right"),
        Patch(facecolor=WRONG, edgecolor="white", hatch="////", label="wrong (with a cross)"),
        Patch(facecolor="none", edgecolor=QUIET, ls="--", label="in the score, not played there"),
    ]


def plot_accuracy(
    runs: Mapping[str, Mapping[int, Sequence[float]]], pieces: Sequence[str], named: Sequence[str], title: str
) -> Figure:
    """Note accuracy over training, one panel a run: each piece thin, their mean thick, those in ``named`` by name.

    runs: name of the run -> step -> note accuracy of each piece, 0 to 1, in the order of ``pieces``.
    """
    figure, panels = plt.subplots(
        1, len(runs), figsize=(8.6, 3.6), sharey=True, squeeze=False, layout="constrained", facecolor="white"
    )
    plt.close(figure)
    for axes, (name, curve) in zip(panels[0], runs.items(), strict=True):
        style_axes(axes)
        steps = list(curve)
        others = "the other pieces"
        for i, piece in enumerate(pieces):
            shares = [curve[step][i] for step in steps]
            if piece in named:
                n = list(named).index(piece)
                axes.plot(steps, shares, color=COLOURS[n], ls=STYLES[n + 1], marker=MARKERS[n + 1], ms=5, lw=2,
                          label=piece, zorder=3)  # fmt: skip
            else:
                axes.plot(steps, shares, color="#c4c4c4", lw=0.9, label=others)
                others = None
        means = [sum(curve[step]) / len(pieces) for step in steps]
        axes.plot(steps, means, color=INK, lw=3, marker="o", ms=6, label=f"mean of {len(pieces)} pieces")
        axes.set_title(name, loc="left", fontsize=11, color=INK)
        axes.set_xlabel("training step")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
    panels[0, 0].set_ylabel("note accuracy\n(notes right)")
    panels[0, 0].set_ylim(-0.04, 1.04)
    panels[0, 0].yaxis.set_major_formatter(PercentFormatter(1))
    key = panels[0, 0].get_legend_handles_labels()
    figure.legend(*key, frameon=False, loc="outside lower center", ncols=4, fontsize=9.5)
    figure.suptitle(title, x=0.02, ha="left", fontsize=13, fontweight="bold", color=INK)
    return figure
