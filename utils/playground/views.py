"""What a playground shows: its controls follow the session's settings, its figure, words and tables follow the runs."""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from functools import lru_cache

import PIL.Image

from utils.figures.words import Picture
from utils.playground import words as live_words
from utils.playground.background import DRAWING, Foreground
from utils.playground.controls import (
    CONTROLS,
    EXAMPLES,
    NO_GUESS,
    RANKS,
    STEPS,
    Controls,
    offer,
    paragraph,
    picture,
    remedies,
    table,
)
from utils.playground.figure import LiveFigure
from utils.playground.live import in_one_line
from utils.playground.runs import View
from utils.playground.session import Session
from utils.training import presets
from utils.training.config import FineTuneConfig
from utils.training.data import DATA
from utils.training.machine import REAL_MODELS
from utils.training.models import is_available
from utils.training.sweeps import load


class Shown(Controls):
    """The widgets of one playground, kept in step with its session. They only show; what moves them is in ``moves``."""

    def __init__(self, session: Session, hide: Sequence[str], claim: str, foreground: bool, note: str) -> None:
        self.session, self.claim_text, self.foreground = session, claim, foreground
        self._drawing = Foreground() if foreground else DRAWING
        self._figure = LiveFigure(cached_grid(session.start.model))
        self._png, self._drawn = b"", None
        self._quiet = self._following = False
        self._pen = threading.Lock()
        models = dict.fromkeys(["practice", session.start.model, *(m for m in REAL_MODELS if is_available(m))])
        super().__init__(list(models), session.locked, hide, claim, note)

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
            if list(self.remedy.options) != remedies():
                self.remedy.options = remedies()
            self._sync_weight(config)
            for name in CONTROLS:
                if getattr(config, name) is not None and getattr(self, name).value != getattr(config, name):
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

    def _sync_weight(self, config: FineTuneConfig) -> None:
        """The slider of the remedy's weight: from 0 to what is allowed, in tenths of its default; off where it has no weight."""
        slider, cure = self.remedy_weight, config.cure
        slider.disabled = config.remedy_weight is None or "remedy_weight" in self.session.locked
        if config.remedy_weight is None:
            slider.value = 0
        elif (slider.max, slider.step) != (cure.most, cure.weight / 10):
            slider.value = 0  # inside of the old range and of the new one
            slider.max, slider.step = cure.most, cure.weight / 10

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
               tuple(run.pin for run in view.finished), self._fade_key(view))  # fmt: skip
        mark = self._marked(view)
        key = (*key, mark)
        words = live_words.in_words(view)
        with self._pen:
            if key != self._drawn:
                self._png = self._figure.png(view, mark)
                self.picture.value = picture(self._png, words)
                self._drawn = key
            self._say(view, words)

    @staticmethod
    def _fade_key(view: View) -> tuple:
        """Changes with what the fader shows: its strength, what is known of it, and how much of the path."""
        known = view.faded
        path = () if view.shown is None else tuple(s for s, faded in view.shown.faded.items() if faded.whole)
        return view.config.strength, None if known is None else (known.strength, known.whole), len(path)

    def _marked(self, view: View) -> int | None:
        """The step whose answers are being read, if it is not the last one."""
        points = view.shown.checkpoints if view.shown is not None else []
        return points[self.checkpoint.value].step if self.checkpoint.value < len(points) - 1 else None

    def _say(self, view: View, words: str) -> None:
        run = view.shown
        self.scale.value = paragraph(live_words.scale(view))
        self.turned.value = paragraph(live_words.strength(view))
        finished = run is not None and run.state == "finished" and not run.result.diverged
        self.strength.disabled = "strength" in self.session.locked or not finished
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
        self.answers.value = table(tuple(live_words.answers(view, step)), live_words.answer_columns(view, step))
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

    def _keeping_locks(self, config: FineTuneConfig) -> FineTuneConfig:
        return config.with_(**{name: getattr(self.session.start, name) for name in self.session.locked})


@lru_cache(maxsize=2)
def cached_grid(model: str) -> tuple[tuple[float, float], ...]:
    """(learned, forgotten) of the runs that ``data/build/build_playground_grid.py`` measured; none for other models."""
    if model != "practice":
        return ()
    return tuple((point.learned, point.forgotten) for point in load(DATA / "sweeps" / "playground.jsonl"))
