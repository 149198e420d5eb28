"""What each control of a playground does when it is moved or pressed, and ``playground()``, which makes one.

The widgets are in ``controls``, what they show in ``views``; what a playground knows is in ``session``, training in ``live``.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Sequence
from functools import partial

from IPython.display import display

from utils.playground.background import FADING, TRAINING, Foreground
from utils.playground.controls import (
    CONTROLS,
    NO_GUESS,
    paragraph,
)
from utils.playground.live import fade_run, in_one_line, time_needed, train
from utils.playground.runs import Run, export
from utils.playground.session import Session
from utils.playground.views import Shown
from utils.training import presets
from utils.training.config import FineTuneConfig
from utils.training.models import SHIPPED

DELAY = 0.06  # seconds that a run waits for the next move: a held arrow key, 30 times a second, is one run
IN_FRONT = (
    "This page shows only what its main thread draws, so a run keeps it busy. "
    "To stop a run, use the interrupt button of the page."
)


class Playground(Shown):
    """One playground. Its widgets are attributes, so that code can move them: ``play.rank.value = 1``."""

    def __init__(self, session: Session, hide: Sequence[str], claim: str, foreground: bool) -> None:
        self._training, self._fading = (Foreground(), Foreground()) if foreground else (TRAINING, FADING)
        super().__init__(session, hide, claim, foreground, IN_FRONT if foreground else "")
        self._wire()
        self._sync()
        session.notify = self._refresh
        self._refresh()

    def _wire(self) -> None:
        """What each control does when it is moved or pressed."""
        for name in CONTROLS:
            getattr(self, name).observe(partial(self._moved, name), names="value")
        for button, action in (
            (self.run, self._run_again), (self.stop, self._stop), (self.undo, self._undo), (self.reset, self._reset),
            (self.band, self._band), (self.pin, self.session.pin), (self.unpin, lambda: self.session.unpin(self.pins.value)),
            (self.clear, self.session.unpin), (self.export, self._export),
        ):  # fmt: skip
            button.on_click(partial(self._pressed, action))
        self.preset.observe(self._preset_chosen, names="value")
        self.guess.observe(self._guessed, names="value")
        self.text.observe(self._pasted, names="value")
        self.checkpoint.observe(lambda change: None if self._following else self._refresh(), names="value")

    # --- What the learner does ----------------------------------------------------------------------------
    def _moved(self, name: str, change) -> None:
        value, now = change["new"], getattr(self.session.config, name)
        if name == "learning_rate":
            value, now = _two_digits(value), _two_digits(now)  # the page may send back what its own steps round to
        elif name == "remedy_weight":
            value = float(f"{value:.3g}")  # a slider's steps add up to 0.30000000000000004
        if self._quiet or value == now:
            return
        if self._tried(partial(self.session.set, **{name: value})):
            self._fade() if name == "strength" else self._start()

    def _preset_chosen(self, change) -> None:
        """Move the controls, show what to predict, and wait for Run: a prediction comes before its result."""
        name = change["new"]
        if self._quiet or name not in presets.PREDICT:
            return
        if self._tried(
            lambda: self.session.put(self._keeping_locks(presets.preset(name, self.session.config.model)), recall=False)
        ):
            self.claim.value = paragraph(f"{presets.PREDICT[name]} Mark your guess, then press Run.")

    def _guessed(self, change) -> None:
        if not self._following:
            points = change["new"]
            self._tried(partial(self.session.guess, None if points == NO_GUESS else points))

    def _pasted(self, change) -> None:
        if not self._quiet and self._tried(lambda: self.session.paste(change["new"])):
            self._start()

    def _pressed(self, action, _button=None) -> None:
        self._tried(action)

    def _tried(self, action) -> bool:
        """Do it, and let the controls follow; what was wrong with it is said in the status line."""
        try:
            action()
        except (ValueError, OSError) as error:
            self.session.say(str(error))
            self._sync(keep_text=True)
            return False
        self._sync()
        return True

    def _run_again(self) -> None:
        self._train(self.session.request(again=True))

    def _stop(self) -> None:
        self.session.stop()
        self._training.drop(self)

    def _undo(self) -> None:
        before = self.session.config
        if self.session.undo():
            self._fade() if self.session.config.as_trained == before.as_trained else self._start()
        else:
            self.session.say("There is nothing to undo.")

    def _reset(self) -> None:
        self.session.reset()
        self._start()

    def _band(self) -> None:
        self._train(self.session.request_band())

    def _export(self) -> None:
        written, curves = export(self.session.view().pinned)
        self.session.say(f"Written: {written.resolve()} and {curves.name} beside it.")

    def _start(self) -> None:
        """Run, unless the learner wants to press Run first; a real model takes long enough to ask."""
        if self.session.config.model != "practice":
            if self.session.view().shown is None:
                self._training.put(self, self._estimate, DELAY)
        elif self.auto.value:
            self._train(self.session.request(), DELAY)

    def _train(self, runs: list, delay: float = 0.0) -> None:
        if runs:
            self._fading.drop(self)
            beside = False if self.foreground else None
            self._training.put(self, partial(train, self.session, runs, beside=beside, ended=self._ended), delay)
        else:
            self._training.drop(self)
            self._fade()

    def _ended(self, run: Run) -> None:
        """Draw the fade path of a run that has just ended: of a real model only what the slider asks for."""
        if not self.foreground and run.config.model in SHIPPED and not run.result.diverged:
            self._draw_path(run)
        else:
            self._fade()

    def _draw_path(self, run: Run) -> None:
        def some_of_it() -> None:
            if fade_run(self.session, run, path=True, others_wait=partial(self._fading.others_wait, self)):
                self._draw_path(run)

        self._fading.put(self, some_of_it)

    def _fade(self) -> None:
        """Measure the run on show at the strength that the slider says, unless that is known or on its way."""
        if (wanted := self.session.wanted()) is not None:
            self._fading.put(self, partial(fade_run, self.session, wanted[0], path=False))

    def _estimate(self) -> None:
        config = self.session.config
        self._say_if_idle(config, f"Loading {config.model} to see how long a run takes here ...")
        try:
            seconds = time_needed(config)
        except Exception as error:
            self._say_if_idle(config, in_one_line(error))
        else:
            self._say_if_idle(config, f"A run with these settings takes about {seconds:.0f} s here. Press Run.")

    def _say_if_idle(self, config: FineTuneConfig, words: str) -> None:
        """An estimate may come late: by then the learner may have gone on."""
        if self.session.view().shown is None and self.session.config == config:
            self.session.say(words)

    def wait(self, timeout: float | None = 600) -> Playground:
        """Wait until nothing runs. Raises TimeoutError, or RuntimeError with what a failed run said."""
        until = time.monotonic() + (timeout or math.inf)
        done = self._training.wait(self, timeout)
        while done and self.session.wanted() is not None:  # of the path, nobody waits for the rest
            self._fading.check(self)
            time.sleep(0.01)
            done = time.monotonic() < until
        if not (done and self._drawing.wait(self, timeout)):
            raise TimeoutError(f"The run took longer than {timeout} s; press Stop, or wait longer.")
        shown = self.session.view().shown
        if shown is not None and shown.state == "failed":
            raise RuntimeError(shown.trouble)
        return self

    def _ipython_display_(self) -> None:
        display(self.box)


def playground(
    *, preset: str = "careful", model: str = "practice", lock: Sequence[str] = (), hide: Sequence[str] = (),
    run: bool = True, foreground: bool | None = None, **settings,
) -> Playground:  # fmt: skip
    """A playground, ready to be shown: ``playground(preset="reckless", lock=("rank",))``.

    preset, model, settings: where the controls start. lock: settings that are shown and cannot be moved. hide: controls
    that are not shown at all. run: start the first run at once, in the background. foreground: train in the thread that
    handles the widgets, as Colab needs; by default that is found out.
    Raises ValueError for a preset, a setting or a control that there is not.
    """
    start = presets.preset(preset, model).with_(**settings)
    for name in hide:
        if name not in (*CONTROLS, "preset", "guess"):
            raise ValueError(f"{name!r} cannot be hidden; use one of {', '.join(CONTROLS)}, preset, guess.")
    made = Playground(
        Session(start, lock), hide, presets.PREDICT[preset], draws_only_in_front() if foreground is None else foreground
    )
    if run:
        made._start()
    return made


def draws_only_in_front() -> bool:
    """Whether this notebook shows only what its main thread draws: Colab does (googlecolab/colabtools issue 3373)."""
    return "google.colab" in sys.modules or os.environ.get("COURSE_FOREGROUND") == "1"


def _two_digits(learning_rate: float) -> float:
    """What the slider's readout says: 0.01318 on it is 1.3e-2."""
    return float(f"{learning_rate:.1e}")
