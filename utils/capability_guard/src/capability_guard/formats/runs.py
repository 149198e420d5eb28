"""Several results of one model as one measurement: of each task the newest, and nothing left out without a word.

A folder collects what was evaluated over days: another task in the evening, the same task again after a mistake, another model
beside it. Taking the newest file and no other would let a task fall out of the comparison unseen. So each task is taken from the
newest file that has it, results of several models are refused, and the notes name every file, used or not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from capability_guard.formats.metrics import Wanted, matching
from capability_guard.formats.wording import DAMAGE, not_whole, one_line, text_of
from capability_guard.jsonl import DataError
from capability_guard.measurement import Mean, Measurement, MeasurementError, Row


class Unusable(Exception):
    """A task of which nothing can be compared. The message says why, as the end of a sentence.

    >>> raise Unusable("none of its metrics is from 0 to 1")
    Traceback (most recent call last):
    capability_guard.formats.runs.Unusable: none of its metrics is from 0 to 1
    """


@dataclass(frozen=True)
class Scored:
    """One task as one file has it. used: the metric that counts. has: all that could. setting: whatever must be the same in two
    results of this task. Rows or a mean, not both.

    >>> Scored(used="acc", has=("acc", "f1"), setting="0-shot, acc").rows
    ()
    """

    used: str
    has: tuple[str, ...]
    setting: str
    rows: tuple[Row, ...] = ()
    mean: Mean | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Run:
    """One file of results.

    when: a text that sorts by date. tasks: the names of those in it. read: a task's outcomes, by its name and the metrics that
    were asked for; raises Unusable. harness: what wrote it. parts: the files with its single outcomes. groups: a name that is a
    mean over other tasks, and these. variant: what tells apart two results of a task that are not to replace each other.
    settings: what must be the same in two results of any task. loaded: the arguments that say which model it is. about: other
    fields of the measurement, as its versions.

    >>> Run(Path("results.json"), "base", "2026-01-02", ("arc",), read=None).model
    'base'
    """

    file: Path
    model: str
    when: str
    tasks: tuple[str, ...]
    read: Callable[[str, tuple[str, ...]], Scored]
    harness: str = ""
    parts: tuple[Path, ...] = ()
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    variant: str = ""
    settings: dict[str, str] = field(default_factory=dict)
    loaded: dict[str, str] = field(default_factory=dict)
    about: dict = field(default_factory=dict)


def merged(runs: Sequence[Run], metric: str | Sequence[str] | None = None, folder: Path | None = None) -> Measurement:
    """One measurement of one model: each task from the newest run that has it.

    metric: which metric counts, for all tasks or as "task=metric". Raises MeasurementError or DataError, one sentence.

    >>> def read(task, asked):
    ...     return Scored("acc", ("acc",), "0-shot, acc", mean=Mean(task, 0.5, 0.1))
    >>> runs = [Run(Path(f"results_{day}.json"), "base", day, ("arc", task), read) for day, task in (("1", "boolq"), ("2", "piqa"))]
    >>> found = merged(runs)
    >>> sorted(mean.name for mean in found.means)
    ['arc', 'boolq', 'piqa']
    >>> found.notes[0]
    'base: results_1.json (boolq), results_2.json (arc, piqa).'
    """
    runs = sorted(runs, key=lambda run: (run.when, run.file.name))
    where = folder or runs[-1].file
    models = list(dict.fromkeys(run.model for run in runs))
    if len(models) > 1:
        raise MeasurementError(
            f"{where} has results of {len(models)} models ({_listed(models)}); give the folder or the file of one."
        )
    _one_model(runs, where)
    runs = _told_apart(runs)
    source = {task: run for run in runs for task in run.tasks}  # a later run replaces an earlier one
    source, group_notes = _without_groups(source, runs)
    if any(text_of(task) != task for task in source):
        raise MeasurementError(f"{where}: the name of a task holds half a character; evaluate again.")
    wanted = Wanted.of(metric, source)
    scored, notes = _scored(source, wanted, where)
    used = [run for run in runs if any(source[task] is run for task in scored)]
    return Measurement(
        model=one_line(models[0]),
        rows=tuple(row for found in scored.values() for row in found.rows),
        means=tuple(found.mean for found in scored.values() if found.mean is not None),
        settings={name: one_line(words) for name, words in _settings(scored, source, used).items()},
        notes=tuple(dict.fromkeys(map(one_line, (*_files(runs, source, scored, folder), *group_notes, *notes)))),
        **_about(used or runs),
    )


def _one_model(runs: Sequence[Run], where: Path) -> None:
    """Raises MeasurementError where results under one name are of models that were loaded from different places."""
    for name in dict.fromkeys(name for run in runs for name in run.loaded):
        given = list(dict.fromkeys(run.loaded[name] for run in runs if name in run.loaded))
        if len(given) > 1:
            raise MeasurementError(
                f"{where} has results of {_short(runs[0].model)} with {name} {_listed(given)}; give the folder or the file of one."
            )


def _told_apart(runs: Sequence[Run]) -> list[Run]:
    """With its variant in the name of a task, where it was run in several: one subject of an exam is not a newer one of another."""
    variants: dict[str, set[str]] = {}
    for run in runs:
        for task in run.tasks:
            variants.setdefault(task, set()).add(run.variant)
    return [
        replace(
            run,
            tasks=tuple(
                f"{task} ({run.variant})" if len(variants[task]) > 1 and run.variant else task for task in run.tasks
            ),
        )
        for run in runs
    ]


def _without_groups(source: dict[str, Run], runs: Sequence[Run]) -> tuple[dict[str, Run], list[str]]:
    """Without the means of tasks that are here as well: these would count twice."""
    groups = {name: parts for run in runs for name, parts in run.groups.items()}

    def here(name: str, seen: frozenset = frozenset()) -> bool:
        """Whether any task below a group is in the results. A group may have groups."""
        return any(
            (part in source and part not in groups) or (part not in seen and here(part, seen | {name}))
            for part in groups.get(name, ())
        )

    dropped = [name for name in source if here(name)]
    note = f"Left out, as means of tasks that are counted: {_listed(dropped, 12)}." if dropped else ""
    return {name: run for name, run in source.items() if name not in dropped}, [note] if note else []


def _scored(source: dict[str, Run], wanted: Wanted, where: Path) -> tuple[dict[str, Scored], list[str]]:
    """The outcomes of each task, and what a reader should know about them."""
    scored, refused, notes, offered, met = {}, [], [], [], set()
    for task, run in source.items():
        asked = wanted.for_task(task)
        try:
            found = run.read(task, asked)
        except Unusable as error:
            refused.append(f"{task} is left out: {error}")
            continue
        except (MeasurementError, DataError):
            raise
        except DAMAGE as error:
            raise not_whole(f"{run.file}, {_short(task)}", run.harness, error) from error
        offered += found.has
        hits = {text for text in asked if matching(text, found.has) == found.used}
        met |= hits
        if asked and not hits:
            if wanted.named(task):
                raise MeasurementError(f"{where} has no metric {asked[0]!r} for {task!r}; it has {_listed(found.has)}.")
            notes.append(f"{task} has no {' or '.join(asked)}: its {found.used} counts.")
        scored[task] = found
        notes += found.notes
    for text in wanted.everywhere:
        if text in met or not source:
            continue
        task = text.partition("=")[0].strip()
        if "=" in text and not any(text == name for name in offered):
            raise MeasurementError(
                f"{where} has no task {task!r}, for which a metric was named; it has {_listed(source)}."
            )
        raise MeasurementError(f"{where} has no metric {text!r}; it has {_listed(dict.fromkeys(offered)) or 'none'}.")
    if not scored and refused:
        raise MeasurementError(f"{where} has nothing to compare: {refused[0]}; evaluate with samples (--log_samples).")
    return scored, [*_thinned(notes), *(f"{text}." for text in refused)]


def _settings(scored: dict[str, Scored], source: dict[str, Run], used: Sequence[Run]) -> dict[str, str]:
    """What must be the same in two measurements. What all runs share has a line of its own; the rest goes to the tasks."""
    names = list(dict.fromkeys(name for run in used for name in run.settings))
    shared = {
        name: used[0].settings.get(name, "") for name in names if len({run.settings.get(name) for run in used}) == 1
    }
    settings = {}
    for task, found in scored.items():
        own = "".join(f", {name} {value}" for name, value in source[task].settings.items() if name not in shared)
        settings[task] = found.setting + own
    return settings | shared


def _about(used: Sequence[Run]) -> dict:
    """The other fields of the measurement, from the newest run; where runs differ in what matters, one sentence."""
    if len({bool(run.about.get("chat")) for run in used}) > 1:
        raise MeasurementError(
            f"{used[-1].file} and {used[0].file.name} differ in the chat template; evaluate all tasks alike."
        )
    about = dict(used[-1].about)
    for name in about.keys() & {"versions", "asked"}:
        about[name] = {text_of(key): text_of(value) for key, value in about[name].items()}
    about |= {"measured": text_of(about["measured"])} if "measured" in about else {}
    about["seconds"] = round(sum(run.about.get("seconds", 0.0) for run in used), 2)
    return about


def _files(runs: Sequence[Run], source: dict[str, Run], scored: dict[str, Scored], folder: Path | None) -> list[str]:
    """Which files the measurement is made of, and which were left out."""

    def name(file: Path) -> str:
        """In two folders, two files may have one name."""
        return file.relative_to(folder).as_posix() if folder and file.is_relative_to(folder) else file.name

    model = _short(runs[-1].model)
    tasks = {id(run): [task for task in scored if source[task] is run] for run in runs}
    used = [run for run in runs if tasks[id(run)]]
    shown = [f"{name(run.file)} ({_listed(tasks[id(run)])})" if len(used) > 1 else name(run.file) for run in used]
    older = [name(run.file) for run in runs if not tasks[id(run)]]
    # Samples whose results were overwritten by a later run, or never written.
    beside = {file for run in runs if folder and run.parts for file in run.file.parent.glob("*.jsonl")}
    strays = [name(file) for file in sorted(beside - {file for run in runs for file in run.parts})]
    return [
        f"{model}: {words}{', '.join(files)}."
        for words, files in (
            ("", shown),
            ("left out, since newer files have their tasks: ", older),
            ("left out, since no results belong to them: ", strays),
        )
        if files
    ]


def _thinned(notes: list[str]) -> list[str]:
    """Where the same is noted of many tasks, once: the 57 tasks of MMLU need no 57 lines."""
    kinds: dict[str, list[str]] = {}
    for note in notes:
        task, _, rest = note.partition(" ")
        kinds.setdefault(rest, []).append(task)
    return [
        note
        for rest, tasks in kinds.items()
        for note in (
            [f"{task} {rest}" for task in tasks]
            if len(tasks) <= 3
            else [f"{', '.join(tasks[:3])} and {len(tasks) - 3} more: {rest}"]
        )
    ]


def _listed(names: Iterable[str], most: int = 6) -> str:
    names = [_short(name) for name in names]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _short(name: str) -> str:
    """On one line and not too long: it comes from a file."""
    line = one_line(name)
    return line if len(line) <= 80 else line[:77] + "..."
