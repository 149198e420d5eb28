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

import hashlib
import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist
from transformers import PreTrainedTokenizerBase, Trainer, TrainerCallback, TrainerState
from transformers.integrations import is_deepspeed_zero3_enabled

from capability_guard.adapters import carries_trained_adapter
from capability_guard.asking import CONTAINS_TOKENS, ask, encode_probes, kl_divergence, retention, score
from capability_guard.baseline import Baseline, note_outcomes, resumed
from capability_guard.chat import Chat
from capability_guard.conditions import vocabulary_of
from capability_guard.curve import LOSSES, Checkpoint, mean_losses, to_log
from capability_guard.encoding import context_length, encode
from capability_guard.forward import undisturbed
from capability_guard.jsonl import DataError
from capability_guard.matching import MARKING
from capability_guard.probes import Probe, fingerprint, live_subset
from capability_guard.processes import from_the_first, is_split, processes
from capability_guard.weights import Weights, put_back, trained_weights

KL_POSITIONS = 256  # with a vocabulary of 50,000 these are 50 MB, and the mean over them is steady enough


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
    on_checkpoint: called with each Checkpoint as soon as it is measured.
    Use a new monitor for each model. Raises DataError for an empty probe set, ValueError for settings out of range, for a
    baseline of other probes, texts, tokenizer or max_new_tokens, for a resumed run without one, and where the parameters are split
    over processes (FSDP, DeepSpeed ZeRO-3), since no process has a whole model.

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
        self.every, self.early, self.kl = every, frozenset(early), kl
        self.max_drop, self.restore, self.on_checkpoint = max_drop, restore, on_checkpoint
        self.baseline = baseline
        self.checkpoints: list[Checkpoint] = []
        self.before: list[bool | None] = []
        self.after: list[bool | None] = []
        self.stopped = ""
        self.seconds_measuring = 0.0
        self._trainer: Trainer | None = None
        self._whole: Checkpoint | None = None  # the last checkpoint at which all probes were asked
        self._kept = False  # whether this run's folder has the baseline's file
        self._encoded: dict[
            str, Any
        ] = {}  # the tokens of the texts by name, of the probes on the curve, and of the rest
        self._model: torch.nn.Module | None = None  # the one that the baseline is of
        self._best: tuple[float, int, Weights] | None = None  # held-out loss, step, weights

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
        """Measure step 0, or find it again in a resumed run. Raises ValueError where no process has the whole model."""
        self._began = time.perf_counter()
        if args.fsdp or is_deepspeed_zero3_enabled() or is_split(model):
            raise ValueError(
                "The parameters are split over processes (FSDP or DeepSpeed ZeRO-3), so no process can ask the model; "
                "train without the monitor, and measure the saved model with `capability-guard measure`."
            )
        if state.is_world_process_zero:
            self._begin(args, state, control, model)
        self._agree(control)

    def on_step_end(self, args, state, control, model=None, **kwargs):
        """Measure, if it is time to, and stop the run if the budget is exceeded."""
        if self.is_due(state):
            if state.is_world_process_zero:
                self._measure(model, state, control)
            self._agree(control)

    def on_save(self, args, state, control, **kwargs):
        """Write the baseline's log-probabilities beside the trainer's checkpoints, for a run that is resumed."""
        if state.is_world_process_zero and self.baseline is not None and not self._kept:
            self.baseline.keep(args.output_dir)  # whatever lies there is of an earlier run in this folder
            self._kept = True

    def on_train_end(self, args, state, control, model=None, **kwargs):
        """Ask all probes, and bring the best weights back if the run was stopped."""
        first = state.is_world_process_zero
        if first and not self.stopped:
            self._measure(model, state, control, everything=True)  # which may find the budget exceeded at the very end
        self._agree(control)
        if self.stopped:
            back = self._bring_back(model)
            if first:
                left = f"The weights of step {back} are back" if back is not None else "The last weights stay"
                print(f"Stopped: {self.stopped}. {left}.")
                state.log_history.append({"step": state.global_step, "monitor/stopped": self.stopped})
                self._measure(model, state, control, everything=True)  # the curve ends with the weights that are left

    # --- Step 0, or the step that a run is resumed at -----------------------------------------------------
    def _begin(self, args, state, control, model) -> None:
        if self.checkpoints:  # this monitor has watched before
            if state.global_step == 0 and model is not self._model:
                raise ValueError(
                    "This monitor has watched another model, and holds its baseline; make a new one for each model."
                )
            # What was measured past this step did not happen; trained on, the model keeps its first baseline.
            self.checkpoints = [c for c in self.checkpoints if c.step <= state.global_step] or self.checkpoints
            self.stopped, self._best = "", None  # the best weights may be of a step that did not happen
            return
        self._model, self._kept = model, state.global_step > 0
        self._encode(model)
        if state.global_step and self.baseline is None:
            self._resume(args, state, model)
        elif self.baseline is None:
            if carries_trained_adapter(model):
                warnings.warn(
                    "The model carries a trained adapter at step 0, so this is no baseline of the untouched one.",
                    stacklevel=2,
                )
            self._measure(model, state, control, everything=True)
        elif self.baseline.asked != self._asked():
            raise ValueError(
                "The baseline was measured on other probes or texts, or with another tokenizer or max_new_tokens; give the "
                "monitor the same ones, or no baseline."
            )
        else:
            self.before = self.after = self.baseline.outcomes
            # The seconds were those of the run that measured it.
            self._note(replace(self.baseline.checkpoint, seconds=0.0), state, control)
            note_outcomes(state.log_history[-1], self.before, self._asked())
            self._judge(self.checkpoints[-1], model, control, None)

    def _asked(self) -> str:
        """A fingerprint of all that a checkpoint is measured on."""
        texts = repr([(name, list(texts)) for name, texts in self.texts.items()])
        live = ",".join(map(str, self._live_rows))
        chat = repr(self.chat) if self.chat else ""  # "" as it was before there were system turns and variables
        return f"{fingerprint(self.probes)}-{hashlib.sha256((texts + live + chat + self._read_by).encode()).hexdigest()[:12]}"

    def _encode(self, model) -> None:
        """Tokenise once: the tokens of a probe do not change while the model does."""
        template = self.tokenizer.get_chat_template() if self.chat and self.tokenizer.chat_template else ""
        self._read_by = repr((vocabulary_of(self.tokenizer), template, self.max_new_tokens, MARKING))
        chosen = set(self.live)
        self._live_rows = [i for i, probe in enumerate(self.probes) if probe in chosen]
        self.live = [self.probes[i] for i in self._live_rows]  # in the order in which the rows are picked
        if self.baseline is not None and self.baseline.encoded:
            self._encoded = self.baseline.encoded
            return
        longest = context_length(model)
        self._encoded = {name: encode(self.tokenizer, texts, longest) for name, texts in self.texts.items() if texts}
        for name, some in (("live", self.live), ("rest", [probe for probe in self.probes if probe not in chosen])):
            self._encoded[name] = encode_probes(self.tokenizer, some, longest, self.chat, self.max_new_tokens)

    def _resume(self, args, state, model) -> None:
        self.baseline, self.checkpoints = resumed(state, args.output_dir, self._asked(), self._encoded)
        self.before = self.after = self.baseline.outcomes
        # The weights that the trainer has just loaded are all there is to go back to. Any later loss beats infinity.
        if self.max_drop is not None and self._drop(self.checkpoints[-1]) <= self.max_drop:
            self._best = (math.inf, state.global_step, trained_weights(model))

    # --- Measuring, in the first process ------------------------------------------------------------------
    def _measure(self, model, state, control, everything: bool = False) -> None:
        """Add a point to the curve. everything: then ask the other probes too; whoever watches has seen the point by then."""
        began = time.perf_counter()
        with undisturbed(model):  # once around all of it: with hundreds of modules, each change of mode takes a while
            live = ask(model, self.tokenizer, self._encoded["live"])
            texts = {
                name: score(model, self._encoded[name], keep=KL_POSITIONS if self.kl and name == "held_out_loss" else 0)
                for name in self.texts
                if name in self._encoded
            }
        judged = [outcome for outcome in live.correct if outcome is not None]
        now = texts["held_out_loss"].log_probabilities if "held_out_loss" in texts else None
        base = self.baseline.log_probabilities if self.baseline is not None else now
        checkpoint = Checkpoint(
            step=state.global_step,
            seconds=time.perf_counter() - self._began,
            accuracy=sum(judged) / len(judged) if judged else None,
            retention=retention(self.live, live.correct),
            kl=None if now is None or base is None else kl_divergence(base, now),
            probe_loss=mean_losses(self.live, live.loss),
            **{name: texts[name].mean_loss if name in texts else None for name in self.texts},
        )
        self.seconds_measuring += time.perf_counter() - began
        self._note(checkpoint, state, control)
        began, losses = time.perf_counter(), list(live.loss)
        if everything:
            rest = ask(model, self.tokenizer, self._encoded["rest"])
            losses += rest.loss
            self._keep_all(live.correct, rest.correct)
            self._whole = checkpoint
        if self.baseline is None:
            self.baseline = Baseline(checkpoint, self.after, now, self._asked(), self._encoded)
            # In the log, because the trainer saves that in each checkpoint and gives it back to a resumed run.
            note_outcomes(state.log_history[-1], self.before, self._asked())
        self.seconds_measuring += time.perf_counter() - began
        # One loss that is no number is enough: the weights are broken, whatever else still looks right.
        measured = (*losses, *(getattr(checkpoint, name) or 0.0 for name in LOSSES))
        self._judge(checkpoint, model, control, next((x for x in measured if not math.isfinite(x)), None))

    def _keep_all(self, live: list[bool | None], rest: list[bool | None]) -> None:
        """The outcomes of all probes in their order; the first ones are those of the baseline."""
        on_the_curve = set(self._live_rows)
        found, others = iter(live), iter(rest)
        self.after = [next(found if i in on_the_curve else others) for i in range(len(self.probes))]
        self.before = self.before or self.after

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
        if self.on_checkpoint is not None:
            self.on_checkpoint(checkpoint)

    # --- The drop budget ----------------------------------------------------------------------------------
    def _judge(self, checkpoint: Checkpoint, model, control, broken: float | None) -> None:
        loss = checkpoint.held_out_loss
        if broken is not None:
            self.stopped = self.stopped or f"the loss was {broken} at step {checkpoint.step}: the run diverged"
            control.should_training_stop = True
        elif self.max_drop is not None and not self.stopped:  # once stopped, the first reason stays
            drop = self._drop(checkpoint)
            if drop > self.max_drop:
                self.stopped = (
                    f"retention had dropped {drop:.1f} points at step {checkpoint.step}, "
                    f"more than the budget of {self.max_drop:g}"
                )
                control.should_training_stop = True
            elif self._best is None or loss is None or loss < self._best[0]:
                self._best = (math.inf if loss is None else loss, checkpoint.step, trained_weights(model))

    def _drop(self, checkpoint: Checkpoint) -> float:
        """Points lost: of the probes on the curve, but of all of them when all were asked."""
        # Where all were asked, the few on the curve have nothing to add, and noise of their own.
        if checkpoint is self._whole:
            before, after = ([right for right in side if right is not None] for side in (self.before, self.after))
            return 100 * (sum(before) - sum(after)) / len(before)
        return 100 * (self.checkpoints[0].accuracy - checkpoint.accuracy)

    # --- Several processes --------------------------------------------------------------------------------
    def _agree(self, control) -> None:
        """All processes stop when the first one does; one that went on alone would wait for the others for ever."""
        self.stopped = from_the_first(self.stopped)
        if self.stopped:
            control.should_training_stop = True

    def _bring_back(self, model) -> int | None:
        """The best weights within the budget, in every process; the step that they are of, if there are any."""
        # Only the first process judges, so only it has weights to give: the others take part in the broadcast and get theirs.
        step = from_the_first(self._best[1] if self.restore and self._best is not None else None)
        if step is None:
            return None
        if self._best is not None:
            put_back(model, self._best[2])
        if processes() > 1:
            for parameter in (p for p in model.parameters() if p.requires_grad):
                dist.broadcast(parameter.data, src=0)
        return step
