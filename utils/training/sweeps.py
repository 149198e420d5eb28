"""Many runs as one call: each setting with several seeds, kept in a table so that no run is ever done twice.

    points = sweep([FineTuneConfig(rank=r) for r in (1, 8, 64)], store=DATA / "sweeps" / "fixes.jsonl")

What is in the store already is read from it, and the call says so. The rest is run through joblib: ``jobs`` at a time
on this machine, or on a Dask cluster, by the same call inside ``joblib.parallel_config(backend="dask")``.
"""

from __future__ import annotations

import json
import math
import os
import zlib
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from tqdm import tqdm

from utils.training.config import FineTuneConfig
from utils.training.finetuning import finetune
from utils.training.remedies import Remedy, register
from utils.training.results import RunResult, by_setting

SCHEMA = 2
_CURVES = ("steps", "held_out", "retention", "original", "kl")


@dataclass(frozen=True)
class Point:
    """One run, as small as a figure or a claim needs it.

    learned: share by which held-out new-task loss fell. forgotten: points of retention lost over all probes. loss: the
    held-out loss at the end, nats per token. seconds: what the run took, measuring included.
    The curve, one entry a checkpoint: steps, held_out (nats per token), retention (share of the live probes), original
    (loss on everyday text, nats per token), kl (to the base model on held-out new-task text, nats per token).
    before, after: one character a probe, "1" where it was right; probes: a fingerprint of the questions, in their order.
    """

    config: FineTuneConfig
    learned: float
    forgotten: float
    loss: float
    seconds: float
    steps: tuple[int, ...] = ()
    held_out: tuple[float, ...] = ()
    retention: tuple[float, ...] = ()
    original: tuple[float, ...] = ()
    kl: tuple[float, ...] = ()
    before: str = ""
    after: str = ""
    probes: str = ""

    @classmethod
    def of(cls, result: RunResult) -> Point:
        """What to keep of a run."""
        curve = {name: tuple(round(x, 4) for x in result.series(field)[1])
                 for name, field in (("held_out", "held_out_loss"), ("retention", "accuracy"),
                                     ("original", "original_loss"), ("kl", "kl"))}  # fmt: skip
        return cls(
            result.config, round(result.learned, 4), round(result.forgotten, 2), curve["held_out"][-1],
            round(result.seconds, 2), tuple(result.series("held_out_loss")[0]), **curve,
            before=_bits(result.before), after=_bits(result.after), probes=fingerprint(result.probes),
        )  # fmt: skip


def train_one(config: FineTuneConfig) -> RunResult:
    """What ``sweep`` does for each setting, unless it is told otherwise."""
    return finetune(config, questions=())


def sweep(
    configs: Iterable[FineTuneConfig],
    seeds: Sequence[int] = (0, 1, 2),
    *,
    store: str | Path | None = None,
    jobs: int | None = None,
    run: Callable[..., Any] = train_one,
    together: Callable[[FineTuneConfig], Hashable] | None = None,
) -> list[Point]:
    """One Point for each of ``configs`` with each of ``seeds``, in that order.

    store: a JSONL table to read known runs from and to add each new one to as soon as it ends: what kills the sweep
    costs the runs in flight and no other, and the same call goes on from there.
    jobs: how many runs at a time; None means one, or what joblib's surrounding context says, such as a cluster's workers.
    run: what to do for one setting, by default the course's task and probes: a function of a module, so that another
    process can find it. Give each such function a store of its own: settings alone tell runs in a store apart.
    together: settings of which this says the same are run in one go: ``run`` gets a list of them, and gives as many results.
    Runs that diverged are left out, and named. Raises ValueError for a store that cannot be read.
    """
    wanted = list(dict.fromkeys(config.with_(seed=seed) for config in configs for seed in seeds))
    known = _read(store) if store is not None and Path(store).exists() else {}
    missing = [config for config in wanted if config not in known]
    if store is not None:
        said = f"{len(wanted) - len(missing)} of {len(wanted)} runs come from {Path(store).name}"
        print(f"{said}; {len(missing)} to run.")
    if missing:
        groups: dict[Hashable, list[FineTuneConfig]] = {}
        for config in missing:
            groups.setdefault(together(config) if together else config, []).append(config)
        tasks = (delayed(_run)(run, group if together else group[0], group[0].cure) for group in groups.values())
        done = Parallel(n_jobs=jobs, return_as="generator_unordered")(tasks)
        for some in tqdm(done, total=len(groups), desc="runs"):
            for result in (results := some if together else [some]):
                known[result.config] = None if result.diverged else Point.of(result)
            if store is not None:
                save(results, store)
    if diverged := [str(config) for config in wanted if known[config] is None]:
        print(f"Left out, since they diverged: {', '.join(diverged)}")
    return [known[config] for config in wanted if known[config] is not None]


