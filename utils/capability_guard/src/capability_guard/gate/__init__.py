"""The gate: did the candidate get worse than the baseline?

``rule`` has the rule, ``pairs`` what belongs together, ``reports`` and ``markdown`` the decision as files, ``terminal`` as a table.
``several`` judges many candidates against one baseline, and names the best within the budget.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from capability_guard.formats import read_pair
from capability_guard.gate.candidates import is_copy
from capability_guard.gate.reports import preview, write_html
from capability_guard.gate.rule import Comparison, Decision, Rules, judge
from capability_guard.measurement import MeasurementError


def compare_files(
    baseline: str | Path, candidate: str | Path, metric: str | Sequence[str] | None = None, **rules
) -> Decision:
    """Read two files and judge them; ``rules`` are those of ``judge``. Raises MeasurementError or DataError.

    metric: which metric of lm-evaluation-harness counts, if the files are its results.

    >>> from capability_guard.measurement import Measurement, Row
    >>> for name, right in (("base", True), ("tuned", False)):
    ...     rows = [Row(f"What is {n}+1?", f"{n + 1}.", "arithmetic", right=right) for n in range(20)]
    ...     _ = Measurement(name, rows).save(FOLDER / f"{name}.json")
    >>> compare_files(FOLDER / "base.json", FOLDER / "tuned.json").word
    'regressed'
    """
    # Compared as files and not as names: through a link or a relative path, one file may have two.
    if os.path.exists(baseline) and os.path.exists(candidate) and os.path.samefile(baseline, candidate):
        raise MeasurementError(f"{baseline} is the baseline and the candidate; a file always passes against itself.")
    before, after = read_pair(baseline, candidate, metric)
    if is_copy(before, after):
        raise MeasurementError(f"{candidate} is a copy of {baseline}; a file always passes against itself.")
    return judge(before, after, **rules)


__all__ = ["Comparison", "Decision", "Rules", "compare_files", "judge", "preview", "write_html"]
