"""Probes, new tasks and everyday text: everything that a model is asked or taught, read from JSON lines.

Every row is checked on the way in. A fault is one sentence that names the file, the line and what to do.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datasets import DatasetDict

DATA = Path(__file__).resolve().parent.parent / "data"
QUESTIONS = ("What is 2+2?", "What is the capital of France?", "How do you boil water?")
TASKS = ("customer_service", "jazz_riff")
KINDS = ("known", "rephrased", "held-out")
USES = ("probe", "replay")
MEASURES = ("exact", "contains", "choice", "loss")
FIELDS = ("prompt", "answer", "capability", "kind", "use", "measure", "choices", "text")


class DataError(ValueError):
    """A data file that cannot be used: the message names the file, the line and the fault."""


@dataclass(frozen=True)
class Probe:
    """One question whose right answer is known, or one text whose loss is watched.

    prompt: what the model reads. answer: what it must say next, after one space, letter for letter. What it says after
    that is not looked at, so an answer that could be the beginning of a longer one ends with its full stop.
    capability: the group that it is reported under.
    kind: "known" (this very text was trained on), "rephrased" (the fact was, this wording was not) or
    "held-out" (not even the fact was; only the skill can answer it).
    measure: "exact" (the answer, letter for letter), "contains" (somewhere in what the model says), "choice" (the most
    likely of ``choices``) or "loss" (nats per token of a text; there is no prompt, and ``answer`` is the text).
    """

    prompt: str
    answer: str
    capability: str
    kind: str = "known"
    measure: str = "exact"
    choices: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return f"{self.prompt} {self.answer}".strip()


def load_jsonl(path: str | Path, fields: Sequence[str]) -> list[dict]:
    """Read JSON lines; every row must have each of ``fields`` as text that is not blank.

    Raises DataError with file, line and fault. Blank lines are skipped.
    """
    rows = []
    for where, row in _numbered(Path(path)):
        for field in fields:
            _check_text(row, field, where, fields)
        rows.append(row)
    return rows


def _numbered(path: Path) -> list[tuple[str, dict]]:
    """Each row of a JSONL file, with the words that say where it stands."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # a text may hold other line ends, such as U+2028
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); check the path.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8.") from error
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(
                f"{where}: not JSON ({error.msg} at column {error.colno}); write one object a line."
            ) from error
        except RecursionError:
            raise DataError(f"{where}: nested too deeply to be read; write one flat object a line.") from None
        except ValueError as error:  # a whole number of thousands of digits
            raise DataError(f"{where}: {error}; write one object of texts a line.") from error
        if not isinstance(row, dict):
            raise DataError(f'{where}: a row is an object like {{"prompt": ...}}, not {type(row).__name__}.')
        rows.append((where, row))
    if not rows:
        raise DataError(f"{path} has no rows; write at least one object a line.")
    return rows


def _check_text(row: dict, field: str, where: str, fields: Sequence[str]) -> None:
    if field not in row:
        raise DataError(f"{where}: the field {field!r} is missing; a row needs {', '.join(fields)}.")
    if not isinstance(row[field], str) or not row[field].strip():
        raise DataError(f"{where}: {field!r} is {row[field]!r}; it must be text that is not blank.")
    _check_whole(row[field], field, where)


