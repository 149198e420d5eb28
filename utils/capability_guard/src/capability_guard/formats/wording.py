"""What is said of another harness's file: in the settings, in the notes, and where it is damaged."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from capability_guard.formats.directions import unknown
from capability_guard.formats.metrics import Outcomes
from capability_guard.measurement import MeasurementError

# What a file that was made by hand, cut off or written by another version can raise while it is taken apart.
DAMAGE = (KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError, OSError, RecursionError)
# Of the settings of generation, those that change no answer that is decoded greedily.
NO_MATTER = ("seed", "cache_implementation", "num_blocks", "block_size", "use_cache", "max_length")
ONE = ("num_beams", "num_return_sequences", "top_p", "repetition_penalty", "length_penalty")  # that are 1 by default
# At the end of a setting: the values were turned round, or divided by 100.
LESS, PER_CENT = ", less is better", ", in per cent"


def text_of(value: Any) -> str:
    """As text that can be written to a file: half a character, which JSON can spell, becomes a question mark.

    >>> text_of("Rome."), text_of(["a", 1])
    ('Rome.', '["a", 1]')
    """
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text.encode("utf-8", "replace").decode()


def one_line(value: Any) -> str:
    """A text from a file on one line, as a name, a note and an error are.

    >>> one_line("out of\\n  memory")
    'out of memory'
    """
    return " ".join(text_of(value).split())


def brief(value: Any, most: int = 40) -> str:
    """A value in a setting: as it is where it is short, else its beginning and six digits that change with the rest.

    >>> brief("a short prompt"), brief("x" * 50)
    ('a short prompt', 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx... (77cf12)')
    """
    text = text_of(value)
    whole = text if len(text) <= most else f"{text[:most]}... ({hashlib.sha256(text.encode()).hexdigest()[:6]})"
    return " ".join(whole.split())


def generation(given: Any) -> str:
    """How answers were generated, in the words of a setting: what is not at its default, and can change an answer.

    >>> generation({"until": ["."], "max_gen_toks": 8, "do_sample": False, "temperature": 0.0, "seed": 7})
    ', max_gen_toks 8, until ["."]'
    """
    if not isinstance(given, dict):
        return ""
    words = ""
    for name, value in sorted(given.items()):
        default = value is None or value is False or value in ("", [], {}, 0) or (name in ONE and value == 1)
        words += "" if default or name in NO_MATTER else f", {one_line(name)} {brief(value, 60)}"
    return words


def ending(outcome: Outcomes, metric: str) -> str:
    """What the setting of a task ends with, as to how its values were read.

    >>> ending(Outcomes("shares", (0.3, 0.7), lower=True, per_cent=True), "ter")
    ', less is better, in per cent'
    """
    way = (
        "" if outcome.kind == "losses" else LESS if outcome.lower else unknown(metric) if outcome.lower is None else ""
    )
    return way + (PER_CENT if outcome.per_cent else "")


def remarks(task: str, metric: str, outcome: Outcomes) -> list[str]:
    """What a reader of the report should know of the metric that counts.

    >>> remarks("crows_pairs", "pct_stereotype", Outcomes("bits", (0.0, 1.0), lower=True))
    ['crows_pairs counts by its pct_stereotype, of which less is better: a rise is a loss.']
    """
    notes = []
    if outcome.lower and outcome.kind != "losses":
        notes.append(f"{task} counts by its {metric}, of which less is better: a rise is a loss.")
    elif outcome.lower is None:
        notes.append(f"{task} counts by its {metric}, and nothing says whether more of it is better, or less.")
    if outcome.per_cent:
        notes.append(f"{task} has its {metric} from 0 to 100; it is divided by 100.")
    if outcome.clipped:
        notes.append(
            f"{task} has {outcome.clipped} values of its {metric} above 1, or 100 %, of what can be wrong; they count as that."
        )
    return notes


def not_whole(where: str | Path, harness: str, error: Exception) -> MeasurementError:
    """One sentence for a file that is not laid out as the harness lays it out.

    >>> not_whole("results.json", "lighteval", KeyError("versions"))
    MeasurementError("results.json is not what lighteval writes (KeyError: 'versions'); evaluate again.")
    """
    said = " ".join(str(error).split())[:100]
    return MeasurementError(f"{where} is not what {harness} writes ({type(error).__name__}: {said}); evaluate again.")
