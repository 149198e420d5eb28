"""Results of lm-evaluation-harness (0.4.0 up to today) as measurements, so that the gate can compare two of them.

    lm_eval --model hf --model_args pretrained=M --tasks arc_easy --output_path out --log_samples

writes ``results_DATE.json`` and, because of ``--log_samples``, ``samples_TASK_DATE.jsonl`` beside it. With the samples the
gate compares pair by pair. Without them it has each task's mean and standard error, and says that it is unpaired. The
harness itself is not needed here: only its files are read, and nothing in them is executed.

``files`` says which files belong together, ``samples`` what a task's samples say, and this module what a task's score is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from capability_guard.formats.lm_eval.files import arguments_of, date_of, groups_of, model_of, samples_file
from capability_guard.formats.lm_eval.samples import by_filter, metrics_of, once, read_samples, rows_of
from capability_guard.formats.metrics import Outcomes, in_order, lower_is_better, matching, number, outcomes
from capability_guard.formats.runs import DAMAGE, PER_CENT, Run, Scored, Unusable, merged, not_whole
from capability_guard.jsonl import DataError
from capability_guard.measurement import Mean, Measurement, MeasurementError

HARNESS = "lm-evaluation-harness"
NO_METRICS = ("alias", "name", "sample_len", "samples", "sample_count")


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
        tasks = tuple(task for task, scores in results.items() if task not in groups or _scores(scores))
        return Run(
            path, model_of(path, data), date_of(path, data), tasks, lambda task, asked: _task(task, asked, data, path),
            harness=HARNESS, groups=groups, settings=_settings(data), about=_about(data),
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
    asked = {"precision": config.get("model_dtype") or arguments_of(data).get("dtype"), "device": config.get("device")}
    return {
        "chat": bool(data.get("chat_template")),
        "machine": "",
        "seconds": number(data.get("total_evaluation_time_seconds")) or 0.0,
        "versions": {name: str(version) for name, version in versions.items() if version},
        "asked": {name: str(value) for name, value in asked.items() if value},
        "measured": datetime.fromtimestamp(number(data.get("date")) or 0, timezone.utc).isoformat(timespec="seconds"),
    }


def _task(task: str, asked: tuple[str, ...], data: dict, path: Path) -> Scored:
    """A task from its samples, or else from its mean."""
    file = samples_file(path, data, task, data["results"])
    if file is None:
        note = f"{task} has no samples in {path.name}, so its comparison is not paired, and less sharp."
        return _from_mean(task, asked, data, note)
    samples = read_samples(file)
    try:
        return _from_samples(task, asked, data, samples, path)
    except Unusable as error:
        note = f"{task} is compared by its mean, not pair by pair: {error}."
        try:
            return _from_mean(task, asked, data, note)
        except Unusable:
            raise error from None


def _from_samples(task: str, asked: tuple[str, ...], data: dict, samples: list[dict], path: Path) -> Scored:
    """One row a question. A task with several filters lists each question once for each."""
    named = _scores(data["results"][task])
    filters = by_filter(samples, list(dict.fromkeys(key.partition(",")[2] for key in named)))
    found: dict[str, tuple[list[dict], Outcomes]] = {}
    notes = []
    for kind, part in filters.items():
        part, twice = once(part)
        if twice and not found:
            notes.append(f"{task} has {twice} questions twice in its samples; each counts once.")
        for name in metrics_of(part, [key.partition(",")[0] for key in named]):
            having = [sample for sample in part if sample.get(name) is not None]
            outcome = outcomes(name, [sample[name] for sample in having], _lower(data, task, name))
            if outcome is not None:
                found[f"{name},{kind}"] = (having, outcome)
    if not found:
        has = list(dict.fromkeys(name for part in filters.values() for name in metrics_of(part, [])))
        raise Unusable(f"of its samples, no metric says how right an answer is ({', '.join(has[:6]) or 'they have none'})")
    # A metric that all questions have goes before one that only some have.
    most = max(len(having) for having, _ in found.values())
    names = in_order(sorted(found, key=lambda key: len(found[key][0]) < most))
    used = next((m for text in asked if (m := matching(text, names))), None) or _fullest(names, found)
    having, outcome = found[used]
    said = number(data["results"][task].get(used))
    if not DATED(path) and said is not None and outcome.kind != "losses" and abs(_score(used, said, data, task).mean - outcome.mean) > 0.005:
        # A later run overwrote the results of this one, and left its samples where they were.
        raise Unusable(f"its samples are of another run: they give {outcome.mean:.3f}")
    total = len(filters[used.partition(",")[2]])
    if len(having) < total and having:
        notes.append(f"{task} has {used.partition(',')[0]} for {len(having)} of {total} questions; these count.")
    return Scored(used, tuple(names), _setting(task, used, data, outcome), tuple(rows_of(task, having, outcome)), None,
                  (*notes, *_remarks(task, used, names, outcome)))  # fmt: skip


def _fullest(names: list[str], found: dict) -> str:
    most = max(len(having) for having, _ in found.values())
    return next(name for name in names if len(found[name][0]) == most)


def DATED(path: Path) -> bool:
    from capability_guard.formats.lm_eval.files import DATE

    return DATE.search(path.name) is not None


def _score(key: str, value: float, data: dict, task: str) -> Outcomes | None:
    name = key.partition(",")[0]
    return outcomes(name, [value], _lower(data, task, name))


def _from_mean(task: str, asked: tuple[str, ...], data: dict, note: str) -> Scored:
    """A task's mean and its standard error, for want of samples."""
    scores = data["results"][task]
    means = {
        key: outcome
        for key, value in _scores(scores).items()
        if (outcome := _score(key, value, data, task)) is not None and outcome.kind != "losses"
    }
    if not means:
        raise Unusable(f"it has no samples, and no score from 0 to 1 ({', '.join(_scores(scores)) or 'none at all'})")
    names = in_order(means)
    used = next((m for text in asked if (m := matching(text, names))), names[0])
    outcome, notes = means[used], [note]
    name, comma, kind = used.partition(",")
    error = number(scores.get(f"{name}_stderr{comma}{kind}"))
    effective = number(((data.get("n-samples") or {}).get(task) or {}).get("effective") or scores.get("sample_len"))
    samples = int(effective) if effective and 0 < effective < 1e12 else None
    if error is None and samples:
        # The harness writes "N/A" where it has none. A score from 0 to 1 varies at most as one that is 0 or 1.
        error = math.sqrt(outcome.mean * (1 - outcome.mean) / samples)
        notes.append(f"{task} has no standard error in the results; the largest that {samples} samples allow is used.")
    elif error is not None:
        error = error / 100 if outcome.per_cent else error
    mean = Mean(task, outcome.mean, min(max(error or 0.0, 0.0), 1.0), samples)
    return Scored(used, tuple(names), _setting(task, used, data, outcome), mean=mean,
                  notes=(*notes, *_remarks(task, used, names, outcome)))  # fmt: skip


