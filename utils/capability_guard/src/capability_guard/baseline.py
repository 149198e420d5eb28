"""What was measured at step 0, and how a run that is resumed finds it again.

The trainer keeps its log in each checkpoint folder, and the curve with it. The log-probabilities, which the KL needs, are
too many for a log: they stand in a file of their own in the run's output folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from capability_guard.curve import Checkpoint, from_log

KEPT = "regression_monitor.safetensors"


@dataclass(frozen=True)
class Baseline:
    """What was measured at step 0: the checkpoint, the outcome of each probe in their order, and the log-probabilities for
    the KL, [positions, vocabulary], on the CPU.

    asked: a fingerprint of the probes, of those on the curve, and of the texts. encoded: all these as tokens, which are the
    same in each run that starts from here.

    >>> checkpoint = Checkpoint(step=0, seconds=0.2, accuracy=0.5, retention={"sums": 0.5})
    >>> Baseline(checkpoint, outcomes=[True, False], log_probabilities=None, asked="ab12", encoded={}).checkpoint.accuracy
    0.5
    """

    checkpoint: Checkpoint
    outcomes: list[bool | None]
    log_probabilities: torch.Tensor | None
    asked: str
    encoded: dict[str, Any]

    def keep(self, folder: str | Path) -> None:
        """Write the log-probabilities into a run's output folder, whole or not at all; nothing where there are none.

        >>> checkpoint = Checkpoint(step=0, seconds=0.2, accuracy=0.5, retention={})
        >>> Baseline(checkpoint, [True, False], torch.zeros(256, 1536), "ab12", {}).keep(FOLDER)
        >>> [file.name for file in FOLDER.iterdir()]
        ['regression_monitor.safetensors']
        """
        if self.log_probabilities is None:
            return
        kept = Path(folder) / KEPT
        safetensors.torch.save_file({"log_probabilities": self.log_probabilities}, f"{kept}.tmp", {"asked": self.asked})
        Path(f"{kept}.tmp").replace(kept)


def note_outcomes(entry: dict[str, Any], outcomes: list[bool | None], asked: str) -> None:
    """Add to the log's entry of step 0 what a resumed run needs: the outcome of each probe, and what was asked.

    >>> entry = {"step": 0, "monitor/seconds": 0.2}
    >>> note_outcomes(entry, [True, False, None], asked="ab12")
    >>> entry["monitor/before"]
    '10-'
    """
    # One letter a probe, because the trainer writes its whole log into every checkpoint folder.
    marks = "".join({True: "1", False: "0", None: "-"}[right] for right in outcomes)
    entry.update({"monitor/before": marks, "monitor/asked": asked})


def resumed(state: Any, folder: str | Path, asked: str, encoded: dict[str, Any]) -> tuple[Baseline, list[Checkpoint]]:
    """(the baseline of the run's first start, its curve so far), from the trainer's log and its output folder.

    Without the file of log-probabilities, or with one of other probes or texts, the KL is None from here on.
    Raises ValueError, one sentence, when nothing was measured at step 0, or other things than are asked now.

    >>> from transformers import TrainerState
    >>> entry = {"step": 0, "monitor/seconds": 0.2, "monitor/accuracy": 0.5}
    >>> note_outcomes(entry, [True, False], asked="ab12")
    >>> resumed(TrainerState(global_step=20, log_history=[entry]), FOLDER, "ab12", {})[0].outcomes
    [True, False]
    """
    # Each checkpoint has seconds, and none of the trainer's own entries does.
    entries = [entry for entry in state.log_history if "monitor/seconds" in entry]
    if not entries or "monitor/before" not in entries[0]:
        raise ValueError(
            f"The run was resumed at step {state.global_step}, and nothing was measured at its step 0: give the monitor "
            "the baseline of an untouched model (baseline=), or start the run again."
        )
    if entries[0]["monitor/asked"] != asked:
        raise ValueError(
            f"The run was resumed at step {state.global_step} with other probes or texts than its baseline was measured on; "
            "give the monitor the same ones in the same order, and the same live, tokenizer and max_new_tokens."
        )
    curve = [from_log(entry) for entry in entries]
    outcomes = [{"1": True, "0": False}.get(mark) for mark in entries[0]["monitor/before"]]
    return Baseline(curve[0], outcomes, _kept(Path(folder) / KEPT, asked), asked, encoded), curve


def _kept(file: Path, asked: str) -> torch.Tensor | None:
    """What ``keep`` wrote, if it is of these probes and texts."""
    if not file.exists():
        return None
    with safetensors.safe_open(file, framework="pt") as stored:
        same = (stored.metadata() or {}).get("asked") == asked
        return stored.get_tensor("log_probabilities") if same else None
