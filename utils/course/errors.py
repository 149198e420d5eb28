"""What lesson 08 needs to show errors that are not raised everywhere: warnings, a full GPU, and a script to mend."""

from __future__ import annotations

import gc
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from utils.figures.words import first_line


def warned(action: Callable[[], object], about: str) -> str:
    """The kind and the first line of the first warning on the subject ``about`` that ``action`` gives.

    Raises AssertionError when there is none: then the lesson is out of date, and must say so.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        action()
    for warning in caught:
        if about in str(warning.message):
            return f"{warning.category.__name__}: {first_line(warning.message)}"
    raise AssertionError(f"This call used to warn about {about} and no longer does; the lesson needs an update.")


@contextmanager
def tight_memory(megabytes: int = 512, rows: int = 16) -> Iterator[Callable[[int], None]]:
    """Make memory scarce for a while, and give back what it was. Yields a function to call with each batch size.

    With a GPU, this process may take ``megabytes`` more of its memory and no more, so that too large a batch is refused
    by CUDA itself. Without one, the function raises the same kind of error for more than ``rows`` rows.
    Raises ValueError for settings below 1.
    """
    if megabytes < 1 or rows < 1:
        raise ValueError(f"megabytes is {megabytes} and rows is {rows}; both must be at least 1.")
    if not torch.cuda.is_available():

        def refuse(batch_size: int) -> None:
            if batch_size > rows:
                raise torch.cuda.OutOfMemoryError(
                    f"CUDA out of memory. (There is no GPU here: the lesson raises this itself above {rows} rows.)"
                )

        yield refuse
        return
    before = torch.cuda.get_per_process_memory_fraction()
    _empty()
    total = torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
    torch.cuda.set_per_process_memory_fraction(min(before, (torch.cuda.memory_reserved() + megabytes * 2**20) / total))
    try:
        yield lambda batch_size: None
    finally:
        torch.cuda.set_per_process_memory_fraction(before)
        _empty()


def _empty() -> None:
    gc.collect()
    torch.cuda.empty_cache()


def logged(trainer, name: str) -> list[float]:
    """Every value of ``name`` in a trainer's log, rounded to two places, in the order of the steps."""
    return [round(entry[name], 2) for entry in trainer.state.log_history if name in entry]


def check_script(script: Callable[[], object]) -> str:
    """Run the exercise's training script, and say in one sentence what is still wrong, or that nothing is.

    Right means: it returns a trainer that trained, with finite losses on both the rows and the held-out set.
    """
    try:
        trainer = script()
    except Exception as error:
        return f"Not yet. It raises {type(error).__name__}: {first_line(error)}"
    if not hasattr(getattr(trainer, "state", None), "log_history"):
        return f"Not yet. It returned {type(trainer).__name__}; end the script with: return trainer"
    losses, held_out = logged(trainer, "loss"), logged(trainer, "eval_loss")
    if not losses:
        return "Not yet. Nothing was trained; call trainer.train()."
    if not held_out:
        return "Not yet. It trains, and there is not one held-out loss in its log. Who asks for an evaluation?"
    if not all(math.isfinite(loss) for loss in losses + held_out):
        return "Not yet. A loss is not a finite number; look at the labels and at the learning rate."
    return f"Fixed. Training loss {losses[0]:.2f} -> {losses[-1]:.2f}, and {len(held_out)} held-out losses."
