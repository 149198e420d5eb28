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

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import torch.distributed as dist
from transformers import PreTrainedTokenizerBase, Trainer, TrainerCallback
from transformers.integrations import is_deepspeed_zero3_enabled

from utils.data import DataError, Probe, fingerprint, live_subset
from utils.encode import context_length, encode
from utils.evaluate import ask, encode_probes, kl_divergence, measuring, retention, score
from utils.results import Checkpoint
from utils.snapshots import Weights, put_back, trained_weights

KL_POSITIONS = 256  # with a vocabulary of 50,000 these are 50 MB, and the mean over them is steady enough
KEPT = "regression_monitor.safetensors"  # in the output folder: what a resumed run needs to go on with the KL
LOSSES = ("train_loss", "held_out_loss", "original_loss")


@dataclass(frozen=True)
class Baseline:
    """What was measured at step 0: the checkpoint, the outcome of each probe, and the log-probabilities for the KL.

    encoded: the probes and texts as tokens, which are the same in each run that starts from here.
    """

    checkpoint: Checkpoint
    outcomes: list[bool | None]
    log_probabilities: torch.Tensor | None
    encoded: dict[str, Any]


class RegressionMonitor(TrainerCallback):
    """Measures at step 0, every ``every`` steps, and at the end.

    tokenizer: the model's. probes: questions of the original domain with their answers.
    train_texts, held_out_texts: the new task; original_texts: plain text of the original domain. Each may be left out,
    and its loss is then None.
    live: how many probes the curve is drawn from, the same ones at every step; None means all. At step 0 and at the end
    all of them are asked besides, and ``before`` and ``after`` hold the outcome of each (None for a loss probe).
    max_drop: a drop budget in points (per cent of the probes). When it is exceeded, training stops, and with
    ``restore`` the best weights within the budget come back: those with the lowest held-out loss.
    chat: ask through the tokenizer's chat template.
    baseline: an earlier ``monitor.baseline`` of the same model, probes and texts, to measure step 0 only once.
    on_checkpoint: called with each Checkpoint as soon as it is measured.
    Raises DataError for an empty probe set, ValueError for settings out of range, for a resumed run without a baseline,
    and where the parameters are split over processes (FSDP, DeepSpeed ZeRO-3), since no process has a whole model.
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
        chat: bool = False,
        baseline: Baseline | None = None,
        on_checkpoint: Callable[[Checkpoint], None] | None = None,
    ) -> None:
        if not probes:
            raise DataError("There are no probes; without them nothing can be seen to be forgotten. Add some.")
        if every < 1 or (live is not None and live < 1):
            raise ValueError(f"every is {every} and live is {live}; both must be at least 1.")
        if max_drop is not None and not 0 <= max_drop <= 100:
            raise ValueError(f"max_drop is {max_drop}; give points from 0 to 100.")
        if max_drop is not None and all(probe.measure == "loss" for probe in probes):
            raise ValueError(f"max_drop is {max_drop} points and every probe is a loss probe; add some with answers.")
        self.tokenizer, self.probes, self.chat = tokenizer, list(probes), chat
        self.live = self.probes if live is None else live_subset(self.probes, live)
        self.texts = dict(zip(LOSSES, (train_texts, held_out_texts, original_texts), strict=True))
        self.every, self.max_drop, self.restore, self.on_checkpoint = every, max_drop, restore, on_checkpoint
        self.baseline = baseline
        self.checkpoints: list[Checkpoint] = []
        self.before: list[bool | None] = []
        self.after: list[bool | None] = []
        self.stopped = ""
        self.seconds_measuring = 0.0
        self._trainer: Trainer | None = None
        self._encoded: dict[str, Any] = {}
        self._best: tuple[float, Weights] | None = None

    def log_to(self, trainer: Trainer) -> None:
        """Log through this trainer too, so that each figure reaches TensorBoard or whatever ``report_to`` names."""
        self._trainer = trainer

    # --- What the trainer calls, in every process ---------------------------------------------------------
    def on_train_begin(self, args, state, control, model=None, **kwargs):
        self._began = time.perf_counter()
        if args.fsdp or is_deepspeed_zero3_enabled():
            raise ValueError(
                "The parameters are split over processes (FSDP or DeepSpeed ZeRO-3), so no process can ask the model; "
                "train without the monitor, and measure the saved model with utils.check."
            )
        if state.is_world_process_zero:
            self._begin(args, state, control, model)
        self._agree(control)

    def on_step_end(self, args, state, control, model=None, **kwargs):
        if state.global_step % self.every == 0 and state.global_step < state.max_steps:
            if state.is_world_process_zero:
                self._measure(model, state, control)
            self._agree(control)

    def on_save(self, args, state, control, **kwargs):
        kept = Path(args.output_dir) / KEPT
        known = self.baseline.log_probabilities if state.is_world_process_zero and self.baseline is not None else None
        if known is not None and not kept.exists():
            safetensors.torch.save_file({"log_probabilities": known}, f"{kept}.tmp")
            Path(f"{kept}.tmp").replace(kept)

    def on_train_end(self, args, state, control, model=None, **kwargs):
        first = state.is_world_process_zero
        if first and not self.stopped:
            self._measure(model, state, control, everything=True)  # which may find the budget exceeded at the very end
        self._agree(control)
        if self.stopped:
            self._bring_back(model)
            if first:
                self._measure(model, state, control, everything=True)  # the curve ends with the weights that are left

    # --- Step 0, or the step that a run is resumed at -----------------------------------------------------
    def _begin(self, args, state, control, model) -> None:
        if self.checkpoints:  # the same monitor again: what was measured past this step did not happen
            self.checkpoints = [c for c in self.checkpoints if c.step <= state.global_step] or self.checkpoints
            return
        self._encode(model)
        if state.global_step and self.baseline is None:
            self._resume(args, state, model)
        elif self.baseline is None:
            self._measure(model, state, control, everything=True)
        else:
            self.before = self.after = self.baseline.outcomes
            self._note(replace(self.baseline.checkpoint, seconds=0.0), model, state, control)

    def _encode(self, model) -> None:
        """Tokenise once: the tokens of a probe do not change while the model does."""
        chosen = set(self.live)
        self._live_rows = [i for i, probe in enumerate(self.probes) if probe in chosen]
        self.live = [self.probes[i] for i in self._live_rows]  # in the order in which the rows are picked
        if self.baseline is not None and self.baseline.encoded:
            self._encoded = self.baseline.encoded
            return
        longest = context_length(model)
        self._encoded = {name: encode(self.tokenizer, texts, longest) for name, texts in self.texts.items() if texts}
        self._encoded["all"] = encode_probes(self.tokenizer, self.probes, longest, self.chat)
        self._encoded["live"] = encode_probes(self.tokenizer, self.live, longest, self.chat)

    def _resume(self, args, state, model) -> None:
        """Take the baseline and the curve from the log, which the trainer keeps in each checkpoint folder."""
        entries = [entry for entry in state.log_history if "monitor/seconds" in entry]
        if not entries or "monitor/before" not in entries[0]:
            raise ValueError(
                f"The run was resumed at step {state.global_step}, and nothing was measured at its step 0: give the monitor "
                "the baseline of an untouched model (baseline=), or start the run again."
            )
        if entries[0]["monitor/probes"] != fingerprint(self.probes):
            raise ValueError(
                f"The run was resumed at step {state.global_step} with other probes than its baseline was measured on; "
                "give the monitor the same probes in the same order."
            )
        self.checkpoints = [_from_log(entry) for entry in entries]
        self.before = self.after = [{"1": True, "0": False}.get(mark) for mark in entries[0]["monitor/before"]]
        kept = Path(args.output_dir) / KEPT
        known = safetensors.torch.load_file(kept)["log_probabilities"] if kept.exists() else None
        self.baseline = Baseline(self.checkpoints[0], self.before, known, self._encoded)
        if self.max_drop is not None and self._drop(self.checkpoints[-1]) <= self.max_drop:
            self._best = (math.inf, trained_weights(model))

    # --- Measuring, in the first process ------------------------------------------------------------------
    def _measure(self, model, state, control, everything: bool = False) -> None:
        began = time.perf_counter()
        with measuring(model):  # once around all of it: with hundreds of modules, each change of mode takes a while
            scores = ask(model, self.tokenizer, self._encoded["all" if everything else "live"])
            texts = {
                name: score(model, self._encoded[name], keep=KL_POSITIONS if name == "held_out_loss" else 0)
                for name in self.texts
                if name in self._encoded
            }
        rows = self._live_rows if everything else range(len(self.live))
        right, losses = ([values[i] for i in rows] for values in (scores.correct, scores.loss))
        judged = [outcome for outcome in right if outcome is not None]
        now = texts["held_out_loss"].log_probabilities if "held_out_loss" in texts else None
        base = self.baseline.log_probabilities if self.baseline is not None else now
        checkpoint = Checkpoint(
            step=state.global_step,
            seconds=time.perf_counter() - self._began,
            accuracy=sum(judged) / len(judged) if judged else None,
            retention=retention(self.live, right),
            kl=None if now is None or base is None else kl_divergence(base, now),
            probe_loss=_mean_losses(self.live, losses),
            **{name: texts[name].mean_loss if name in texts else None for name in self.texts},
        )
        if everything:
            self.after = scores.correct
            self.before = self.before or scores.correct
        if self.baseline is None:
            self.baseline = Baseline(checkpoint, scores.correct, now, self._encoded)
        self.seconds_measuring += time.perf_counter() - began
        self._note(checkpoint, model, state, control)

    def _note(self, checkpoint: Checkpoint, model, state, control) -> None:
        """Add a checkpoint to the curve and to the trainer's log, and act on what it says."""
        self.checkpoints.append(checkpoint)
        figures = _to_log(checkpoint)
        if self._trainer is None:
            state.log_history.append({"step": checkpoint.step, **figures})
        else:  # not its own ``log``: TRL's would add the averages of the steps so far to this entry, and forget them
            asked = control.should_log
            Trainer.log(self._trainer, figures)
            control.should_log = asked  # which that took for done
        if len(self.checkpoints) == 1:
            marks = "".join({True: "1", False: "0", None: "-"}[right] for right in self.before)
            state.log_history[-1].update({"monitor/before": marks, "monitor/probes": fingerprint(self.probes)})
        self._judge(checkpoint, model, control)
        if self.on_checkpoint is not None:
            self.on_checkpoint(checkpoint)

    # --- The drop budget ----------------------------------------------------------------------------------
    def _judge(self, checkpoint: Checkpoint, model, control) -> None:
        loss = checkpoint.held_out_loss
        if loss is not None and not math.isfinite(loss):
            self.stopped = self.stopped or f"the loss was {loss} at step {checkpoint.step}: the run diverged"
            control.should_training_stop = True
        elif self.max_drop is not None and not self.stopped:
            drop = self._drop(checkpoint)
            if drop > self.max_drop:
                self.stopped = (
                    f"retention had dropped {drop:.1f} points at step {checkpoint.step}, "
                    f"more than the budget of {self.max_drop:g}"
                )
                control.should_training_stop = True
            elif self._best is None or loss is None or loss < self._best[0]:
                self._best = (math.inf if loss is None else loss, trained_weights(model))

    def _drop(self, checkpoint: Checkpoint) -> float:
        return 100 * (self.checkpoints[0].accuracy - checkpoint.accuracy)

    # --- Several processes --------------------------------------------------------------------------------
    def _agree(self, control) -> None:
        """All processes stop when the first one does; one that went on alone would wait for the others for ever."""
        self.stopped = _from_the_first(self.stopped)
        if self.stopped:
            control.should_training_stop = True

    def _bring_back(self, model) -> None:
        """The best weights within the budget, in every process."""
        if not _from_the_first(self.restore and self._best is not None):
            return
        if self._best is not None:
            put_back(model, self._best[1])
        if _processes() > 1:
            for parameter in (p for p in model.parameters() if p.requires_grad):
                dist.broadcast(parameter.data, src=0)


