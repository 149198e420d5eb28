"""A measurement that an earlier command kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from capability_guard.measurement import Measurement


def earlier(file: Path) -> Measurement | None:
    """It, if it is there and whole."""
    from capability_guard.measurement import Measurement, MeasurementError

    try:
        return Measurement.load(file) if file.is_file() else None
    except MeasurementError:  # damaged: it is measured again, and replaced
        return None
