"""One task of lm-evaluation-harness: pair by pair from its samples, or by its mean where there are none."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

from capability_guard.formats.directions import lower_is_better
from capability_guard.formats.lm_eval.files import is_dated, samples_file
from capability_guard.formats.lm_eval.samples import by_filter, metrics_of, once, read_samples, rows_of
from capability_guard.formats.metrics import (
    Outcomes,
    in_order,
    is_share_of_right,
    matching,
    number,
    outcomes,
    pooled_loss,
    said_of,
)
from capability_guard.formats.runs import Scored, Unusable
from capability_guard.formats.wording import ending, generation, remarks
from capability_guard.measurement import Mean, MeasurementError

NEARLY_NONE = 0.1  # of the answers: a filter that finds no more right than that may not fit how the model writes
NO_METRICS = ("alias", "name", "sample_len", "samples", "sample_count")


def read_task(task: str, asked: tuple[str, ...], data: dict, path: Path) -> Scored:
    """A task from its samples, or else from its mean. asked: the metrics that were asked for. data: the results in ``path``.

    Raises Unusable where nothing can be compared, MeasurementError or DataError for samples that cannot be read.

    >>> data = {"results": {"arc": {"acc,none": 0.7, "acc_stderr,none": "N/A"}}, "n-samples": {"arc": {"effective": 84}}}
    >>> read_task("arc", (), data, Path("results.json")).mean
    Mean(name='arc', value=0.7, error=0.05, samples=84)
    """
    file = samples_file(path, data, task, data["results"])
    if file is None:
        note = f"{task} has no samples in {path.name}, so its comparison is not paired, and less sharp."
        return _from_mean(task, asked, data, note)
    samples = read_samples(file)
    try:
        scored = _from_samples(task, asked, data, samples, path)
        return scored if not asked or _met(asked, scored) else _only_in_mean(task, asked, data, scored)
    except Unusable as error:
        note = f"{task} is compared by its mean, not pair by pair: {error}."
        try:
            return _from_mean(task, asked, data, note)
        except Unusable:
            raise error from None


def _met(asked: tuple[str, ...], scored: Scored) -> bool:
    return any(matching(text, scored.has) == scored.used for text in asked)


def _only_in_mean(task: str, asked: tuple[str, ...], data: dict, scored: Scored) -> Scored:
    """By the mean, if what was asked for is known of the whole task only, as the correlation of CoLA is."""
    try:
        note = f"{task} is compared by its mean, not pair by pair: its samples have no {' or '.join(asked)}."
        by_mean = _from_mean(task, asked, data, note)
    except Unusable:
        return scored
    return by_mean if _met(asked, by_mean) else scored


def _from_samples(task: str, asked: tuple[str, ...], data: dict, samples: list[dict], path: Path) -> Scored:
    """One row a question. A task with several filters lists each question once for each."""
    named = scores_of(data["results"][task])
    filters = by_filter(samples, list(dict.fromkeys(key.partition(",")[2] for key in named)))
    found: dict[str, tuple[list[dict], Outcomes]] = {}
    notes = []
    for kind in filters:
        filters[kind], twice = once(filters[kind])
        part = filters[kind]
        if twice:
            notes.append(f"{task} has {twice} questions twice in its samples; each counts once.")
        for name in metrics_of(part, [key.partition(",")[0] for key in named]):
            having = [sample for sample in part if sample.get(name) is not None]
            outcome = outcomes(name, [sample[name] for sample in having], _lower(data, task, f"{name},{kind}", asked))
            if outcome is not None:
                found[f"{name},{kind}"] = (having, outcome)
    if not found:
        has = list(dict.fromkeys(name for part in filters.values() for name in metrics_of(part, [])))
        raise Unusable(
            f"of its samples, no metric says how right an answer is ({', '.join(has[:6]) or 'they have none'})"
        )
    # A metric that all questions have goes before one that only some have.
    lacking = {key: len(filters[key.partition(",")[2]]) - len(having) for key, (having, _) in found.items()}
    names = sorted(in_order(found), key=lambda key: lacking[key] > 0)
    used = next((m for text in asked if (m := matching(text, names))), names[0])
    having, outcome = found[used]
    notes += _other_run(task, used, data, outcome, [sample[used.partition(",")[0]] for sample in having], path)
    if lacking[used]:
        notes.append(f"{task} has no {used.partition(',')[0]} for {lacking[used]} of its questions; the others count.")
    read = {key: other for key, (_, other) in found.items()}
    return Scored(used, tuple(names), _setting(task, used, data, outcome), tuple(rows_of(task, having, outcome)), None,
                  (*notes, *_remarks(task, used, read)))  # fmt: skip


def _other_run(task: str, used: str, data: dict, outcome: Outcomes, raw: list, path: Path) -> list[str]:
    """A note where the samples do not give the score in the results. Raises Unusable where that tells another run's samples, and
    MeasurementError where they are losses: of these no mean could stand in for the samples."""
    value = number(data["results"][task].get(used))
    if value is not None and outcome.kind == "losses":
        return _other_losses(task, used, value, raw, path)
    score = None if value is None else _score(used, value, outcome.lower)
    if score is None or abs(score.mean - outcome.mean) <= 0.005:
        return []
    if not is_dated(path):  # up to 0.4.2 a second run overwrote the results, and left these samples where they were
        raise Unusable(
            f"its samples are of another run, since they give {outcome.mean:.3f} where the results have {score.mean:.3f}"
        )
    return [f"{task} has {score.mean:.3f} in the results and {outcome.mean:.3f} in its samples; these count."]


def _other_losses(task: str, used: str, value: float, raw: list, path: Path) -> list[str]:
    """The same of log-likelihoods, of which the harness makes one figure over all units of all texts."""
    name = used.partition(",")[0]
    given = value * math.log(2) if name == "bits_per_byte" else math.log(value) if value > 0 else None
    found = pooled_loss(name, raw)
    if given is None or found is None or abs(given - found) <= 0.005 * max(1.0, abs(given)):
        return []
    figures = f"{found:.3f} nats where the results have {given:.3f}"
    if not is_dated(path):
        raise MeasurementError(
            f"{path}: the samples of {task} are of another run, since they give {figures}; evaluate again, into a folder of its own."
        )
    return [f"{task} has other samples than its results are of: they give {figures}; the samples count."]


def _score(key: str, value: float, lower: bool | None) -> Outcomes | None:
    return outcomes(key.partition(",")[0], [value], lower)


def _from_mean(task: str, asked: tuple[str, ...], data: dict, note: str) -> Scored:
    """A task's mean and its standard error, for want of samples."""
    scores = data["results"][task]
    means = {
        key: outcome
        for key, value in scores_of(scores).items()
        if (outcome := _score(key, value, _lower(data, task, key, asked))) is not None and outcome.kind != "losses"
    }
    if not means:
        raise Unusable(f"it has no samples, and no score from 0 to 1 ({', '.join(scores_of(scores)) or 'none at all'})")
    names = in_order(means)
    used = next((m for text in asked if (m := matching(text, names))), names[0])
    outcome, notes = means[used], [note]
    name, comma, kind = used.partition(",")
    error = number(scores.get(f"{name}_stderr{comma}{kind}"))
    effective = number(((data.get("n-samples") or {}).get(task) or {}).get("effective") or scores.get("sample_len"))
    samples = int(effective) if effective and 0 < effective < 1e12 else None
    if error is None and samples and is_share_of_right(name):
        # The harness writes "N/A" where it has none. A mean of grades from 0 to 1 varies at most as one of 0 and 1.
        error = math.sqrt(outcome.mean * (1 - outcome.mean) / samples)
        notes.append(f"{task} has no standard error in the results; the largest that {samples} samples allow is used.")
    elif error is not None:
        error = error / 100 if outcome.per_cent else error
    mean = Mean(task, outcome.mean, min(max(error or 0.0, 0.0), 1.0), samples)
    return Scored(used, tuple(names), _setting(task, used, data, outcome), mean=mean,
                  notes=(*notes, *_remarks(task, used, means)))  # fmt: skip


