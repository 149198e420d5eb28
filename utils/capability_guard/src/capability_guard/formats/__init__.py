"""Files that the gate can compare: measurements of the guard's own, and what other harnesses write.

Each harness has a module here that turns a parsed result into a ``Run``; ``runs`` makes one measurement of several, ``metrics``
says what their numbers mean, and ``alike`` brings two measurements into one form. Nothing in a file is ever executed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from capability_guard.formats import inspect, lighteval, lm_eval
from capability_guard.formats.alike import alike
from capability_guard.formats.packed import is_packed, unpack
from capability_guard.formats.runs import Run, merged
from capability_guard.formats.wording import one_line
from capability_guard.measurement import Measurement, MeasurementError, read_json

KINDS = (
    "a measurement of capability-guard, results of lm-evaluation-harness (results_*.json), a log of Inspect AI (.eval or .json) "
    "or results of lighteval (results_*.json)"
)
# Names by which a harness calls its files. One that cannot be read may be the newest, so it is not passed over.
RESULTS = re.compile(r"^results.*\.json$|^\d{4}-\d\d-\d\dT.*\.json$")


def read_measurement(path: str | Path, metric: str | Sequence[str] | None = None) -> Measurement:
    """A measurement of the guard, results of lm-evaluation-harness or lighteval, a log of Inspect AI, or a folder of the last three.

    Of a folder, each task is taken from the newest file that has it. metric: which metric of the harness counts: "acc",
    "exact_match,strict-match", for one task "gsm8k=exact_match,flexible-extract", or several of these; with ":lower" or ":higher" at
    its end it says which way is better, where nothing else does. Raises MeasurementError or DataError, one sentence.

    >>> from capability_guard.measurement import Row
    >>> path = Measurement("base", [Row("What is 2+2?", "4.", "arithmetic", right=True)]).save(FOLDER / "base.json")
    >>> read_measurement(path).model
    'base'
    """
    try:
        return _read(Path(path), metric)
    except MeasurementError as error:  # it may quote the file, which may hold anything
        if len(str(error).splitlines()) > 1:
            raise MeasurementError(one_line(str(error))) from error
        raise


def _read(path: Path, metric: str | Sequence[str] | None) -> Measurement:
    if path.is_dir():
        return merged(_runs_in(path), metric, path)
    data = _content(path)
    if (run := _run(data, path)) is not None:
        return merged([run], metric)
    if isinstance(data, dict) and "schema" in data and "rows" in data:
        return Measurement.from_json(data, path)
    raise MeasurementError(f"{path} is JSON but no measurement that is read here; give {KINDS}.")


def read_pair(
    baseline: str | Path, candidate: str | Path, metric: str | Sequence[str] | None = None
) -> tuple[Measurement, Measurement]:
    """Two measurements that are to be compared, in one form. Raises MeasurementError or DataError, one sentence.

    >>> import json
    >>> for name, score in (("base", 0.7), ("tuned", 0.6)):
    ...     data = {"model_name": name, "results": {"arc": {"acc,none": score, "acc_stderr,none": 0.01}}}
    ...     _ = (FOLDER / f"{name}.json").write_text(json.dumps(data))
    >>> [side.means[0].value for side in read_pair(FOLDER / "base.json", FOLDER / "tuned.json")]
    [0.7, 0.6]
    """
    return alike(read_measurement(baseline, metric), read_measurement(candidate, metric))


def _content(path: Path) -> Any:
    """Told by what is in it: the name and the ending of a file say little, and people rename files."""
    return unpack(path) if is_packed(path) else read_json(path)


def _run(data: Any, path: Path) -> Run | None:
    for harness, fits in ((inspect, inspect.is_log), (lighteval, lighteval.is_result), (lm_eval, lm_eval.is_result)):
        if fits(data):
            return harness.run_of(data, path)
    return None


def _runs_in(folder: Path) -> list[Run]:
    """Every result below a folder. Raises MeasurementError where there is none, or more than one harness's."""
    runs = []
    for file in sorted((*folder.rglob("*.json"), *folder.rglob("*.eval"))):
        if not file.is_file():
            continue
        try:
            data = _content(file)
        except MeasurementError:
            if file.suffix == ".eval" or RESULTS.match(file.name):
                raise
            continue  # another program's
        if (run := _run(data, file)) is not None:
            runs.append(run)
    if not runs:
        raise MeasurementError(f"{folder} is a folder without a results_*.json or a log; give {KINDS}.")
    harnesses = list(dict.fromkeys(run.harness for run in runs))
    if len(harnesses) > 1:
        raise MeasurementError(f"{folder} has results of {' and of '.join(harnesses)}; give the folder of one.")
    return runs


__all__ = ["alike", "read_measurement", "read_pair"]
