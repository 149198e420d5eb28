"""Read JSON lines: a fault is one sentence that names the file, the line and what to do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from capability_guard.files import parse_json, read_text


class DataError(ValueError):
    """A data file that cannot be used: the message names the file, the line and the fault.

    >>> load_jsonl("no_such_file.jsonl", ["prompt"])
    Traceback (most recent call last):
    capability_guard.jsonl.DataError: no_such_file.jsonl cannot be read (No such file or directory); check the path.
    """


def load_jsonl(path: str | Path, fields: Sequence[str]) -> list[dict]:
    """Read JSON lines; every row must have each of ``fields`` as text that is not blank.

    Raises DataError with file, line and fault. Blank lines are skipped.

    >>> load_jsonl(PROBES, ["capability"])[0]["prompt"]
    'What is 2+2?'
    """
    rows = []
    for where, row in numbered_rows(Path(path)):
        for field in fields:
            check_text(row, field, where, fields)
        rows.append(row)
    return rows


def numbered_rows(path: Path) -> list[tuple[str, dict]]:
    """Each row of a JSONL file, with the words that say where it stands.

    Raises DataError for a file that cannot be read or is empty, and for a line that is no JSON object.

    >>> where, row = numbered_rows(PROBES)[1]
    >>> where.endswith("probes.jsonl, line 2"), row["answer"]
    (True, 'Paris.')
    """
    try:
        lines = read_text(path).split("\n")  # and at no other line end: a text may hold U+2028
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); check the path.") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not text in {error.encoding.upper()} (byte {error.start}); save it as UTF-8."
        ) from error
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            row = parse_json(line)
        except json.JSONDecodeError as error:
            raise DataError(
                f"{where}: not JSON ({error.msg} at column {error.colno}); write one object a line."
            ) from error
        except ValueError as error:  # thousands of brackets, or a whole number of thousands of digits
            raise DataError(f"{where}: {error}; write one object of texts a line.") from error
        if not isinstance(row, dict):
            raise DataError(f'{where}: a row is an object like {{"prompt": ...}}, not {type(row).__name__}.')
        rows.append((where, row))
    if not rows:
        raise DataError(f"{path} has no rows; write at least one object a line.")
    return rows


def check_text(row: dict, field: str, where: str, fields: Sequence[str]) -> None:
    """Raises DataError, starting with ``where``, unless ``row[field]`` is text. fields: all that a row needs.

    >>> check_text({"prompt": " "}, "prompt", "line 1", ["prompt"])
    Traceback (most recent call last):
    capability_guard.jsonl.DataError: line 1: 'prompt' is ' '; it must be text that is not blank.
    """
    if field not in row:
        raise DataError(f"{where}: the field {field!r} is missing; a row needs {', '.join(fields)}.")
    if not isinstance(row[field], str) or not row[field].strip():
        raise DataError(f"{where}: {field!r} is {shown(row[field])}; it must be text that is not blank.")
    check_whole(row[field], field, where)


def shown(value: Any, most: int = 60) -> str:
    """A value as Python would write it, and not too long for a sentence: it may come from anybody's file.

    >>> shown("sums"), shown([1] * 99, most=9)
    ("'sums'", '[1, 1, 1,...')
    """
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}..."


def check_whole(text: str, field: str, where: str) -> None:
    """Raises DataError for a text with half a character, which JSON's escapes can spell and UTF-8 cannot.

    An emoji is two such halves. A tokenizer would fail on one of them, far from the file and its line.

    >>> check_whole(json.loads('"' + chr(92) + 'ud83d"'), "answer", "line 1")  # chr(92) is the backslash
    Traceback (most recent call last):
    capability_guard.jsonl.DataError: line 1: 'answer' holds half a character (surrogates not allowed); ...
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{where}: {field!r} holds half a character ({error.reason}); write it anew.") from error
