"""Sliders that retrain a model while you watch: ``playground()`` in the last line of a cell.

Only what the learner touches is here. What it means is in ``session``, training in ``live``, the figure in
``live_figure`` and its words in ``live_words``. Only widgets that ipywidgets 7.7.1 has, too, since Colab has that one.
"""

from __future__ import annotations

import base64
import html
import io
import json
import os
import sys
import threading
from collections.abc import Sequence
from functools import lru_cache, partial

import ipywidgets as widgets
import pandas as pd
import PIL.Image
from IPython.display import Image, display

from utils import live_words, presets
from utils.background import DRAWING, TRAINING, Foreground
from utils.config import METHODS, FineTuneConfig
from utils.data import DATA
from utils.live import in_one_line, time_needed, train
from utils.live_figure import DPI, SIZE, LiveFigure
from utils.machine import REAL_MODELS
from utils.models import is_available
from utils.session import Session, View
from utils.tables import Table

DELAY = 0.1  # seconds that a run waits for the next move: a held arrow key is one run
RANKS = (1, 2, 4, 8, 16, 32, 64)
SCALINGS = (("alpha fixed at 16", "fixed"), ("alpha = 2r", "2r"), ("rsLoRA", "rslora"))
STEPS = (10, 20, 40, 80, 160)
EXAMPLES = (("3", 3), ("6", 6), ("12", 12), ("24", 24), ("48", 48), ("all", 0))
IN_FRONT = (
    "This page shows only what its main thread draws, so a run keeps it busy. "
    "To stop a run, use the interrupt button of the page."
)
CONTROLS = ("learning_rate", "rank", "scaling", "method", "steps", "replay", "examples", "seed", "model")
STYLE = """<style>
.course-figure img {width: 100%; height: auto; max-width: 990px; display: block}
body[data-jp-theme-light="false"] .course-figure img, body.vscode-dark .course-figure img, html[theme="dark"] .course-figure img
{filter: invert(0.91) hue-rotate(180deg)}
.course-words {line-height: 1.45; max-width: 62em}
.course-words table {border-collapse: collapse} .course-words td, .course-words th
{text-align: left !important; padding: 0.2em 0.9em 0.2em 0; white-space: normal; vertical-align: top}
</style>"""


