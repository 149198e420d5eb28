"""What was measured of one model, as a file that can be kept, compared, and checked when it is read again.

A file comes from elsewhere: from another machine, from a cache, from a pull request. So whatever a report or a verdict rests
on is checked when a measurement is made, and a file that no ``save`` could have written is refused with one sentence. Nothing
heavy is imported here, since the gate compares two files without torch.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from capability_guard.files import parse_json, read_text, write_whole
from capability_guard.jsonl import shown
from capability_guard.probes import Probe
from capability_guard.rows import MeasurementError, Row, check_sizes, is_number

SCHEMA = 1  # of the file; it rises when an older version would misread a newer file
PACKAGES = ("torch", "transformers", "peft")  # those whose version can change an answer
# What the fields of a file may be, besides the rows and the scores, which are checked one by one.
KINDS = {"model": str, "adapter": (str, type(None)), "chat": bool, "notes": list, "settings": dict, "versions": dict,
         "seconds": (int, float), "measured": str, "machine": str, "rows": list, "means": list,
         "asked": dict, "noise": (dict, type(None)), "task": (dict, type(None)),
         "ended": (int, type(None))}  # fmt: skip


@dataclass(frozen=True)
class Mean:
    """A score that is known only as a mean (0 to 1) over ``samples``, with its standard error.

    >>> Mean("arc_easy", value=0.72, error=0.01, samples=2376).name
    'arc_easy'
    """

    name: str
    value: float
    error: float
    samples: int | None = None


@dataclass(frozen=True)
class Measurement:
    """model, adapter: names, as they were given. rows: one a probe, in the order of the probe set.

    chat: whether the probes were put through the chat template. settings: whatever else must be the same in two
    measurements that are compared. notes: what a reader of the report should know. means: scores without rows.
    seconds: how long it took. measured: when, as ISO 8601 in UTC. asked: how the questions were put and on what, as
    ``conditions.circumstances`` says. noise: how many outcomes of each capability flip if the same model is only asked in
    another way, if that was looked at. task: the new task's ``loss`` (nats a token), how many ``texts``, ``tokens`` and ``bytes``
    it is of, and their ``fingerprint``. ended: how many "contains" answers came to an end by themselves.
    Raises MeasurementError for what cannot have been measured.

    >>> Measurement(model="base", rows=[Row("What is 2+2?", "4.", "arithmetic", right=True)]).rows[0].right
    True
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
    asked: dict[str, str] = field(default_factory=dict)
    noise: dict[str, int] | None = None
    task: dict[str, Any] | None = None
    ended: int | None = None

    def __post_init__(self) -> None:
        # A frozen dataclass forbids assignment, to itself too.
        object.__setattr__(self, "rows", tuple(self.rows))  # a list will do
        if not self.rows and not self.means:
            raise MeasurementError("A measurement without probes says nothing; measure at least one.")
        for number, row in enumerate(self.rows, 1):
            row.check(f"Probe {number}")
        if not is_number(self.seconds):
            raise MeasurementError(f"It took {str(self.seconds)[:20]} seconds, which is no number; measure again.")
        for mean in self.means:
            numbers = all(is_number(x) and 0 <= x <= 1 for x in (mean.value, mean.error))
            if not numbers or not isinstance(mean.name, str):
                raise MeasurementError(
                    f"The score of {shown(mean.name)} is {str(mean.value)[:20]} ± {str(mean.error)[:20]}; both must be from 0 to 1."
                )

    @classmethod
    def of(
        cls,
        probes: Sequence[Probe],
        right: Sequence[bool | None],
        loss: Sequence[float | None] | None = None,
        said: Sequence[str] | None = None,
        sizes: Sequence[tuple[int | None, int | None]] | None = None,
        **about: Any,
    ) -> Measurement:
        """From outcomes that you have already, one a probe. about: the other fields. ``model`` is needed.

        right: None for a loss probe. loss: nats per token. said: "" where the model was not asked to speak. sizes: tokens and
        bytes, as in ``Row``.

        >>> from capability_guard.probes import load_probes
        >>> probes = load_probes(PROBES)[:2]
        >>> [row.said for row in Measurement.of(probes, [True, False], model="base").rows]
        ['4.', '']
        """
        losses = [None] * len(probes) if loss is None else loss
        answers = [p.answer if r else "" for p, r in zip(probes, right, strict=True)] if said is None else said
        rows = [
            Row(p.prompt, p.answer, p.capability, p.measure, tuple(p.choices), r, x, words, None, *size)
            for p, r, x, words, size in zip(probes, right, losses, answers, sizes or [()] * len(probes), strict=True)
        ]
        return cls(rows=tuple(rows), **about)

    @property
    def name(self) -> str:
        """Model and adapter, for people.

        >>> Measurement("base", [Row("What is 2+2?", "4.", "arithmetic", right=True)], adapter="support-lora").name
        'base + support-lora'
        """
        return self.model if self.adapter is None else f"{self.model} + {self.adapter}"

    @property
    def fingerprint(self) -> str:
        """The same for the same probes, whatever their order and whatever was answered.

        Sixteen hexadecimal digits.

        >>> hot, day = Row("Hot?", "Cold.", "opposites", right=True), Row("Day?", "Night.", "opposites", right=True)
        >>> Measurement("base", [hot, day]).fingerprint == Measurement("tuned", [day, hot]).fingerprint
        True
        """
        asked = sorted(json.dumps(row.key, ensure_ascii=False) for row in self.rows)
        return hashlib.sha256("\n".join(asked).encode()).hexdigest()[:16]

    def keyed(self) -> dict[tuple, Row]:
        """The rows by what they ask. A probe that is asked twice is told apart by how often it came before.

        >>> twice = [Row("Hot?", "Cold.", "opposites", right=right) for right in (True, False)]
        >>> [number for _, number in Measurement("base", twice).keyed()]
        [0, 1]
        """
        seen: Counter = Counter()
        rows = {}
        for row in self.rows:
            rows[(row.key, seen[row.key])] = row
            seen[row.key] += 1
        return rows

    def save(self, path: str | Path) -> Path:
        """Write JSON, under a temporary name first, so that a crash or a full disk leaves no half file behind.

        Gives back the path. Raises OSError when it cannot be written.

        >>> measured = Measurement("base", [Row("What is 2+2?", "4.", "arithmetic", right=True)])
        >>> Measurement.load(measured.save(FOLDER / "base.json")) == measured
        True
        """
        data = {"schema": SCHEMA, "fingerprint": self.fingerprint, **asdict(self)}
        # NaN is not JSON, though Python would write it. ``check`` has refused it by now; this makes sure.
        return write_whole(path, json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> Measurement:
        """Read what ``save`` wrote. Raises MeasurementError with one sentence when the file is not that.

        >>> path = Measurement("base", [Row("What is 2+2?", "4.", "arithmetic", right=False)]).save(FOLDER / "base.json")
        >>> _ = path.write_text(path.read_text().replace("2+2", "1+3"))
        >>> Measurement.load(path)
        Traceback (most recent call last):
        capability_guard.rows.MeasurementError: ...base.json was changed after it was measured: its probes do not fit
        their fingerprint.
        """
        return cls.from_json(read_json(path), path)

    @classmethod
    def from_json(cls, data: Any, path: str | Path) -> Measurement:
        """From the parsed content of ``path``, which an error names. Raises MeasurementError.

        >>> Measurement.from_json({"schema": 2, "rows": []}, "new.json")
        Traceback (most recent call last):
        capability_guard.rows.MeasurementError: new.json has schema 2, and this version reads up to 1; update it, or
        measure again.
        """
        if not isinstance(data, dict) or "schema" not in data or "rows" not in data:
            raise MeasurementError(
                f"{path} is JSON but no measurement; give a file that `capability-guard measure` wrote."
            )
        data = dict(data)  # a copy, since the fields are taken out of it one by one
        schema, fingerprint = data.pop("schema"), data.pop("fingerprint", None)
        if isinstance(schema, int) and schema > SCHEMA:
            raise MeasurementError(
                f"{path} has schema {schema}, and this version reads up to {SCHEMA}; update it, or measure again."
            )
        if schema != SCHEMA or isinstance(schema, bool):
            raise MeasurementError(
                f"{path} has schema {shown(schema)}, which is none that there ever was; measure again."
            )
        if unknown := set(data) - {f.name for f in fields(cls)}:
            raise MeasurementError(f"{path} has the unknown field {shown(min(unknown))}; measure again.")
        for name, kind in KINDS.items():
            if name in data and not isinstance(data[name], kind):
                raise MeasurementError(
                    f"{path}: {name!r} is {str(data[name])[:60]!r}, which it cannot be; measure again."
                )
        try:
            data["rows"] = [Row(**{**row, "choices": tuple(row.get("choices", ()))}) for row in data["rows"]]
            data["means"] = tuple(Mean(**mean) for mean in data.get("means", ()))
            data["notes"] = tuple(map(str, data.get("notes", ())))
            data |= {
                name: {k: str(v) for k, v in data.get(name, {}).items()} for name in ("settings", "versions", "asked")
            }
            if data.get("noise") is not None and not all(
                type(flips) is int and flips >= 0 for flips in data["noise"].values()
            ):
                raise MeasurementError(f"its noise is {str(data['noise'])[:60]}, which it cannot be; measure again.")
            if (task := data.get("task")) is not None:
                if not is_number(task["loss"]) or not isinstance(task["fingerprint"], str):
                    raise MeasurementError(
                        f"its task's loss is {str(task['loss'])[:20]}, which it cannot be; measure again."
                    )
                check_sizes(task.get("tokens"), task.get("bytes"), "its task")
            measurement = cls(**data)
        except MeasurementError as error:  # what __post_init__ says, after the name of the file
            raise MeasurementError(f"{path}, {str(error)[0].lower()}{str(error)[1:]}") from error
        except (KeyError, TypeError, AttributeError) as error:
            raise MeasurementError(f"{path} is not a whole measurement ({error}); measure again.") from error
        if fingerprint != measurement.fingerprint:
            raise MeasurementError(
                f"{path} was changed after it was measured: its probes do not fit their fingerprint."
            )
        return measurement


def read_json(path: str | Path) -> Any:
    """Parse a JSON file. Raises MeasurementError with one sentence.

    >>> _ = (FOLDER / "half.json").write_text('{"rows": [')
    >>> read_json(FOLDER / "half.json")
    Traceback (most recent call last):
    capability_guard.rows.MeasurementError: ...half.json is not JSON (Expecting value: line 1 column 11 (char 10));
    measure again.
    """
    try:
        return parse_json(read_text(path))
    except OSError as error:
        raise MeasurementError(f"{path} cannot be read ({error.strerror}); check the path.") from error
    except ValueError as error:  # not UTF-8, not JSON, nested too deeply, or a whole number of thousands of digits
        raise MeasurementError(f"{path} is not JSON ({str(error).splitlines()[0]}); measure again.") from error


def installed(packages: Sequence[str]) -> dict[str, str]:
    """The version of each package that is there.

    >>> list(installed(["torch", "no-such-package"]))
    ['torch']
    """
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


__all__ = ["KINDS", "Mean", "Measurement", "MeasurementError", "PACKAGES", "Row", "SCHEMA", "installed", "read_json"]