def _processes() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def _from_the_first(value: Any) -> Any:
    """What the first process says, in all of them."""
    if _processes() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def _mean_losses(probes: Sequence[Probe], losses: Sequence[float]) -> dict[str, float]:
    """Mean loss of the loss probes of each capability, in nats per token."""
    groups: dict[str, list[float]] = {}
    for probe, loss in zip(probes, losses, strict=True):
        if probe.measure == "loss":
            groups.setdefault(probe.capability, []).append(loss)
    return {name: sum(groups[name]) / len(groups[name]) for name in sorted(groups)}


def _to_log(checkpoint: Checkpoint) -> dict[str, float]:
    """Flat names and numbers, as the trainer's own entries have."""
    flat = {name: getattr(checkpoint, name) for name in ("seconds", "accuracy", "kl", *LOSSES)}
    flat |= {f"retention/{name}": value for name, value in checkpoint.retention.items()}
    flat |= {f"probe_loss/{name}": value for name, value in checkpoint.probe_loss.items()}
    return {f"monitor/{name}": value for name, value in flat.items() if value is not None}


def _from_log(entry: dict[str, Any]) -> Checkpoint:
    """The inverse of ``_to_log``."""
    flat = {name.removeprefix("monitor/"): value for name, value in entry.items() if name.startswith("monitor/")}
    groups = {group: {name.removeprefix(f"{group}/"): value for name, value in flat.items() if name.startswith(f"{group}/")}
              for group in ("retention", "probe_loss")}  # fmt: skip
    plain = {name: flat.get(name) for name in ("seconds", "accuracy", "kl", *LOSSES)}
    return Checkpoint(step=entry["step"], **plain, **groups)
