"""Watch a fine-tuning run for what it forgets: a callback for any ``transformers.Trainer`` or TRL trainer.

    monitor = RegressionMonitor(tokenizer, probes, every=10)
    trainer = SFTTrainer(model, ..., callbacks=[monitor])
    trainer.train()
    monitor.checkpoints        # from step 0, measured before anything trained

The model under test is whatever the trainer trains, PEFT-wrapped or not. Measuring changes nothing: no random number
is drawn, and every module is afterwards in the mode that it was in. In several processes the first one measures, and
all of them stop when it says so. A run that is resumed goes on with the baseline of its first start.
"""

from __future__ import annotations

import hashlib
import json
import math
import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from capability_guard.files import write_whole
from capability_guard.probes import MEASURES, Probe

SCHEMA = 1
PACKAGES = ("torch", "transformers", "peft")
# What the fields of a file may be, besides the rows and the scores, which are checked one by one.
KINDS = {"model": str, "adapter": (str, type(None)), "chat": bool, "notes": list, "settings": dict, "versions": dict,
         "seconds": (int, float), "measured": str, "machine": str, "rows": list, "means": list}  # fmt: skip


class MeasurementError(ValueError):
    """A measurement that cannot be used: the message says what is wrong with it and what to do."""


@dataclass(frozen=True)
class Row:
    """One probe and how the model did. right: None where there is only a loss. loss: nats per token of the answer.

    said: what the model answered, "" where nothing was asked of it. choices: what it could choose from, if anything.
    """

    prompt: str
    answer: str
    capability: str
    measure: str = "exact"
    choices: tuple[str, ...] = ()
    right: bool | None = None
    loss: float | None = None
    said: str = ""

    @property
    def key(self) -> tuple:
        """What was asked: the same in two measurements of one probe set."""
        return self.capability, self.measure, self.prompt, self.answer, self.choices

    def check(self, where: str) -> None:
        """Raises MeasurementError, starting with ``where``, for a row that no measurement could have written."""
        texts = (self.prompt, self.answer, self.capability, self.said, *self.choices)
        if not all(isinstance(text, str) for text in texts) or not self.capability.strip():
            raise MeasurementError(
                f"{where}: prompt, answer, said and choices must be text, and a capability is named."
            )
        if self.measure not in MEASURES:
            raise MeasurementError(f"{where}: measure is {self.measure!r}; it must be one of {', '.join(MEASURES)}.")
        if self.right is not None and not isinstance(self.right, bool):
            raise MeasurementError(f"{where}: right is {self.right!r}; it must be true, false or null.")
        if self.loss is not None and not _is_number(self.loss):
            raise MeasurementError(
                f"{where}: loss is {self.loss!r}; it must be a finite number. Did the model diverge?"
            )
        if (self.loss if self.measure == "loss" else self.right) is None:
            raise MeasurementError(f"{where}: a probe with measure {self.measure!r} says neither right nor wrong.")


@dataclass(frozen=True)
class Mean:
    """A score that is known only as a mean (0 to 1) over ``samples``, with its standard error."""

    name: str
    value: float
    error: float
    samples: int | None = None


