"""Draw a probe set from a table: balanced over its capabilities, no question twice, with its licence and what it can show.

drawn = draw_probes(dataset, {"prompt": "question", "answer": "reply", "capability": "subject"}, size=400, licence="CC BY 4.0")
drawn.save("my_probes.jsonl")              # and a card beside it, my_probes.md
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from capability_guard.doubts import bare, doubts
from capability_guard.files import write_whole
from capability_guard.jsonl import DataError
from capability_guard.power import smallest_drop
from capability_guard.probe_sets import check_columns, probe_of_table
from capability_guard.probes import Probe, fingerprint, save_probes

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class DrawnSet:
    """probes: what was drawn. licence: of the table. rows, repeats, faulty: how many rows it had, and how many of them say again
    what another does or make no probe. fault: the first one's, in words.

    >>> drawn = DrawnSet([Probe("What is 2+2?", "4.", "sums")] * 100, "CC BY 4.0", rows=120, repeats=20, faulty=0)
    >>> print(drawn)
    100 probes: sums 100. Drawn from 120 rows, of which 20 repeat another and 0 make no probe. Licence: CC BY 4.0. All together show
    a drop of 8 points or more (with a chance of 80 %).
    """

    probes: list[Probe]
    licence: str
    rows: int
    repeats: int
    faulty: int
    fault: str = ""

    def __str__(self) -> str:
        counts = Counter(probe.capability for probe in self.probes)
        each = ", ".join(f"{name} {n}" for name, n in sorted(counts.items()))
        return (
            f"{len(self.probes)} probes: {each}. Drawn from {self.rows} rows, of which {self.repeats} repeat another and "
            f"{self.faulty} make no probe. Licence: {self.licence}. {self.shows()}"
        )

    def shows(self) -> str:
        """What drop the set can show, of all of it and of its smallest capability.

        >>> DrawnSet([Probe("", "Water is wet.", "prose", measure="loss")], "CC BY 4.0", 1, 0, 0).shows()
        'It has texts alone, whose losses show no drop in points.'
        """
        counts = Counter(probe.capability for probe in self.probes if probe.measure != "loss")
        if not counts:
            return "It has texts alone, whose losses show no drop in points."
        said = f"All together show a drop of {_points(sum(counts.values()))}"
        if len(counts) > 1:
            name, n = min(counts.items(), key=lambda item: (item[1], item[0]))
            said += f", the {n} of {name} one of {_points(n)}"
        return f"{said} (with a chance of 80 %)."

    def card(self) -> str:
        """The set's card, as Markdown: what it is, where it is from, what it shows and what is doubtful about it.

        >>> DrawnSet([Probe("What is 2+2?", "4.", "sums")], "CC BY 4.0", 1, 0, 0).card().splitlines()[0]
        '# Probes: sums'
        """
        names = sorted({probe.capability for probe in self.probes})
        parts = [f"# Probes: {', '.join(names)}", str(self), f"Fingerprint: {fingerprint(self.probes)}"]
        parts += [f"Doubtful: {doubt}" for doubt in doubts(self.probes)]
        return (
            "\n\n".join([*parts, *([f"The first row that makes no probe: {self.fault}"] if self.fault else [])]) + "\n"
        )

    def save(self, path: str | Path) -> Path:
        """Write the probes, and the card beside them. Gives back the path of the probes. Raises OSError.

        >>> path = DrawnSet([Probe("What is 2+2?", "4.", "sums")], "CC BY 4.0", 1, 0, 0).save(FOLDER / "mine.jsonl")
        >>> sorted(file.name for file in FOLDER.iterdir())
        ['mine.jsonl', 'mine.md']
        """
        write_whole(Path(path).with_suffix(".md"), self.card())
        return save_probes(self.probes, path)


def draw_probes(
    dataset: Dataset, columns: Mapping[str, str], *, size: int = 400, licence: str = "", seed: int = 0, **same: str
) -> DrawnSet:
    """At most ``size`` probes from a table, as many of each capability as of the others, as far as it has them.

    columns, same: as in ``from_dataset``. licence: of the table; where it is not given, what the dataset says of itself.
    seed: another one draws others. Which are drawn depends on what they say and not on their order. A row that makes no probe or
    repeats another (but for case, spaces and punctuation) is left out and counted; of two that ask one question and want two
    answers, both are. Raises DataError where no licence is known, or no row makes a probe.

    >>> from datasets import Dataset
    >>> table = Dataset.from_dict({"q": [f"{i % 90}+1?" for i in range(100)], "a": [f"{i % 90 + 1}." for i in range(100)]})
    >>> drawn = draw_probes(table, {"prompt": "q", "answer": "a"}, size=40, licence="CC0", capability="sums")
    >>> len(drawn.probes), drawn.repeats
    (40, 10)
    """
    check_columns(dataset, columns, same)
    licence = licence or getattr(getattr(dataset, "info", None), "license", "") or ""
    if not licence.strip():
        raise DataError("The dataset does not say its licence; look it up, and give it as licence=.")
    if not isinstance(size, int) or size < 1:
        raise DataError(f"size is {size!r}; give how many probes to draw, at least 1.")
    groups: dict[str, dict[str, Probe]] = {}
    answers: dict[str, set[str]] = {}
    repeats, faulty, fault = 0, 0, ""
    for number, row in enumerate(dataset, 1):
        try:
            probe = probe_of_table(row, columns, same, f"row {number}")
        except DataError as error:
            faulty, fault = faulty + 1, fault or str(error)
            continue
        question = bare(probe.prompt or probe.answer)
        answers.setdefault(question, set()).add(bare(probe.answer))
        repeats += len(groups.setdefault(probe.capability, {})) == len(groups[probe.capability] | {question: probe})
        groups[probe.capability].setdefault(question, probe)
    seen: set[str] = set()
    pools = {name: _shuffled([p for q, p in group.items() if len(answers[q]) == 1 and not (q in seen or seen.add(q))], seed)
             for name, group in sorted(groups.items())}  # fmt: skip
    drawn = _balanced(pools, size)
    if not drawn:
        raise DataError(f"None of the {len(dataset)} rows makes a probe. {fault}".strip())
    return DrawnSet(drawn, licence, len(dataset), repeats, faulty, fault)


def _shuffled(probes: list[Probe], seed: int) -> list[Probe]:
    """By a hash of what they say, which is a shuffle that comes out the same everywhere."""
    return sorted(probes, key=lambda probe: hashlib.sha256(f"{seed} {probe!r}".encode()).digest())


def _balanced(pools: Mapping[str, list[Probe]], size: int) -> list[Probe]:
    """One of each in turn, until there are enough: a capability with few rows gives what it has."""
    taken: dict[str, int] = dict.fromkeys(pools, 0)
    left = size
    while left and any(taken[name] < len(pool) for name, pool in pools.items()):
        for name in [name for name, pool in pools.items() if taken[name] < len(pool)][:left]:
            taken[name] += 1
            left -= 1
    return [probe for name, pool in pools.items() for probe in pool[: taken[name]]]


def _points(probes: int) -> str:
    drop = smallest_drop(probes)
    return f"{drop:.0f} points or more" if drop < 100 else "nothing"
