"""The drop budget: when a run has forgotten too much, and the best weights within the budget, which then come back.

Each process judges the same figures, and so comes to the same end. Where each has the whole model, the first one keeps the weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.distributed as dist

from capability_guard.curve import Checkpoint
from capability_guard.processes import all_there, from_the_first, is_split, own_number, processes
from capability_guard.weights import Weights, put_back, trained_weights


class DropBudget:
    """points: what may be lost, per cent of the probes; None for no budget. restore: whether weights are kept to bring back.

    >>> budget = DropBudget(5)
    >>> budget.judge(0.0, Checkpoint(0, 0.1, 1.0, {}), model), budget.judge(12.0, Checkpoint(10, 3.1, 0.88, {}), model)
    ('', 'retention had dropped 12.0 points at step 10, more than the budget of 5')
    >>> budget.bring_back(model)
    0
    """

    def __init__(self, points: float | None, restore: bool = True) -> None:
        self.points, self.restore = points, restore
        self._best: tuple[float, int, Weights | None] | None = None  # held-out loss, step, weights

    def judge(self, drop: float, checkpoint: Checkpoint, model: torch.nn.Module) -> str:
        """Why the run must stop, "" if it need not; within the budget, the best weights so far are kept.

        The best have the lowest held-out loss or, without held-out texts, are the latest.

        >>> DropBudget(None).judge(99.0, Checkpoint(10, 3.1, 0.01, {}), model)
        ''
        """
        if self.points is None:
            return ""
        if drop > self.points:
            return f"retention had dropped {drop:.1f} points at step {checkpoint.step}, more than the budget of {self.points:g}"
        loss = checkpoint.held_out_loss
        if self._best is None or loss is None or loss < self._best[0]:
            self.keep(math.inf if loss is None else loss, checkpoint.step, model)
        return ""

    def keep(self, loss: float, step: int, model: torch.nn.Module) -> None:
        """Take the weights as they are for the best. loss: what a later one must be below.

        >>> budget = DropBudget(5)
        >>> budget.keep(1.5, 20, model)
        >>> budget.bring_back(model)
        20
        """
        keeps = self.restore and (own_number() == 0 or is_split(model))
        self._best = (loss, step, trained_weights(model) if keeps else None)

    def forget(self) -> None:
        """The best weights may be of a step that did not happen.

        >>> budget = DropBudget(5)
        >>> budget.keep(1.5, 20, model)
        >>> budget.forget()
        >>> budget.bring_back(model) is None
        True
        """
        self._best = None

    def bring_back(self, model: torch.nn.Module) -> int | None:
        """The best weights within the budget, in every process; the step that they are of, None if there are none.

        >>> DropBudget(5).bring_back(model) is None
        True
        """
        step = from_the_first(self._best[1] if self.restore and self._best is not None else None)
        if step is None:
            return None
        if self._best is not None and self._best[2] is not None:
            put_back(model, self._best[2])
        if processes() > 1 and not is_split(model):
            with all_there("took the best weights back"):
                for parameter in (p for p in model.parameters() if p.requires_grad):
                    dist.broadcast(parameter.data, src=0)
        return step


def points_lost(before: Sequence[bool | None], after: Sequence[bool | None]) -> float:
    """Per cent of the probes that can be right: those right before, less those right after.

    >>> points_lost([True, True, None, False], [True, False, None, False])
    33.33...
    """
    both = [[right for right in side if right is not None] for side in (before, after)]
    return 100 * (sum(both[0]) - sum(both[1])) / len(both[0])
