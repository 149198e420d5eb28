"""Logs of Inspect AI as measurements: ``.eval``, which is a zip of JSON files, and ``.json``.

One row a sample, with what the scorer that counts said of it. Several epochs of a sample are one row with the reduced score: the
epochs are of one question, and as rows of their own they would count it several times. Inspect itself is not needed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from capability_guard.formats.directions import lower_is_better
from capability_guard.formats.inspect_setting import arguments_of, epochs_of, reducer_of, samples_of, setting_of
from capability_guard.formats.metrics import Outcomes, matching, number, outcomes, said_of
from capability_guard.formats.packed import HARNESS
from capability_guard.formats.runs import Run, Scored, Unusable
from capability_guard.formats.which import named
from capability_guard.formats.wording import DAMAGE, not_whole, one_line, remarks, text_of
from capability_guard.jsonl import DataError
from capability_guard.measurement import Mean, MeasurementError, Row

GRADES = {"C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0, "yes": 1.0, "no": 0.0}
LETTERS = ("C", "I", "P", "N")  # correct, incorrect, partly, no answer: each says itself what is right


def is_log(data: Any) -> bool:
    """Whether this is the content of a log, or of its header.

    >>> is_log({"version": 2, "status": "success", "eval": {"task": "sums", "model": "base"}}), is_log({"results": {}})
    (True, False)
    """
    return isinstance(data, dict) and isinstance(data.get("eval"), dict) and "task" in data["eval"]


def run_of(data: dict, path: Path) -> Run:
    """The content of one log. Raises MeasurementError.

    >>> sample = {"id": 1, "epoch": 1, "input": "2+2?", "target": "4", "scores": {"match": {"value": "C"}}}
    >>> data = {"status": "success", "eval": {"task": "sums", "model": "base"}, "samples": [sample]}
    >>> run_of(data, Path("log.json")).read("sums", ()).rows[0].right
    True
    """
    try:
        spec = data["eval"]
        task, arguments = str(spec["task"]), spec.get("model_args") or {}
        model = one_line(spec["model"])
        # One provider serves several models of a path each.
        where = str(arguments.get("model_path") or "") if isinstance(arguments, dict) else ""
        if where.strip("/").split("/")[-1] not in model:
            model = f"{model} ({one_line(where)})"
        model = one_line(named(model, arguments if isinstance(arguments, dict) else {}))
        stats = data.get("stats") or {}
        packages = spec.get("packages") or {}
        about = {
            "machine": "", "versions": {str(name): str(version) for name, version in packages.items()},
            "measured": str(spec.get("created") or datetime.fromtimestamp(0, timezone.utc).isoformat(timespec="seconds")),
            "seconds": _seconds(stats.get("started_at"), stats.get("completed_at")),
        }  # fmt: skip
        return Run(path, model, str(spec.get("created") or ""), (task,), lambda name, asked: _task(name, asked, data, path),
                   harness=HARNESS, variant=", ".join(arguments_of(spec)), about=about)  # fmt: skip
    except (MeasurementError, DataError):
        raise
    except DAMAGE as error:
        raise not_whole(path, HARNESS, error) from error


def _seconds(start: Any, end: Any) -> float:
    try:
        return max(0.0, (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds())
    except (TypeError, ValueError):
        return 0.0


def _finished(data: dict, path: Path) -> None:
    """Raises MeasurementError for a log of which part is missing: what is missing may be what was lost."""
    status = data.get("status")
    if status != "success":
        error = data.get("error")
        said = f": {one_line(error.get('message'))[:100]}" if isinstance(error, dict) else ""
        raise MeasurementError(
            f"{path} was not finished (status {one_line(status)[:20]}{said}); run the evaluation again."
        )
    if data.get("invalidated") is True:
        raise MeasurementError(f"{path} was marked as invalid; run the evaluation again.")


def _task(task: str, asked: tuple[str, ...], data: dict, path: Path) -> Scored:
    """The samples by the scorer that counts, or for want of samples its mean."""
    _finished(data, path)
    by_id: dict[str, list[dict]] = {}
    for sample in samples_of(data):
        by_id.setdefault(json.dumps(sample["id"]), []).append(sample)
    if not by_id:
        return _from_mean(task, asked, data, path)
    by_id = {sample: by_id[sample] for sample in sorted(by_id, key=_place)}
    values = _values(data, by_id)
    read = {name: outcomes(name.split(",")[0], list(kept.values()), _lower(name, asked, by_id))
            for name, kept in values.items()}  # fmt: skip
    found = {name: (values[name], outcome) for name, outcome in read.items() if outcome is not None}
    if not found:
        raise Unusable(f"no scorer says how right an answer is ({', '.join(values) or 'there are no scores'})")
    used = next((m for text in asked if (m := matching(text, list(found)))), next(iter(found)))
    kept, outcome = found[used]
    _whole(task, used, data, {sample: by_id[sample] for sample in kept}, path)
    if epochs_of(data) > 1 and outcome.kind == "bits" and reducer_of(data, used) in ("mean", "median", ""):
        outcome = Outcomes("shares", outcome.values, outcome.lower)  # a share by its making, even if all are 0 or 1
    rows = [
        _row(task, by_id[sample], used, value, outcome.kind) for sample, value in zip(kept, outcome.values, strict=True)
    ]
    others = " or ".join(name for name in found if name != used)
    notes = [f"{task} counts by the scorer {used}, not {others}; --metric chooses another."] if others else []
    if missing := len(by_id) - len(kept):
        notes.append(f"{task} has no score for {missing} of {len(by_id)} samples.")
    notes += remarks(task, used, outcome)
    return Scored(used, tuple(found), setting_of(data, used, outcome), tuple(rows), None, tuple(notes))


def _place(sample: str) -> tuple[int, str]:
    """By the id, as numbers are sorted: two samples that ask the same are told apart by their place, which may not hang on which of
    them was done first."""
    return len(sample), sample


def _values(data: dict, by_id: dict[str, list[dict]]) -> dict[str, dict[str, float]]:
    """For each scorer the reduced score of each sample that has one. A scorer that gives several values is one for each."""
    found: dict[str, dict[str, float]] = {}
    for reduction in data.get("reductions") or ():  # what Inspect itself made of the epochs
        for entry in reduction["samples"]:
            for part, value in _parts(entry.get("value")):
                sample = json.dumps(entry.get("sample_id"))
                name = str(reduction["scorer"]) + part
                if value is not None and sample in by_id:
                    # Of several reducers the first counts: the values of the next do not replace its own.
                    found.setdefault(name, {}).setdefault(sample, value)
    if found:
        return {name: {sample: kept[sample] for sample in by_id if sample in kept} for name, kept in found.items()}
    for sample, epochs in by_id.items():
        sums: dict[str, list[float]] = {}
        for epoch in epochs:
            for scorer, score in (epoch.get("scores") or {}).items():
                for part, value in _parts(score["value"]):
                    if value is not None:
                        sums.setdefault(str(scorer) + part, []).append(value)
        for name, values in sums.items():
            found.setdefault(name, {})[sample] = sum(values) / len(values)
    return found


def _whole(task: str, used: str, data: dict, by_id: dict[str, list[dict]], path: Path) -> None:
    """Raises MeasurementError where an epoch of a sample has no score: one that failed may be one that would have been wrong."""
    wanted, part = epochs_of(data), used.removeprefix(used.partition(",")[0])
    scored = [sum(_float(_scores(epoch, used).get(part)) is not None for epoch in epochs) for epochs in by_id.values()]
    missing = sum(max(0, wanted - count) for count in scored)
    if missing:
        raise MeasurementError(
            f"{path}: of {task}, {missing} of {wanted * len(by_id)} epochs have no score by {used}; run them again."
        )


def _parts(value: Any) -> Iterator[tuple[str, float | None]]:
    """A score's values, each with what to add to the scorer's name."""
    if isinstance(value, dict):
        yield from ((f",{key}", _float(part)) for key, part in value.items())
    elif not isinstance(value, list):
        yield "", _float(value)


def _scores(sample: dict, used: str) -> dict[str, Any]:
    """What a scorer gave a sample, one value for each of its parts."""
    score = (sample.get("scores") or {}).get(used.partition(",")[0])
    value = score.get("value") if isinstance(score, dict) else None
    return {f",{part}": one for part, one in value.items()} if isinstance(value, dict) else {"": value}


def _lower(used: str, asked: tuple[str, ...], by_id: dict[str, list[dict]]) -> bool | None:
    """Whether less is better, since a log says nothing of the direction: as who asked says, by the letters that the answers were
    graded with, or by the names of the scorer and its part."""
    if (way := said_of(asked, used)) is not None:
        return not way
    scorer, _, part = used.partition(",")
    values = [_scores(sample, used).get(used.removeprefix(scorer)) for epochs in by_id.values() for sample in epochs]
    letters = [isinstance(value, str) and value in LETTERS for value in values if _float(value) is not None]
    if letters and all(letters):  # C is right by "toxicity", too
        return False
    ways = {lower_is_better(name) for name in (scorer, part) if name}
    return None if any(letters) and ways != {False} else ways.pop() if len(ways) == 1 else None


def _float(value: Any) -> float | None:
    """As Inspect turns a grade into a number. None for NaN, which says that a sample was not scored."""
    if isinstance(value, str):
        return GRADES.get(value, GRADES.get(value.lower(), number(value)))
    return number(value)


def _row(task: str, epochs: list[dict], scorer: str, value: float, kind: str) -> Row:
    sample = epochs[0]
    attached = sample.get("attachments") if isinstance(sample.get("attachments"), dict) else {}

    def words(value: Any) -> str:
        """A text, a list of messages or of texts; long ones are kept apart, under a name."""
        if isinstance(value, str):
            return text_of(
                attached.get(value.removeprefix("attachment://"), value) if value.startswith("attachment://") else value
            )
        if isinstance(value, list):
            parts = [
                words(part.get("content", part.get("text", "")) if isinstance(part, dict) else part) for part in value
            ]
            return "\n".join(part for part in parts if part)
        return "" if value is None else text_of(value)

    choices = tuple(words(choice) for choice in sample.get("choices") or ())
    letters = {chr(ord("A") + place): choice for place, choice in enumerate(choices[:26])}
    prompt, answer = words(sample.get("input")), words(sample.get("target"))
    score = (sample.get("scores") or {}).get(scorer.split(",")[0])
    said = words(score.get("answer")) if isinstance(score, dict) else ""
    if not said:
        said = words((sample.get("output") or {}).get("completion"))
    answer, said = letters.get(answer, answer), letters.get(said, said)
    if kind == "losses":
        return Row(prompt, answer, task, "loss", loss=value, said=said)
    if kind == "shares":
        return Row(prompt, answer, task, "share", share=value, said=said)
    return Row(prompt, answer, task, "choice" if choices else "exact", choices, right=value == 1, said=said)


def _from_mean(task: str, asked: tuple[str, ...], data: dict, path: Path) -> Scored:
    """A log without samples has each scorer's mean and standard error."""
    found: dict[str, tuple[Outcomes, dict, int | None]] = {}
    results = data.get("results") or {}
    for score in results.get("scores") or ():
        metrics = {str(name): number(metric["value"]) for name, metric in score["metrics"].items()}
        metric = next((name for name in ("accuracy", "mean") if metrics.get(name) is not None), "")
        lower = _lower(str(score["name"]), asked, {})
        # The accuracy of a scorer for what is bad: of letters it is good, of numbers bad, and without samples nobody knows.
        lower = None if lower and metric == "accuracy" and said_of(asked, str(score["name"])) is None else lower
        outcome = outcomes(str(score["name"]), [metrics.get(metric)], lower)
        if outcome is not None and outcome.kind != "losses":
            found.setdefault(str(score["name"]), (outcome, metrics, score.get("scored_samples")))
    if not found:
        raise Unusable("it has no samples, and no score from 0 to 1")
    used = next((m for text in asked if (m := matching(text, list(found)))), next(iter(found)))
    outcome, metrics, samples = found[used]
    _counted(task, used, results, path)
    samples = samples if isinstance(samples, int) and samples > 0 else None
    error = metrics.get("stderr") or metrics.get("bootstrap_stderr") or 0.0
    mean = Mean(task, outcome.mean, min(max(error / (100 if outcome.per_cent else 1), 0.0), 1.0), samples)
    note = f"{task} has no samples in {path.name}, so its comparison is not paired, and less sharp."
    return Scored(
        used, tuple(found), setting_of(data, used, outcome), mean=mean, notes=(note, *remarks(task, used, outcome))
    )


def _counted(task: str, used: str, results: dict, path: Path) -> None:
    """Raises MeasurementError where a mean is of some samples only, and nothing says of which."""
    whole, done = (number(results.get(name)) for name in ("total_samples", "completed_samples"))
    unscored = [number(score.get("unscored_samples")) or 0 for score in results["scores"] if score.get("name") == used]
    missing = max(0.0, (whole or 0) - (whole if done is None else done)) if whole else 0.0
    if missing := int(missing + sum(unscored)):
        raise MeasurementError(
            f"{path}: of {task}, {missing} samples have no score by {used}, and the log does not say which; run them again."
        )
