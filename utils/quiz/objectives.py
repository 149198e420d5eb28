"""What a learner can do after the course: each objective with its lesson, its exercise and its questions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from utils.quiz.questions import Link, Question, QuizError, read_link, read_list, read_questions, read_text, rows_of

LESSONS = Path(__file__).resolve().parents[2] / "lessons"


@dataclass(frozen=True)
class Objective:
    """What a learner can do after the course: where it is taught, practised (lesson and cell id) and asked."""

    id: str
    text: str
    taught: Link
    exercise: tuple[str, str] | None = None
    questions: tuple[str, ...] = ()


def read_objectives(path: str | Path, questions: Iterable[Question]) -> dict[str, Objective]:
    """The course's objectives, by id. Raises QuizError unless questions and objectives name each other, completely."""
    objectives: dict[str, Objective] = {}
    questions = {question.id: question for question in questions}
    for row in rows_of(path):
        name = row.get("id") if isinstance(row, dict) else row
        try:
            exercise = row.get("exercise")
            made = Objective(read_text(row, "id"), read_text(row, "text"), read_link(row["taught"]),
                             (exercise["lesson"], exercise["cell"]) if exercise else None,
                             tuple(read_list(row, "questions", True)))  # fmt: skip
        except (AttributeError, KeyError, TypeError, ValueError) as fault:
            said = f"it has no {fault}" if isinstance(fault, KeyError) else str(fault)
            raise QuizError(f"Objective {name!r}: {said}.") from None
        if made.id in objectives:
            raise QuizError(f"Objective {name!r}: its id is taken by an earlier one; choose another.")
        for question in made.questions:
            if question not in questions:
                raise QuizError(f"Objective {name!r}: there is no question {question!r}.")
            if questions[question].objective != made.id:
                raise QuizError(f"Objective {name!r}: question {question!r} says {questions[question].objective!r}.")
        objectives[made.id] = made
    for question in questions.values():
        if question.objective not in objectives or question.id not in objectives[question.objective].questions:
            raise QuizError(f"Question {question.id!r}: objective {question.objective!r} does not list it.")
    return objectives


@lru_cache(maxsize=1)
def course_quiz() -> tuple[dict[str, Question], dict[str, Objective]]:
    """The questions and the objectives of this course."""
    questions = read_questions(LESSONS / "quiz.json")
    return questions, read_objectives(LESSONS / "objectives.json", questions.values())
