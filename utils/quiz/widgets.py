"""Questions to answer in a lesson, by mouse or by keyboard alone: ``quiz("one-knob")`` in the last line of a cell.

Widgets only. The questions, and how they are marked, are in ``quiz_questions``; the saved answers in ``quiz_progress``.
Where widgets do not render, the same questions are there as text, with their answers folded away.
Only what ipywidgets 7.7.1 has, too, since Colab has that one, and no icons, which Voilà fetches from elsewhere.
"""

from __future__ import annotations

import html
import re

import ipywidgets as widgets

from utils.figures.tables import STYLE as TABLE_STYLE
from utils.figures.words import paragraph
from utils.quiz.objectives import course_quiz
from utils.quiz.progress import Progress, Row, default_path
from utils.quiz.questions import RATINGS, Link, Question, as_text

VIEW = "application/vnd.jupyter.widget-view+json"
STYLE = """<style>
.course-quiz .widget-html-content, .course-quiz .widget-html > div {line-height: 1.5; max-width: 62em; white-space: normal}
.course-quiz, .course-quiz .widget-html-content, .course-quiz .widget-html > div, .course-quiz label, .course-quiz textarea
{font-size: var(--jp-content-font-size1, 14px)}
.course-quiz p {margin: 0.3em 0} .course-quiz ul {margin: 0.3em 0; padding-left: 1.3em}
.course-quiz pre {line-height: 1.35; margin: 0.3em 0; overflow-x: auto}
.course-quiz td:nth-child(2) {white-space: nowrap !important}
.course-quiz a {color: var(--jp-content-link-color, LinkText); text-decoration: underline}
.course-quiz .widget-radio {width: auto; height: auto; max-width: 62em}
.course-quiz .widget-radio-box {flex: 1 1 auto; width: auto; height: auto; max-width: none; margin: 0}
.course-quiz .widget-radio-box label {display: block; height: auto; white-space: normal; line-height: 1.5;
padding: 0.15em 0 0.15em 1.7em; position: relative; overflow: visible}
.course-quiz .widget-radio-box label input {position: absolute; left: 3px; top: 0.45em; width: 14px; height: 14px; margin: 0;
float: none}
.course-quiz input:focus-visible, .course-quiz button:focus-visible, .course-quiz select:focus-visible,
.course-quiz textarea:focus-visible {outline: 2px solid currentColor; outline-offset: 1px}
</style>"""

_progress: dict = {}  # one for each file, shared by all cells of a notebook


def progress() -> Progress:
    """The learner's answers to this course's questions, read from disk when they are first asked for."""
    path = default_path()
    if path not in _progress:
        _progress[path] = Progress(path, *course_quiz())
    return _progress[path]


def quiz(*names: str) -> Quiz:
    """The questions with these ids, ready to be answered; all of the course's where none is named.

    Raises ValueError for an id that there is not.
    """
    questions = course_quiz()[0]
    for name in names:
        if name not in questions:
            raise ValueError(f"There is no question {name!r}; use one of {', '.join(questions)}.")
    return Quiz([questions[name] for name in names or questions], progress())


def score() -> Score:
    """The score of each learning objective, and a button that deletes the answers."""
    return Score(progress())


def _wide(width: str = "auto", **more) -> widgets.Layout:
    """A layout of its own for each widget: one that two widgets shared would hide both."""
    return widgets.Layout(width=width, max_width="62em", **more)


class _Shown:
    """Something with a ``box`` of widgets, and ``markdown()`` for a page that shows none."""

    def _repr_mimebundle_(self, **_) -> dict:
        view = {"version_major": 2, "version_minor": 0, "model_id": self.box.model_id}
        return {VIEW: view, "text/markdown": self.markdown(), "text/plain": self.markdown()}


class Quiz(_Shown):
    """Some questions, one below the other. ``cards``: by question id, so that code can answer them."""

    def __init__(self, questions: list[Question], progress: Progress) -> None:
        numbers = {name: number for number, name in enumerate(progress.questions, 1)}
        self.progress, self._numbers = progress, [(question, numbers[question.id]) for question in questions]
        self.cards = {question.id: Card(question, number, progress) for question, number in self._numbers}
        self.note = widgets.HTML()
        self.box = widgets.VBox([widgets.HTML(STYLE), self.note, *(card.box for card in self.cards.values())])
        self.box.add_class("course-quiz")
        progress.listeners.add(self)
        self.box._course_quiz = self  # lives as long as its widgets do
        self.refresh()

    def refresh(self) -> None:
        self.note.value = paragraph(self.progress.trouble, live=True)

    def markdown(self) -> str:
        return "\n---\n\n".join(as_text(question, number) for question, number in self._numbers)


