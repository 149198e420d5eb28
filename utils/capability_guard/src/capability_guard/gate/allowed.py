"""What may be lost: the rules of a verdict, and the budget of each capability, absolute and relative.

A relative budget is a share of what the baseline has right, and that is known only from the probes that were asked. So it is certified
as the rest is: the upper bound of the drop must be within the share of the *lower* bound of the baseline, each at half the chance.
At a low baseline such a share would be less than any number of probes could certify; it never falls below a floor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from capability_guard.jsonl import shown
from capability_guard.measurement import Measurement, MeasurementError

TOGETHER = "all critical together"
ALL_TEXTS = "all critical texts together"
ALL_SHARES = "all critical shares together"
ALL_MEANS = "all critical means together"
WHOLE = (TOGETHER, ALL_SHARES, ALL_TEXTS, ALL_MEANS)
ENDINGS = (" (unpaired)", " (loss)")  # of the gate's own lines
MOST_NATS = 100  # a token of any vocabulary, guessed blindly, costs a tenth of that
OTHERS = "*"  # among the budgets: that of every capability without one of its own


@dataclass(frozen=True)
class Budget:
    """max_drop: points (per cent of the probes). max_loss_rise: nats a token. max_relative_drop: per cent of what the baseline has
    right, None for no such budget; relative_floor: points, below which it does not fall. min_baseline: per cent that the baseline
    must have right. alone: whether the capability must be certified by itself, None where ``certify`` says so.

    >>> Budget(max_relative_drop=10).points(2.0, 0.05, known=lambda level: 40.0, high=lambda level: 3.5)
    (4.0, 3.5)
    """

    max_drop: float = 5.0
    max_loss_rise: float = 0.05
    max_relative_drop: float | None = None
    relative_floor: float = 1.0
    min_baseline: float = 0.0
    alone: bool | None = None

    def points(
        self, drop: float, level: float, known: Callable[[float], float], high: Callable[[float], float]
    ) -> tuple[float, float]:
        """(what may be lost, the upper bound of what was lost), both in points, of the budget that is harder to keep.

        drop: as seen. known: the lower bound of what the baseline has right at a level. high: the upper bound of the drop at one.
        Each of the two budgets is kept by mistake with a chance of at most ``level``, so both are.

        >>> Budget(max_drop=5, max_relative_drop=10).points(0.2, 0.05, lambda level: 8.0, lambda level: 1.4)  # the floor
        (1.0, 1.4)
        """
        absolute = self.max_drop, high(level)
        if self.max_relative_drop is None:
            return absolute
        share = max(self.relative_floor, self.max_relative_drop / 100 * known(level / 2))
        relative = share, high(level / 2)
        if drop > min(absolute[0], share):
            return min(absolute, relative)
        return min(absolute, relative, key=lambda both: both[0] - both[1])


@dataclass(frozen=True)
class Rules:
    """max_drop: points (per cent of the probes) that a capability may lose. max_loss_rise: nats per token that the loss
    of a text may rise by. critical, informational: names of capabilities; whatever neither names is critical, unless
    ``critical`` names some. alpha: the chance of a false alarm, and of a false pass. certify: "together" or "each",
    as ``rule`` says. max_relative_drop, relative_floor, min_baseline: as in ``Budget``. budgets: of single capabilities, and
    under "*" of all others. precision: what a model's weights may have been stored in, as "4bit" where they are quantized;
    empty for any. repeat_check: whether both must have been measured with the repeat check. probes: the fingerprint of the
    probes that must have been asked. Raises MeasurementError.

    >>> Rules(max_drop=0)
    Traceback (most recent call last):
    capability_guard.rows.MeasurementError: max_drop is 0; give a number above 0 and below 100: 0 cannot be certified.
    """

    max_drop: float = 5.0
    max_loss_rise: float = 0.05
    critical: tuple[str, ...] = ()
    informational: tuple[str, ...] = ()
    alpha: float = 0.05
    certify: str = "together"
    max_relative_drop: float | None = None
    relative_floor: float = 1.0
    min_baseline: float = 0.0
    budgets: Mapping[str, Budget] = field(default_factory=dict)
    precision: tuple[str, ...] = ()
    repeat_check: bool = False
    probes: str = ""

    def __post_init__(self) -> None:
        for name in ("critical", "informational", "precision"):  # a list will do
            object.__setattr__(self, name, tuple(getattr(self, name)))
        # Where nothing changed, the upper bound of the drop is above 0 however many probes there are: 0 could not pass.
        limits = {"max_drop": 100, "max_loss_rise": MOST_NATS}
        given = [(name, getattr(self, name), most) for name, most in (*limits.items(), ("alpha", 0.5))]
        given += [(f"{name} of {shown(of)}", getattr(budget, name), most)
                  for of, budget in self.budgets.items() for name, most in limits.items()]  # fmt: skip
        for name, value, most in given:
            if not 0 < value < most:
                raise MeasurementError(
                    f"{name} is {value:g}; give a number above 0 and below {most:g}: 0 cannot be certified."
                )
        if self.certify not in ("together", "each"):
            raise MeasurementError(f'certify is {self.certify!r}; give "together" or "each".')
        if both := set(self.critical) & set(self.informational):
            raise MeasurementError(f"{shown(min(both))} is named critical and informational; choose one.")

    @property
    def level(self) -> float:
        """By what chance the upper bound of a drop may be wrong. A loss is beyond chance where p is at most ``alpha``, always.

        >>> Rules(alpha=0.01).level  # of one candidate; where several are judged, ``several`` divides it among them
        0.01
        """
        return self.alpha

    def budget(self, line: str) -> Budget:
        """The budget of a line of the gate: of its capability, or of a whole.

        >>> Rules(max_drop=5, budgets={"sums": Budget(max_drop=2)}).budget("sums").max_drop
        2
        """
        name = self.capability(line)
        own = None if line in WHOLE else self.budgets.get(name, self.budgets.get(OTHERS))
        if own is not None:
            return own
        return Budget(self.max_drop, self.max_loss_rise, self.max_relative_drop, self.relative_floor, self.min_baseline)

    def alone(self, line: str) -> bool:
        """Whether a line must pass by itself, as every capability must where each is certified.

        >>> Rules(certify="each").alone("sums"), Rules().alone("sums")
        (True, False)
        """
        own = self.budget(line).alone
        return self.certify == "each" if own is None else own

    def named(self, line: str) -> bool:
        """Whether a line is of a capability that somebody named to decide, and not one that decides because nothing else was said.

        >>> Rules(critical=("sums",)).named("sums"), Rules().named("sums")
        (True, False)
        """
        name = self.capability(line)
        return name in self.critical or (name in self.budgets and self.decides(name))

    @staticmethod
    def capability(line: str) -> str:
        """The capability that a line of the gate is of.

        >>> Rules.capability("arc_easy (unpaired)")
        'arc_easy'
        """
        return next((line.removesuffix(end) for end in ENDINGS if line.endswith(end)), line)

    def check_names(self, names: set[str]) -> None:
        """Raises MeasurementError for a name that is not measured: it would match nothing, and what was meant would not decide.

        >>> Rules(critical=("sums",)).check_names({"sums", "capitals"})
        """
        if taken := [name for name in sorted(names) if name in WHOLE or name.endswith(ENDINGS)]:
            raise MeasurementError(
                f"{shown(taken[0])} is what the gate calls a line of its own; give that capability another name."
            )
        named = set(self.critical) | set(self.informational) | set(self.budgets) - {OTHERS}
        if unknown := named - names:
            raise MeasurementError(
                f"{shown(min(unknown))} is not measured; the capabilities are {', '.join(name[:60] for name in sorted(names)[:20])}."
            )
        if not any(self.decides(name) for name in names):
            raise MeasurementError("Every capability is informational, so nothing would decide; name a critical one.")

    def check_measured(self, side: str, measurement: Measurement) -> None:
        """Raises MeasurementError for a measurement that was made otherwise than these rules allow. side: what it is called.

        >>> from capability_guard.measurement import Row
        >>> half = Measurement("m", [Row("Hot?", "Cold.", "opposites", right=True)], asked={"precision": "float16"})
        >>> Rules(precision=["float32", "bfloat16"]).check_measured("candidate", half)
        Traceback (most recent call last):
        capability_guard.rows.MeasurementError: The candidate was measured in float16, and the policy allows float32, bfloat16;
        measure it again.
        """
        found = _stored_in(measurement.asked)
        if self.precision and found not in self.precision:
            raise MeasurementError(
                f"The {side} was measured in {found}, and the policy allows {', '.join(self.precision)}; measure it again."
            )
        if self.repeat_check and measurement.noise is None:
            raise MeasurementError(
                f"The {side} was measured without --repeat-check, which the policy wants; measure it again with it."
            )
        if self.probes and measurement.fingerprint != self.probes:
            raise MeasurementError(
                f"The {side} was measured on other probes than those that the policy names; measure it on these."
            )

    def decides(self, capability: str) -> bool:
        """Whether a capability is critical.

        >>> Rules(informational=["style"]).decides("style"), Rules(critical=["safety"]).decides("style")
        (False, False)
        >>> Rules().decides("style")
        True
        """
        return capability in self.critical if self.critical else capability not in self.informational


def _stored_in(asked: Mapping[str, str]) -> str:
    """What the weights were stored in: fewer bits, where they were quantized, whatever they were computed in."""
    quantized = asked.get("quantization", "none").split() or ["none"]
    if quantized[0] not in ("none", "as"):  # "as served"
        return quantized[0]
    return asked.get("precision", "a precision that is not known")
