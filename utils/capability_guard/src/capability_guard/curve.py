"""One measurement during training, and its way into the trainer's log and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from capability_guard.probes import Probe


@dataclass(frozen=True)
class Checkpoint:
    """One measurement. Losses: nats per token. Retention and accuracy: share of probes right, 0 to 1.

    probe_loss: mean loss of the "loss" probes of each capability.

    step 0 is the model before anything trained. seconds: since training began. train_loss and held_out_loss are of
    the new task; original_loss is of everyday text. kl: KL(base || now) on held-out new-task text, nats per token.
    A figure that was not measured is None; one that the model could not give (it diverged) is NaN.
    """

    step: int
    seconds: float
    accuracy: float | None
    retention: dict[str, float]
    train_loss: float | None = None
    held_out_loss: float | None = None
    original_loss: float | None = None
    kl: float | None = None
    probe_loss: dict[str, float] = field(default_factory=dict)


def series(checkpoints: Sequence[Checkpoint], name: str, finite: bool = False) -> tuple[list[int], list[float]]:
    """(steps, values) of a field of Checkpoint, or of one capability, as far as it was measured.

    finite: leave out as well what is no number, which a figure cannot draw.
    """
    pairs = [(c.step, c.retention[name] if name in c.retention else getattr(c, name)) for c in checkpoints]
    kept = [(step, value) for step, value in pairs if value is not None and (math.isfinite(value) or not finite)]
    return [step for step, _ in kept], [value for _, value in kept]


LOSSES = ("train_loss", "held_out_loss", "original_loss")


def mean_losses(probes: Sequence[Probe], losses: Sequence[float]) -> dict[str, float]:
    """Mean loss of the loss probes of each capability, in nats per token."""
    groups: dict[str, list[float]] = {}
    for probe, loss in zip(probes, losses, strict=True):
        if probe.measure == "loss":
            groups.setdefault(probe.capability, []).append(loss)
    return {name: sum(groups[name]) / len(groups[name]) for name in sorted(groups)}


def to_log(checkpoint: Checkpoint) -> dict[str, float]:
    """Flat names and numbers, as the trainer's own entries have."""
    flat = {name: getattr(checkpoint, name) for name in ("seconds", "accuracy", "kl", *LOSSES)}
    flat |= {f"retention/{name}": value for name, value in checkpoint.retention.items()}
    flat |= {f"probe_loss/{name}": value for name, value in checkpoint.probe_loss.items()}
    return {f"monitor/{name}": value for name, value in flat.items() if value is not None}


def from_log(entry: dict[str, Any]) -> Checkpoint:
    """The inverse of ``to_log``."""
    flat = {name.removeprefix("monitor/"): value for name, value in entry.items() if name.startswith("monitor/")}
    groups = {group: {name.removeprefix(f"{group}/"): value for name, value in flat.items() if name.startswith(f"{group}/")}
              for group in ("retention", "probe_loss")}  # fmt: skip
    plain = {name: flat.get(name) for name in ("seconds", "accuracy", "kl", *LOSSES)}
    return Checkpoint(step=entry["step"], **plain, **groups)
