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

    >>> Checkpoint(step=0, seconds=0.2, accuracy=0.75, retention={"arithmetic": 1.0, "capitals": 0.5}).kl is None
    True
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

    name: a field, as "held_out_loss", or a capability. finite: leave out as well what is no number, which a figure
    cannot draw. Raises AttributeError for a name that is neither.

    >>> curve = [Checkpoint(0, 0.2, 1.0, {"sums": 1.0}), Checkpoint(10, 3.1, 0.5, {"sums": 0.4}, kl=0.8)]
    >>> series(curve, "sums"), series(curve, "kl")
    (([0, 10], [1.0, 0.4]), ([10], [0.8]))
    """
    pairs = [(c.step, c.retention[name] if name in c.retention else getattr(c, name)) for c in checkpoints]
    kept = [(step, value) for step, value in pairs if value is not None and (math.isfinite(value) or not finite)]
    return [step for step, _ in kept], [value for _, value in kept]


# The fields of a Checkpoint that are a loss of texts. The monitor takes its texts in this order.
LOSSES = ("train_loss", "held_out_loss", "original_loss")


def mean_losses(probes: Sequence[Probe], losses: Sequence[float]) -> dict[str, float]:
    """Mean loss of the loss probes of each capability, in nats per token: each probe counts once, however long it is.

    losses: nats per token, one a probe. Other probes have a loss too, and no part in this.

    >>> texts = [Probe("", text, "plain text", measure="loss") for text in ("Water is wet.", "Snow is cold.")]
    >>> mean_losses([*texts, Probe("What is 2+2?", "4.", "arithmetic")], [2.0, 3.0, 0.1])
    {'plain text': 2.5}
    """
    groups: dict[str, list[float]] = {}
    for probe, loss in zip(probes, losses, strict=True):
        if probe.measure == "loss":
            groups.setdefault(probe.capability, []).append(loss)
    return {name: sum(groups[name]) / len(groups[name]) for name in sorted(groups)}


def to_log(checkpoint: Checkpoint) -> dict[str, float]:
    """Flat names and numbers, as the trainer's own entries have. What was not measured is left out, and so is the step.

    >>> to_log(Checkpoint(0, 0.2, 0.75, {"sums": 0.75}))
    {'monitor/seconds': 0.2, 'monitor/accuracy': 0.75, 'monitor/retention/sums': 0.75}
    """
    # One prefix for all, by which ``from_log`` tells these from the trainer's own figures.
    flat = {name: getattr(checkpoint, name) for name in ("seconds", "accuracy", "kl", *LOSSES)}
    flat |= {f"retention/{name}": value for name, value in checkpoint.retention.items()}
    flat |= {f"probe_loss/{name}": value for name, value in checkpoint.probe_loss.items()}
    return {f"monitor/{name}": value for name, value in flat.items() if value is not None}


def from_log(entry: dict[str, Any]) -> Checkpoint:
    """The inverse of ``to_log``. entry: one of the trainer's, which adds the step and figures of its own.

    >>> checkpoint = Checkpoint(10, 3.1, 0.75, {"sums": 0.75}, kl=0.8)
    >>> from_log({"step": 10, "loss": 1.9, **to_log(checkpoint)}) == checkpoint
    True
    """
    flat = {name.removeprefix("monitor/"): value for name, value in entry.items() if name.startswith("monitor/")}
    groups = {group: {name.removeprefix(f"{group}/"): value for name, value in flat.items() if name.startswith(f"{group}/")}
              for group in ("retention", "probe_loss")}  # fmt: skip
    plain = {name: flat.get(name) for name in ("seconds", "accuracy", "kl", *LOSSES)}
    return Checkpoint(step=entry["step"], **plain, **groups)