def _run(run: Callable[..., Any], settings: Any, cure: Remedy | None) -> Any:
    """One run, maybe in another process: a remedy of one's own has to be made known there."""
    if cure is not None:
        register(cure)
    return run(settings)


# --- The store: one run a line, with the versions and the machine that it ran on ----------------------------------
def save(results: Sequence[RunResult], store: str | Path) -> Path:
    """Add runs to a table. Each line is written at once and to the disk: a crash can tear no line but the last one."""
    path = Path(store)
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(_line(result) + "\n" for result in results)
    with path.open("ab+") as file:  # appending, so that two sweeps into one table do not undo each other's runs
        file.seek(0)
        whole = file.read().rfind(b"\n") + 1
        if whole < file.seek(0, os.SEEK_END):
            file.truncate(whole)  # half a line, from a run that was killed while it wrote
        file.write(lines.encode())
        file.flush()
        os.fsync(file.fileno())
    return path


def load(store: str | Path) -> list[Point]:
    """The runs in a table that ``sweep`` wrote. Raises ValueError, in one sentence, when it is not such a file."""
    return [point for point in _read(store).values() if point is not None]


def _line(result: RunResult) -> str:
    row = {"schema": SCHEMA, "config": str(result.config)}
    if result.diverged:
        row["diverged"] = result.stopped
    else:
        row |= {name: value for name, value in asdict(Point.of(result)).items() if name != "config"}
    return json.dumps(row | {"versions": result.versions, "machine": result.machine})


def _read(store: str | Path) -> dict[FineTuneConfig, Point | None]:
    """Each run of a table by its settings; None for one that diverged. A torn last line counts as not there."""
    points: dict[FineTuneConfig, Point | None] = {}
    number = 0
    try:
        text = Path(store).read_text(encoding="utf-8")
        for number, line in enumerate(text[: text.rfind("\n") + 1].splitlines(), 1):  # noqa: B007 - named in the error
            row = json.loads(line)
            if (schema := row.pop("schema")) != SCHEMA:
                raise ValueError(f"{store} has schema {schema!r} and this course reads {SCHEMA}; sweep again.")
            config = FineTuneConfig.from_string(row.pop("config"))
            if "diverged" in row:
                points[config] = None
                continue
            del row["versions"], row["machine"]
            points[config] = Point(config, **row | {name: tuple(row[name]) for name in _CURVES})
        return points
    except (OSError, KeyError, TypeError, AttributeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{store} is not a readable sweep (line {number}: {error!r}); remove it and sweep again."
        ) from error


def _bits(values: Sequence[bool]) -> str:
    return "".join("01"[bool(value)] for value in values)


def fingerprint(probes: Sequence[str]) -> str:
    """Eight hexadecimal digits that change with the questions or their order: outcomes pair only where they agree."""
    return f"{zlib.crc32(chr(10).join(probes).encode()):08x}"


# --- Reading a sweep ------------------------------------------------------------------------------------------------
def at_same_learning(points: Sequence[Point], learned: float) -> float:
    """Points forgotten where a group of settings has learned just so much, between its settings by a straight line.

    That is what makes two remedies comparable: one that forgets less because it learned less has remedied nothing.
    NaN where the group never learned so much, or always more: there is nothing to read off.
    """
    by_learning = sorted((share, lost) for share, lost, _ in means(points).values())
    shares, lost = zip(*by_learning, strict=True)
    if not shares[0] <= learned <= shares[-1]:
        return math.nan
    return float(np.interp(learned, shares, lost))


def means(points: Sequence[Point]) -> dict[FineTuneConfig, tuple[float, float, float]]:
    """For each setting, over its seeds: mean learned, mean forgotten, and half the range of forgotten."""
    return {config: (sum(p.learned for p in group) / len(group), sum(p.forgotten for p in group) / len(group),
                     (max(p.forgotten for p in group) - min(p.forgotten for p in group)) / 2)
            for config, group in by_setting(points).items()}  # fmt: skip