def scores_of(scores: dict) -> dict[str, float]:
    """The scores of a task by "metric,filter", without their standard errors.

    >>> scores_of({"alias": "arc", "acc,none": 0.7, "acc_stderr,none": 0.1})
    {'acc,none': 0.7}
    """
    return {
        key if "," in key else f"{key},none": value
        for key, raw in scores.items()
        if key.strip()
        and key.partition(",")[0] not in NO_METRICS
        and "_stderr" not in key
        and (value := number(raw)) is not None
    }


def _lower(data: dict, task: str, key: str, asked: tuple[str, ...]) -> bool | None:
    """Whether less is better: as who asked says, or the results, or the task's configuration, or what is known of the name."""
    name, way = key.partition(",")[0], said_of(asked, key)
    return lower_is_better(name, _said(data, task, name) if way is None else way)


def _said(data: dict, task: str, name: str) -> Any:
    """What the results say of the direction of a metric, or the task's configuration; None where neither does."""
    said = ((data.get("higher_is_better") or {}).get(task) or {}).get(name)
    if not isinstance(said, bool):
        listed = ((data.get("configs") or {}).get(task) or {}).get("metric_list") or ()
        own = [entry for entry in listed if isinstance(entry, dict) and entry.get("metric") == name]
        said = own[0].get("higher_is_better") if own else None
    return said


