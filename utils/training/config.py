"""One fine-tuning run, described completely: everything that changes its curve is a field here."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace

from utils.training.remedies import REMEDIES, Remedy

METHODS = ("lora", "full")
SCALINGS = ("fixed", "2r", "rslora")


@dataclass(frozen=True)
class FineTuneConfig:
    """The settings of one run. Frozen, checked, and small enough to paste: ``str(config)`` and ``from_string``.

    model: "practice", "practice-small", "gpt2", "smollm2", a hub id or a folder.
    method: "lora" trains an adapter of ``rank``; "full" trains every weight, and ignores the LoRA fields.
    learning_rate: the peak; it falls linearly to zero over ``steps``, as TRL's default does.
    scaling: how the LoRA scale follows from the rank: "fixed" keeps ``lora_alpha`` (scale = alpha / r), "2r" sets
    alpha = 2r (scale 2 at any rank), "rslora" divides by the root (scale = alpha / sqrt(r), arXiv 2312.03732).
    lora_dropout: as in peft. None by default: it costs time at each step, and full fine-tuning would have none to compare.
    target_modules: comma-separated module names, or "all-linear".
    batch_size: rows a step. replay: share of those rows that come from the original domain, 0 to 0.9.
    examples: how many different new-task rows to train on; 0 means all of them.
    evaluate_every: steps between two checkpoints; step 0 and the last step are always measured.
    strength: what the fine-tuning is turned down to after the training, 0 to 1 (``capability_guard.fade``).
    remedy: one of ``utils.training.remedies``, or "" for none. remedy_weight: how much of it; None takes the remedy's own.
    """

    model: str = "practice"
    method: str = "lora"
    learning_rate: float = 1.5e-3
    rank: int = 8
    scaling: str = "fixed"
    lora_alpha: int = 16
    lora_dropout: float = 0.0
    target_modules: str = "all-linear"
    steps: int = 40
    batch_size: int = 8
    replay: float = 0.0
    examples: int = 0
    seed: int = 0
    evaluate_every: int = 4
    strength: float = 1.0
    remedy: str = ""
    remedy_weight: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            _check_type(field.name, getattr(self, field.name), field.type)
        _check_choice("method", self.method, METHODS)
        _check_choice("scaling", self.scaling, SCALINGS)
        _check_range("learning_rate", self.learning_rate, 0, 1, open_at_low=True)
        _check_range("rank", self.rank, 1, 1024)
        _check_range("lora_alpha", self.lora_alpha, 1, 4096)
        _check_range("lora_dropout", self.lora_dropout, 0, 0.9)
        _check_range("steps", self.steps, 1, 1_000_000)
        _check_range("batch_size", self.batch_size, 1, 4096)
        _check_range("replay", self.replay, 0, 0.9)
        _check_range("examples", self.examples, 0, 10_000_000)
        _check_range("seed", self.seed, 0, 2**32 - 1)
        _check_range("evaluate_every", self.evaluate_every, 1, 1_000_000)
        _check_range("strength", self.strength, 0, 1)
        for name in ("model", "target_modules"):
            if not getattr(self, name).strip():
                raise ValueError(f"{name} is empty; give a name.")
            if ";" in getattr(self, name):
                raise ValueError(f"{name} is {getattr(self, name)!r}; a name with ';' cannot be pasted, so rename it.")
        if not all(part.strip() for part in self.target_modules.split(",")):
            raise ValueError(f"target_modules is {self.target_modules!r}; give module names with a comma between them.")
        self._check_remedy()

    def _check_remedy(self) -> None:
        if not self.remedy:
            if self.remedy_weight is not None:
                raise ValueError(
                    f"remedy_weight is {self.remedy_weight:g} and no remedy is named; name one, or leave it out."
                )
            return
        if self.remedy not in REMEDIES:
            raise ValueError(
                f"{self.remedy!r} is not a remedy; use one of {', '.join(REMEDIES)}, or register your own."
            )
        idea = REMEDIES[self.remedy]
        if idea.lora_only and self.method == "full":
            raise ValueError(
                f"{self.remedy} is about a LoRA adapter and method is full; train an adapter, or take another remedy."
            )
        # The default is filled in, so that one run has one name, whoever spelled it out.
        object.__setattr__(self, "remedy_weight", idea.checked(self.remedy_weight))

    @property
    def cure(self) -> Remedy | None:
        """The remedy itself; None where none is named."""
        return REMEDIES[self.remedy] if self.remedy else None

    def at(self, moment: str) -> Callable | None:
        """What the remedy does at a moment of the run, as ``Remedy.at`` says; None for nothing."""
        return self.cure.at(moment, self.remedy_weight) if self.remedy else None

    @property
    def alpha(self) -> int:
        """The alpha that the adapter really gets."""
        return 2 * self.rank if self.scaling == "2r" else self.lora_alpha

    @property
    def scale(self) -> float | None:
        """What the adapter's output is multiplied by; None for full fine-tuning, which has no adapter."""
        if self.method == "full":
            return None
        return self.alpha / (math.sqrt(self.rank) if self.scaling == "rslora" else self.rank)

    @property
    def label(self) -> str:
        """A few words for a legend; the scale stands wherever the rank does."""
        words = [f"lr {self.learning_rate:g}"]
        words.append("full fine-tuning" if self.method == "full" else f"r={self.rank} (scale {self.scale:g})")
        if self.replay:
            words.append(f"{self.replay:.0%} replay")
        if self.remedy:
            words.append(self.cure.title + (f" {self.remedy_weight:g}" if self.remedy_weight is not None else ""))
        if self.strength != 1:
            words.append(f"at strength {self.strength:g}")
        return ", ".join(words)

    def with_(self, **changes) -> FineTuneConfig:
        """The same run with some settings changed. Another remedy comes with its own weight."""
        unknown = sorted(set(changes) - {field.name for field in fields(self)})
        if unknown:
            raise ValueError(f"{unknown[0]!r} is not a setting; use one of {', '.join(f.name for f in fields(self))}.")
        if changes.get("remedy", self.remedy) != self.remedy:
            changes = {"remedy_weight": None, **changes}
        return replace(self, **changes)

    @property
    def as_trained(self) -> FineTuneConfig:
        """The same run before it was turned down: what there is to train."""
        return replace(self, strength=1.0)

    def __str__(self) -> str:
        """Only what differs from the defaults, as ``name=value;...``: short enough to paste to a neighbour."""
        changed = [(f.name, getattr(self, f.name)) for f in fields(self) if getattr(self, f.name) != f.default]
        return ";".join(f"{name}={value}" for name, value in changed) or "default"

    @classmethod
    def from_string(cls, text: str) -> FineTuneConfig:
        """The inverse of ``str(config)``. Raises ValueError naming the part that cannot be read."""
        kinds = {"str": str, "int": int, "float": float, "float | None": float}
        types = {field.name: kinds[field.type] for field in fields(cls)}
        values: dict[str, object] = {}
        for part in filter(None, (part.strip() for part in text.strip().split(";"))):
            if part == "default":
                continue
            name, equals, value = part.partition("=")
            name = name.strip().lower()
            if not equals or name not in types:
                raise ValueError(f"{part!r} is not a setting; write name=value with one of {', '.join(types)}.")
            try:
                values[name] = types[name](value.strip())
            except ValueError:
                raise ValueError(f"{name} is {value.strip()!r}; it must be {_a(types[name].__name__)}.") from None
        return cls(**values)

    def to_dict(self) -> dict:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> FineTuneConfig:
        unknown = sorted(set(values) - {field.name for field in fields(cls)})
        if unknown:
            raise ValueError(f"{unknown[0]!r} is not a setting of this version; update the course, or remove it.")
        return cls(**values)


def _a(type_name: str) -> str:
    return {"int": "a whole number", "float": "a number", "str": "text"}[type_name]


def _check_type(name: str, value: object, wanted: str) -> None:
    wanted, _, optional = wanted.partition(" | ")
    right = {"int": (int,), "float": (int, float), "str": (str,)}[wanted]
    if optional and value is None:
        return
    if isinstance(value, bool) or not isinstance(value, right):
        raise ValueError(f"{name} is {value!r}; it must be {_a(wanted)}.")


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; use one of {', '.join(choices)}.")


def _check_range(name: str, value: float, low: float, high: float, open_at_low: bool = False) -> None:
    inside = (low < value if open_at_low else low <= value) and value <= high  # false for NaN, too
    if not inside:
        least = f"more than {low}" if open_at_low else f"at least {low}"
        raise ValueError(f"{name} is {value!r}; it must be {least} and at most {high}.")
