"""Watch a fine-tuning run for what it forgets: a callback for any ``transformers.Trainer`` or TRL trainer.

    monitor = RegressionMonitor(tokenizer, probes, every=10)
    trainer = SFTTrainer(model, ..., callbacks=[monitor])
    trainer.train()
    monitor.checkpoints        # from step 0, measured before anything trained

The model under test is whatever the trainer trains, PEFT-wrapped or not. Measuring changes nothing: no random number
is drawn, and every module is afterwards in the mode that it was in. Several processes share the questions out where each has
the whole model, and ask them all in step where it is split over them (FSDP); each has the same curve, and all stop together.
A run that is resumed goes on with the baseline of its first start.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase, Trainer, TrainerCallback, TrainerState

from capability_guard.adapters import carries_trained_adapter
from capability_guard.asking import CONTAINS_TOKENS, kl_divergence, retention
from capability_guard.baseline import Baseline, note_outcomes, resumed
from capability_guard.chat import Chat
from capability_guard.curve import LOSSES, Checkpoint, mean_losses, to_log
from capability_guard.drop_budget import DropBudget, points_lost
from capability_guard.forward import undisturbed
from capability_guard.in_step import in_step
from capability_guard.jsonl import DataError
from capability_guard.probes import Probe, live_subset
from capability_guard.processes import from_the_first, is_zero3, meet
from capability_guard.questions import KL_POSITIONS, Questions, Share, mean_loss


class RegressionMonitor(TrainerCallback):
    """Measures at step 0, every ``every`` optimizer steps, and at the end. A loss that is no number ends the run.

    After each measurement, ``checkpoints`` has one more Checkpoint. ``before`` and ``after`` are the outcomes of all probes,
    in their order; ``seconds_measuring`` is the time spent. With the trainer's own load_best_model_at_end, the last
    checkpoint is of the weights that it loaded, whatever its step says.

    tokenizer: the model's. probes: questions of the original domain with their answers.
    train_texts, held_out_texts: the new task; original_texts: plain text of the original domain. Each may be left out,
    and its loss is then None.
    early: more steps to measure at, since much is forgotten within the first few. kl: whether to measure it, where there are
    held-out texts.
    live: how many probes the curve is drawn from, the same ones at every step; None means all. At step 0 and at the end
    all of them are asked besides, and ``before`` and ``after`` hold the outcome of each (None for a loss probe).
    max_drop: a drop budget in points (per cent of the probes; of those on the curve during training, of all at the end).
    When it is exceeded, training stops, ``stopped`` says why, and with ``restore`` the best weights within the budget come
    back: those with the lowest held-out loss or, without held-out texts, the latest.
    chat: True asks through the tokenizer's chat template; a ``Chat`` adds a system turn or variables. max_new_tokens: how much
    the model may say to a "contains" probe.
    baseline: an earlier ``monitor.baseline`` of the same model, probes and texts, to measure step 0 only once.
    on_checkpoint: called with each Checkpoint as soon as it is measured, in the first process.
    Use a new monitor for each model. Raises DataError for an empty probe set, ValueError for settings out of range, for a
    baseline of other probes, texts, tokenizer or max_new_tokens, for a resumed run without one, and under ZeRO-3; ProcessLost where
    another process is gone.

    >>> from transformers import TrainingArguments
    >>> from capability_guard.probes import load_probes
    >>> monitor = RegressionMonitor(tokenizer, load_probes(PROBES), every=1)
    >>> ids = tokenizer("What is 2+2? Thank you for asking.").input_ids
    >>> how = TrainingArguments(str(FOLDER), max_steps=2, learning_rate=0.05, report_to="none", disable_tqdm=True)
    >>> _ = Trainer(model, how, train_dataset=[{"input_ids": ids, "labels": ids}] * 16, callbacks=[monitor]).train()
    {'train_runtime': ...}
    >>> [(c.step, c.accuracy) for c in monitor.checkpoints]  # that learning rate was far too high
    [(0, 1.0), (1, 0.0), (2, 0.0)]
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
        early: Sequence[int] = (),
        kl: bool = True,
        live: int | None = None,
        max_drop: float | None = None,
        restore: bool = True,
        chat: bool | Chat = False,
        max_new_tokens: int = CONTAINS_TOKENS,
        baseline: Baseline | None = None,
        on_checkpoint: Callable[[Checkpoint], None] | None = None,
    ) -> None:
        if not probes:
            raise DataError("There are no probes; without them nothing can be seen to be forgotten. Add some.")
        if not all(isinstance(probe, Probe) for probe in probes):
            raise DataError(f"probes is {str(probes)[:40]!r}; give probes, as load_probes reads them from a file.")
        if not isinstance(every, int) or not isinstance(live, (int, type(None))):
            raise ValueError(f"every is {every!r} and live is {live!r}; both must be whole numbers.")
        if every < 1 or (live is not None and live < 1):
            raise ValueError(f"every is {every} and live is {live}; both must be at least 1.")
        if max_drop is not None and not 0 <= max_drop <= 100:
            raise ValueError(f"max_drop is {max_drop}; give points from 0 to 100.")
        if max_drop is not None and all(probe.measure == "loss" for probe in probes):
            raise ValueError(f"max_drop is {max_drop} points and every probe is a loss probe; add some with answers.")
        self.tokenizer, self.probes, self.chat, self.max_new_tokens = tokenizer, list(probes), chat, max_new_tokens
        self.live = self.probes if live is None else live_subset(self.probes, live)
        if max_drop is not None and all(probe.measure == "loss" for probe in self.live):
            raise ValueError(
                f"max_drop is {max_drop} points and live is {live}, which leaves loss probes alone; raise live."
            )
        self.texts = dict(zip(LOSSES, (train_texts, held_out_texts, original_texts), strict=True))
        for name, texts in self.texts.items():
            if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
                raise ValueError(f"The texts for {name} are {str(texts)[:40]!r}; give a list of texts.")
        self.every, self.early, self.kl, self.on_checkpoint = every, frozenset(early), kl, on_checkpoint
        self.max_drop, self.restore, self.baseline = max_drop, restore, baseline
        self.checkpoints: list[Checkpoint] = []
        self.before: list[bool | None] = []
        self.after: list[bool | None] = []
        self.stopped = ""
        self.seconds_measuring = 0.0
        self._trainer: Trainer | None = None
        self._whole: Checkpoint | None = None  # the last checkpoint at which all probes were asked
        self._kept = False  # whether this run's folder has the baseline's file
        self._model: torch.nn.Module | None = None  # the one that the baseline is of
        self._encoded: dict[str, Any] = {}  # the questions as tokens
        self._budget = DropBudget(max_drop, restore)

    def log_to(self, trainer: Trainer) -> None:
        """Log through this trainer too, so that each figure reaches TensorBoard or whatever ``report_to`` names.

        A callback is made before its trainer is, so this comes last. Without it the figures are in the log history only.

        >>> from transformers import TrainingArguments
        >>> monitor = RegressionMonitor(tokenizer, [Probe("What is 2+2?", "4.", "arithmetic")])
        >>> trainer = Trainer(model, TrainingArguments(str(FOLDER), report_to="none"), callbacks=[monitor])
        >>> monitor.log_to(trainer)
        """
        self._trainer = trainer

    def is_due(self, state: TrainerState) -> bool:
        """Whether the curve gets a point after this step.

        >>> monitor = RegressionMonitor(tokenizer, [Probe("What is 2+2?", "4.", "arithmetic")], every=10, early=[2])
        >>> [step for step in range(1, 31) if monitor.is_due(TrainerState(global_step=step, max_steps=30))]
        [2, 10, 20]
        """
        # Not at the last step: ``on_train_end`` measures there, and asks all probes.
        step = state.global_step
        return (step % self.every == 0 or step in self.early) and step < state.max_steps

    # --- What the trainer calls, in every process ---------------------------------------------------------
    def on_train_begin(self, args, state, control, model=None, **kwargs):
        """Measure step 0, or find it again in a resumed run. Raises ValueError under DeepSpeed ZeRO-3."""
        self._began = time.perf_counter()
        if is_zero3(model):
            raise ValueError(
                "The parameters are split by DeepSpeed ZeRO-3, which the monitor does not ask; use FSDP or ZeRO-2, or train "
                "without it and measure the saved model with `capability-guard measure`."
            )
        meet(state.global_step)
        self._begin(args, state, control, model)
        self._agree(control)

    def on_step_end(self, args, state, control, model=None, **kwargs):
        """Measure, if it is time to, and stop the run if the budget is exceeded."""
        if self.is_due(state):
            meet(state.global_step)
            self._measure(model, state, control)
            self._agree(control)

    def on_save(self, args, state, control, **kwargs):
        """Write the baseline's log-probabilities beside the trainer's checkpoints, for a run that is resumed."""
        if state.is_world_process_zero and self.baseline is not None and not self._kept:
            self.baseline.keep(args.output_dir)  # whatever lies there is of an earlier run in this folder
            self._kept = True

    def on_train_end(self, args, state, control, model=None, **kwargs):
        """Ask all probes, and bring the best weights back if the run was stopped."""
        meet(state.global_step)
        if not self.stopped:
            self._measure(model, state, control, everything=True)  # which may find the budget exceeded at the very end
        self._agree(control)
        if self.stopped:
            back = self._budget.bring_back(model)
            if state.is_world_process_zero:
                left = f"The weights of step {back} are back" if back is not None else "The last weights stay"
                print(f"Stopped: {self.stopped}. {left}.")
            state.log_history.append({"step": state.global_step, "monitor/stopped": self.stopped})
            self._measure(model, state, control, everything=True)  # the curve ends with the weights that are left

    def _agree(self, control) -> None:
        """All processes stop when the first one does; one that went on alone would wait for the others."""
        self.stopped = from_the_first(self.stopped)
        if self.stopped:
            control.should_training_stop = True

    # --- Step 0, or the step that a run is resumed at -----------------------------------------------------
    def _begin(self, args, state, control, model) -> None:
        if self.checkpoints:  # this monitor has watched before
            if state.global_step == 0 and model is not self._model:
                raise ValueError(
                    "This monitor has watched another model, and holds its baseline; make a new one for each model."
                )
            # What was measured past this step did not happen; trained on, the model keeps its first baseline.
            self.checkpoints = [c for c in self.checkpoints if c.step <= state.global_step] or self.checkpoints
            self.stopped = ""
            self._budget.forget()
            return
        self._model, self._kept = model, state.global_step > 0
        self._share = Share.for_model(model)
        chosen = set(self.live)
        rows = [i for i, probe in enumerate(self.probes) if probe in chosen]
        self.live = [self.probes[i] for i in rows]  # in the order in which the rows are picked
        self._questions = Questions(self.tokenizer, self.probes, rows, self.texts, self.chat, self.max_new_tokens)
        self._asked = self._questions.asked()
        known = self.baseline.encoded if self.baseline is not None else None
        self._encoded = known or self._questions.encoded(model, self._share)
        if state.global_step and self.baseline is None:
            self._resume(args, state, model)
        elif self.baseline is None:
            if carries_trained_adapter(model):
                warnings.warn(
                    "The model carries a trained adapter at step 0, so this is no baseline of the untouched one.",
                    stacklevel=2,
                )
            self._measure(model, state, control, everything=True)
        elif self.baseline.asked != self._asked:
            raise ValueError(
                "The baseline was measured on other probes or texts, or with another tokenizer or max_new_tokens; give the "
                "monitor the same ones, or no baseline."
            )
        else:
            self.before = self.after = self.baseline.outcomes
            # The seconds were those of the run that measured it.
            self._note(replace(self.baseline.checkpoint, seconds=0.0), state, control)
            note_outcomes(state.log_history[-1], self.before, self._asked)
            self._judge(self.checkpoints[-1], model, control, None)

    def _resume(self, args, state, model) -> None:
        self.baseline, self.checkpoints = resumed(state, args.output_dir, self._asked, self._encoded)
        self.before = self.after = self.baseline.outcomes
        # The weights that the trainer has just loaded are all there is to go back to. Any later loss beats infinity.
        if self.max_drop is not None and self._drop(self.checkpoints[-1]) <= self.max_drop:
            self._budget.keep(math.inf, state.global_step, model)

    # --- Measuring ----------------------------------------------------------------------------------------
    def _measure(self, model, state, control, everything: bool = False) -> None:
        """Add a point to the curve. everything: then ask the other probes too; whoever watches has seen the point by then."""
        began = time.perf_counter()
        with in_step(model) as whole, undisturbed(whole):  # once around all of it: each change of mode takes a while
            live, losses = self._questions.of("live", whole, self._encoded, self._share)
            texts = {name: mean_loss(whole, self._encoded[name], self._share, self._positions(name))
                     for name in self.texts if name in self._encoded}  # fmt: skip
        now = texts["held_out_loss"][1] if "held_out_loss" in texts else None
        checkpoint = from_the_first(self._checkpoint(state.global_step, live, losses, texts, now))
        self.seconds_measuring += time.perf_counter() - began
        self._note(checkpoint, state, control)
        began = time.perf_counter()
        if everything:
            with in_step(model) as whole:
                rest, more = self._questions.of("rest", whole, self._encoded, self._share)
            losses = losses + more
            self.after = self._questions.in_order(live, rest)
            self.before = self.before or self.after
            self._whole = checkpoint
        if self.baseline is None:
            self.baseline = Baseline(checkpoint, self.after, now, self._asked, self._encoded)
            # In the log, because the trainer saves that in each checkpoint and gives it back to a resumed run.
            note_outcomes(state.log_history[-1], self.before, self._asked)
        self.seconds_measuring += time.perf_counter() - began
        # One loss that is no number is enough: the weights are broken, whatever else still looks right.
        measured = (*losses, *(getattr(checkpoint, name) or 0.0 for name in LOSSES))
        self._judge(checkpoint, model, control, next((x for x in measured if not math.isfinite(x)), None))

    def _positions(self, name: str) -> int:
        return KL_POSITIONS if self.kl and name == "held_out_loss" else 0

    def _checkpoint(self, step: int, live: list[bool | None], losses: list[float], texts: dict, now) -> Checkpoint:
        """The figures as a point of the curve; the KL is known to the first process alone where the texts are shared out."""
        judged = [outcome for outcome in live if outcome is not None]
        base = self.baseline.log_probabilities if self.baseline is not None else now
        return Checkpoint(
            step=step,
            seconds=time.perf_counter() - self._began,
            accuracy=sum(judged) / len(judged) if judged else None,
            retention=retention(self.live, live),
            kl=None if now is None or base is None else kl_divergence(base, now),
            probe_loss=mean_losses(self.live, losses),
            **{name: texts[name][0] if name in texts else None for name in self.texts},
        )

    def _note(self, checkpoint: Checkpoint, state, control) -> None:
        """Add a checkpoint to the curve and to the trainer's log, and tell whoever watches."""
        self.checkpoints.append(checkpoint)
        figures = to_log(checkpoint)
        if self._trainer is None:
            state.log_history.append({"step": checkpoint.step, **figures})
        else:  # not its own ``log``: TRL's would add the averages of the steps so far to this entry, and forget them
            asked = control.should_log
            Trainer.log(self._trainer, figures)
            control.should_log = asked  # which that took for done
        if self.on_checkpoint is not None and state.is_world_process_zero:
            self.on_checkpoint(checkpoint)

    def _judge(self, checkpoint: Checkpoint, model, control, broken: float | None) -> None:
        """Stop the run if it diverged or lost too much; once stopped, the first reason stays."""
        if broken is not None:
            self.stopped = self.stopped or f"the loss was {broken} at step {checkpoint.step}: the run diverged"
        elif not self.stopped and self.max_drop is not None:
            self.stopped = self._budget.judge(self._drop(checkpoint), checkpoint, model)
        if self.stopped:
            control.should_training_stop = True

    def _drop(self, checkpoint: Checkpoint) -> float:
        """Points lost: of the probes on the curve, but of all of them when all were asked."""
        # Where all were asked, the few on the curve have nothing to add, and noise of their own.
        if checkpoint is self._whole:
            return points_lost(self.before, self.after)
        return 100 * (self.checkpoints[0].accuracy - checkpoint.accuracy)
