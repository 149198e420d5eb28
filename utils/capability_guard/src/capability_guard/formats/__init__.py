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
    """
    path = Path(path)
    if path.is_dir():
        path = lm_eval.newest(path)
    data = read_json(path)
    return lm_eval.from_results(data, path, metric) if lm_eval.is_result(data) else Measurement.from_json(data, path)


__all__ = ["read_measurement"]
