"""Many runs as one call: each setting with several seeds, kept in a file so that no run is ever done twice.

    points = sweep([FineTuneConfig(rank=r) for r in (1, 8, 64)], store=DATA / "sweeps" / "fixes.json")

What is in the store already is read from it, and the call says so. The rest is run through joblib: ``jobs`` at a time
on this machine, or on a Dask cluster inside ``joblib.parallel_config(backend="dask")``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from tqdm import tqdm

from utils.config import FineTuneConfig
from utils.finetune import finetune
from utils.results import RunResult, by_setting, write_whole

SCHEMA = 1


@dataclass(frozen=True)
class Point:
    """One run, as small as a figure needs it.

    learned: share by which held-out new-task loss fell. forgotten: points of retention lost over all probes. loss: the
    held-out loss at the end, nats per token. steps, held_out, retention: the curve; retention is a share of the live probes.
    """

    config: FineTuneConfig
    learned: float
    forgotten: float
    loss: float
    seconds: float
    steps: tuple[int, ...] = ()
    held_out: tuple[float, ...] = ()
    retention: tuple[float, ...] = ()

    @classmethod
    def of(cls, result: RunResult) -> Point:
        """What to keep of a run."""
        steps, held_out = result.series("held_out_loss")
        curve = [round(x, 4) for x in held_out]
        kept = [round(x, 4) for x in result.series("accuracy")[1]]
        return cls(result.config, round(result.learned, 4), round(result.forgotten, 2), curve[-1], round(result.seconds, 2),
                   tuple(steps), tuple(curve), tuple(kept))  # fmt: skip


def sweep(
    configs: Iterable[FineTuneConfig],
    seeds: Sequence[int] = (0, 1, 2),
    *,
    store: str | Path | None = None,
    jobs: int = 1,
) -> list[Point]:
    """One Point for each of ``configs`` with each of ``seeds``, in that order.

    store: a JSON file to read known runs from and to add new ones to, after each run: an interrupt loses at most one.
    Runs that diverged are left out, and named. Raises ValueError for a store that cannot be read.
    """
    wanted = [config.with_(seed=seed) for config in configs for seed in seeds]
    known = {point.config: point for point in (load(store) if store is not None and Path(store).exists() else [])}
    missing = [config for config in dict.fromkeys(wanted) if config not in known]
    if store is not None:
        print(
            f"{len(set(wanted)) - len(missing)} of {len(set(wanted))} runs come from {Path(store).name}; {len(missing)} to run."
        )
    new = Parallel(n_jobs=jobs, return_as="generator_unordered")(delayed(_one)(config) for config in missing)
    for result in tqdm(new, total=len(missing), desc="runs", disable=not missing):
        if result.diverged:
            print(f"Left out, since it diverged: {result.config}")
            continue
        known[result.config] = Point.of(result)
        if store is not None:
            save(list(known.values()), store, result)
    return [known[config] for config in wanted if config in known]


def _one(config: FineTuneConfig) -> RunResult:
    return finetune(config, questions=())


def load(store: str | Path) -> list[Point]:
    """The runs in a file that ``sweep`` wrote. Raises ValueError, in one sentence, when it is not such a file."""
    try:
        data = json.loads(Path(store).read_text(encoding="utf-8"))
        if data["schema"] != SCHEMA:
            raise ValueError(f"{store} has schema {data['schema']!r} and this course reads {SCHEMA}; sweep again.")
        points = []
        for row in data["runs"]:
            curves = {name: tuple(row.pop(name)) for name in ("steps", "held_out", "retention")}
            points.append(Point(FineTuneConfig.from_string(row.pop("config")), **row, **curves))
        return points
    except (OSError, KeyError, TypeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{store} is not a readable sweep ({error}); remove it and sweep again.") from error


def save(points: Sequence[Point], store: str | Path, result: RunResult) -> Path:
    """Write a sweep, one run a line, with the versions and the machine of its last run."""
    rows = [json.dumps(asdict(replace(point, config=None)) | {"config": str(point.config)}) for point in points]
    head = json.dumps({"schema": SCHEMA, "versions": result.versions, "machine": result.machine})
    return write_whole(store, head[:-1] + ', "runs": [\n' + ",\n".join(rows) + "\n]}\n")


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
