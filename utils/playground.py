"""Sliders that retrain a model while you watch: ``playground()`` in the last line of a cell.

Here is what each control does. The widgets themselves are in ``playground_controls``; what a playground knows is in
``session``, training in ``live``, the figure in ``live_figure`` and its words in ``live_words``.
"""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Sequence
from functools import lru_cache, partial

import PIL.Image
from IPython.display import display

from utils import live_words, presets
from utils.background import DRAWING, TRAINING, Foreground
from utils.config import FineTuneConfig
from utils.data import DATA
from utils.figure_words import Picture
from utils.live import in_one_line, time_needed, train
from utils.live_figure import LiveFigure
from utils.machine import REAL_MODELS
from utils.models import is_available
from utils.playground_controls import (
    CONTROLS,
    EXAMPLES,
    NO_GUESS,
    RANKS,
    STEPS,
    Controls,
    offer,
    paragraph,
    picture,
    table,
)
from utils.session import Session
from utils.session_runs import View, export
from utils.sweep import load

DELAY = 0.1  # seconds that a run waits for the next move: a held arrow key is one run
IN_FRONT = (
    "This page shows only what its main thread draws, so a run keeps it busy. "
    "To stop a run, use the interrupt button of the page."
)


class Playground(Controls):
    """One playground. Its widgets are attributes, so that code can move them: ``play.rank.value = 1``."""

    def __init__(self, session: Session, hide: Sequence[str], claim: str, foreground: bool) -> None:
        self.session, self.claim_text = session, claim
        self.foreground = foreground
        self._training = Foreground() if foreground else TRAINING
        self._drawing = Foreground() if foreground else DRAWING
        self._figure = LiveFigure(cached_grid(session.start.model))
        self._png, self._drawn = b"", None
        self._quiet = self._following = False
        self._pen = threading.Lock()
        models = dict.fromkeys(["practice", session.start.model, *(m for m in REAL_MODELS if is_available(m))])
        super().__init__(list(models), session.locked, hide, claim, IN_FRONT if foreground else "")
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
        if self._quiet or value == now:
            return
        if self._tried(partial(self.session.set, **{name: value})):
            self._start()

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

    def _keeping_locks(self, config: FineTuneConfig) -> FineTuneConfig:
        return config.with_(**{name: getattr(self.session.start, name) for name in self.session.locked})

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
        if self.session.undo():
            self._start()
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
            self._training.put(self, partial(train, self.session, runs), delay)
        else:
            self._training.drop(self)

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

    # --- What the learner sees ----------------------------------------------------------------------------
    def _sync(self, keep_text: bool = False) -> None:
        """Let every control say what the session's settings are, without that counting as a move.

        keep_text: leave the pasted string as it is, so that its one wrong letter can be mended.
        """
        config = self.session.config
        self._quiet = True
        try:
            rows = config.batch_size
            offer(
                self.replay,
                [(f"{k / rows:.0%}".replace("%", " %"), k / rows) for k in range(rows // 2 + 1)],
                config.replay,
            )
            offer(self.rank, RANKS, config.rank)
            offer(self.steps, STEPS, config.steps)
            offer(self.examples, EXAMPLES, config.examples)
            offer(self.model, self.model.options, config.model)
            for name in CONTROLS:
                if getattr(self, name).value != getattr(config, name):
                    getattr(self, name).value = getattr(config, name)
            if not keep_text:
                self.text.value = str(config)
            if (
                self.preset.value in presets.PREDICT
                and self._keeping_locks(presets.preset(self.preset.value, config.model)) != config
            ):
                self.preset.value = self.preset.options[0]
            if self.preset.value not in presets.PREDICT:
                self.claim.value = paragraph("" if self.session.can_undo else self.claim_text)
            for name in ("rank", "scaling"):
                getattr(self, name).disabled = name in self.session.locked or config.method == "full"
        finally:
            self._quiet = False

    def _refresh(self) -> None:
        """Draw soon: many changes at once are one picture."""
        self._drawing.put(self, self._draw)

    def _draw(self) -> None:
        try:
            self._draw_view(self.session.view())
        except Exception as error:  # in a thread of its own, nobody would see it
            self.status.value = paragraph(f"The figure cannot be drawn: {in_one_line(error)}")
            raise

    def _draw_view(self, view: View) -> None:
        key = (view.shown and (id(view.shown.cancelled), view.shown.state.replace("waiting", "running"), len(view.shown.checkpoints),
               view.shown.guess), view.remembered, view.faint and id(view.faint.cancelled), len(view.finished),
               tuple(run.pin for run in view.finished))  # fmt: skip
        mark = self._marked(view)
        key = (*key, mark)
        words = live_words.in_words(view)
        with self._pen:
            if key != self._drawn:
                self._png = self._figure.png(view, mark)
                self.picture.value = picture(self._png, words)
                self._drawn = key
            self._say(view, words)

    def _marked(self, view: View) -> int | None:
        """The step whose answers are being read, if it is not the last one."""
        points = view.shown.checkpoints if view.shown is not None else []
        return points[self.checkpoint.value].step if self.checkpoint.value < len(points) - 1 else None

    def _say(self, view: View, words: str) -> None:
        run = view.shown
        self.scale.value = paragraph(live_words.scale(view))
        self.status.value = paragraph(live_words.status(view), live=True)
        self.verdict.value = paragraph(live_words.verdict(view), strong=True)
        if view.pending_guess is None and self.guess.value != NO_GUESS:
            self._following = True  # a guess is used up by its run
            self.guess.value = NO_GUESS
            self._following = False
        self.score.value = paragraph(live_words.score(view))
        self.described.value = paragraph(words)
        self.run.description = "Run again" if run is not None and run.state == "finished" else "Run"
        self.stop.disabled = not view.left or self.foreground
        self.undo.disabled = not self.session.can_undo
        last = max(0, len(run.checkpoints) - 1) if run is not None else 0
        if self.checkpoint.max != last:
            at_end = self.checkpoint.value == self.checkpoint.max
            self._following = True  # it is not the learner who moves it now
            self.checkpoint.max = last
            if at_end:
                self.checkpoint.value = last
            self._following = False
        step = run.checkpoints[self.checkpoint.value].step if run is not None and run.checkpoints else 0
        self.answers.value = table(
            tuple(live_words.answers(view, step)), ("question", "before training", f"at step {step}")
        )
        pins = [pinned.pin for pinned in view.pinned]
        if list(self.pins.options) != (pins or ["none"]):
            self.pins.options = pins or ["none"]
        rows = [pinned.row() for pinned in view.pinned]
        self.table.value = table(tuple(tuple(row.values()) for row in rows), tuple(rows[0])) if rows else ""

    def figure(self) -> Picture:
        """The picture as it stands, to keep in the notebook: widgets are gone from a page that is only read."""
        self._draw()
        small = io.BytesIO()
        PIL.Image.open(io.BytesIO(self._png)).save(small, "PNG", optimize=True)  # slow, but it is for keeps
        return Picture(small.getvalue(), live_words.in_words(self.session.view()))

    def wait(self, timeout: float | None = 600) -> Playground:
        """Wait until nothing runs. Raises TimeoutError, or RuntimeError with what a failed run said."""
        if not (self._training.wait(self, timeout) and self._drawing.wait(self, timeout)):
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


@lru_cache(maxsize=2)
def cached_grid(model: str) -> tuple[tuple[float, float], ...]:
    """(learned, forgotten) of the runs that ``data/build_playground_grid.py`` measured; none for other models."""
    if model != "practice":
        return ()
    return tuple((point.learned, point.forgotten) for point in load(DATA / "sweeps" / "playground.jsonl"))


def _two_digits(learning_rate: float) -> float:
    """What the slider's readout says: 0.01318 on it is 1.3e-2."""
    return float(f"{learning_rate:.1e}")
