"""Results of lighteval as measurements.

    lighteval accelerate "model_name=M" "gsm8k|0" --output-dir out --save-details

writes ``out/results/M/results_DATE.json`` and, because of ``--save-details``, ``out/details/M/DATE/details_TASK_DATE.parquet``.
With the details the gate compares pair by pair; without them it has each task's mean and standard error. Parquet is read by
``pyarrow``, which is no dependency of the guard: it is asked for only when there are details.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from capability_guard.formats.directions import lower_is_better
from capability_guard.formats.metrics import Outcomes, in_order, matching, number, outcomes, said_of
from capability_guard.formats.runs import Run, Scored, Unusable
from capability_guard.formats.wording import DAMAGE, brief, ending, generation, not_whole, one_line, remarks, text_of
from capability_guard.jsonl import DataError
from capability_guard.measurement import Mean, MeasurementError, Row

HARNESS = "lighteval"
DATE = re.compile(r"^results_(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d[\d.-]*)\.json$")
UP = 6  # folders between a results file and the output folder, at most: a model's name may hold slashes


def is_result(data: Any) -> bool:
    """Whether this is the content of a results file of lighteval.

    >>> is_result({"config_general": {"model_name": "base"}, "results": {"gsm8k|0": {"em": 0.5}}}), is_result({"results": {}})
    (True, False)
    """
    return (
        isinstance(data, dict)
        and isinstance(data.get("results"), dict)
        and isinstance(data.get("config_general"), dict)
    )


def run_of(data: dict, path: Path) -> Run:
    """The content of one results file, of which each task is read when it is needed. Raises MeasurementError.

    >>> data = {"config_general": {"model_name": "base"}, "results": {"gsm8k|0": {"em": 0.5}, "all": {"em": 0.5}}}
    >>> run_of(data, Path("results_2026-01-02T03-04-05.000000.json")).tasks
    ('gsm8k|0',)
    """
    try:
        general, results = data["config_general"], data["results"]
        tasks = tuple(task for task, scores in results.items() if task != "all" and isinstance(scores, dict))
        averages = {task: _parts(task, tasks) for task in tasks if ":_average" in task}
        config = general.get("model_config") or {}
        name = general.get("model_name") or config.get("model_name") or path.parent.name
        others = [
            f"{key} {text_of(config[key])[:60]}" for key in ("revision", "subfolder", "adapter_weights", "base_model",
                                                           "lora_path", "lora_local_path", "adapter_path")
            if config.get(key) not in (None, "", "main", False)
        ]  # fmt: skip
        model = one_line(name) + (f" ({', '.join(others)})" if others else "")
        named = DATE.match(path.name)
        template = config.get("override_chat_template")
        return Run(
            path, model, named.group(1) if named else "", tasks, lambda task, asked: _task(task, asked, data, path),
            harness=HARNESS, groups=averages,
            settings={"override_chat_template": str(template)} if template is not None else {},
            about=_about(general, config, named.group(1) if named else ""),
        )  # fmt: skip
    except (MeasurementError, DataError):
        raise
    except DAMAGE as error:
        raise not_whole(path, HARNESS, error) from error


def _about(general: dict, config: dict, day: str) -> dict:
    sha = general.get("lighteval_sha")
    asked = {"precision": config.get("dtype"), "batch": config.get("batch_size")}
    try:  # in the name of the file only
        when = datetime.strptime(day[:19], "%Y-%m-%dT%H-%M-%S").replace(tzinfo=timezone.utc)
    except ValueError:
        when = datetime.fromtimestamp(0, timezone.utc)
    return {
        "machine": "",
        "measured": when.isoformat(timespec="seconds"),
        "seconds": number(general.get("total_evaluation_time_secondes")) or 0.0,
        "versions": {"lighteval": str(sha)[:12]} if sha and sha != "?" else {},
        "asked": {name: str(value) for name, value in asked.items() if value is not None},
    }


def _parts(average: str, tasks: Sequence[str]) -> tuple[str, ...]:
    """The tasks that an average is of: ``mmlu:_average|5`` is of ``mmlu:anatomy|5`` and its like."""
    stem, _, shots = average.partition(":_average")
    return tuple(
        task for task in tasks if ":_average" not in task and task.startswith(f"{stem}:") and task.endswith(shots)
    )


def _task(task: str, asked: tuple[str, ...], data: dict, path: Path) -> Scored:
    file = _details_file(path, task)
    if file is None:
        note = f"{task} has no details beside {path.name}, so its comparison is not paired, and less sharp."
        return _from_mean(task, asked, data, note)
    try:
        return _from_details(task, asked, data, read_details(file))
    except Unusable as error:
        try:
            return _from_mean(task, asked, data, f"{task} is compared by its mean, not pair by pair: {error}.")
        except Unusable:
            raise error from None


def _plain(name: str) -> str:
    """A file's name without the characters that Windows does not allow, since whoever copies a file there renames it."""
    return re.sub(r"[^A-Za-z0-9.-]+", "_", name)


