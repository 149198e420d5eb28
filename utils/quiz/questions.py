"""The quiz's questions: read from ``lessons/quiz.json``, checked on the way in, marked, and put into words.

No widget here: ``quiz`` shows them, ``quiz_progress`` remembers the answers, ``quiz_objectives`` says what each is for.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

KINDS = ("choice", "number", "order", "text")
RATINGS = ("I had all of it", "I had part of it", "I did not have it yet")
POINTS = (1.0, 0.5, 0.0)  # for the ratings, in their order
LETTERS = "ABCDEFGH"
_FIELDS = {
    "choice": ("options",), "number": ("answer", "tolerance", "unit", "why", "slips"),
    "order": ("options", "answer"), "text": ("answer", "checklist"),
}  # fmt: skip


class QuizError(ValueError):
    """A question or an objective that cannot be used: the message names it and its fault."""


@dataclass(frozen=True)
class Link:
    """Where the course shows it: a lesson's file, and the heading of a section in it ("" for the whole lesson)."""

    lesson: str
    section: str = ""

    def __str__(self) -> str:
        part = (
            f", part {self.section}" if re.match(r"\d", self.section) else f", {self.section}" if self.section else ""
        )
        return f"Lesson {int(self.lesson[:2])}{part}"


@dataclass(frozen=True)
class Option:
    """One thing to choose, or one step to put in its place. why: what is said about it, whoever chose it."""

    text: str
    why: str
    right: bool = False


@dataclass(frozen=True)
class Question:
    """One question of the quiz.

    kind: "choice" (options, one of them right), "number" (answer, tolerance and unit; slips maps a wrong number to what
    went wrong), "order" (options as shown; answer: their letters in the right order) or "text" (answer: a model
    answer; checklist: what a good one holds; the learner rates it).
    """

    id: str
    objective: str
    kind: str
    text: str
    link: Link
    options: tuple[Option, ...] = ()
    answer: str | float = ""
    tolerance: float = 0.0
    unit: str = ""
    why: str = ""
    slips: tuple[tuple[float, str], ...] = ()
    checklist: tuple[str, ...] = ()

    @property
    def letters(self) -> str:
        """One letter an option, as shown."""
        return LETTERS[: len(self.options)]

    @property
    def right_letter(self) -> str:
        return next(letter for letter, option in zip(self.letters, self.options, strict=True) if option.right)

    def accepts(self, answer: object) -> bool:
        """Whether this can be an answer at all: a letter, a finite number, every letter once, a text with its rating."""
        if self.kind == "choice":
            return isinstance(answer, str) and len(answer) == 1 and answer in self.letters
        if self.kind == "order":
            return isinstance(answer, str) and sorted(answer) == list(self.letters)
        if self.kind == "number":
            return isinstance(answer, (int, float)) and not isinstance(answer, bool) and abs(answer) < 1e9  # no NaN
        return (isinstance(answer, dict) and isinstance(answer.get("text"), str) and bool(answer["text"].strip())
                and answer.get("rating") in (None, *RATINGS))  # fmt: skip

    def points(self, answer: object) -> float | None:
        """1 right, 0 wrong, 0.5 a text rated as half right; None while a text is not rated yet."""
        if self.kind == "choice":
            return float(answer == self.right_letter)
        if self.kind == "order":
            return float(answer == self.answer)
        if self.kind == "number":
            return float(abs(answer - self.answer) <= self.tolerance + 1e-9)
        return None if answer["rating"] is None else POINTS[RATINGS.index(answer["rating"])]

    def comment(self, answer: object) -> tuple[str, tuple[str, ...]]:
        """What to say to an answer: a verdict, and a line for every option (or for every point of the answer)."""
        right = self.points(answer)
        if self.kind == "choice":
            head = f"{answer} is right." if right else f"{answer} is not right; {self.right_letter} is."
            return head, self.reasons()
        if self.kind == "order":
            wrong = [i + 1 for i, (mine, true) in enumerate(zip(answer, self.answer, strict=True)) if mine != true]
            places = ", ".join(map(str, wrong))
            return ("Right, all of them." if right else f"Not right at place {places}."), self.reasons()
        if self.kind == "number":
            near, slip = min(((abs(answer - value), why) for value, why in self.slips), default=(math.inf, ""))
            slip = slip if near <= self.tolerance + 1e-9 else ""
            head = f"{answer:g} is right." if right else f"{answer:g} is not right; it is {self.answer:g} {self.unit}."
            return head.replace(" .", "."), tuple(filter(None, (not right and slip, self.why)))
        return "Compare yours with this one, point by point, and rate it.", (
            f"**A model answer.** {self.answer}",
            *self.reasons(),
        )

    def reasons(self) -> tuple[str, ...]:
        """Why each option is right or wrong; why each step has its place; what a good text holds; why that number."""
        if self.kind == "choice":
            pairs = zip(self.letters, self.options, strict=True)
            return tuple(f"**{letter}, {'right' if o.right else 'wrong'}.** {o.why}" for letter, o in pairs)
        if self.kind == "order":
            steps = [self.options[self.letters.index(letter)] for letter in self.answer]
            return tuple(
                f"**{i}. {letter}.** {o.why}" for i, (letter, o) in enumerate(zip(self.answer, steps, strict=True), 1)
            )
        if self.kind == "text":
            return tuple(f"**Point {i}.** {point}" for i, point in enumerate(self.checklist, 1))
        return (self.why,)


