"""Figures for those who do not see them: each is shown together with its words.

The words of a figure are its ``alt``, where somebody set one, and are read off its axes elsewhere. Front ends differ
in what they take: JupyterLab 4.6 gives a picture (image/png) no alternative text whatever its metadata says, so it
gets HTML; nbconvert and the stored lessons take the picture, with the text in its metadata; a terminal, the words.
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterable

from IPython import get_ipython
from IPython.core.pylabtools import print_figure
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.container import Container
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

FEW = 6  # points of a line that are all said; of a longer one, the first, the last and the extremes


class Picture:
    """A PNG picture with its words, for the last line of a cell."""

    def __init__(self, png: bytes, words: str) -> None:
        self.png, self.words = png, words

    def _repr_mimebundle_(self, **_) -> tuple[dict, dict]:
        data, alt = base64.b64encode(self.png).decode(), html.escape(self.words)
        width = int.from_bytes(self.png[16:20], "big")  # pixels, from the PNG's header
        shown = (
            f'<img alt="{alt}" width="{width}" style="max-width:100%;height:auto" src="data:image/png;base64,{data}">'
        )
        bundle = {"image/png": data, "text/html": shown, "text/plain": self.words}
        return bundle, {"image/png": {"alt": self.words}}


def show_figures_in_words() -> None:
    """From now on this notebook shows each matplotlib figure with its words. Outside of IPython: nothing."""
    shell = get_ipython()
    if shell is not None:
        shell.display_formatter.mimebundle_formatter.for_type(Figure, _shown)


def _shown(figure: Figure) -> tuple[dict, dict]:
    png = print_figure(figure, "png", bbox_inches="tight")  # as Jupyter itself draws it; None where nothing is drawn
    return Picture(png, in_words(figure))._repr_mimebundle_() if png else ({}, {})


def in_words(figure: Figure) -> str:
    """What the figure shows, on one line: its ``alt``, else its title and what each panel draws, in figures."""
    if getattr(figure, "alt", ""):
        return figure.alt
    panels = [panel for axes in figure.axes if (panel := _panel(axes))]
    return " ".join(_sentence(text) for text in (figure.get_suptitle(), *panels) if text)


def _panel(axes: Axes) -> str:
    """Title, what is on the axes, and the lines that have a name."""
    title = next((text for place in ("left", "center") if (text := axes.get_title(loc=place))), "")
    x, y = axes.get_xlabel(), axes.get_ylabel()
    said = f"{y} against {x}" if x and y else y or x
    handles, labels = axes.get_legend_handles_labels()
    lines = [_line(axes, name, handle) for handle, name in zip(handles, labels, strict=True)]
    drawn = "; ".join(line for line in lines if line)
    return ": ".join(text for text in (title, said if drawn or not title else "", drawn) if text)


def _line(axes: Axes, name: str, handle) -> str:
    """A line and where it goes; "" for loose points, which say little one by one."""
    line = handle[0] if isinstance(handle, Container) else handle  # an error bar is several artists
    if not hasattr(line, "get_xydata") or line.get_linestyle() == "None":
        return ""
    points = [(x, y) for x, y in line.get_xydata().tolist() if y == y]  # nan is not equal to itself
    if not points:
        return ""
    if len(points) > FEW:
        inner = points[1:-1]
        ends = sorted((points[0][1], points[-1][1]))
        turning = [p for p in (min(inner, key=_y), max(inner, key=_y)) if not ends[0] <= p[1] <= ends[1]]
        points = [points[0], *sorted(turning), points[-1]]
    return f"{name} {', '.join(_said(axes, points))}"


def _said(axes: Axes, points: Iterable[tuple[float, float]]) -> Iterable[str]:
    return (f"{_number(axes.yaxis, y)} at {_number(axes.xaxis, x)}" for x, y in points)


def _number(axis: Axis, value: float) -> str:
    form = axis.get_major_formatter()
    return form.format_pct(value, 1) if isinstance(form, PercentFormatter) else f"{value + 0:.3g}"  # + 0: no "-0"


def _y(point: tuple[float, float]) -> float:
    return point[1]


def _sentence(text: str) -> str:
    """On one line, with a capital and an end: a screen reader pauses there."""
    text = re.sub(r"\s+", " ", text).strip()
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "?", "!")) else f"{text}."


def paragraph(text: str, live: bool = False, strong: bool = False) -> str:
    """Escaped: a settings string or an error may hold anything. ``live``: screen readers say it when it changes."""
    role = ' role="status" aria-live="polite"' if live else ""
    weight = ' style="font-weight:600"' if strong else ""
    return f"<div{role}{weight}>{html.escape(text)}</div>" if text else ""


def first_line(message: object) -> str:
    """The first line of an error or a warning that says anything; "" when none does."""
    return next((line.strip() for line in str(message).splitlines() if line.strip()), "")