def _details_file(path: Path, task: str) -> Path | None:
    """The details of a task that were written along with these results: beside them, or below a ``details`` folder above."""
    named = DATE.match(path.name)
    if not named:
        return None
    wanted = _plain(f"details_{task}_{named.group(1)}.parquet")
    folders = [path.parent, path.parent / named.group(1)]
    for parent in list(path.absolute().parents)[:UP]:
        if (parent / "details").is_dir():
            folders += sorted(folder for folder in (parent / "details").rglob(named.group(1)) if folder.is_dir())
            break
    for folder in folders:
        found = [file for file in sorted(folder.glob("details_*.parquet")) if _plain(file.name) == wanted]
        if found:
            return found[0]
    return None


def read_details(path: Path) -> list[dict]:
    """The rows of a details file. Raises MeasurementError, one sentence, also where ``pyarrow`` is missing.

    >>> _ = (FOLDER / "details.parquet").write_bytes(b"PAR1")
    >>> read_details(FOLDER / "details.parquet")
    Traceback (most recent call last):
    capability_guard.rows.MeasurementError: ...details.parquet is not what lighteval writes (ArrowInvalid: ...
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise MeasurementError(
            f"{path} is a parquet file, and reading it needs one package more: `pip install pyarrow`."
        ) from None
    try:
        with path.open("rb") as file:  # as a file: a name could be taken for a data set in folders
            rows = parquet.ParquetFile(file).read().to_pylist()
    except (*DAMAGE, pyarrow.ArrowException, MemoryError) as error:
        raise not_whole(path, HARNESS, error) from error
    if not rows:
        raise MeasurementError(f"{path} has no rows; evaluate again.")
    return rows


def _from_details(task: str, asked: tuple[str, ...], data: dict, rows: list[dict]) -> Scored:
    """One row a question. The order is that of the documents, since lighteval's own is by length."""
    scored = [(row, _scores(row)) for row in rows]
    scored.sort(key=lambda both: _place(both[0]))
    names = [name for name in dict.fromkeys(name for _, scores in scored for name in scores)]
    found = {}
    for name in names:
        having = [(row, scores[name]) for row, scores in scored if scores.get(name) is not None]
        outcome = outcomes(name.partition(":")[0], [value for _, value in having], _lower(data, task, name, asked))
        if outcome is not None:
            found[name] = ([row for row, _ in having], outcome)
    if not found:
        raise Unusable(
            f"of its details, no metric says how right an answer is ({', '.join(names[:6]) or 'they have none'})"
        )
    order = in_order(found)
    used = next((m for text in asked if (m := matching(text, order))), order[0])
    kept, outcome = found[used]
    missing = len(rows) - len(kept)
    notes = [f"{task} has no {used} for {missing} of {len(rows)} questions."] if missing else []
    made = tuple(_row(task, row, value, outcome.kind) for row, value in zip(kept, outcome.values, strict=True))
    return Scored(
        used,
        tuple(order),
        _setting(task, used, data, outcome),
        made,
        None,
        (*notes, *remarks(task, used, outcome)),
    )


def _scores(row: dict) -> dict[str, Any]:
    """The metrics of one question; before 0.11 as ``metrics``, and once as the text of a dictionary."""
    found = row.get("metric", row.get("metrics"))
    if isinstance(found, str):
        found = ast.literal_eval(found)  # reads constants, and runs nothing
    if not isinstance(found, dict):
        raise ValueError("a question has no metrics")
    return {str(name): value for name, value in found.items()}


def _place(row: dict) -> tuple[bool, float, str]:
    name = row["doc"].get("id") if isinstance(row.get("doc"), dict) else row.get("id")
    return (number(name) is None, number(name) or 0.0, str(name))


def _first(value: Any) -> Any:
    return next(iter(value), "") if isinstance(value, (list, tuple)) else "" if value is None else value


