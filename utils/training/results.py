"""What a run measured, from step 0 to its end, and its file on disk."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from capability_guard.curve import Checkpoint, series
from capability_guard.files import write_whole
from utils.training.config import FineTuneConfig

SCHEMA = 1
PACKAGES = ("torch", "transformers", "peft", "trl", "datasets")


@dataclass
class RunResult:
    """One fine-tuning run: its settings, its curve and its answers.

    checkpoints: from step 0 on. probes: the prompts measured before and after, in order; capabilities: one a probe;
    before and after: whether each probe was right. questions, answers_before, answers_after: what the model said.
    seconds_measuring: for how long the training stood still to be measured.
    stopped: why the run ended early ("" if it did not). model: the tuned model, only if it was asked to be kept.
    """

    config: FineTuneConfig
    checkpoints: list[Checkpoint] = field(default_factory=list)
    probes: list[str] = field(default_factory=list)
    capabilities: list[str] = field(default_factory=list)
    before: list[bool] = field(default_factory=list)
    after: list[bool] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)
    answers_before: list[str] = field(default_factory=list)
    answers_after: list[str] = field(default_factory=list)
    trainable: int = 0
    parameters: int = 0
    seconds: float = 0.0
    seconds_measuring: float = 0.0
    stopped: str = ""
    versions: dict[str, str] = field(default_factory=lambda: {p: version(p) for p in PACKAGES})
    machine: str = field(default_factory=lambda: f"{platform.system()} {platform.machine()}")
    model: Any = field(default=None, repr=False, compare=False)

    @property
    def diverged(self) -> bool:
        """Whether a loss stopped being a number."""
        return any(c.held_out_loss is not None and not math.isfinite(c.held_out_loss) for c in self.checkpoints)

    @property
    def learned(self) -> float:
        """By how much held-out new-task loss fell, as a share of what it was: 0.5 means halved."""
        first, last = self.checkpoints[0].held_out_loss, self.checkpoints[-1].held_out_loss
        if not first or last is None:
            raise ValueError("This run measured no held-out new-task loss; give the monitor held-out texts.")
        return 1 - last / first

    @property
    def forgotten(self) -> float:
        """How many points of retention were lost (per cent of all probes), before against after."""
        return 100 * (sum(self.before) - sum(self.after)) / len(self.before)

    def series(self, name: str) -> tuple[list[int], list[float]]:
        """(steps, values) of a field of Checkpoint, or of one capability, leaving out what was not measured."""
        return series(self.checkpoints, name)

    def save(self, path: str | Path) -> Path:
        """Write JSON, to a temporary name first, so that a crash cannot leave half a file."""
        data = {k: v for k, v in self.__dict__.items() if k not in ("config", "checkpoints", "model")}
        data["before"], data["after"] = _bits(self.before), _bits(self.after)
        data = {"schema": SCHEMA, "config": self.config.to_dict(), **data,
                "checkpoints": [asdict(c) for c in self.checkpoints]}  # fmt: skip
        return write_whole(path, json.dumps(_without_nan(data), indent=1, ensure_ascii=False, allow_nan=False))

    @classmethod
    def load(cls, path: str | Path) -> RunResult:
        """Read what ``save`` wrote. Raises ValueError with one sentence when the file is not such a result."""
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
            raise ValueError(f"{path} is not a readable result ({error}); save the run again.") from error
        if not isinstance(data, dict) or "schema" not in data:
            raise ValueError(f"{path} is JSON but no result of a run; give a file that RunResult.save wrote.")
        schema = data.pop("schema")
        if schema != SCHEMA:
            raise ValueError(
                f"{path} has schema {schema!r} and this course reads {SCHEMA}; use the version that wrote it."
            )
        try:
            data = _with_nan(data)
            data["config"] = FineTuneConfig.from_dict(data["config"])
            data["checkpoints"] = [Checkpoint(**c) for c in data["checkpoints"]]
            data["before"], data["after"] = ([bit == "1" for bit in data[key]] for key in ("before", "after"))
            return cls(**data)
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path} is not a whole result ({error}); save the run again.") from error


def by_setting(runs: Iterable[Any]) -> dict[FineTuneConfig, list[Any]]:
    """Runs that differ by nothing but the seed, together: anything with a ``config``, in the order of its settings."""
    groups: dict[FineTuneConfig, list[Any]] = {}
    for run in runs:
        groups.setdefault(run.config.with_(seed=0), []).append(run)
    return groups


def _bits(values: list[bool]) -> str:
    return "".join("1" if value else "0" for value in values)


def _without_nan(value: Any) -> Any:
    """JSON has no NaN: a diverged loss is written as the text "nan", so that it stays apart from "not measured"."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {k: _without_nan(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_without_nan(v) for v in value]
    return value


def _with_nan(data: dict) -> dict:
    """Undo ``_without_nan`` where figures stand: in the checkpoints."""
    for checkpoint in data["checkpoints"]:
        for name, value in checkpoint.items():
            if value in ("nan", "inf", "-inf"):
                checkpoint[name] = float(value)
    return data
