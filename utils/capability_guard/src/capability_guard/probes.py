"""A probe: one question whose right answer is known, or one text whose loss is watched; and files of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from capability_guard.files import write_whole
from capability_guard.folders import left_out
from capability_guard.foreign import as_probe_row
from capability_guard.jsonl import DataError, check_text, check_whole, numbered_rows, shown
from capability_guard.matching import plain

KINDS = ("known", "rephrased", "held-out")
USES = ("probe", "replay")
MEASURES = ("exact", "contains", "choice", "loss")
CONTAINS_TOKENS = (
    32  # how much a model may say before the answer of a "contains" probe must have come: a sentence or two
)
# Probes to start from: 640 generated ones in eight capabilities. Another version is another file, so that figures can be compared.
STARTER = Path(__file__).with_name("starter-1.jsonl")
FIELDS = ("prompt", "answer", "capability", "kind", "use", "measure", "choices", "text")


@dataclass(frozen=True)
class Probe:
    """One question whose right answer is known, or one text whose loss is watched.

    prompt: what the model reads. answer: what it must say next, after one space, letter for letter. More words may follow, so an
    answer after which none may ends with its full stop; a longer word or number ("13000" for "13") is another answer.
    capability: the group that it is reported under.
    kind: "known" (this very text was trained on), "rephrased" (the fact was, this wording was not) or
    "held-out" (not even the fact was; only the skill can answer it).
    measure: "exact" (the answer, letter for letter), "contains" (somewhere in what the model says), "choice" (the most
    likely of ``choices``) or "loss" (nats per token of a text; there is no prompt, and ``answer`` is the text).

    >>> Probe("Which is a metal?", "iron", "materials", measure="choice", choices=("iron", "wood")).kind
    'known'
    """

    prompt: str
    answer: str
    capability: str
    kind: str = "known"
    measure: str = "exact"
    choices: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """Prompt and answer as the one text that a model reads; of a loss probe, its text.

        >>> Probe("What is 2+2?", "4.", "arithmetic").text
        'What is 2+2? 4.'
        """
        return f"{self.prompt} {self.answer}".strip()


def read_probes(path: str | Path, use: str = "probe") -> list[Probe]:
    """Probes from one JSONL file; ``probe_of`` says what a row looks like. There may be none of this use.

    use: "probe" for the rows that are measured, "replay" for those set aside to be practised again.
    Raises DataError when the file cannot be read, a row is faulty, or a question is asked twice.

    >>> len(read_probes(PROBES)), len(read_probes(PROBES, use="replay"))
    (12, 0)
    """
    probes, seen = [], {}
    for where, row in numbered_rows(Path(path)):
        row = as_probe_row(row, where, Path(path).stem)
        probe, row_use = probe_of(row, where), row.get("use") or "probe"
        if row_use not in USES:
            raise DataError(f"{where}: use is {shown(row_use)}; use one of {', '.join(USES)}.")
        # A question that is asked twice would count twice. If it were both replayed and measured, it would test the replay.
        question = probe.prompt or probe.answer
        if question in seen:
            raise DataError(f"{where}: asks {question[:60]!r} again ({seen[question]}); keep one of them.")
        seen[question] = where.rsplit(", ", 1)[1]  # "line 3" of "probes.jsonl, line 3"
        if row_use == use:
            probes.append(probe)
    return probes


def probe_of(row: dict, where: str) -> Probe:
    """A probe from a row with ``prompt, answer, capability`` and, if wanted, ``kind``, ``measure`` and ``choices``.

    A row with the measure "loss" has ``text`` in place of prompt and answer. ``where`` begins the sentence of a DataError.

    >>> probe_of({"text": "Water is wet.", "capability": "plain text", "measure": "loss"}, "line 1").answer
    'Water is wet.'
    >>> probe_of({"prompt": "What is 2+2?", "answers": "4.", "capability": "arithmetic"}, "line 2")
    Traceback (most recent call last):
    capability_guard.jsonl.DataError: line 2: there is a field 'answers'; did you mean 'answer'?
    """
    row = {
        field: value for field, value in row.items() if value is not None
    }  # tables write null where there is nothing
    # Other fields are yours to add. One that is nearly the name of ours is a slip: "measures" would be ignored, and the
    # probe asked by the default measure.
    for field in row:
        if field not in FIELDS and (meant := get_close_matches(field, FIELDS, n=1, cutoff=0.8)):
            raise DataError(f"{where}: there is a field {shown(field)}; did you mean {meant[0]!r}?")
    measure, kind = row.get("measure", "exact"), row.get("kind", "known")
    if measure not in MEASURES:
        raise DataError(f"{where}: measure is {shown(measure)}; use one of {', '.join(MEASURES)}.")
    if kind not in KINDS:
        raise DataError(f"{where}: kind is {shown(kind)}; use one of {', '.join(KINDS)}.")
    wanted = ("text", "capability") if measure == "loss" else ("prompt", "answer", "capability")
    for field in wanted:
        check_text(row, field, where, wanted)
    # Blanks at the ends are taken off everywhere: they would be tokens, and there is always one space before an answer.
    if measure == "loss":
        return Probe("", row["text"].strip(), row["capability"].strip(), kind, measure)
    choices, answer = row.get("choices", []), row["answer"].strip()
    if measure == "choice":
        if not isinstance(choices, (list, tuple)) or not all(isinstance(c, str) and c.strip() for c in choices):
            raise DataError(f"{where}: choices is {shown(choices)}; give a list of texts that are not blank.")
        for choice in choices:
            check_whole(choice, "choices", where)
        choices = tuple(choice.strip() for choice in choices)
        # With one choice, or with two that are equal, there is nothing to choose.
        if len(set(choices)) < 2 or len(set(choices)) < len(choices) or answer not in choices:
            raise DataError(
                f"{where}: the answer {shown(answer)} must be one of at least two different choices, not {shown(choices, 120)}."
            )
    elif choices:  # which the other measures would ignore
        raise DataError(f'{where}: there are choices and the measure is {measure!r}; write "measure": "choice".')
    return Probe(row["prompt"].strip(), answer, row["capability"].strip(), kind, measure, tuple(choices or ()))


def load_probes(source: str | Path, use: str = "probe") -> list[Probe]:
    """Probes from a JSONL file, or from all ``*.jsonl`` of a folder (``.JSONL`` too); ``probe_of`` says what a row looks like.

    "starter", where no file has that name, is the set that comes with the package: 640 probes in eight capabilities.
    use: "probe" for the rows that are measured, "replay" for those set aside to be practised again.
    Raises DataError when a file is faulty or when nothing is left to measure.

    >>> [probe.answer for probe in load_probes(PROBES)][:2]
    ['4.', 'Paris.']
    """
    folder = STARTER if str(source) == "starter" and not Path(source).exists() else Path(source)
    # Sorted, since each file system lists a folder in its own order, and outcomes are compared by their position.
    files = (
        sorted(file for file in folder.iterdir() if file.suffix.lower() == ".jsonl") if folder.is_dir() else [folder]
    )
    probes, seen = [], {}
    for file in files:
        for probe in read_probes(file, use):
            other = seen.setdefault(probe.prompt or probe.answer, file)
            if other is not file:  # repeats within one file are refused when it is read
                raise DataError(
                    f"{file} asks {(probe.prompt or probe.answer)[:60]!r} again, as {other} does; keep one of them."
                )
            probes.append(probe)
    names: dict[str, str] = {}
    for probe in probes:
        if names.setdefault(plain(probe.capability), probe.capability) != probe.capability:
            raise DataError(
                f"{folder}: the capabilities {shown(names[plain(probe.capability)])} and {shown(probe.capability)} look alike "
                "and are two; write them as one."
            )
    if not probes:
        said = [f"{folder} has no rows with use {use!r}; add some, one JSON object a line.", *left_out(folder)]
        raise DataError(" ".join(said))
    return probes


def fingerprint(probes: Sequence[Probe]) -> str:
    """Twelve hexadecimal digits that change when any probe of the set does, or their order.

    So you can tell whether the same set was measured twice.

    >>> probes = load_probes(PROBES)
    >>> fingerprint(probes) == fingerprint(load_probes(PROBES)), fingerprint(probes) == fingerprint(probes[::-1])
    (True, False)
    """
    # The repr of a dataclass names every field, so one that is added later cannot be forgotten here.
    return hashlib.sha256(repr(list(probes)).encode()).hexdigest()[:12]


def live_subset(probes: Sequence[Probe], size: int) -> list[Probe]:
    """At most ``size`` probes, evenly spaced through the capabilities: always the same ones, to compare over time.

    >>> [probe.capability for probe in live_subset(load_probes(PROBES), 4)]
    ['arithmetic', 'capitals', 'elements', 'opposites']
    """
    if size >= len(probes):
        return list(probes)
    by_capability = sorted(probes, key=lambda probe: (probe.capability, probe.kind))
    # The middle of each of ``size`` equal stretches, so that neither the first nor the last capability is favoured.
    return [by_capability[int((i + 0.5) * len(probes) / size)] for i in range(size)]


def save_probes(probes: Sequence[Probe], path: str | Path) -> Path:
    """Write a probe set as JSON lines, which ``load_probes`` reads. Raises OSError when it cannot be written.

    >>> path = save_probes([Probe("Name a colour.", "red", "colours", measure="contains")], FOLDER / "mine.jsonl")
    >>> load_probes(path)[0].measure
    'contains'
    """
    rows = []
    for probe in probes:
        row = {"text": probe.answer} if probe.measure == "loss" else {"prompt": probe.prompt, "answer": probe.answer}
        row |= {"capability": probe.capability, "kind": probe.kind, "measure": probe.measure}
        rows.append(json.dumps(row | ({"choices": list(probe.choices)} if probe.choices else {}), ensure_ascii=False))
    return write_whole(path, "\n".join(rows) + "\n")
