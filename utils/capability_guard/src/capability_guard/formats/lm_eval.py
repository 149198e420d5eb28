"""Results of lm-evaluation-harness as measurements, so that the gate can compare two of them.

    lm_eval --model hf --model_args pretrained=M --tasks arc_easy --output_path out --log_samples

writes ``results_DATE.json`` and, because of ``--log_samples``, ``samples_TASK_DATE.jsonl`` beside it. With the samples the
gate compares pair by pair. Without them it has each task's mean and standard error, and says that it is unpaired. The
harness itself is not needed here: only its files are read, and nothing in them is executed.
"""

from __future__ import annotations

import json
import math
import re
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from capability_guard.jsonl import DataError, load_jsonl
from capability_guard.measurement import Mean, Measurement, MeasurementError, Row

# Exact match and, among choices, the score that does not favour short ones go first.
PREFERRED = ("exact_match", "acc_norm", "acc")  # which metric counts, where a task has several
PERPLEXITY = "word_perplexity"  # its samples are [log-likelihood, words]
DATE = re.compile(r"_(\d{4}-\d\d-\d\dT[\d.-]+)\.json$")


def is_result(data: Any) -> bool:
    """Whether this is the content of a results file of the harness.

    >>> is_result({"results": {"arc_easy": {"acc,none": 0.72}}}), is_result({"schema": 1, "rows": []})
    (True, False)
    """
    return isinstance(data, dict) and isinstance(data.get("results"), dict) and "rows" not in data


def newest(folder: Path) -> Path:
    """The newest results file below a folder. Raises MeasurementError where there is none.

    >>> for day in ("2025-03-02", "2025-11-30"):
    ...     _ = (FOLDER / f"results_{day}T10-00-00.000000.json").write_text("{}")
    >>> newest(FOLDER).name
    'results_2025-11-30T10-00-00.000000.json'
    """
    # By the date in the name: the file system's own is that of the last copy or checkout.
    found = sorted(folder.rglob("results_*.json"), key=lambda file: file.name)
    if not found:
        raise MeasurementError(f"{folder} is a folder without a results_*.json; give a file, or the harness's output.")
    return found[-1]


def from_results(data: dict, path: Path, metric: str | None = None) -> Measurement:
    """From the parsed content of the results file ``path``, and from the samples beside it.

    metric: which metric of the harness counts, as "acc" or "exact_match,strict". Raises MeasurementError or DataError.

    >>> data = {"results": {"arc_easy": {"acc,none": 0.72, "acc_stderr,none": 0.01}}}
    >>> from_results(data, Path("results.json")).means[0]
    Mean(name='arc_easy', value=0.72, error=0.01, samples=None)
    """
    # The layout is the harness's own and changes with its versions, so a field may be absent or of another type anywhere.
    try:
        return _measurement(data, path, metric)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError, OSError) as error:
        if isinstance(error, (MeasurementError, DataError)):
            raise
        raise MeasurementError(
            f"{path} is not what lm-evaluation-harness writes ({type(error).__name__}: {error}); evaluate again."
        ) from error


def _measurement(data: dict, path: Path, metric: str | None) -> Measurement:
    """From the harness's results, and the samples beside them."""
    groups = {name for name, parts in (data.get("group_subtasks") or {}).items() if parts}
    rows: list[Row] = []
    means, settings, notes = [], {}, []
    for task, scores in data["results"].items():
        if task in groups:  # the mean of other tasks, each of which is here as well
            continue
        samples = _samples_file(path, task)
        if samples is not None:
            answered, used = _rows(task, load_jsonl(samples, ()), metric, samples)
            rows += answered
        else:
            mean, used = _mean(task, scores, data, metric, path)
            means.append(mean)
            notes.append(f"{task} has no samples in {path.name}, so its comparison is not paired, and less sharp.")
        # The gate refuses to compare two measurements whose settings differ: another version of a task or another number
        # of examples in the prompt can move a score as much as a training run.
        settings[task] = (
            f"version {data.get('versions', {}).get(task)}, {data.get('n-shot', {}).get(task)}-shot, {used}"
        )
    for name in ("chat_template_sha", "system_instruction_sha"):
        if data.get(name):
            settings[name] = data[name][:12]
    versions = {"lm_eval": data.get("lm_eval_version"), "transformers": data.get("transformers_version")}
    return Measurement(
        model=str(data.get("model_name") or path.parent.name), rows=tuple(rows), means=tuple(means), settings=settings,
        notes=tuple(notes), chat=bool(data.get("chat_template")), machine="",
        seconds=round(float(data.get("total_evaluation_time_seconds") or 0), 2),
        versions={name: str(version) for name, version in versions.items() if version},
        measured=datetime.fromtimestamp(data.get("date") or 0, timezone.utc).isoformat(timespec="seconds"),
    )  # fmt: skip


