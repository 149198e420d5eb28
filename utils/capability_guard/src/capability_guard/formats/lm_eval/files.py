"""Which files of lm-evaluation-harness belong together.

0.4.0 to 0.4.2    OUT/results.json, or OUT itself if it ends in .json; samples in <model_args>_<task>.jsonl beside it,
                  with "__" for "/" and "=". A second run overwrites the results and leaves the first one's samples
from 0.4.3        OUT/<model>/results_DATE.json and samples_<task>_DATE.jsonl beside it
today             also NAME_DATE.json, for an OUT of NAME.json
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from capability_guard.formats.metrics import number
from capability_guard.formats.which import named
from capability_guard.formats.wording import one_line

DATE = re.compile(r"_(\d{4}-\d\d-\d\dT\d\d[-:]\d\d[-:]\d\d[\d.-]*)\.json$")


def is_dated(path: Path) -> bool:
    """Whether a date in the name tells which samples belong to these results.

    >>> is_dated(Path("results_2025-11-30T10-00-00.000000.json")), is_dated(Path("results.json"))
    (True, False)
    """
    return DATE.search(path.name) is not None


def date_of(path: Path, data: dict) -> str:
    """When the results were written, as a text that sorts: by the name, or else by what is inside.

    The file system's own date is that of the last copy or checkout.

    >>> date_of(Path("results_2025-11-30T10-00-00.000000.json"), {})
    '2025-11-30T10-00-00.000000'
    >>> date_of(Path("results.json"), {"date": 0})[:4] in ("1969", "1970")
    True
    """
    if dated := DATE.search(path.name):
        return dated.group(1)
    seconds = number(data.get("date"))
    try:
        return datetime.fromtimestamp(seconds or 0).isoformat(timespec="microseconds").replace(":", "-")
    except (ValueError, OverflowError, OSError):
        return ""


def arguments_of(data: dict) -> dict[str, str]:
    """The arguments of the model, which the harness keeps as it was given them: a text, or an object.

    >>> arguments_of({"config": {"model_args": "pretrained=base,dtype=float32"}})
    {'pretrained': 'base', 'dtype': 'float32'}
    """
    given = (data.get("config") or {}).get("model_args") or {}
    if isinstance(given, dict):
        return {str(name): str(value) for name, value in given.items()}
    return {name: value for name, _, value in (part.partition("=") for part in str(given).split(",")) if value}


def model_of(path: Path, data: dict) -> str:
    """The model's name, with whatever tells it from another of that name.

    >>> model_of(Path("out/results.json"), {"config": {"model_args": "pretrained=base,peft=support-lora"}})
    'support-lora'
    >>> data = {"model_name": "base", "config": {"model_args": {"pretrained": "base", "revision": "step100"}}}
    >>> model_of(Path("out/results.json"), data)
    'base (revision step100)'
    """
    return one_line(named(str(data.get("model_name") or ""), arguments_of(data)) or path.parent.resolve().name)


def samples_file(path: Path, data: dict, task: str, tasks: Iterable[str]) -> Path | None:
    """The samples of a task that were written along with these results. tasks: all in the results.

    >>> for name in ("results.json", "pretrained__base_arc.jsonl", "pretrained__tuned_arc.jsonl"):
    ...     _ = (FOLDER / name).write_text("{}")
    >>> data = {"config": {"model_args": "pretrained=base"}}
    >>> samples_file(FOLDER / "results.json", data, "arc", ["arc"]).name
    'pretrained__base_arc.jsonl'
    """
    if dated := DATE.search(path.name):
        found = path.with_name(_plain(f"samples_{task}_{dated.group(1)}.jsonl"))
        return found if found.is_file() else None
    given = (data.get("config") or {}).get("model_args")
    if isinstance(given, str):
        found = path.with_name(_plain(f"{re.sub('/|=', '__', given)}_{task}.jsonl"))
        return found if found.is_file() else None
    # Without the arguments only an unmistakable name will do: "arc" is also the end of "my_arc".
    longer = [other for other in tasks if other != task and other.endswith(f"_{task}")]
    ends = [file for file in sorted(path.parent.glob("*.jsonl")) if file.name.endswith(f"_{task}.jsonl")]
    ends = [file for file in ends if not any(file.name.endswith(f"_{other}.jsonl") for other in longer)]
    return ends[0] if len(ends) == 1 else None


def _plain(name: str) -> str:
    """A name in this folder and no other, whatever a task in the file is called."""
    return name.replace("/", "__").replace("\\", "__").replace("\0", "")


def groups_of(data: dict) -> dict[str, tuple[str, ...]]:
    """The names that are means over other tasks, and these. Files before 0.4.2 say only which names are groups.

    >>> groups_of({"group_subtasks": {"mmlu": ["mmlu_stem"], "mmlu_stem": ["mmlu_physics"], "mmlu_physics": []}})
    {'mmlu': ('mmlu_stem',), 'mmlu_stem': ('mmlu_physics',)}
    >>> groups_of({"results": {"ai2": {}, "arc": {}}, "groups": {"ai2": {}}, "configs": {"arc": {}}})
    {'ai2': ('arc',)}
    """
    listed: Any = data.get("group_subtasks")
    if isinstance(listed, dict):
        return {
            str(name): tuple(map(str, parts))
            for name, parts in listed.items()
            if isinstance(parts, (list, tuple)) and parts
        }
    configs = data.get("configs") or {}
    named = [
        name
        for name in data.get("results") or {}
        if name in (data.get("groups") or {}) or (configs and name not in configs)
    ]
    tasks = tuple(name for name in data.get("results") or {} if name not in named)
    return dict.fromkeys(named, tasks) if tasks else {}
