"""Lesson 2's slider on the site: the riff is turned down, and heard and seen at each strength, without a model.

What is played was computed before (data/build/fade_the_riff.py). Without a script, the table under it says it in words.
"""

from __future__ import annotations

import json
from html import escape
from pathlib import Path

from nbformat import NotebookNode

from utils.course.maintain.store_lessons import ROOT
from utils.music.notes import PARTIALS, TEMPO, align, is_right, parse, sentence

PLAYED = ROOT / "data" / "jazz_riff" / "faded.json"
SCRIPT = Path(__file__).parent / "site_template" / "fader.js"
CALL = "with fade("  # the cell that turns a model down; what is heard of it follows in the next cells
LESSON = "02_musician_analogy.ipynb"


def place(notebook: NotebookNode) -> str:
    """The id of the cell under which the slider stands: the last of the code cells that turn the riff down.

    Raises ValueError where no cell does.
    """
    cells = notebook.cells
    at = next((i for i, cell in enumerate(cells) if cell.cell_type == "code" and CALL in cell.source), None)
    if at is None:
        raise ValueError(f"{LESSON} has no cell with {CALL!r}; say in site_fader.py where its slider is to stand.")
    while at + 1 < len(cells) and cells[at + 1].cell_type == "code":
        at += 1
    return cells[at].id


def section() -> str:
    """The slider as HTML. Each row of its table holds the notes of one strength as data, which fader.js plays and draws."""
    stored = json.loads(PLAYED.read_text(encoding="utf-8"))
    pieces = list(stored["scores"])
    rows = "".join(_row(take, stored["scores"]) for take in stored["played"])
    rolls = "".join(
        f'<div class="roll"><h4>{escape(piece)}</h4><p class="words"></p>'
        f'<svg role="img" viewBox="0 0 640 130" aria-label=""></svg>'
        f'<button type="button">Play {escape(piece)}</button></div>'
        for piece in pieces
    )
    head = "".join(f'<th scope="col">{escape(piece)}</th>' for piece in pieces)
    return f"""<section class="fader" data-tempo="{TEMPO:g}" data-partials="{escape(json.dumps(PARTIALS))}">
<h3>Try it here: turn the riff down</h3>
<div class="live" hidden>
<p class="slider"><label for="riff-strength">adapter strength</label>
<input type="range" id="riff-strength" min="0" max="1" step="0.1" value="1"><output for="riff-strength">1</output></p>
{rolls}<p class="said" role="status"></p></div>
<details><summary>Each strength in words</summary>
<table><thead><tr><th scope="col">strength</th>{head}</tr></thead><tbody>{rows}</tbody></table></details>
</section>"""


def _row(take: dict, scores: dict[str, str]) -> str:
    cells = "".join(_cell(take[piece], score) for piece, score in scores.items())
    return f'<tr><th scope="row">{take["strength"]:g}</th>{cells}</tr>'


def _cell(played: str, score: str) -> str:
    """One melody in words. data-notes: [start and length in beats, MIDI pitch, whether it is right], one a note that sounds."""
    pairs = align(parse(score), parse(played))
    notes = [
        [note.start, note.beats, note.pitch, is_right((wanted, note))]
        for wanted, note in pairs
        if note is not None and note.pitch is not None
    ]
    words = sentence(parse(score), parse(played))
    return f'<td data-notes="{escape(json.dumps(notes))}"><span>{words}</span><br><code>{escape(played)}</code></td>'