def _row(task: str, row: dict, value: float, kind: str) -> Row:
    doc = row["doc"] if isinstance(row.get("doc"), dict) else row
    response = row.get("model_response") if isinstance(row.get("model_response"), dict) else {}
    prompt = text_of(_first(doc.get("query") or doc.get("full_prompt") or doc.get("example")))
    choices = tuple(text_of(choice).strip() for choice in _listed(doc.get("choices")))
    gold = _first(_listed(doc.get("gold_index")))
    whole = isinstance(gold, int) and 0 <= gold < len(choices)
    answer = choices[gold] if whole else text_of(_first(_listed(doc.get("gold"))))
    said = text_of(_first(_listed(response.get("text")) or _listed(row.get("predictions")))).strip()
    likelihoods = [number(x) for x in _listed(response.get("logprobs"))]
    asked_to_choose = len(choices) > 1 and len(likelihoods) == len(choices) and None not in likelihoods
    if not said and asked_to_choose:
        said = choices[likelihoods.index(max(likelihoods))]
    if kind == "losses":
        return Row("", prompt or answer, task, "loss", loss=value)
    if kind == "shares":
        return Row(prompt, answer, task, "share", share=value, said=said)
    right = value == 1
    if asked_to_choose and right != (said == answer):  # under another normalisation than the likelihood alone
        said = answer if right else ""
    if not asked_to_choose:
        return Row(prompt, answer, task, "exact", right=right, said=said)
    return Row(prompt, answer, task, "choice", choices, right=right, said=said)


def _listed(value: Any) -> list:
    if isinstance(value, str) and value[:1] in "[(":
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return [value]
    return list(value) if isinstance(value, (list, tuple)) else [] if value is None else [value]


def _configured(data: dict, task: str) -> dict[str, Any]:
    """The metrics that a task was told to compute, with their direction. The results may have those of its neighbours as 0: to
    average several tasks, lighteval asks each for the metrics of the first."""
    config = (data.get("config_tasks") or {}).get(task)
    found: dict[str, Any] = {}
    for metric in (config.get("metrics") or config.get("metric") or ()) if isinstance(config, dict) else ():
        if isinstance(metric, dict):
            named, better = _listed(metric.get("metric_name")), metric.get("higher_is_better")
            found |= {str(name): better.get(str(name)) if isinstance(better, dict) else better for name in named}
    return found


def _lower(data: dict, task: str, name: str, asked: tuple[str, ...]) -> bool | None:
    # Its metrics by that name have the wrong direction in the file: "ppl" is said to be better when it is higher.
    better = None if name.startswith("ppl") else _configured(data, task).get(name)
    way = said_of(asked, name)
    return lower_is_better(name.partition(":")[0], better if way is None else way)


def _from_mean(task: str, asked: tuple[str, ...], data: dict, note: str) -> Scored:
    scores, own = data["results"][task], _configured(data, task)
    found = {}
    for name, value in scores.items():
        if name.endswith("_stderr") or (own and name not in own):
            continue
        outcome = outcomes(name.partition(":")[0], [value], _lower(data, task, name, asked))
        if outcome is not None and outcome.kind != "losses":
            found[name] = outcome
    if not found:
        raise Unusable(f"it has no details, and no score from 0 to 1 ({', '.join(list(scores)[:6]) or 'none at all'})")
    order = in_order(found)
    used = next((m for text in asked if (m := matching(text, order))), order[0])
    outcome = found[used]
    error = (number(scores.get(f"{used}_stderr")) or 0.0) / (100 if outcome.per_cent else 1)
    mean = Mean(task, outcome.mean, min(max(error, 0.0), 1.0))
    return Scored(
        used,
        tuple(order),
        _setting(task, used, data, outcome),
        mean=mean,
        notes=(note, *remarks(task, used, outcome)),
    )


def _setting(task: str, used: str, data: dict, outcome: Outcomes) -> str:
    """What must be the same in two results: the task's version, and how many questions and examples there were."""
    general, config = data["config_general"], (data.get("config_tasks") or {}).get(task)
    version = (config or {}).get("version") if isinstance(config, dict) else None
    version = (data.get("versions") or {}).get(task, version)
    words = [f"version {version}", used]
    if general.get("max_samples"):
        words.append(f"at most {general['max_samples']} samples")
    system = (general.get("model_config") or {}).get("system_prompt")
    words += [f"system prompt {brief(system)}"] if system else []
    return ", ".join(words) + _generated(general, config) + ending(outcome, used)


def _generated(general: dict, config: Any) -> str:
    """How the answers were generated; nothing where none were."""
    config = config if isinstance(config, dict) else {}
    if "generation_size" in config and config["generation_size"] is None:
        return ""
    given = (general.get("model_config") or {}).get("generation_parameters")
    return generation(
        {
            **(given if isinstance(given, dict) else {}),
            **{k: config.get(k) for k in ("generation_size", "stop_sequence")},
        }
    )