def _scores(scores: dict) -> dict[str, float]:
    """The scores of a task by "metric,filter", without their standard errors."""
    return {
        key if "," in key else f"{key},none": value
        for key, raw in scores.items()
        if key.strip() and key.partition(",")[0] not in NO_METRICS and "_stderr" not in key and (value := number(raw)) is not None
    }


def _lower(data: dict, task: str, name: str) -> bool:
    """Whether less is better: as the results say, or the task's configuration, or what is known of the name."""
    said = ((data.get("higher_is_better") or {}).get(task) or {}).get(name)
    if not isinstance(said, bool):
        listed = ((data.get("configs") or {}).get(task) or {}).get("metric_list") or ()
        said = next((entry.get("higher_is_better") for entry in listed if isinstance(entry, dict) and entry.get("metric") == name), None)
    return lower_is_better(name, said)


def _setting(task: str, used: str, data: dict, outcome: Outcomes) -> str:
    """What must be the same in two results: another version of a task or another number of examples in the prompt can move a
    score as much as a training run."""
    name, _, kind = used.partition(",")
    words = f"version {(data.get('versions') or {}).get(task)}, {(data.get('n-shot') or {}).get(task)}-shot, {name}, filter {kind}"
    counts = (data.get("n-samples") or {}).get(task) or {}
    limit = (data.get("config") or {}).get("limit")
    if number(counts.get("original")) and number(counts.get("effective")):
        if counts["effective"] < counts["original"]:
            words += f", {counts['effective']} of {counts['original']} samples"
    elif limit:
        words += f", limit {limit}"
    return words + (PER_CENT if outcome.per_cent else "")


def _remarks(task: str, used: str, names: list[str], outcome: Outcomes) -> list[str]:
    """What a reader of the report should know of the metric that counts."""
    name, _, kind = used.partition(",")
    notes = []
    others = [other.partition(",")[2] for other in names if other.partition(",")[0] == name and other != used]
    if others:
        notes.append(f"{task} counts by its {name} under the filter {kind}, not {' or '.join(others)}; --metric chooses another.")
    if outcome.lower and outcome.kind != "losses":
        notes.append(f"{task} counts by its {name}, of which less is better: a rise is a loss.")
    if outcome.per_cent:
        notes.append(f"{task} has its {name} from 0 to 100; it is divided by 100.")
    if outcome.clipped:
        notes.append(f"{task} has {outcome.clipped} values of its {name} above the most that an answer can have wrong; they count as all wrong.")
    return notes


__all__ = ["from_results", "is_result", "run_of"]
