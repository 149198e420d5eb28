"""Short names for several candidates, each of which tells it from the others."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

ENDINGS = re.compile(r"\.(json|eval)$", re.IGNORECASE)  # of files that the gate reads


def short_names(paths: Sequence[str | Path]) -> list[str]:
    """The shortest end of each path that no other has. Where two paths are one, the second gets a number.

    >>> short_names(["runs/careful.json", "runs/hasty.json"])
    ['careful', 'hasty']
    >>> short_names(["one/result.json", "two/result.json", "two/result.json"])
    ['one/result', 'two/result', 'two/result (2)']
    """
    parts = [re.split(r"[/\\]+", ENDINGS.sub("", str(path).rstrip("/\\"))) or [str(path)] for path in paths]
    names: list[str] = []
    for own in parts:
        others = [other for other in parts if other != own]
        deepest = range(1, len(own) + 1)
        ends = ("/".join(own[-n:]) for n in deepest if all(other[-n:] != own[-n:] for other in others))
        names.append(_untaken(next(ends, "/".join(own)) or "/", names))
    return names


def _untaken(name: str, taken: Sequence[str]) -> str:
    number, tried = 1, name
    while tried in taken:
        number += 1
        tried = f"{name} ({number})"
    return tried
