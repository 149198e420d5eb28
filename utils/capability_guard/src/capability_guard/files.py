"""Files that are there whole or not at all, and text as whatever program saved it."""

from __future__ import annotations

import codecs
import json
import os
from pathlib import Path
from typing import Any


def write_whole(path: str | Path, text: str) -> Path:
    """Write a file under a temporary name and move it: a crash or a full disk leaves no half file behind.

    Missing folders are made. What is there and no file, as a pipe or /dev/stdout, is written to, and stays what it is. Gives back
    the path. Raises OSError when it cannot be written.

    >>> write_whole(FOLDER / "reports" / "verdict.txt", "passed").read_text()
    'passed'
    >>> [file.name for file in (FOLDER / "reports").iterdir()]
    ['verdict.txt']
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not path.is_file() and not path.is_dir():  # a pipe or a device: it takes what is written
        with path.open("w", encoding="utf-8", newline="") as place:
            place.write(text)
        return path
    # In the same folder, because a move to another disk is a copy, and a copy can be cut short. The process id keeps apart
    # two runs that write at once.
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        draft.write_text(text, encoding="utf-8", newline="")  # newline="": the same bytes on Windows
        os.replace(draft, path)  # in one step, over an older file too
    finally:
        draft.unlink(missing_ok=True)
    return path


def parse_json(text: str | bytes) -> Any:
    """What JSON says. Raises ValueError where it is none; for thousands of brackets, too, on which Python's parser runs out of stack.

    >>> parse_json("[" * 100_000)
    Traceback (most recent call last):
    ValueError: nested too deeply
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_text(path: str | Path) -> str:
    """A text file as UTF-8, or as UTF-16 or UTF-32 where its first bytes say so: PowerShell and some editors write those.

    Line ends are left as they are. Raises OSError, or UnicodeDecodeError for a file that is none of these.

    >>> _ = (FOLDER / "probes.jsonl").write_bytes("Caf\u00e9".encode("utf-16"))
    >>> read_text(FOLDER / "probes.jsonl") == "Caf\u00e9"
    True
    """
    data = Path(path).read_bytes()
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding)
    if data[1:2] == b"\0" and data[:1] in b"{[":  # JSON in UTF-16 without its mark
        return data.decode("utf-16-le")
    return data.decode("utf-8")


# UTF-32 first: its mark begins as that of UTF-16 does.
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
          (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))  # fmt: skip
