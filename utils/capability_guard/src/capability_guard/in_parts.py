"""A probe set asked in parts, and the answers kept as they come: a run that was stopped goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from capability_guard.files import parse_json, read_text, write_whole
from capability_guard.probes import Probe

MOST_PROBES = 256  # of a part: what may be lost when a run is stopped
BATCHES = 4  # that fill a part: fewer would leave more of them half empty
CHARACTERS = 3  # of a token, roughly, and rather too few


class Answer(NamedTuple):
    """What came of one probe. right: None where there is no right or wrong. loss: nats a token of the answer, None if unknown.

    tokens: how many that is over. said: what the model answered. in_other_tokens, going_on: as in ``Scores``. ended: whether it came
    to an end by itself, None where it was not let speak. bytes: of a text whose loss was measured, how many that is over.

    >>> Answer(True, 0.1, 2, "4.").going_on
    False
    """

    right: bool | None
    loss: float | None
    tokens: int | None
    said: str
    in_other_tokens: bool = False
    going_on: bool = False
    ended: bool | None = None
    bytes: int | None = None


Each = Callable[[int, int, float], None]  # told how many probes are answered, of how many, and the share of the work


def parts_of(probes: Sequence[Probe], tokens_a_batch: int) -> list[list[int]]:
    """The places of the probes, in parts: those of about one length together, a few batches each.

    >>> probes = [Probe(f"What is {i}+{i}?", f"{2 * i}.", "sums") for i in range(300)]
    >>> [len(part) for part in parts_of(probes, tokens_a_batch=384)]
    [205, 95]
    """
    parts: list[list[int]] = [[]]
    size = 0
    for i in sorted(range(len(probes)), key=lambda i: len(probes[i].text)):
        own = work(probes[i])
        if parts[-1] and (size + own > BATCHES * tokens_a_batch or len(parts[-1]) == MOST_PROBES):
            parts.append([])
            size = 0
        parts[-1].append(i)
        size += own
    return parts


def work(probe: Probe) -> int:
    """About how many tokens a model reads for a probe.

    >>> work(Probe("What is 2+2?", "4.", "sums"))
    6
    """
    texts = [f"{probe.prompt} {choice}" for choice in probe.choices] or [probe.text]
    return sum(len(text) // CHARACTERS + 1 for text in texts)


def answered(
    probes: Sequence[Probe],
    parts: Sequence[Sequence[int]],
    ask: Callable[[int], Sequence[Answer]],
    keep: Path | None = None,
    key: Callable[[], str] = str,
    each: Each | None = None,
) -> list[Answer]:
    """The answer to each probe, in their order. ask: of the part of this number, the answers in its order.

    keep: a file for what is answered so far. It is dropped when all is. key: what must be the same for kept answers to be taken up;
    it is asked for only where there is something to keep. each: told how far it is.

    >>> probes = [Probe("What is 2+2?", "4.", "sums"), Probe("What is 13+26?", "39.", "sums")]
    >>> [one.said for one in answered(probes, [[1], [0]], lambda n: [Answer(True, 0.1, 2, "39." if n == 0 else "4.")])]
    ['4.', '39.']
    """
    store = Kept(keep, key() if keep is not None and (len(parts) > 1 or keep.exists()) else "")
    found = store.read(len(probes))
    whole = sum(map(work, probes))
    for number, part in enumerate(parts):
        if each is not None:
            each(len(found), len(probes), sum(work(probes[i]) for i in found) / whole)
        if all(i in found for i in part):
            continue
        try:
            found |= zip(part, ask(number), strict=True)
        except ValueError as error:  # as DataError and MeasurementError are
            if not getattr(error, "may_pass", False):  # it would come out so again
                store.drop()
            raise
        if len(found) < len(probes):
            store.write(found)
    if each is not None:
        each(len(probes), len(probes), 1.0)
    store.drop()
    return [found[i] for i in range(len(probes))]


class Kept:
    """The answers so far in a file, under a key: those of another model, of other probes or another way of asking are none.

    >>> store = Kept(FOLDER / "r.json.answers", "ab12")
    >>> store.write({0: Answer(True, 0.1, 2, "4.")})
    >>> store.read(5)[0].said, Kept(FOLDER / "r.json.answers", "other").read(5)
    ('4.', {})
    """

    def __init__(self, file: Path | None, key: str) -> None:
        self.file, self.key = file, key

    def read(self, probes: int) -> dict[int, Answer]:
        """What is kept, by place. A file that is damaged holds nothing.

        >>> Kept(None, "").read(5)
        {}
        """
        if self.file is None or not self.file.is_file():
            return {}
        try:
            data = parse_json(read_text(self.file))
            found = {int(place): Answer(*answer) for place, answer in data["answers"].items()}
            return found if data["key"] == self.key and all(0 <= place < probes for place in found) else {}
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return {}

    def write(self, found: dict[int, Answer]) -> None:
        """Keep what there is. A disk that is full or read-only costs only this.

        >>> Kept(None, "").write({})
        """
        if self.file is not None:
            with suppress(OSError):
                write_whole(self.file, json.dumps({"key": self.key, "answers": found}, ensure_ascii=False))

    def drop(self) -> None:
        """All is answered, or can never be.

        >>> Kept(FOLDER / "none", "").drop()
        """
        if self.file is not None:
            with suppress(OSError):
                self.file.unlink(missing_ok=True)


def kept_beside(out: str | Path) -> Path:
    """Where the answers so far are kept while ``out`` is not yet there.

    >>> kept_beside("results/r.json").name
    'r.json.answers'
    """
    return Path(f"{out}.answers")
