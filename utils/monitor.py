"""Watch a fine-tuning run for what it forgets: a callback for any ``transformers.Trainer`` or TRL trainer.

    monitor = RegressionMonitor(tokenizer, probes, every=10)
    trainer = SFTTrainer(model, ..., callbacks=[monitor])
    trainer.train()
    monitor.checkpoints        # from step 0, measured before anything trained

The model under test is whatever the trainer trains, PEFT-wrapped or not. Measuring changes nothing: no random number
is drawn, and every module is afterwards in the mode that it was in.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from transformers import PreTrainedTokenizerBase, TrainerCallback

from utils.data import DataError, Probe, live_subset
from utils.evaluate import Batch, context_length, encode, kl_divergence, measuring, retention, score
from utils.results import Checkpoint
from utils.snapshots import Weights, put_back, trained_weights

KL_POSITIONS = 256  # with a vocabulary of 50,000 these are 50 MB, and the mean over them is steady enough


@dataclass(frozen=True)
class Baseline:
    """What was measured at step 0: the checkpoint, the outcome of each probe, and the log-probabilities for the KL.

    encoded: the probes and texts as tokens, which are the same in each run that starts from here.
    """

    checkpoint: Checkpoint
    outcomes: list[bool]
    log_probabilities: torch.Tensor | None
    encoded: dict[str, list[Batch]]


class RegressionMonitor(TrainerCallback):
    """Measures at step 0, every ``every`` steps, and at the end.

    tokenizer: the model's. probes: questions of the original domain with their answers.
    train_texts, held_out_texts: the new task; original_texts: plain text of the original domain. Each may be left out,
    and its loss is then None.
    live: how many probes the curve is drawn from, the same ones at every step; None means all. At step 0 and at the end
    all of them are asked besides, and ``before`` and ``after`` hold the outcome of each.
    max_drop: a drop budget in points (per cent of the probes). When it is exceeded, training stops, and with
    ``restore`` the best weights within the budget come back: those with the lowest held-out loss.
    baseline: an earlier ``monitor.baseline`` of the same model, probes and texts, to measure step 0 only once.
    on_checkpoint: called with each Checkpoint as soon as it is measured.
    Raises DataError for an empty probe set, ValueError for settings out of range.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        probes: Sequence[Probe],
        *,
        train_texts: Sequence[str] = (),
        held_out_texts: Sequence[str] = (),
        original_texts: Sequence[str] = (),
        every: int = 10,
        live: int | None = None,
        max_drop: float | None = None,
        restore: bool = True,
        baseline: Baseline | None = None,
        on_checkpoint: Callable[[Checkpoint], None] | None = None,
    ) -> None:
        if not probes:
            raise DataError("There are no probes; without them nothing can be seen to be forgotten. Add some.")
        if every < 1 or (live is not None and live < 1):
            raise ValueError(f"every is {every} and live is {live}; both must be at least 1.")
        if max_drop is not None and not 0 <= max_drop <= 100:
            raise ValueError(f"max_drop is {max_drop}; give points from 0 to 100.")
        self.tokenizer, self.probes = tokenizer, list(probes)
        self.live = self.probes if live is None else live_subset(self.probes, live)
        self.texts = {
            "train_loss": train_texts,
            "held_out_loss": held_out_texts,
            "original_loss": original_texts,
        }
        self.every, self.max_drop, self.restore, self.on_checkpoint = every, max_drop, restore, on_checkpoint
        self.baseline = baseline
        self.checkpoints: list[Checkpoint] = []
        self.before: list[bool] = []
        self.after: list[bool] = []
        self.stopped = ""
        self.seconds_measuring = 0.0
        self._encoded: dict[str, list[Batch]] = {}
        self._best: tuple[float, Weights] | None = None

    # --- What the trainer calls ---------------------------------------------------------------------------
    def on_train_begin(self, args, state, control, model=None, **kwargs):
        self._began = time.perf_counter()
        if not state.is_world_process_zero or self.checkpoints:
            return
        self._encode(model)
        if self.baseline is None:
            self._measure(model, state, control, everything=True)
        else:
            self.before = self.after = self.baseline.outcomes
            self._note(replace(self.baseline.checkpoint, seconds=0.0), model, state, control)

    def on_step_end(self, args, state, control, model=None, **kwargs):
        if state.is_world_process_zero and state.global_step % self.every == 0 and state.global_step < state.max_steps:
            self._measure(model, state, control)

    def on_train_end(self, args, state, control, model=None, **kwargs):
        if not state.is_world_process_zero:
            return
        if not self.stopped:
            self._measure(model, state, control, everything=True)  # which may find the budget exceeded at the very end
        if self.stopped:
            if self.restore and self._best is not None:
                put_back(model, self._best[1])
            self._measure(model, state, control, everything=True)  # the curve ends with the weights that are left

    # --- Measuring ----------------------------------------------------------------------------------------
    def _encode(self, model) -> None:
        """Tokenise once: the tokens of a probe do not change while the model does."""
        chosen = set(self.live)
        self._live_rows = [i for i, probe in enumerate(self.probes) if probe in chosen]
        self.live = [self.probes[i] for i in self._live_rows]  # in the order in which the rows are picked
        if self.baseline is not None:
            self._encoded = self.baseline.encoded
            return
        longest = context_length(model)
        self._encoded = {name: encode(self.tokenizer, texts, longest) for name, texts in self.texts.items() if texts}
        self._encoded["all"] = encode(self.tokenizer, self.probes, longest)
        self._encoded["live"] = encode(self.tokenizer, self.live, longest)

    def _measure(self, model, state, control, everything: bool = False) -> None:
        began = time.perf_counter()
        with measuring(model):  # once around all of it: with hundreds of modules, each change of mode takes a while
            scores = score(model, self._encoded["all" if everything else "live"])
            texts = {
                name: score(model, self._encoded[name], keep=KL_POSITIONS if name == "held_out_loss" else 0)
                for name in self.texts
                if name in self._encoded
            }
        if everything:
            self.after = scores.correct
            self.before = self.before or scores.correct
        right = [scores.correct[i] for i in self._live_rows] if everything else scores.correct
        now = texts["held_out_loss"].log_probabilities if "held_out_loss" in texts else None
        base = self.baseline.log_probabilities if self.baseline is not None else now
        checkpoint = Checkpoint(
            step=state.global_step,
            seconds=time.perf_counter() - self._began,
            accuracy=sum(right) / len(right),
            retention=retention(self.live, right),
            kl=None if now is None else kl_divergence(base, now),
            **{name: texts[name].mean_loss if name in texts else None for name in self.texts},
        )
        if self.baseline is None:
            self.baseline = Baseline(checkpoint, scores.correct, now, self._encoded)
        self.seconds_measuring += time.perf_counter() - began
        self._note(checkpoint, model, state, control)

    def _note(self, checkpoint: Checkpoint, model, state, control) -> None:
        """Add a checkpoint to the curve and to the trainer's log, and act on what it says."""
        self.checkpoints.append(checkpoint)
        state.log_history.append({"step": checkpoint.step, **self._log(checkpoint)})
        self._judge(checkpoint, model, control)
        if self.on_checkpoint is not None:
            self.on_checkpoint(checkpoint)

    @staticmethod
    def _log(checkpoint: Checkpoint) -> dict[str, float]:
        """Flat names and numbers, as the trainer's own entries have."""
        flat = {"accuracy": checkpoint.accuracy, "kl": checkpoint.kl}
        flat |= {name: getattr(checkpoint, name) for name in ("train_loss", "held_out_loss", "original_loss")}
        flat |= {f"retention/{name}": value for name, value in checkpoint.retention.items()}
        return {f"monitor/{name}": value for name, value in flat.items() if value is not None}

    # --- The drop budget ----------------------------------------------------------------------------------
    def _judge(self, checkpoint: Checkpoint, model, control) -> None:
        loss = checkpoint.held_out_loss
        if loss is not None and not math.isfinite(loss):
            self.stopped = self.stopped or f"the loss was {loss} at step {checkpoint.step}: the run diverged"
            control.should_training_stop = True
        elif self.max_drop is not None and not self.stopped:
            drop = 100 * (self.checkpoints[0].accuracy - checkpoint.accuracy)
            if drop > self.max_drop:
                self.stopped = (
                    f"retention had dropped {drop:.1f} points at step {checkpoint.step}, "
                    f"more than the budget of {self.max_drop:g}"
                )
                control.should_training_stop = True
            elif self._best is None or loss is None or loss < self._best[0]:
                self._best = (math.inf if loss is None else loss, trained_weights(model))
