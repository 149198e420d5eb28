"""What there is to touch and to read in a playground: its widgets and where they stand. What they do is in ``playground``.

Only what ipywidgets 7.7.1 has, too, since Colab has that one, and no icons, which Voilà fetches from elsewhere.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from functools import lru_cache, partial

import ipywidgets as widgets
import pandas as pd

from utils.figures.tables import Table
from utils.figures.words import paragraph
from utils.playground.figure import DPI, SIZE
from utils.training import presets
from utils.training.config import METHODS
from utils.training.remedies import REMEDIES

RANKS = (1, 2, 4, 8, 16, 32, 64)
SCALINGS = (("alpha fixed at 16", "fixed"), ("alpha = 2r", "2r"), ("rsLoRA", "rslora"))
STEPS = (10, 20, 40, 80, 160)
EXAMPLES = (("3", 3), ("6", 6), ("12", 12), ("24", 24), ("48", 48), ("all", 0))
NO_GUESS = -1  # a selection cannot be None
GUESSES = (("no guess", NO_GUESS), *((f"{points} %", points) for points in range(0, 101, 5)))
CONTROLS = ("learning_rate", "rank", "strength", "scaling", "method", "steps", "replay", "examples", "seed", "model", "remedy",
            "remedy_weight")  # fmt: skip
STYLE = """<style>
.course-figure, .course-words {overflow-x: auto}
.course-figure img {width: 100%; height: auto; min-width: 680px; max-width: 990px; display: block}
body[data-jp-theme-light="false"] .course-figure img, body.vscode-dark .course-figure img, html[theme="dark"] .course-figure img
{filter: invert(0.91) hue-rotate(180deg) brightness(1.3)}
.course-words {line-height: 1.45; max-width: 62em}
.course-words table {border-collapse: collapse} .course-words td, .course-words th
{text-align: left !important; padding: 0.2em 0.9em 0.2em 0; white-space: normal; vertical-align: top}
</style>"""


class Controls:
    """The widgets, by name: ``controls.rank.value = 1`` is what dragging that slider does. ``box`` holds them all.

    models: what the dropdown offers. locked: shown, but not to be moved. hide: not shown. claim, note: opening sentences.
    """

    def __init__(
        self, models: Sequence[str], locked: Sequence[str], hide: Sequence[str], claim: str, note: str
    ) -> None:
        wide, label = widgets.Layout(width="430px", max_width="100%"), {"description_width": "105px"}
        self.learning_rate = widgets.FloatLogSlider(
            description="learning rate", base=10, min=-5, max=-1.52, step=0.05, readout_format=".1e",
            continuous_update=False, layout=wide, style=label)  # fmt: skip
        self.rank = widgets.SelectionSlider(description="LoRA rank", options=RANKS, continuous_update=False,
                                            layout=wide, style=label)  # fmt: skip
        self.strength = widgets.FloatSlider(
            description="adapter strength", min=0, max=1, step=0.05, value=1, readout_format=".2f", continuous_update=True,
            layout=wide, style=label)  # fmt: skip
        self.turned = _words()
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
        self.remedy = widgets.Dropdown(description="remedy", options=remedies(), style=label)
        self.remedy_weight = widgets.FloatSlider(description="its weight", min=0, max=1, step=0.05, value=0, readout_format=".3g",
                                                 continuous_update=False, style=label)  # fmt: skip
        self.seed = widgets.BoundedIntText(description="seed", min=0, max=999, continuous_update=False, style=label)
        self.model = widgets.Dropdown(description="model", options=list(models), style=label)
        self.auto = widgets.Checkbox(description="run when I let go", value=True, indent=True, style=label)
        self.preset = widgets.Dropdown(description="preset", options=["choose ...", *presets.PREDICT], style=label)
        self.run, self.stop, self.undo, self.reset, self.band = (
            _button(words) for words in ("Run", "Stop", "Undo", "Reset", "5 seeds")
        )
        self.claim = _words(claim)
        self.note = _words(note)
        self.guess = widgets.SelectionSlider(description="my guess", options=GUESSES, continuous_update=False,
                                             layout=wide, style=label)  # fmt: skip
        self.score = _words()
        self.status, self.verdict, self.picture = _words(), _words(), widgets.HTML()
        self.picture.add_class("course-figure")
        self.checkpoint = widgets.IntSlider(
            description="checkpoint", min=0, max=0, readout=False, layout=wide, style=label
        )
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
            getattr(self, name).disabled = name in locked
        self.strength.disabled = True  # until a run has finished
        for name in (*CONTROLS, "preset", "guess"):
            getattr(self, name).layout.display = "none" if name in hide else None
        row = partial(widgets.HBox, layout=widgets.Layout(flex_flow="row wrap", align_items="center"))
        more = widgets.VBox([row([self.scaling, self.method]), row([self.steps, self.replay]),
                             row([self.examples, self.seed]), row([self.remedy, self.remedy_weight]),
                             row([self.model, self.auto])])  # fmt: skip
        share = widgets.VBox([row([self.pin, self.pins, self.unpin, self.clear, self.export]), self.table, self.text])
        self.box = widgets.VBox([
            widgets.HTML(STYLE),
            row([self.preset, self.run, self.stop, self.undo, self.reset, self.band]), self.claim,
            self.learning_rate, row([self.rank, self.scale]), row([self.strength, self.turned]),
            _folded("More settings", more),
            row([self.guess, self.score]),
            self.note, self.status, self.picture, self.verdict,
            self.checkpoint, self.answers,
            _folded("Pin, compare and share", share), _folded("The figure in words", self.described),
        ])  # fmt: skip


def remedies() -> list[tuple[str, str]]:
    """What the drop-down offers: none, those of the course, and those that the learner has registered by now."""
    return [("none", ""), *((remedy.title, name) for name, remedy in REMEDIES.items())]


def _button(words: str) -> widgets.Button:
    return widgets.Button(description=words, layout=widgets.Layout(width="auto"))


def _words(text: str = "") -> widgets.HTML:
    made = widgets.HTML(paragraph(text))
    made.add_class("course-words")
    return made


def picture(png: bytes, words: str) -> str:
    """As an element with its alternative text, which ipywidgets.Image has not. decoding=sync: no blank in between."""
    data = base64.b64encode(png).decode()
    width, height = (int(inches * DPI) for inches in SIZE)
    return (f'<img alt="{html.escape(words)}" decoding="sync" width="{width}" height="{height}" '
            f'src="data:image/png;base64,{data}">')  # fmt: skip


def _folded(title: str, inside: widgets.Widget) -> widgets.Accordion:
    made = widgets.Accordion(children=[inside], selected_index=None)
    made.set_title(0, title)
    return made


def offer(control, options: Sequence, value) -> None:
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


@lru_cache(maxsize=32)
def table(rows: tuple[tuple, ...], columns: tuple[str, ...]) -> str:
    """A table as HTML, escaped. Kept, because a run asks for the same one at each of its points."""
    return Table(pd.DataFrame(rows, columns=list(columns)))._repr_html_()
