"""The learn-forget plane as numbers that a page can draw: where each candidate stands, and where its name has room.

To the right is learned, down is lost: better is up and right. Nothing here writes HTML. A page is read on a wide screen and on a
phone, and a drawing that only shrinks cannot be read on one of them, so there are two sizes, each with its own places. Where
the names are too long or too many to stand beside their marks, numbers stand there, and a table says whose they are.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

Box = tuple[float, float, float, float]  # left, top, right, bottom
LETTER, LINE = 7.8, 17.0  # how wide a letter is on average at most, and how high a line, at a size of 13
MARK = 8.0  # half of a mark's width, with a little air
RING = 12.0  # the same of the best, which has a ring
SAME = 5.0  # marks that are nearer than this are one to the eye, and share a label
NAMES = 8  # more than these are numbered


@dataclass(frozen=True)
class Point:
    """What is drawn of a candidate. learned: per cent. lost, low, high: as its line has them. best: the one that is named.

    >>> Point("careful", learned=60.0, lost=1.0, low=0.1, high=3.8, word="passed", best=True).name
    'careful'
    """

    name: str
    learned: float
    lost: float
    low: float
    high: float
    word: str
    best: bool = False


@dataclass(frozen=True)
class Size:
    """A drawing, in units of its own, and the longest name that it has room for, in letters.

    >>> Size(760, 430, letters=24).frame
    (58.0, 14.0, 744.0, 376.0)
    """

    width: float
    height: float
    letters: int

    @property
    def frame(self) -> Box:
        """Where points may stand; around it is room for the axes.

        >>> NARROW.frame[0]
        58.0
        """
        return 58.0, 14.0, self.width - 16.0, self.height - 54.0


WIDE, NARROW = Size(760, 430, letters=24), Size(360, 400, letters=14)


def plane(points: Sequence[Point], budget: float, size: Size) -> dict[str, Any]:
    """Everything that the page draws: marks, bars, names, ticks and the budget's line. All positions are in the size's units.

    numbered: whether the marks carry numbers, from 1 in the order of ``points``.

    >>> drawn = plane([Point("careful", 60, 1.0, 0.1, 3.8, "passed"), Point("hasty", 80, 15, 10, 20, "regressed")], 5.0, WIDE)
    >>> [(mark["x"] < 400, mark["y"] < drawn["budget"]) for mark in drawn["marks"]]
    [(True, True), (False, False)]
    >>> [label["text"] for label in drawn["labels"]]
    ['careful', 'hasty']
    """
    left, top, right, bottom = size.frame
    (x0, x1), (y0, y1) = _learned_range(points), _lost_range(points, budget)

    def across(value: float) -> float:
        return round(left + (value - x0) / (x1 - x0) * (right - left), 1)

    def down(value: float) -> float:
        return round(top + (value - y0) / (y1 - y0) * (bottom - top), 1)

    marks = [
        {"x": across(p.learned), "y": down(p.lost), "low": down(p.low), "high": down(p.high), "word": p.word, "best": p.best}
        for p in points
    ]  # fmt: skip
    none, allowed = down(0.0), down(budget)
    # What no name may cover, besides marks: the two lines, the word "allowed" above one of them, and the bars.
    kept = [(left, y - 1, right, y + 1) for y in (none, allowed)]
    kept.append((left + 6, allowed - LINE, left + 6 + 8 * LETTER, allowed))
    kept += [(m["x"] - 3, min(m["low"], m["high"]), m["x"] + 3, max(m["low"], m["high"])) for m in marks]
    names = [p.name for p in points]
    labels = _labels(marks, names, kept, size.frame) if _short(names, size) else []
    # Every name or none: a mark without one would seem to have none. A number that finds no room is in the table.
    numbered = sum(label["count"] for label in labels) < len(marks)
    if numbered:
        labels = _labels(marks, [str(i) for i in range(1, len(points) + 1)], kept, size.frame)
    return {
        "width": size.width, "height": size.height, "frame": size.frame, "budget": allowed, "none": none, "marks": marks,
        "labels": labels, "numbered": numbered,
        "across": [(t, across(t)) for t in ticks(x0, x1)], "down": [(t, down(t)) for t in ticks(y0, y1)],
    }  # fmt: skip


def ticks(low: float, high: float) -> list[float]:
    """Round numbers along an axis, at most seven of them, however long it is; none on one without an end.

    >>> ticks(-3.2, 16.1)
    [0.0, 5.0, 10.0, 15.0]
    """
    width = high - low
    if not math.isfinite(width) or width <= 0:
        return []
    # The smallest round step that fills the width in six or fewer.
    power = 10.0 ** math.floor(math.log10(width / 6))
    step = next(base * power for base in (1, 2, 5, 10, 20) if width / (base * power) <= 6)
    return [float(f"{k * step:.6g}") for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _learned_range(points: Sequence[Point]) -> tuple[float, float]:
    """Nothing learned is on the axis where it is near; ten points at least, so that equals do not look far apart."""
    low, high = min(p.learned for p in points), max(p.learned for p in points)
    pad = max(5.0, 0.12 * (high - low))
    if 0 < low <= high - low + pad:
        low = 0.0
    return low - pad, high + pad


def _lost_range(points: Sequence[Point], budget: float) -> tuple[float, float]:
    """Half as much again as the budget, so that its line never lies on the edge; and 0, so that "nothing lost" is seen."""
    bounds = [x for p in points for x in (p.low, p.lost, p.high)] + [0.0, budget * 1.5]
    pad = 0.05 * (max(bounds) - min(bounds))
    return min(bounds) - pad, max(bounds) + pad


# --- Names that do not overlap -------------------------------------------------------------------------------
def _short(names: Sequence[str], size: Size) -> bool:
    return len(names) <= NAMES and max(_width(name) for name in names) <= size.letters * LETTER


def _labels(marks: Sequence[dict], names: Sequence[str], kept: Sequence[Box], frame: Box) -> list[dict]:
    """Each name with a place of its own, if it finds one; marks that cover each other share one. count: how many share it.

    The best is placed first, then those with most others around them, which have least room.
    """
    taken, found = [_around(mark) for mark in marks], []  # by marks, names and thin lines, which no thin line may cross
    for group, mark in sorted(_shared(marks), key=lambda both: (not both[1]["best"], -_crowd(both[1], marks))):
        text = ", ".join(names[i] for i in group)
        width = _width(text)
        for x, y in _places(mark, width):
            box = (x, y, x + width, y + LINE)
            line = _leader(mark, box)
            along = _along(line)
            if _inside(box, frame) and _free(box, (*taken, *kept)) and all(_free(part, taken) for part in along):
                found.append({"text": text, "x": round(x, 1), "y": round(y + 13, 1), "line": line, "best": mark["best"],
                              "box": box, "count": len(group)})  # fmt: skip
                taken += [box, *along]
                break
    return found


def _shared(marks: Sequence[dict]) -> list[tuple[list[int], dict]]:
    """(which, mark) for each group of marks that cover each other; the best's own mark, if it is among them."""
    groups: list[list[int]] = []
    for i, mark in enumerate(marks):
        near = (g for g in groups if math.hypot(mark["x"] - marks[g[0]]["x"], mark["y"] - marks[g[0]]["y"]) < SAME)
        if (group := next(near, None)) is None:
            groups.append([i])
        else:
            group.append(i)
    return [(group, next((marks[i] for i in group if marks[i]["best"]), marks[group[0]])) for group in groups]