def as_text(question: Question, number: int | None = None) -> str:
    """The whole question as Markdown, to take on paper: its options, and its answer folded away."""
    lines = [f"**Question {number or question.id}.** {question.text}"] + [""] * bool(question.options)
    lines += [
        f"- **{letter}.** {option.text}" for letter, option in zip(question.letters, question.options, strict=True)
    ]
    if question.kind == "order":
        lines += ["", "Write the letters in the right order."]
    if question.kind == "number":
        lines += ["", f"Write a number{f', in {question.unit}' if question.unit else ''}."]
    if question.kind == "text":
        lines += ["", "Write two or three sentences before you unfold the answer."]
    answer = {
        "choice": lambda: f"**{question.right_letter}.**", "order": lambda: f"**{', '.join(question.answer)}.**",
        "number": lambda: f"**{question.answer:g} {question.unit}**".replace(" **", "**"), "text": lambda: question.answer,
    }[question.kind]()  # fmt: skip
    lines += [
        "",
        "<details><summary>Answer</summary>",
        "",
        answer,
        "",
        *(f"- {reason}" for reason in question.reasons()),
    ]
    link = f"See [{question.link}]({question.link.lesson})."
    return "\n".join([*lines, "", link, "", "</details>", ""])


# --- Reading and checking --------------------------------------------------------------------------------------
def read_questions(path: str | Path) -> dict[str, Question]:
    """The questions of a JSON file, by id, in their order. Raises QuizError naming the question and the fault."""
    questions: dict[str, Question] = {}
    for number, row in enumerate(rows_of(path), 1):
        name = row.get("id") if isinstance(row, dict) else None
        where = (
            f"Question {name!r}"
            if isinstance(name, str) and name.strip()
            else f"Question {number} of {Path(path).name}"
        )
        if not isinstance(row, dict):
            raise QuizError(f"{where} is not an object; write {{...}}.")
        try:
            question = _question(row)
        except (KeyError, TypeError, ValueError) as fault:
            said = f"it has no {fault}" if isinstance(fault, KeyError) else str(fault)
            raise QuizError(f"{where}: {said}.") from None
        if question.id in questions:
            raise QuizError(f"{where}: its id is taken by an earlier question; choose another.")
        questions[question.id] = question
    return questions


def _question(row: dict) -> Question:
    kind = row["kind"]
    if kind not in KINDS:
        raise ValueError(f"its kind is {kind!r}; use one of {', '.join(KINDS)}")
    unknown = sorted(set(row) - {"id", "objective", "kind", "text", "link", *_FIELDS[kind]})
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no part of a {kind} question; remove it")
    options = tuple(Option(read_text(o, "text", "option "), read_text(o, "why", "option "), o.get("right", False) is True)
                    for o in read_list(row, "options", kind in ("choice", "order")))  # fmt: skip
    made = dict(id=read_text(row, "id"), objective=read_text(row, "objective"), kind=kind, text=read_text(row, "text"),
                link=read_link(row["link"]), options=options)  # fmt: skip
    if options and not 2 <= len(options) <= len(LETTERS):
        raise ValueError(f"it has {len(options)} options; give 2 to {len(LETTERS)}")
    if len({option.text for option in options}) < len(options):
        raise ValueError("two of its options are the same; change one")
    if kind == "choice" and sum(option.right for option in options) != 1:
        raise ValueError(f"{sum(o.right for o in options)} of its options are right; mark exactly one")
    if kind == "order" and sorted(read_text(row, "answer")) != list(LETTERS[: len(options)]):
        raise ValueError(f"its answer {row['answer']!r} does not name each of {LETTERS[: len(options)]} once")
    if kind == "number":
        made |= dict(tolerance=_number(row, "tolerance"), unit=row.get("unit", ""), why=read_text(row, "why"))
        made["slips"] = tuple(
            (_number(slip, "value"), read_text(slip, "why", "slip ")) for slip in row.get("slips", ())
        )
        if made["tolerance"] < 0:
            raise ValueError("its tolerance is below 0; give 0 or more")
        if any(abs(value - _number(row, "answer")) <= made["tolerance"] for value, _ in made["slips"]):
            raise ValueError("one of its slips counts as right; move it, or narrow the tolerance")
    if kind == "text":
        made["checklist"] = tuple(read_list(row, "checklist", True))
    if kind != "choice":
        made["answer"] = _number(row, "answer") if kind == "number" else read_text(row, "answer")
    return Question(**made)


def read_text(row: dict, key: str, of: str = "") -> str:
    if not isinstance(row[key], str) or not row[key].strip():
        raise ValueError(f"its {of}{key} is {row[key]!r}; write some text")
    return row[key]


def _number(row: dict, key: str) -> float:
    if isinstance(row[key], bool) or not isinstance(row[key], (int, float)) or not math.isfinite(row[key]):
        raise ValueError(f"its {key} is {row[key]!r}; give a number")
    return float(row[key])


def read_list(row: dict, key: str, needed: bool) -> list:
    if needed and (not isinstance(row[key], list) or not row[key]):
        raise ValueError(f"its {key} is {row[key]!r}; give a list")
    return row[key] if needed else []


def read_link(row: dict) -> Link:
    lesson = read_text(row, "lesson", "link's ")
    if not re.fullmatch(r"\d\d_\w+\.ipynb", lesson):
        raise ValueError(f"its link's lesson is {lesson!r}; name a notebook of lessons/, such as 04_playground.ipynb")
    return Link(lesson, row.get("section", ""))


def rows_of(path: str | Path) -> list:
    """The list in a JSON file. Raises QuizError naming the file."""
    try:
        rows = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise QuizError(f"{path} cannot be read ({error}); mend it, or take it from the course again.") from error
    if not isinstance(rows, list):
        raise QuizError(f"{path} is JSON but no list; write [{{...}}, ...].")
    return rows
