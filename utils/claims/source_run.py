"""What the common tutorial's own run needs at GPT-2's true size, in words, from the figures that were measured."""

from __future__ import annotations

import json
from pathlib import Path

from utils.claims.runs import FOLDER

FILE = FOLDER / "source-run.json"  # written by data/build/measure_source_run.py


def source_run(file: Path = FILE) -> str:
    """Two sentences: seconds of one processor core, and memory. Raises ValueError if the measurement is not there."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        seconds = {name: part["processor"] for name, part in found["seconds"].items()}
        answers = seconds["3 answers before"] + seconds["3 answers after"]
        return (
            f"At GPT-2's true size ({found['parameters']:,} parameters, {found['trainable']:,} of them trained), the 4 steps take "
            f"{seconds['4 training steps']:.0f} s of one processor core, and the answers before and after {answers:.0f} s.\n"
            f"The process holds at most {found['peak_memory_gb']:.1f} GB, of which the libraries are "
            f"{found['of_which_libraries_gb']:.1f} GB."
        )
    except (OSError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{file} is no such measurement ({error!r}); run data/build/measure_source_run.py.") from error