class Playground:
    """The widgets of one playground. Its parts are attributes, so that code can move them: ``p.rank.value = 1``."""

    def __init__(self, session: Session, hide: Sequence[str], claim: str, foreground: bool) -> None:
        self.session, self.claim_text = session, claim
        self.foreground = foreground
        self._training = Foreground() if foreground else TRAINING
        self._drawing = Foreground() if foreground else DRAWING
        self._figure = LiveFigure(cached_grid(session.start.model))
        self._png, self._drawn = b"", None
        self._quiet = self._following = False
        self._pen = threading.Lock()
        self._build(hide)
        self._sync()
        session.notify = self._refresh
        self._refresh()

    # --- The widgets --------------------------------------------------------------------------------------
    def _build(self, hide: Sequence[str]) -> None:
        wide, label = widgets.Layout(width="430px", max_width="100%"), {"description_width": "105px"}
        self.learning_rate = widgets.FloatLogSlider(
            description="learning rate", base=10, min=-5, max=-1.52, step=0.05, readout_format=".1e",
            continuous_update=False, layout=wide, style=label)  # fmt: skip
        self.rank = widgets.SelectionSlider(description="LoRA rank", options=RANKS, continuous_update=False,
                                            layout=wide, style=label)  # fmt: skip
        self.scale = _words()
        self.scaling = widgets.Dropdown(description="scaling", options=SCALINGS, style=label)
        self.method = widgets.Dropdown(description="train", options=[("a LoRA adapter", METHODS[0]), ("every weight", METHODS[1])],
                                       style=label)  # fmt: skip
        self.steps = widgets.SelectionSlider(description="steps", options=STEPS, continuous_update=False, style=label)
        self.replay = widgets.SelectionSlider(
            description="replay", options=[("0 %", 0.0)], continuous_update=False, style=label
        )
        self.examples = widgets.SelectionSlider(
            description="examples", options=EXAMPLES, continuous_update=False, style=label
        )
        self.seed = widgets.BoundedIntText(description="seed", min=0, max=999, continuous_update=False, style=label)
        names = dict.fromkeys(["practice", self.session.start.model, *(m for m in REAL_MODELS if is_available(m))])
        self.model = widgets.Dropdown(description="model", options=list(names), style=label)
        self.auto = widgets.Checkbox(description="run when I let go", value=True, indent=True, style=label)
        self.preset = widgets.Dropdown(description="preset", options=["choose ...", *presets.PREDICT], style=label)
        self.run, self.stop, self.undo, self.reset, self.band = (
            _button(words) for words in ("Run", "Stop", "Undo", "Reset", "5 seeds")
        )
        self.claim = _words(self.claim_text)
        self.note = _words(IN_FRONT if self.foreground else "")
        self.guess = widgets.IntSlider(description="my guess (%)", min=0, max=100, value=100, step=5,
                                       continuous_update=False, layout=wide, style=label)  # fmt: skip
        self.no_guess, self.score = _button("No guess"), _words()
        self.status, self.verdict, self.picture = _words(), _words(), widgets.HTML()
        self.picture.add_class("course-figure")
        self.checkpoint = widgets.IntSlider(description="checkpoint", min=0, max=0, layout=wide, style=label)
        self.answers, self.table, self.described = _words(), _words(), _words()
        self.pin, self.unpin, self.clear, self.export = (
            _button(w) for w in ("Pin this run", "Unpin", "Clear pins", "Export")
        )
        self.pins = widgets.Dropdown(
            description="pin", options=["none"], layout=widgets.Layout(width="180px"), style=label
        )
        self.text = widgets.Text(description="settings", continuous_update=False, style=label,
                                 layout=widgets.Layout(width="640px", max_width="100%"))  # fmt: skip
        for name in CONTROLS:
            control = getattr(self, name)
            control.disabled = name in self.session.locked
            control.layout.display = "none" if name in hide else None
            control.observe(partial(self._moved, name), names="value")
        for name in ("preset", "guess"):
            getattr(self, name).layout.display = "none" if name in hide else None
        for button, action in (
            (self.run, self._run_again), (self.stop, self._stop), (self.undo, self._undo), (self.reset, self._reset),
            (self.band, self._band), (self.pin, self.session.pin), (self.unpin, lambda: self.session.unpin(self.pins.value)),
            (self.clear, self.session.unpin), (self.export, self._export), (self.no_guess, lambda: self.session.guess(None)),
        ):  # fmt: skip
            button.on_click(partial(self._pressed, action))
        self.preset.observe(self._preset_chosen, names="value")
        self.guess.observe(lambda change: self._pressed(partial(self.session.guess, change["new"])), names="value")
        self.text.observe(self._pasted, names="value")
        self.checkpoint.observe(lambda change: None if self._following else self._refresh(), names="value")
        row = partial(widgets.HBox, layout=widgets.Layout(flex_flow="row wrap", align_items="center"))
        more = widgets.VBox([row([self.scaling, self.method]), row([self.steps, self.replay]),
                             row([self.examples, self.seed]), row([self.model, self.auto])])  # fmt: skip
        share = widgets.VBox([row([self.pin, self.pins, self.unpin, self.clear, self.export]), self.table, self.text])
        self.box = widgets.VBox([
            widgets.HTML(STYLE),
            row([self.preset, self.run, self.stop, self.undo, self.reset, self.band]), self.claim,
            row([self.learning_rate, self.rank]), self.scale,
            _folded("More settings", more),
            row([self.guess, self.no_guess]), self.score,
            self.note, self.status, self.picture, self.verdict,
            self.checkpoint, self.answers,
            _folded("Pin, compare and share", share), _folded("The figure in words", self.described),
        ])  # fmt: skip

    # --- What the learner does ----------------------------------------------------------------------------
    def _moved(self, name: str, change) -> None:
        value, now = change["new"], getattr(self.session.config, name)
        if name == "learning_rate":
            value, now = _two_digits(value), _two_digits(now)  # the page may send back what its own steps round to
        if self._quiet or value == now:
            return
        if self._tried(partial(self.session.set, **{name: value})):
            self._start()
            if name == "model" and value != "practice":
                self._training.put(self, self._estimate)

    def _preset_chosen(self, change) -> None:
        """Move the controls, show what to predict, and wait for Run: a prediction comes before its result."""
        name = change["new"]
        if self._quiet or name not in presets.PREDICT:
            return
        if self._tried(lambda: self.session.put(self._keeping_locks(presets.preset(name, self.session.config.model)))):
            self.claim.value = _paragraph(f"{presets.PREDICT[name]} Mark your guess below, then press Run.")

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
            return False
        finally:
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
        table, curves = self.session.export()
        self.session.say(f"Written: {table.resolve()} and {curves.name} beside it.")

    def _start(self) -> None:
        """Run, unless the learner wants to press Run first; a real model takes long enough to ask."""
        if self.auto.value and self.session.config.model == "practice":
            self._train(self.session.request(), DELAY)

    def _train(self, runs: list, delay: float = 0.0) -> None:
        if runs:
            self._training.put(self, partial(train, self.session, runs), delay)
        else:
            self._training.drop(self)

    def _estimate(self) -> None:
        name = self.session.config.model
        self.session.say(f"Loading {name} to see how long a run takes here ...")
        try:
            seconds = time_needed(self.session.config)
        except Exception as error:
            self.session.say(in_one_line(error))
        else:
            if not self.session.busy and self.session.config.model == name:
                self.session.say(f"A run with these settings takes about {seconds:.0f} s here. Press Run.")

    # --- What the learner sees ----------------------------------------------------------------------------
    def _sync(self) -> None:
        """Let every control say what the session's settings are, without that counting as a move."""
        config = self.session.config
        self._quiet = True
        try:
            rows = config.batch_size
            _options(
                self.replay,
                [(f"{k / rows:.0%}".replace("%", " %"), k / rows) for k in range(rows // 2 + 1)],
                config.replay,
            )
            _options(self.rank, RANKS, config.rank)
            _options(self.steps, STEPS, config.steps)
            _options(self.examples, EXAMPLES, config.examples)
            _options(self.model, self.model.options, config.model)
            for name in CONTROLS:
                if getattr(self, name).value != getattr(config, name):
                    getattr(self, name).value = getattr(config, name)
            self.text.value = str(config)
            if (
                self.preset.value in presets.PREDICT
                and self._keeping_locks(presets.preset(self.preset.value, config.model)) != config
            ):
                self.preset.value = self.preset.options[0]
            if self.preset.value not in presets.PREDICT:
                self.claim.value = _paragraph(self.claim_text if config == self.session.start else "")
            for name in ("rank", "scaling"):
                getattr(self, name).disabled = name in self.session.locked or config.method == "full"
        finally:
            self._quiet = False

    def _refresh(self) -> None:
        """Draw soon: many changes at once are one picture."""
        self._drawing.put(self, self._draw)

    def _draw(self) -> None:
        view = self.session.view()
        key = (view.shown and (id(view.shown.cancelled), view.shown.state.replace("waiting", "running"), len(view.shown.checkpoints),
               view.shown.guess), view.remembered, view.faint and id(view.faint.cancelled), len(view.finished),
               tuple(run.pin for run in view.finished))  # fmt: skip
        words = live_words.in_words(view)
        with self._pen:
            if key != self._drawn:
                self._png = self._figure.png(view)
                self.picture.value = _picture(self._png, words)
                self._drawn = key
            self._say(view, words)

    def _say(self, view: View, words: str) -> None:
        run = view.shown
        self.scale.value = _paragraph(live_words.scale(view))
        self.status.value = _paragraph(live_words.status(view), live=True)
        self.verdict.value = _paragraph(live_words.verdict(view), strong=True)
        self.score.value = _paragraph(live_words.score(view))
        self.described.value = _paragraph(words)
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
        self.answers.value = _table(
            tuple(live_words.answers(view, step)), ("question", "before training", f"at step {step}")
        )
        pins = [pinned.pin for pinned in view.pinned]
        if list(self.pins.options) != (pins or ["none"]):
            self.pins.options = pins or ["none"]
        rows = [pinned.row() for pinned in view.pinned]
        self.table.value = _table(tuple(tuple(row.values()) for row in rows), tuple(rows[0])) if rows else ""

    def figure(self) -> Image:
        """The picture as it stands, to keep in the notebook: widgets are gone from a page that is only read."""
        self._draw()
        small = io.BytesIO()
        PIL.Image.open(io.BytesIO(self._png)).save(small, "PNG", optimize=True)  # slow, but it is for keeps
        words = live_words.in_words(self.session.view())
        return Image(small.getvalue(), format="png", width=int(SIZE[0] * DPI), alt=words)

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
    rows = json.loads((DATA / "playground-grid.json").read_text(encoding="utf-8"))["runs"]
    return tuple((row["learned"], row["forgotten"]) for row in rows)


@lru_cache(maxsize=32)
def _table(rows: tuple[tuple, ...], columns: tuple[str, ...]) -> str:
    """A table as HTML, escaped. Kept, because a run asks for the same one at each of its points."""
    return Table(pd.DataFrame(rows, columns=list(columns)))._repr_html_()


def _button(words: str) -> widgets.Button:
    return widgets.Button(description=words, layout=widgets.Layout(width="auto"))


def _words(text: str = "") -> widgets.HTML:
    made = widgets.HTML(_paragraph(text))
    made.add_class("course-words")
    return made


def _paragraph(text: str, live: bool = False, strong: bool = False) -> str:
    """Escaped: a settings string or an error may hold anything. ``live``: screen readers say it when it changes."""
    role = ' role="status" aria-live="polite"' if live else ""
    weight = ' style="font-weight:600"' if strong else ""
    return f"<div{role}{weight}>{html.escape(text)}</div>" if text else ""


def _picture(png: bytes, words: str) -> str:
    """As an element with its alternative text, which ipywidgets.Image has not. decoding=sync: no blank in between."""
    data = base64.b64encode(png).decode()
    width, height = (int(inches * DPI) for inches in SIZE)
    return (f'<img alt="{html.escape(words)}" decoding="sync" width="{width}" height="{height}" '
            f'src="data:image/png;base64,{data}">')  # fmt: skip


def _folded(title: str, inside: widgets.Widget) -> widgets.Accordion:
    made = widgets.Accordion(children=[inside], selected_index=None)
    made.set_title(0, title)
    return made


def _options(control, options: Sequence, value) -> None:
    """Offer ``options``, and ``value`` among them: a pasted string may ask for one that is not on the slider."""
    pairs = [option if isinstance(option, tuple) else (str(option), option) for option in options]
    if value not in [known for _, known in pairs]:
        pairs = sorted(
            [*pairs, (f"{value:g}" if isinstance(value, (int, float)) else value, value)],
            key=lambda pair: pair[1] or 1e9,
        )
    if list(control.options) != pairs:
        control.options = pairs
        control.value = value


def _two_digits(learning_rate: float) -> float:
    """What the slider's readout says: 0.01318 on it is 1.3e-2."""
    return float(f"{learning_rate:.1e}")