class Card:
    """One question: its text, what to answer it with, a button and the feedback."""

    def __init__(self, question: Question, number: int, progress: Progress) -> None:
        self.question, self.progress = question, progress
        self._shown: object = None
        self._following = False  # True while the widgets are moved to what is saved
        kind, label = question.kind, {"description_width": "0px"}
        shown = [(f"{a}. {_plain(o.text)}", a) for a, o in zip(question.letters, question.options, strict=True)]
        if kind == "choice":
            self.input = widgets.RadioButtons(options=shown, value=None, layout=_wide(), style=label)
        elif kind == "order":
            # Typed, not chosen: on a dropdown, letters and arrows are JupyterLab's own shortcuts, and D D deletes the cell.
            self.input = widgets.Text(description=f"answer {number}", placeholder="the letters", continuous_update=False,
                                      layout=widgets.Layout(width="220px"))  # fmt: skip
        elif kind == "number":
            self.input = widgets.BoundedFloatText(
                min=-1e6, max=1e6, step=None, continuous_update=False, description=f"answer {number}",
                layout=widgets.Layout(width="220px"))  # fmt: skip
        else:
            self.input = widgets.Textarea(
                placeholder="Your own words", rows=4, continuous_update=False, layout=_wide("100%")
            )
        self._touched = False
        self.input.observe(self._touch, names="value")
        self.check = widgets.Button(
            description=f"{'Show a model answer' if kind == 'text' else 'Check answer'} {number}",
            layout=widgets.Layout(width="auto", align_self="flex-start"),
        )
        self.check.on_click(self._checked)
        self.feedback = widgets.HTML()
        self.rating = widgets.RadioButtons(options=RATINGS, value=None, layout=_wide(), style=label)
        self.rating.observe(self._rated, names="value")
        unit = widgets.HTML(rich(question.unit))
        asked = widgets.HBox([self.input, unit]) if kind == "number" else self.input
        steps = "".join(f"<li>{rich(words, block=False)}</li>" for words, _ in shown if kind == "order")
        self.head = widgets.HTML(f"<hr><b>Question {number}</b>{rich(question.text)}<ul>{steps}</ul>")
        self.box = widgets.VBox([self.head, asked, self.check, self.feedback, self.rating],
                                layout=widgets.Layout(margin="0 0 1em 0"))  # fmt: skip
        progress.listeners.add(self)
        self.refresh()

    def refresh(self) -> None:
        """Show what is saved for this question, if that is not what is shown."""
        saved = self.progress.answers.get(self.question.id)
        self.rating.layout.display = None if self.question.kind == "text" and saved is not None else "none"
        if saved == self._shown:
            return
        self._shown, self._following = saved, True
        try:
            self._move_to(saved)
        finally:
            self._following = False
        self.feedback.value = "" if saved is None else self._said(saved)

    def _move_to(self, saved) -> None:
        if self.question.kind == "number":
            self.input.value, self._touched = saved or 0.0, saved is not None
        elif self.question.kind == "text":
            self.input.value = saved["text"] if saved else ""
            self.rating.value = saved["rating"] if saved else None
        else:
            self.input.value = saved or ("" if self.question.kind == "order" else None)

    def _touch(self, change) -> None:
        self._touched = self._touched or not self._following

    def _answer(self) -> object:
        """What the widgets say, whole or not."""
        said = self.input.value
        if self.question.kind == "number":
            return said if self._touched else None
        if self.question.kind == "order":
            return re.sub("[^A-Z]", "", said.upper())
        if self.question.kind == "text":
            same = isinstance(self._shown, dict) and self._shown["text"] == said
            return {"text": said, "rating": self.rating.value if same else None}
        return said

    def _checked(self, _button) -> None:
        answer = self._answer()
        if not self.question.accepts(answer):
            wanted = {"choice": "Choose an answer first.",
                      "order": f"Write each of the letters {', '.join(self.question.letters)} once, in your order.",
                      "number": "Type a number first.", "text": "Write your own answer first."}  # fmt: skip
            self.feedback.value = paragraph(wanted[self.question.kind], live=True)
            return
        self._shown = None  # the same answer again is said again
        self.progress.put(self.question.id, answer)

    def _rated(self, change) -> None:
        if not self._following and change["new"] is not None and isinstance(self._shown, dict):
            text = self.input.value if self.input.value.strip() else self._shown["text"]
            self.progress.put(self.question.id, {"text": text, "rating": change["new"]})

    def _said(self, answer) -> str:
        head, lines = self.question.comment(answer)
        reasons = "".join(f"<li>{rich(line, block=False)}</li>" for line in lines)
        rated = f" You rated it: {answer['rating']}." if self.question.kind == "text" and answer["rating"] else ""
        return (f'<div role="status" aria-live="polite"><p><b>{rich(head + rated, block=False)}</b></p>'
                f"<ul>{reasons}</ul><p>See {link(self.question.link)}.</p></div>")  # fmt: skip