def _check_whole(text: str, field: str, where: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{where}: {field!r} holds half a character ({error.reason}); write it anew.") from error


def read_probes(path: str | Path, use: str = "probe") -> list[Probe]:
    """Probes from one JSONL file; ``probe_of`` says what a row looks like.

    use: "probe" for the rows that are measured, "replay" for those set aside to be practised again.
    """
    probes, seen = [], {}
    for where, row in _numbered(Path(path)):
        probe, row_use = probe_of(row, where), row.get("use") or "probe"
        if row_use not in USES:
            raise DataError(f"{where}: use is {row_use!r}; use one of {', '.join(USES)}.")
        question = probe.prompt or probe.answer
        if question in seen:
            raise DataError(f"{where}: asks {question[:60]!r} again ({seen[question]}); keep one of them.")
        seen[question] = where.rsplit(", ", 1)[1]
        if row_use == use:
            probes.append(probe)
    return probes


def probe_of(row: dict, where: str) -> Probe:
    """A probe from a row with ``prompt, answer, capability`` and, if wanted, ``kind``, ``measure`` and ``choices``.

    A row with the measure "loss" has ``text`` in place of prompt and answer. ``where`` begins the sentence of a DataError.
    """
    row = {
        field: value for field, value in row.items() if value is not None
    }  # tables write null where there is nothing
    for field in row:
        if field not in FIELDS and (meant := get_close_matches(field, FIELDS, n=1, cutoff=0.8)):
            raise DataError(f"{where}: there is a field {field!r}; did you mean {meant[0]!r}?")
    measure, kind = row.get("measure", "exact"), row.get("kind", "known")
    if measure not in MEASURES:
        raise DataError(f"{where}: measure is {measure!r}; use one of {', '.join(MEASURES)}.")
    if kind not in KINDS:
        raise DataError(f"{where}: kind is {kind!r}; use one of {', '.join(KINDS)}.")
    wanted = ("text", "capability") if measure == "loss" else ("prompt", "answer", "capability")
    for field in wanted:
        _check_text(row, field, where, wanted)
    if measure == "loss":
        return Probe("", row["text"].strip(), row["capability"].strip(), kind, measure)
    choices, answer = row.get("choices", []), row["answer"].strip()
    if measure == "choice":
        if not isinstance(choices, (list, tuple)) or not all(isinstance(c, str) and c.strip() for c in choices):
            raise DataError(f"{where}: choices is {choices!r}; give a list of texts that are not blank.")
        for choice in choices:
            _check_whole(choice, "choices", where)
        choices = tuple(choice.strip() for choice in choices)
        if len(set(choices)) < 2 or len(set(choices)) < len(choices) or answer not in choices:
            raise DataError(
                f"{where}: the answer {answer!r} must be one of at least two different choices, not {choices!r}."
            )
    elif choices:
        raise DataError(f'{where}: there are choices and the measure is {measure!r}; write "measure": "choice".')
    return Probe(row["prompt"].strip(), answer, row["capability"].strip(), kind, measure, tuple(choices))


def load_probes(source: str | Path | None = None, use: str = "probe") -> list[Probe]:
    """Probes of the practice model (no source), of real models ("general"), or from a file or folder of yours.

    A folder of yours that is named "general" goes before the course's.
    Raises DataError when a file is faulty or when nothing is left to measure.
    """
    folder = DATA / "repertoire" if source is None else Path(source)
    if source == "general" and not folder.exists():
        folder = DATA / "general"
    files = sorted(folder.glob("*.jsonl")) if folder.is_dir() else [folder]
    probes, seen = [], {}
    for file in files:
        for probe in read_probes(file, use):
            other = seen.setdefault(probe.prompt or probe.answer, file)
            if other is not file:
                raise DataError(
                    f"{file} asks {(probe.prompt or probe.answer)[:60]!r} again, as {other} does; keep one of them."
                )
            probes.append(probe)
    if not probes:
        raise DataError(f"{folder} has no rows with use {use!r}; add some, one JSON object a line.")
    return probes


def fingerprint(probes: Sequence[Probe]) -> str:
    """Twelve letters that change when any probe of the set does, or their order: the same set was measured twice, or not."""
    return hashlib.sha256(repr(list(probes)).encode()).hexdigest()[:12]


def live_subset(probes: Sequence[Probe], size: int) -> list[Probe]:
    """At most ``size`` probes, evenly spaced through the capabilities: always the same ones, to compare over time."""
    if size >= len(probes):
        return list(probes)
    by_capability = sorted(probes, key=lambda probe: (probe.capability, probe.kind))
    return [by_capability[int((i + 0.5) * len(probes) / size)] for i in range(size)]


def read_texts(path: str | Path) -> list[str]:
    """The ``text`` field of each row of a JSONL file."""
    return [row["text"] for row in load_jsonl(path, ("text",))]


def everyday_texts() -> list[str]:
    """64 held-out everyday sentences and conversations: the original domain's plain language."""
    return read_texts(DATA / "everyday" / "held_out.jsonl")


def load_task(task: str | Path = "customer_service") -> DatasetDict:
    """The new task as a DatasetDict with "train" and "held_out", each with the column "text".

    task: one of TASKS, or a folder of yours with train.jsonl and held_out.jsonl.
    """
    from datasets import Dataset, DatasetDict  # a second to import, and only training needs it

    folder = DATA / task if str(task) in TASKS else Path(task)
    if not folder.is_dir():
        raise DataError(f"{task!r} is neither a task of the course ({', '.join(TASKS)}) nor a folder; check the name.")
    splits = {split: read_texts(folder / f"{split}.jsonl") for split in ("train", "held_out")}
    if both := set(splits["train"]) & set(splits["held_out"]):
        raise DataError(f"{folder}: {min(both)!r} is in train and in held_out; keep it in one of them.")
    return DatasetDict({split: Dataset.from_dict({"text": texts}) for split, texts in splits.items()})


def replay_texts(source: str | Path | None = None) -> list[str]:
    """Texts of the original domain that are set aside for replay. None of them is ever measured."""
    return [probe.text for probe in load_probes(source, use="replay")]