@dataclass(frozen=True)
class Measurement:
    """model, adapter: names, as they were given. rows: one a probe, in the order of the probe set.

    chat: whether the probes were put through the chat template. settings: whatever else must be the same in two
    measurements that are compared. notes: what a reader of the report should know. means: scores without rows.
    """

    model: str
    rows: tuple[Row, ...]
    adapter: str | None = None
    chat: bool = False
    settings: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    means: tuple[Mean, ...] = ()
    seconds: float = 0.0
    measured: str = field(default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="seconds"))
    versions: dict[str, str] = field(default_factory=lambda: installed(PACKAGES))
    machine: str = field(default_factory=lambda: f"{platform.system()} {platform.machine()}")

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", tuple(self.rows))  # a list will do
        if not self.rows and not self.means:
            raise MeasurementError("A measurement without probes says nothing; measure at least one.")
        for number, row in enumerate(self.rows, 1):
            row.check(f"Probe {number}")
        if not _is_number(self.seconds):
            raise MeasurementError(f"It took {str(self.seconds)[:20]} seconds, which is no number; measure again.")
        for mean in self.means:
            numbers = all(_is_number(x) and 0 <= x <= 1 for x in (mean.value, mean.error))
            if not numbers or not isinstance(mean.name, str):
                raise MeasurementError(
                    f"The score of {mean.name!r} is {str(mean.value)[:20]} ± {str(mean.error)[:20]}; both must be from 0 to 1."
                )

    @classmethod
    def of(
        cls,
        probes: Sequence[Probe],
        right: Sequence[bool | None],
        loss: Sequence[float | None] | None = None,
        said: Sequence[str] | None = None,
        **about: Any,
    ) -> Measurement:
        """From outcomes that you have already, one a probe. about: the other fields, of which ``model`` must be given."""
        losses = [None] * len(probes) if loss is None else loss
        answers = [p.answer if r else "" for p, r in zip(probes, right, strict=True)] if said is None else said
        rows = [
            Row(p.prompt, p.answer, p.capability, p.measure, tuple(p.choices), r, x, words)
            for p, r, x, words in zip(probes, right, losses, answers, strict=True)
        ]
        return cls(rows=tuple(rows), **about)

    @property
    def name(self) -> str:
        """Model and adapter, for people."""
        return self.model if self.adapter is None else f"{self.model} + {self.adapter}"

    @property
    def fingerprint(self) -> str:
        """The same for the same probes, whatever their order and whatever was answered."""
        asked = sorted(json.dumps(row.key, ensure_ascii=False) for row in self.rows)
        return hashlib.sha256("\n".join(asked).encode()).hexdigest()[:16]

    def keyed(self) -> dict[tuple, Row]:
        """The rows by what they ask. A probe that is asked twice is told apart by how often it came before."""
        seen: Counter = Counter()
        rows = {}
        for row in self.rows:
            rows[(row.key, seen[row.key])] = row
            seen[row.key] += 1
        return rows

    def save(self, path: str | Path) -> Path:
        """Write JSON, under a temporary name first, so that a crash or a full disk leaves no half file behind."""
        data = {"schema": SCHEMA, "fingerprint": self.fingerprint, **asdict(self)}
        return write_whole(path, json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> Measurement:
        """Read what ``save`` wrote. Raises MeasurementError with one sentence when the file is not that."""
        return cls.from_json(read_json(path), path)

    @classmethod
    def from_json(cls, data: Any, path: str | Path) -> Measurement:
        """From the parsed content of ``path``."""
        if not isinstance(data, dict) or "schema" not in data or "rows" not in data:
            raise MeasurementError(f"{path} is JSON but no measurement; give a file that utils.check wrote.")
        data = dict(data)
        schema, fingerprint = data.pop("schema"), data.pop("fingerprint", None)
        if isinstance(schema, int) and schema > SCHEMA:
            raise MeasurementError(
                f"{path} has schema {schema}, and this version reads up to {SCHEMA}; update it, or measure again."
            )
        if schema != SCHEMA or isinstance(schema, bool):
            raise MeasurementError(f"{path} has schema {schema!r}, which is none that there ever was; measure again.")
        if unknown := set(data) - {f.name for f in fields(cls)}:
            raise MeasurementError(f"{path} has the unknown field {min(unknown)!r}; measure again.")
        for name, kind in KINDS.items():
            if name in data and not isinstance(data[name], kind):
                raise MeasurementError(
                    f"{path}: {name!r} is {str(data[name])[:60]!r}, which it cannot be; measure again."
                )
        try:
            data["rows"] = [Row(**{**row, "choices": tuple(row.get("choices", ()))}) for row in data["rows"]]
            data["means"] = tuple(Mean(**mean) for mean in data.get("means", ()))
            data["notes"] = tuple(map(str, data.get("notes", ())))
            data |= {name: {k: str(v) for k, v in data.get(name, {}).items()} for name in ("settings", "versions")}
            measurement = cls(**data)
        except MeasurementError as error:
            raise MeasurementError(f"{path}, {str(error)[0].lower()}{str(error)[1:]}") from error
        except (KeyError, TypeError, AttributeError) as error:
            raise MeasurementError(f"{path} is not a whole measurement ({error}); measure again.") from error
        if fingerprint != measurement.fingerprint:
            raise MeasurementError(
                f"{path} was changed after it was measured: its probes do not fit their fingerprint."
            )
        return measurement


def read_json(path: str | Path) -> Any:
    """Parse a JSON file. Raises MeasurementError with one sentence."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise MeasurementError(f"{path} cannot be read ({error.strerror}); check the path.") from error
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, or a whole number of thousands of digits
        raise MeasurementError(f"{path} is not JSON ({str(error).splitlines()[0]}); measure again.") from error


def _is_number(value: Any) -> bool:
    """A finite number. JSON has whole numbers of any size, and one that no float can hold is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def installed(packages: Sequence[str]) -> dict[str, str]:
    """The version of each package that is there."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