def _along(line: Box | None) -> list[Box]:
    """Small boxes along a thin line, without its beginning, which lies in its own mark."""
    if line is None:
        return []
    x0, y0, x1, y1 = line
    steps = max(2, int(math.hypot(x1 - x0, y1 - y0) / 4))
    at = ((x0 + (x1 - x0) * i / steps, y0 + (y1 - y0) * i / steps) for i in range(steps + 1))
    return [(x - 1, y - 1, x + 1, y + 1) for x, y in at if math.hypot(x - x0, y - y0) > RING + 3]


def _places(mark: dict, width: float) -> Iterator[tuple[float, float]]:
    """Left upper corners for a name, the best first: beside its mark, then above and below, then further away."""
    x, y, room = mark["x"], mark["y"], _room(mark) + 2
    yield x + room, y - LINE / 2
    yield x - room - width, y - LINE / 2
    for far in range(0, 200, 6):
        for side in (x + room - 2, x - room + 2 - width, x - width / 2):
            yield side, y - room - LINE - far
            yield side, y + room + far
        for level in (-LINE / 2, -LINE - 4, 4):
            yield x + room + far, y + level
            yield x - room - width - far, y + level


def _leader(mark: dict, box: Box) -> Box | None:
    """A thin line from a mark to a name that stands away from it; None where it stands beside it."""
    x, y = min(max(mark["x"], box[0]), box[2]), min(max(mark["y"], box[1]), box[3])
    if math.hypot(x - mark["x"], y - mark["y"]) < 2 * _room(mark):
        return None
    return mark["x"], mark["y"], round(x, 1), round(y, 1)


def _around(mark: dict) -> Box:
    room = _room(mark)
    return mark["x"] - room, mark["y"] - room, mark["x"] + room, mark["y"] + room


def _room(mark: dict) -> float:
    return RING if mark["best"] else MARK


def _crowd(mark: dict, marks: Sequence[dict]) -> int:
    return sum(abs(mark["x"] - other["x"]) < 90 and abs(mark["y"] - other["y"]) < 40 for other in marks)


def _inside(box: Box, frame: Box) -> bool:
    return box[0] >= frame[0] + 2 and box[1] >= frame[1] and box[2] <= frame[2] + 12 and box[3] <= frame[3]


def _free(box: Box, others: Iterable[Box]) -> bool:
    return not any(box[0] < o[2] and o[0] < box[2] and box[1] < o[3] and o[1] < box[3] for o in others)


def _width(text: str) -> float:
    """About how wide a text is, a little more rather than less. Letters of East Asia are twice as wide."""
    return LETTER * sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)
