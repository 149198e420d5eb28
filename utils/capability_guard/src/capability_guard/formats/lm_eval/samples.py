"""One task of lm-evaluation-harness, question by question: from its samples to rows.

Today a samples file has one object a line, each with its filter and the names of its metrics. Before November 2024 it had
neither, and before 0.4.3 it was one indented JSON list, whatever its name says.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from capability_guard.files import read_text
from capability_guard.formats.metrics import Outcomes, number
from capability_guard.formats.runs import Unusable
from capability_guard.formats.wording import text_of
from capability_guard.jsonl import DataError, load_jsonl
from capability_guard.measurement import MeasurementError, Row, read_json

# What a sample has besides its metrics.
FIELDS = ("doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics", "doc_hash", "prompt_hash",
          "target_hash")  # fmt: skip


def read_samples(path: Path) -> list[dict]:
    """The samples of a file, one object a line or one list. Raises DataError or MeasurementError, one sentence.

    >>> _ = (FOLDER / "samples_arc.jsonl").write_text('[{"doc_id": 0, "arguments": [["2+2?"]], "target": "4", "acc": 1.0}]')
    >>> read_samples(FOLDER / "samples_arc.jsonl")[0]["acc"]
    1.0
    """
    try:
        listed = read_text(path).lstrip().startswith("[")
    except (OSError, UnicodeDecodeError):
        listed = False  # the reader of lines says what is wrong
    samples = read_json(path) if listed else load_jsonl(path, ())
    if not samples:
        raise DataError(f"{path} has no rows; evaluate again.")
    for place, sample in enumerate(samples, 1):
        if not isinstance(sample, dict) or not {"doc_id", "arguments", "target"} <= sample.keys():
            raise MeasurementError(f"{path}, sample {place}, is not what lm-evaluation-harness writes; evaluate again.")
    return samples


def by_filter(samples: Sequence[dict], named: Sequence[str]) -> dict[str, list[dict]]:
    """The samples of each filter, in the order of their questions. named: the filters in the results, in their order.

    Raises Unusable where an old file leaves open which filter a sample is of.

    >>> old = [{"doc_id": n, "em": x} for x in (0, 1) for n in (0, 1)]  # all of one filter, then all of the next
    >>> by_filter(old, ["strict-match", "flexible-extract"])["flexible-extract"]
    [{'doc_id': 0, 'em': 1}, {'doc_id': 1, 'em': 1}]
    """
    if all("filter" in sample for sample in samples):
        names = [str(sample["filter"]) for sample in samples]
    elif len(named) < 2:
        names = [named[0] if named else "none"] * len(samples)
    else:
        seen: Counter = Counter()
        names = []
        for sample in samples:
            place = seen[_id(sample)]
            seen[_id(sample)] += 1
            if place >= len(named):
                raise Unusable(
                    f"its samples do not say their filter, and there are more of them than {len(named)} filters explain"
                )
            names.append(named[place])
        if set(seen.values()) != {len(named)}:
            raise Unusable(f"its samples do not say their filter, and some are missing of {len(named)} filters")
    found: dict[str, list[dict]] = {}
    for name, sample in zip(names, samples, strict=True):
        found.setdefault(name, []).append(sample)
    # By question, since a prompt that comes twice is told apart by its place (``Measurement.keyed``).
    return {name: sorted(part, key=_id) for name, part in found.items()}


def _id(sample: dict) -> tuple[bool, Any]:
    """Numbers by their size and before names. Lists would not hash, and say nothing."""
    doc_id = sample["doc_id"]
    return (False, float(doc_id)) if number(doc_id) is not None else (True, str(doc_id))


def once(samples: Sequence[dict]) -> tuple[list[dict], int]:
    """Without those that come twice with the same outcome, and how many there were: a run that was appended to a file.

    Raises Unusable where the outcomes differ.

    >>> once([{"doc_id": 0, "arguments": [["2+2?"]], "target": "4", "acc": 1.0}] * 2)
    ([{'doc_id': 0, 'arguments': [['2+2?']], 'target': '4', 'acc': 1.0}], 1)
    """
    kept: dict[str, dict] = {}
    for sample in samples:
        key = json.dumps([_id(sample), sample["arguments"], sample["target"]], sort_keys=True, default=str)
        other = kept.setdefault(key, sample)
        if {k: v for k, v in other.items() if k not in FIELDS} != {k: v for k, v in sample.items() if k not in FIELDS}:
            raise Unusable(f"question {str(sample['doc_id'])[:20]} comes twice, with different outcomes")
    return list(kept.values()), len(samples) - len(kept)


def metrics_of(samples: Sequence[dict], named: Sequence[str]) -> list[str]:
    """The metrics of the samples of one filter. named: those in the results.

    A metric that only some questions have comes after those that all have.

    >>> metrics_of([{"doc_id": 0, "acc": 1.0, "doc_hash": "f0"}], named=["acc_norm", "acc"])
    ['acc']
    """
    listed = [
        m for sample in samples for m in (sample.get("metrics") if isinstance(sample.get("metrics"), list) else ())
    ]
    if not listed:  # an old file: what the results name, or else whatever is a number
        keys = {key for sample in samples for key in sample if key not in FIELDS}
        listed = [name for name in named if name in keys] or [
            key for key in samples[0] if key in keys and number(samples[0][key]) is not None
        ]
    counted = Counter(m for sample in samples for m in dict.fromkeys(map(str, listed)) if sample.get(m) is not None)
    names = [m for m in dict.fromkeys(map(str, listed)) if counted[m]]
    return sorted(names, key=lambda m: counted[m] < len(samples))


def rows_of(task: str, samples: Sequence[dict], found: Outcomes) -> list[Row]:
    """One row a question. found: what the metric that counts says of each.

    >>> sample = {"doc_id": 0, "arguments": [["2+2?", " 4"], ["2+2?", " 5"]], "target": "0", "filtered_resps": [[-1.0], [-2.0]]}
    >>> row = rows_of("sums", [sample], Outcomes("bits", (1.0,)))[0]
    >>> row.prompt, row.choices, row.answer, row.right
    ('2+2?', ('4', '5'), '4', True)
    """
    return [_row(task, sample, value, found) for sample, value in zip(samples, found.values, strict=True)]


def _row(task: str, sample: dict, value: float, found: Outcomes) -> Row:
    arguments = sample["arguments"]
    asked = [
        tuple(a.values()) if isinstance(a, dict) else tuple(a)
        for a in (arguments.values() if isinstance(arguments, dict) else arguments)
    ]
    target, said = text_of(sample["target"]), sample.get("filtered_resps") or []
    prompt = text_of(asked[0][0]) if asked and asked[0] else ""
    if found.kind == "losses":
        # Of a whole text the prompt is that text; of an ending, the beginning.
        return Row("" if prompt == target else prompt, target, task, "loss", loss=value)
    outcome = {"right": value == 1} if found.kind == "bits" else {"share": value}
    measure = "share" if found.kind == "shares" else "exact"
    if len(asked) < 2:
        return Row(prompt, target, task, measure, **outcome, said=text_of(said[0] if said else ""))
    ends = [text_of(a[1]).strip() for a in asked]  # what each choice adds to the question; or the choice comes first
    choices = tuple(ends if len(set(ends)) > 1 else [text_of(a[0]) for a in asked])
    likelihoods = [number(answer[0] if isinstance(answer, (list, tuple)) and answer else answer) for answer in said]
    whole = len(likelihoods) == len(choices) and None not in likelihoods
    best = choices[likelihoods.index(max(likelihoods))] if whole else ""
    answer = choices[int(target)] if target.isdecimal() and len(target) < 9 and int(target) < len(choices) else target
    if measure == "share" or found.lower:
        # A choice that it is better not to make is no question that half is right by guessing, so there are no choices to it.
        return Row(prompt, answer, task, measure, **outcome, said=best)
    # Under a length-normalised metric the likeliest choice need not be the one that was scored.
    best = answer if outcome["right"] else best if best != answer else ""
    return Row(prompt, answer, task, "choice", choices, **outcome, said=best)