def _samples_file(path: Path, task: str) -> Path | None:
    """The samples of a task that were written along with these results."""
    date = DATE.search(path.name)
    found = path.with_name(f"samples_{task}_{date.group(1)}.jsonl") if date else None
    return found if found is not None and found.is_file() else None


def _rows(task: str, samples: list[dict], metric: str | None, path: Path) -> tuple[list[Row], str]:
    """One row a question, and what was counted. A task with several filters lists each question once for each."""
    name, wanted = (metric or "").split(",")[0], (metric or "").partition(",")[2]
    filters = list(dict.fromkeys(sample.get("filter", "none") for sample in samples))
    chosen = wanted or filters[0]
    # By question, since a prompt that comes twice is told apart by its place (``Measurement.keyed``).
    samples = sorted((s for s in samples if s.get("filter", "none") == chosen), key=lambda s: s["doc_id"])
    there = [m for m in (samples[0]["metrics"] if samples else ()) if all(m in sample for sample in samples)]
    binary = [m for m in there if all(_bit(sample[m]) for sample in samples)]
    if name and name in binary:
        used = name
    elif name:
        raise MeasurementError(f"{path} has no 0-or-1 metric {metric!r}; it has {', '.join(binary) or 'none'}.")
    else:
        used = next((m for m in (*PREFERRED, *binary) if m in binary), PERPLEXITY if PERPLEXITY in there else "")
    if not used:
        raise MeasurementError(f"{path} has no metric that is 0 or 1 for each question; it has {', '.join(there)}.")
    return [_row(task, sample, used) for sample in samples], f"{used}, filter {chosen}"


def _bit(value: Any) -> bool:
    return isinstance(value, (bool, int, float)) and value in (0, 1)


def _row(task: str, sample: dict, metric: str) -> Row:
    arguments = sample["arguments"]
    asked = [tuple(a.values()) if isinstance(a, dict) else tuple(a)
             for a in (arguments.values() if isinstance(arguments, dict) else arguments)]  # fmt: skip
    target, said = str(sample["target"]), sample["filtered_resps"]
    if metric == PERPLEXITY:  # nats per word: tokens would differ from model to model
        total, words = sample[PERPLEXITY]
        return Row("", target, task, "loss", loss=-float(total) / max(1, words))
    right, prompt = sample[metric] == 1, str(asked[0][0])
    if len(asked) < 2:
        return Row(prompt, target, task, "exact", right=right, said=_text(said[0] if said else ""))
    ends = [str(a[1]).strip() for a in asked]  # what each choice adds to the question; or the choice comes first
    choices = tuple(ends if len(set(ends)) > 1 else [str(a[0]) for a in asked])
    likelihoods = [float(answer[0]) for answer in said]
    best = choices[likelihoods.index(max(likelihoods))] if len(likelihoods) == len(choices) else ""
    answer = choices[int(target)] if target.isdigit() and int(target) < len(choices) else target
    # Under a length-normalised metric the likeliest choice need not be the one that was scored.
    return Row(prompt, answer, task, "choice", choices, right, said=answer if right else best if best != answer else "")


def _text(said: Any) -> str:
    return said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)


def _mean(task: str, scores: dict, data: dict, metric: str | None, path: Path) -> tuple[Mean, str]:
    """A task's mean and its standard error, for want of samples."""
    better = (data.get("higher_is_better") or {}).get(task) or {}
    usable = [
        key
        for key, value in scores.items()
        if "," in key and "_stderr," not in key and better.get(key.split(",")[0], True)
        and isinstance(value, (int, float)) and 0 <= value <= 1
    ]  # fmt: skip
    usable.sort(key=lambda key: PREFERRED.index(m) if (m := key.split(",")[0]) in PREFERRED else len(PREFERRED))
    if metric:
        usable = [key for key in usable if metric in (key, key.split(",")[0])]
    if not usable:
        raise MeasurementError(
            f"{path} has no {metric or 'score from 0 to 1'} for {task!r}, and no samples; evaluate with --log_samples."
        )
    # The harness writes "N/A" where it has no standard error.
    name, _, kind = usable[0].partition(",")
    error = scores.get(f"{name}_stderr,{kind}")
    known = isinstance(error, (int, float)) and math.isfinite(error)
    samples = ((data.get("n-samples") or {}).get(task) or {}).get("effective")
    return Mean(task, float(scores[usable[0]]), float(error) if known else 0.0, samples), f"{name}, filter {kind}"
