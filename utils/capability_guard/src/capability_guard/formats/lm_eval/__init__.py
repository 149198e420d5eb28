"""Results of lm-evaluation-harness (0.4.0 up to today) as measurements, so that the gate can compare two of them.

    lm_eval --model hf --model_args pretrained=M --tasks arc_easy --output_path out --log_samples

writes ``results_DATE.json`` and, because of ``--log_samples``, ``samples_TASK_DATE.jsonl`` beside it. With the samples the
gate compares pair by pair. Without them it has each task's mean and standard error, and says that it is unpaired. The
harness itself is not needed here: only its files are read, and nothing in them is executed.

``files`` says which files belong together, ``samples`` what a task's samples say, and ``tasks`` what of them counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from capability_guard.formats.lm_eval.files import (
    arguments_of,
    date_of,
    groups_of,
    model_of,
    samples_file,
)
from capability_guard.formats.lm_eval.tasks import read_task, scores_of
from capability_guard.formats.metrics import number
from capability_guard.formats.runs import Run, merged
from capability_guard.formats.which import which
from capability_guard.formats.wording import DAMAGE, not_whole
from capability_guard.jsonl import DataError
from capability_guard.measurement import Measurement, MeasurementError

HARNESS = "lm-evaluation-harness"


def is_result(data: Any) -> bool:
    """Whether this is the content of a results file of the harness.

    >>> is_result({"results": {"arc_easy": {"acc,none": 0.72}}}), is_result({"schema": 1, "rows": []})
    (True, False)
    """
    other = {"rows", "config_general", "config_tasks", "eval"}  # a measurement, lighteval, Inspect
    return isinstance(data, dict) and isinstance(data.get("results"), dict) and not other & data.keys()


def from_results(data: dict, path: Path, metric: str | Sequence[str] | None = None) -> Measurement:
    """From the parsed content of the results file ``path``, and from the samples beside it.

    metric: which metric counts, as "acc", "exact_match,strict-match" or "gsm8k=exact_match,flexible-extract", or several.
    Raises MeasurementError or DataError.

    >>> data = {"results": {"arc_easy": {"acc,none": 0.72, "acc_stderr,none": 0.01}}}
    >>> from_results(data, Path("results.json")).means[0]
    Mean(name='arc_easy', value=0.72, error=0.01, samples=None)
    """
    return merged([run_of(data, path)], metric)


def run_of(data: dict, path: Path) -> Run:
    """The content of one results file, of which each task is read when it is needed. Raises MeasurementError.

    >>> run_of({"results": {"arc_easy": {"acc,none": 0.72}}, "model_name": "base"}, Path("results.json")).tasks
    ('arc_easy',)
    """
    # The layout is the harness's own and changes with its versions, so a field may be absent or of another type anywhere.
    try:
        results = data["results"]
        if not all(isinstance(scores, dict) for scores in results.values()):
            raise TypeError("the scores of a task are an object")
        groups = groups_of(data)
        # A group without a score of its own is a heading, as MMLU's may be.
        tasks = tuple(task for task, scores in results.items() if task not in groups or scores_of(scores))
        return Run(
            path, model_of(path, data), date_of(path, data), tasks, lambda task, asked: read_task(task, asked, data, path),
            harness=HARNESS, loaded=which(arguments_of(data)), groups=groups, settings=_settings(data), about=_about(data),
            parts=tuple(file for task in results if (file := samples_file(path, data, task, results)) is not None),
        )  # fmt: skip
    except (MeasurementError, DataError):
        raise
    except DAMAGE as error:
        raise not_whole(path, HARNESS, error) from error


def _settings(data: dict) -> dict[str, str]:
    shas = {name: data.get(name) for name in ("chat_template_sha", "system_instruction_sha")}
    return {name: str(sha)[:12] for name, sha in shas.items() if sha}


def _about(data: dict) -> dict:
    config = data.get("config") or {}
    versions = {"lm_eval": data.get("lm_eval_version"), "transformers": data.get("transformers_version")}
    # Noted by the gate where the two differ, and not refused.
    precision = str(config.get("model_dtype") or arguments_of(data).get("dtype") or "").removeprefix("torch.")
    # What names no model and is not noted by itself, as how much of a prompt is read.
    others = {
        k: v
        for k, v in arguments_of(data).items()
        if k not in (*which(arguments_of(data)), "dtype", "device", "trust_remote_code")
    }
    asked = {"precision": precision, "device": config.get("device"), "context": data.get("max_length"),
             "arguments": ", ".join(f"{name} {others[name]}" for name in sorted(others))}  # fmt: skip
    return {
        "chat": bool(data.get("chat_template")),
        "machine": "",
        "seconds": number(data.get("total_evaluation_time_seconds")) or 0.0,
        "versions": {name: str(version) for name, version in versions.items() if version},
        "asked": {name: str(value) for name, value in asked.items() if value},
        "measured": datetime.fromtimestamp(number(data.get("date")) or 0, timezone.utc).isoformat(timespec="seconds"),
    }


__all__ = ["from_results", "is_result", "run_of"]