def _strictness(config: dict, name: str, kind: str) -> str:
    """How an answer was taken out of a text and held against the right one, as six digits that change with it; "" if plainly.

    A metric that ignores case, or a filter with a wider pattern, finds more of the same answers right.
    """
    metrics = [m for m in config.get("metric_list") or () if isinstance(m, dict) and m.get("metric") == name]
    options = {k: v for m in metrics for k, v in m.items() if k not in ("metric", "aggregation", "higher_is_better")}
    filters = [
        f.get("filter") for f in config.get("filter_list") or () if isinstance(f, dict) and f.get("name") == kind
    ]
    steps = [s for listed in filters for s in listed or () if isinstance(s, dict) and s.get("function") != "take_first"]
    if not options and not steps:
        return ""
    rules = json.dumps([options, steps], sort_keys=True, default=lambda _: "")
    return f", rules {hashlib.sha256(rules.encode('utf-8', 'replace')).hexdigest()[:6]}"


def _setting(task: str, used: str, data: dict, outcome: Outcomes) -> str:
    """What must be the same in two results: another version of a task or another number of examples in the prompt can move a
    score as much as a training run."""
    name, _, kind = used.partition(",")
    words = f"version {(data.get('versions') or {}).get(task)}, {(data.get('n-shot') or {}).get(task)}-shot, {name}, filter {kind}"
    config = (data.get("configs") or {}).get(task) or {}
    words += generation(config.get("generation_kwargs")) + _strictness(config, name, kind)
    counts = (data.get("n-samples") or {}).get(task) or {}
    limit = (data.get("config") or {}).get("limit")
    if number(counts.get("original")) and number(counts.get("effective")):
        if counts["effective"] < counts["original"]:
            words += f", {counts['effective']} of {counts['original']} samples"
    elif limit:
        words += f", limit {limit}"
    return words + ending(outcome, used)


def _remarks(task: str, used: str, read: dict[str, Outcomes]) -> list[str]:
    """What a reader of the report should know of the metric that counts, with the filters that there are besides."""
    name, _, kind = used.partition(",")
    others = {key.partition(",")[2]: read[key].mean for key in read if key.partition(",")[0] == name and key != used}
    notes = (
        [f"{task} counts by its {name} under the filter {kind}, not {' or '.join(others)}; --metric chooses another."]
        if others
        else []
    )
    mean, best = read[used].mean, max(others, key=others.get, default="")
    if others and read[used].kind != "losses" and mean < NEARLY_NONE and others[best] > 2 * NEARLY_NONE:
        notes.append(
            f"{task} has {100 * mean:.1f} % right under the filter {kind} and {100 * others[best]:.1f} % under {best}: by the "
            f"first it can hardly show a loss; --metric '{task}={name},{best}' counts by the other."
        )
    return [*notes, *remarks(task, name, read[used])]