class Score(_Shown):
    """The table of objectives, and Reset, which asks once more before it deletes anything."""

    def __init__(self, progress: Progress) -> None:
        self.progress, self._sure = progress, False
        self.table, self.note = widgets.HTML(), widgets.HTML()
        self.reset = widgets.Button(layout=widgets.Layout(width="auto", align_self="flex-start"))
        self.reset.on_click(self._reset)
        self.box = widgets.VBox([widgets.HTML(STYLE + TABLE_STYLE), self.table, self.reset, self.note])
        self.box.add_class("course-quiz")
        progress.listeners.add(self)
        self.box._course_score = self
        self.refresh()

    def refresh(self) -> None:
        self._sure, self.reset.description = False, "Reset"
        rows = self.progress.score()
        points, total = sum(row.points for row in rows), sum(row.questions for row in rows)
        body = "".join(
            f"<tr><td>{html.escape(row.objective.text)}</td><td>{_counted(row)}</td>"
            f"<td>{link(row.objective.taught)}{_practice(row.objective)}</td></tr>"
            for row in rows
        )  # fmt: skip
        self.table.value = (f'<table class="course-table"><tr><th>you can</th><th>score</th><th>to read again</th></tr>{body}'
                            f"<tr><td><b>all</b></td><td><b>{points:g} of {total}</b></td><td></td></tr></table>")  # fmt: skip
        said = (
            self.progress.trouble
            or f"{sum(row.answered for row in rows)} of {total} answered. Saved in {self.progress.path}."
        )
        self.note.value = paragraph(said, live=True)

    def _reset(self, _button) -> None:
        if self._sure:
            self.progress.reset()
        else:
            self._sure, self.reset.description = True, "Yes, delete my answers"
            self.note.value = paragraph("This deletes all your answers. Press the button once more.", live=True)

    def markdown(self) -> str:
        numbers = {name: number for number, name in enumerate(self.progress.questions, 1)}
        rows = [
            f"| {o.text} | {', '.join(str(numbers[q]) for q in o.questions)} | [{o.taught}]({o.taught.lesson}) |"
            for o in self.progress.objectives.values()
        ]
        head = [
            "On paper: count your right answers in each row.",
            "",
            "| you can | questions | to read again |",
            "|---|---|---|",
        ]
        return "\n".join([*head, *rows])


def _counted(row: Row) -> str:
    if not row.answered:
        return "not answered"
    return f"{row.points:g} of {row.questions}" + f", {row.questions - row.answered} open" * (
        row.answered < row.questions
    )


def _practice(objective) -> str:
    if objective.exercise is None:
        return ""
    return f"; {link(Link(objective.exercise[0]), 'exercise')}"


def link(to: Link, words: str = "") -> str:
    """A link to a lesson, beside this one. In a page of its own, so that the running lesson stays."""
    return f'<a href="{html.escape(to.lesson)}" target="_blank" rel="noopener">{html.escape(words or str(to))}</a>'


def rich(text: str, block: bool = True) -> str:
    """Escaped; then `code`, **bold**, *italic*, blank lines between paragraphs, and line ends as they stand."""
    safe = re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text, quote=False))
    safe = re.sub(r"\*\*([^*]+)\*\*", r"<b>\1</b>", safe)
    safe = re.sub(r"\*([^*]+)\*", r"<i>\1</i>", safe).replace("  \n", "<br>")
    return "".join(f"<p>{part}</p>" for part in safe.split("\n\n")) if block and safe else safe


def _plain(text: str) -> str:
    """For a label, which shows no markup."""
    return re.sub(r"[`*]", "", text)
