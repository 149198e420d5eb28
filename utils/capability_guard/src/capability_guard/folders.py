"""A folder of probe files: which of its files look like probes and are not read."""

from __future__ import annotations

from pathlib import Path

from capability_guard.files import parse_json, read_text
from capability_guard.foreign import as_probe_row
from capability_guard.jsonl import DataError

# Endings under which people keep probes and which are not read: only JSON lines in a file called .jsonl are.
OTHER_ENDINGS = (".json", ".ndjson", ".jsonlines", ".jl", ".txt")
LARGEST = 50_000_000  # bytes of a file that is looked into


def left_out(source: str | Path) -> list[str]:
    """A sentence on the files of a folder that look like probes and are not read, since no ``.jsonl`` directly in it has them.

    >>> _ = (FOLDER / "sums.json").write_text('[{"prompt": "What is 2+2?", "answer": "4."}]')
    >>> left_out(FOLDER)
    ['1 file that looks like probes was left out (sums.json): only *.jsonl directly in the folder are read.']
    """
    folder = Path(source)
    if not folder.is_dir():
        return []
    # No deeper than one folder: whoever gives "." need not wait until all that lies below was read.
    found = [file for file in folder.iterdir() if file.suffix.lower() in OTHER_ENDINGS]
    found += [file for file in folder.glob("*/*") if file.suffix.lower() == ".jsonl"]
    files = [file for file in sorted(found) if file.is_file() and file.stat().st_size < LARGEST]
    names = [file.relative_to(folder).as_posix() for file in files if _looks_like_probes(file)]
    if not names:
        return []
    many = f"{len(names)} files that look like probes were" if len(names) > 1 else "1 file that looks like probes was"
    listed = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return [f"{many} left out ({listed}): only *.jsonl directly in the folder are read."]


def _looks_like_probes(file: Path) -> bool:
    """Whether the first row, of lines or of one list, has what a probe has."""
    try:
        text = read_text(file)
        data = parse_json(text) if text.lstrip().startswith("[") else parse_json(text.strip().split("\n", 1)[0])
        first = data[0] if isinstance(data, list) else data
        row = as_probe_row(first, "", "") if isinstance(first, dict) else {}
    except DataError:  # a conversation, of more turns than one
        return True
    except (OSError, ValueError, LookupError, TypeError):
        return False
    return {"prompt", "answer"} <= row.keys() or {"text", "capability"} <= row.keys()
