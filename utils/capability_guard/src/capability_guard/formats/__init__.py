"""Files that the gate can compare: measurements of the guard's own, and what other harnesses write.

Each format is one file here that turns a parsed result into a ``Measurement``. Nothing in a file is ever executed.
"""

from __future__ import annotations

from pathlib import Path

from capability_guard.formats import lm_eval
from capability_guard.measurement import Measurement, read_json


def read_measurement(path: str | Path, metric: str | None = None) -> Measurement:
    """A measurement of the guard, a results file of lm-evaluation-harness, or a folder with such results.

    Of a folder, the newest results are taken. metric: which metric of the harness counts, as "acc" or "exact_match,strict".
    Raises MeasurementError or DataError, one sentence.

    >>> from capability_guard.measurement import Row
    >>> path = Measurement("base", [Row("What is 2+2?", "4.", "arithmetic", right=True)]).save(FOLDER / "base.json")
    >>> read_measurement(path).model
    'base'
    """
    path = Path(path)
    if path.is_dir():
        path = lm_eval.newest(path)
    data = read_json(path)
    # Told by what is in it: the name and the ending of a file say little, and people rename files.
    return lm_eval.from_results(data, path, metric) if lm_eval.is_result(data) else Measurement.from_json(data, path)


__all__ = ["read_measurement"]
