"""The search: a file that reached lines which none before it had reached is kept and changed further."""

from __future__ import annotations

import contextlib
import io
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import capability_guard
from capability_guard.jsonl import DataError
from capability_guard.measurement import MeasurementError
from capability_guard.reading import ModelUnavailable
from utils.capability_guard.benches.fuzz_readers.changes import changed_file

SOURCE = str(Path(capability_guard.__file__).parent)
REFUSED = (DataError, MeasurementError, ModelUnavailable)
SECONDS = 20


@dataclass(frozen=True)
class Reader:
    """seeds: whole inputs, each a folder's files by name. read: what a user's command does with that folder."""

    seeds: list[dict[str, bytes]]
    read: Callable[[Path], Any]
    change: Callable[[bytes, random.Random], bytes] = changed_file


class Lines:
    """The lines of the guard that a call reaches."""

    def __init__(self) -> None:
        self.now: set[tuple[str, int]] = set()

    def _line(self, frame: FrameType, event: str, _: Any) -> Any:
        self.now.add((frame.f_code.co_filename, frame.f_lineno))
        return self._line

    def _call(self, frame: FrameType, event: str, _: Any) -> Any:
        return self._line if frame.f_code.co_filename.startswith(SOURCE) else None

    def __enter__(self) -> set[tuple[str, int]]:
        self.now = set()
        sys.settrace(self._call)
        threading.settrace(self._call)
        return self.now

    def __exit__(self, *_: Any) -> None:
        sys.settrace(None)
        threading.settrace(None)


class TooLong(BaseException):
    """Not an Exception: no reader may catch it."""


def ring(*_: Any) -> None:
    raise TooLong


def tried(reader: Reader, files: dict[str, bytes], folder: Path) -> str:
    """What became of them: "read", "refused", or what went wrong, by its kind and place."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)  # of the processor: other work may take the rest
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            reader.read(folder)
        return "read"
    except REFUSED as error:
        lines = len(str(error).splitlines())
        return "refused" if lines == 1 else f"{lines} lines: {type(error).__name__}"
    except TooLong:
        return f"more than {SECONDS} s"
    except Exception as error:
        trace, place = error.__traceback__, ""
        while trace:
            if (name := trace.tb_frame.f_code.co_filename).startswith(SOURCE):
                place = f"{Path(name).name}:{trace.tb_lineno}"
            trace = trace.tb_next
        return f"{type(error).__name__} at {place}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def search(name: str, reader: Reader, minutes: float, keep: Path, seed: int) -> int:
    """Prints what came of one reader. Returns how many kinds of fault there were."""
    chance, lines = random.Random(seed), Lines()
    known, kept, faults = set(), list(reader.seeds), {}
    count = {"read": 0, "refused": 0}
    scratch = tempfile.TemporaryDirectory()  # goes when the search has come back
    folder = Path(scratch.name) / "in"
    for files in reader.seeds:
        with lines as now:
            outcome = tried(reader, files, folder)
        if outcome != "read":
            faults[f"a whole one: {outcome}"] = files
        known |= now
    end = time.process_time() + 60 * minutes  # of the processor: it may run beside other work
    while time.process_time() < end:
        files = dict(chance.choice(kept[-200:] if chance.random() < 0.5 else kept))
        at = chance.choice(sorted(files))
        files[at] = reader.change(files[at], chance)
        with lines as now:
            outcome = tried(reader, files, folder)
        count[outcome] = count.get(outcome, 0) + 1
        if outcome not in ("read", "refused"):
            faults.setdefault(outcome, files)
        elif now - known and sum(map(len, files.values())) < 1_000_000:
            known |= now
            kept.append(files)
    said = f"{sum(count.values()):7,} files: {count['read']:,} read, {count['refused']:,} refused, {len(known):,} lines reached"
    print(f"{name:14} {said}, {len(faults)} kinds of fault", flush=True)
    for number, (kind, files) in enumerate(faults.items(), 1):
        there = keep / f"{name}-{number}"
        for file, data in files.items():
            (there / file).parent.mkdir(parents=True, exist_ok=True)
            (there / file).write_bytes(data)
        print(f"    {kind}, {count.get(kind, 1)} times: {there}", flush=True)
    return len(faults)
