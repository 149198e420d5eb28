"""What a playground knows: its settings, its runs, its pins and the score of your guesses. No widget, thread or picture.

Everything that happens to a run is told about *that run*: ``point(run, checkpoint)``. Word of a run that was cancelled
therefore arrives at the cancelled run, and can never end up in the curve of another one.
"""

from __future__ import annotations

import string
import threading
import time
from collections.abc import Callable, Sequence

from capability_guard.curve import Checkpoint
from capability_guard.verdict import compare
from capability_guard.weights import Weights
from utils.playground.runs import Run, View
from utils.training.config import FineTuneConfig
from utils.training.fader import STRENGTHS, Faded
from utils.training.presets import preset
from utils.training.results import RunResult

MOST_PINS = 6  # more overlays than that cannot be told apart
CHECKPOINTS = {"practice": 10, "real": 4}  # a real model takes seconds to measure
UNDO_STEPS = 100
BAND_SEEDS = 5


class Session:
    """The rules of a playground.

    start: the settings it opens with, and that ``reset`` returns to. lock: names of settings that cannot be changed.
    notify: called, without arguments, after anything changed. All methods may be called from any thread.
    Raises ValueError for a name in ``lock`` that is no setting.
    """

    def __init__(self, start: FineTuneConfig, lock: Sequence[str] = (), notify: Callable[[], None] = lambda: None):
        for name in lock:
            if name not in start.to_dict():
                raise ValueError(f"{name!r} cannot be locked; use one of {', '.join(start.to_dict())}.")
        self.start = self.config = start
        self.locked, self.notify = tuple(lock), notify
        self._lock = threading.RLock()
        self._undo: list[FineTuneConfig] = []
        self._runs: list[Run] = []
        self._active: list[Run] = []
        self._asking: Run | None = None
        self._shown: Run | None = None
        self._faint: Run | None = None
        self._remembered = False
        self._pending_guess: float | None = None
        self._score: list[tuple[float, float]] = []
        self._notice = ""
        self._fading = 0  # another number once what is being faded is of no use any more

    # --- What the learner does ------------------------------------------------------------------------------
    def set(self, **changes) -> None:
        """Change settings. A new model brings its own batch size, modules and steps; more steps, rarer checkpoints.

        Raises ValueError, and changes nothing, for a bad value or a locked setting.
        """
        if changes.get("model", self.config.model) != self.config.model:
            usual = preset("careful", changes["model"])
            own = ("steps", "batch_size", "target_modules", "lora_dropout", "evaluate_every")
            changes = {name: getattr(usual, name) for name in own if name not in self.locked} | changes
        if "steps" in changes and "evaluate_every" not in changes:
            points = CHECKPOINTS["practice" if changes.get("model", self.config.model) == "practice" else "real"]
            if isinstance(changes["steps"], int):
                changes["evaluate_every"] = max(1, -(-changes["steps"] // points))
        self.put(self.config.with_(**changes))

    def put(self, config: FineTuneConfig, recall: bool = True) -> None:
        """Take over all settings at once. Raises ValueError when a locked one would change.

        recall: show the run of these settings if there was one; without it nothing is shown that a guess could copy.
        """
        for name in self.locked:
            if getattr(config, name) != getattr(self.start, name):
                raise ValueError(f"{name} is locked at {getattr(self.start, name)!r} here; leave it as it is.")
        with self._lock:
            self._notice = ""
            if config == self.config and recall:
                return
            before, self.config = self.config, config
            fading = config.as_trained == before.as_trained
            # A drag of the fader is one step to come back from, however many places it passed.
            if not (fading and self._undo and self._undo[-1].as_trained == config.as_trained):
                self._undo = [*self._undo, before][-UNDO_STEPS:]
            if fading:  # nothing to train: whatever runs, runs on
                self.notify()
                return
            self._cancel()
            self._show(self._finished(config) if recall else None, remembered=True)
        self.notify()

    def paste(self, text: str) -> None:
        """Take over the settings of a neighbour's string. Raises ValueError naming the part that cannot be read."""
        if not text.strip():
            raise ValueError("The settings are empty; paste some, or write default.")
        self.put(FineTuneConfig.from_string(text))

    def undo(self) -> bool:
        """Back to the settings before the last change; False when there was none."""
        with self._lock:
            if not self._undo:
                return False
            earlier = self._undo.pop()
            self.put(earlier)
            self._undo.pop()  # an undo is not a step to come back to
            return True

    def reset(self) -> None:
        """Back to the settings of the start. The runs, the pins and the score stay."""
        self.put(self.start)

    def guess(self, points: float | None) -> None:
        """Where retention will end, 0 to 100 per cent; it counts for the next run that finishes. None: no guess."""
        if points is not None and not 0 <= points <= 100:
            raise ValueError(f"The guess is {points}; give per cent of the probes, 0 to 100.")
        with self._lock:
            self._pending_guess = points
            for run in self._active[:1]:
                if not run.checkpoints[1:]:  # later, it would be no guess
                    run.guess = points
        self.notify()

    def request(self, again: bool = False) -> list[Run]:
        """The run that the settings ask for, cancelling the one in flight; empty when it is remembered.

        again: run it even if it was run before.
        """
        with self._lock:
            self._cancel()
            known = self._finished(self.config)
            runs = [] if known is not None and not again else [Run(self.config.as_trained, guess=self._pending_guess)]
            self._active = list(runs)
            self._show(runs[0] if runs else known, remembered=not runs)
        self.notify()
        return runs

    def request_band(self) -> list[Run]:
        """The same settings with five seeds, those that were run already left out."""
        with self._lock:
            self._cancel()
            configs = [self.config.as_trained.with_(seed=self.config.seed + i) for i in range(BAND_SEEDS)]
            self._active = [Run(config) for config in configs if self._finished(config) is None]
            known, runs = self._finished(self.config), list(self._active)
            self._show(known or runs[0], remembered=known is not None)
        self.notify()
        return runs

    def stop(self) -> bool:
        """End the run in flight; its curve stays. False when nothing ran."""
        with self._lock:
            ran = bool(self._active)
            others = ran and self._active[0] is not self._shown
            self._cancel()
            self._notice = "Stopped: the seeds to come were not run." if others else ""
        self.notify()
        return ran

    def pin(self) -> str:
        """Keep the run that is shown as an overlay and a row. Raises ValueError when there is nothing to keep."""
        with self._lock:
            run = self._shown
            if run is None or run.state != "finished":
                raise ValueError("There is no finished run to pin; wait until it is, or press Run.")
            taken = [other.pin for other in self._runs if other.pin]
            if not run.pin and len(taken) >= MOST_PINS:
                raise ValueError(f"{MOST_PINS} runs are pinned; unpin one first.")
            run.pin = run.pin or next(letter for letter in string.ascii_uppercase if letter not in taken)
            run.pin_strength = self.config.strength
        self.notify()
        return run.pin

    def unpin(self, name: str | None = None) -> None:
        """Take one pin away, or all of them. Raises ValueError for a pin that there is not."""
        with self._lock:
            if name is not None and name not in [run.pin for run in self._runs if run.pin]:
                raise ValueError(f"There is no pin {name!r}.")
            for run in self._runs:
                if name is None or run.pin == name:
                    run.pin = ""
        self.notify()

    def say(self, notice: str) -> None:
        """Show a sentence to the learner until the next change."""
        with self._lock:
            self._notice = notice
        self.notify()

    # --- What happens to a run ------------------------------------------------------------------------------
    def began(self, run: Run) -> bool:
        """Training starts; False when the run was cancelled meanwhile."""
        with self._lock:
            if run.state != "waiting":
                return False
            run.state, run.began = "running", time.monotonic()
        self.notify()
        return True

    def progress(self, run: Run, step: int) -> None:
        """So many steps are done."""
        with self._lock:
            if run.state != "running":
                return
            run.step = step
        self.notify()

    def point(self, run: Run, checkpoint: Checkpoint) -> None:
        """A checkpoint was measured."""
        with self._lock:
            if run.state != "running":
                return
            run.checkpoints.append(checkpoint)
            run.step = checkpoint.step
        self.notify()

    def ended(self, run: Run, result: RunResult, weights: Weights | None = None) -> None:
        """The run came to its end, by itself or because it diverged. weights: what it trained, if it may be turned down."""
        verdict = compare(result.before, result.after)  # takes a moment, so not under the lock
        with self._lock:
            if run.state != "running":
                return
            run.result, run.verdict, run.state = result, verdict, "finished"
            run.checkpoints, run.weights = list(result.checkpoints), weights
            if run.guess is not None:
                self._score.append((run.guess, run.kept))
                self._pending_guess = None
            earlier = self._finished(run.config)
            if earlier is not None:  # run again: it takes the place of its twin
                run.pin = earlier.pin
                self._runs.remove(earlier)
            self._runs.append(run)
            self._active = [other for other in self._active if other is not run]
            self._asking = run
        self.notify()

    def cut(self, run: Run) -> None:
        """The run was interrupted from outside: its curve stays, but it is no finished run."""
        with self._lock:
            if run.state == "running":
                run.state = "stopped"
            self._active = []
        self.notify()

    def failed(self, run: Run, trouble: str) -> None:
        """The run ended in an error: what it said, in one line."""
        with self._lock:
            if run.state not in ("waiting", "running"):
                return
            run.state, run.trouble = "failed", trouble
            self._active = [other for other in self._active if other is not run]
        self.notify()

    def answered(self, run: Run, step: int, answers: Sequence[str]) -> None:
        """What the model said at a checkpoint."""
        with self._lock:
            run.answers[step] = list(answers)
        self.notify()

    def asked(self, run: Run) -> None:
        """There are no more answers to come."""
        with self._lock:
            if self._asking is run:
                self._asking = None

    # --- The fader ------------------------------------------------------------------------------------------
    @property
    def fading(self) -> int:
        """A number that changes when a new run starts: who fades for an older one may stop."""
        return self._fading

    def wanted(self) -> tuple[Run, float] | None:
        """The run on show and the strength that the controls say, where that is to be measured; else None."""
        with self._lock:
            run, strength = self._shown, self.config.strength
            if run is None or run.state != "finished" or run.weights is None or run.result.diverged or strength == 1:
                return None
            known = run.at(strength)
            return None if known is not None and known.whole else (run, strength)

    def faded(self, run: Run, faded: Faded) -> None:
        """What is known of a run at a strength."""
        with self._lock:
            run.faded[round(faded.strength, 4)] = faded
            if all((known := run.at(s)) is not None and known.whole for s in STRENGTHS[:-1]):
                run.weights = None  # nothing is left that the slider could ask for
        self.notify()

    # --- Looking at it --------------------------------------------------------------------------------------
    def view(self) -> View:
        """A copy that no thread changes any more."""
        with self._lock:
            shown, faint = (run and run.copy() for run in (self._shown, self._faint))
            finished = tuple(self._runs)
            but_seed = self.config.as_trained.with_(seed=0)
            same = tuple(run for run in finished if shown and run.config.with_(seed=0) == but_seed)
            return View(
                config=self.config,
                shown=shown,
                remembered=self._remembered and shown is not None,
                faint=faint,
                finished=finished,
                pinned=tuple(sorted((run for run in finished if run.pin), key=lambda run: run.pin)),
                band=same,
                left=len(self._active),
                working=self._active[0].copy() if self._active else None,
                pending_guess=self._pending_guess,
                score=tuple(self._score),
                notice=self._notice,
            )

    @property
    def busy(self) -> bool:
        """Whether a run is waiting or running."""
        return bool(self._active)

    @property
    def can_undo(self) -> bool:
        """Whether there is a change to take back."""
        return bool(self._undo)

    def _finished(self, config: FineTuneConfig) -> Run | None:
        return next((run for run in self._runs if run.config == config.as_trained), None)

    def _cancel(self) -> None:
        """End what is in flight, and take down the sentence that was about it."""
        self._notice = ""
        self._fading += 1
        for run in self._active:
            run.cancelled.set()
            run.state = "stopped"
        self._active = []
        if self._asking is not None:
            self._asking.cancelled.set()
            self._asking = None

    def _show(self, run: Run | None, remembered: bool) -> None:
        """Put another run on show; the one before stays, faint, if it has a curve: one point is none."""
        before, self._shown = self._shown, run
        self._remembered = remembered
        if before is not None and before is not run and len(before.checkpoints) > 1:
            self._faint = before
        if self._faint is run:
            self._faint = None
