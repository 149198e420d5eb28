"""What a learner has answered: kept in one small file on this machine, and counted by objective. No widget here.

Nothing is sent anywhere. The file is in the user's own state folder; ``COURSE_STATE`` names another folder.
"""

from __future__ import annotations

import json
import os
import weakref
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_state_path

from capability_guard.files import write_whole
from utils.quiz.objectives import Objective
from utils.quiz.questions import Question

SCHEMA = 1


def default_path() -> Path:
    """Where the answers are kept: ~/.local/state/what-did-it-forget/quiz.json on Linux."""
    folder = os.environ.get("COURSE_STATE")
    return (Path(folder) if folder else user_state_path("what-did-it-forget", appauthor=False)) / "quiz.json"


@dataclass(frozen=True)
class Row:
    """The score of one objective. points: of ``questions``, a rated half counts 0.5. answered: how many were."""

    objective: Objective
    points: float
    answered: int
    questions: int


class Progress:
    """The answers so far, by question id. ``trouble``: one sentence when the file could not be read or written.

    Whoever shows the answers joins ``listeners``: each one's ``refresh()`` is called after every change.
    """

    def __init__(self, path: Path, questions: dict[str, Question], objectives: dict[str, Objective]) -> None:
        self.path, self.questions, self.objectives = path, questions, objectives
        self.answers: dict[str, object] = {}
        self.trouble = ""
        self.listeners: weakref.WeakSet = weakref.WeakSet()
        self._read()

    def put(self, question: str, answer: object) -> None:
        """Remember an answer, and write the file. Raises ValueError for what can be no answer to this question."""
        if not self.questions[question].accepts(answer):
            raise ValueError(f"{answer!r} is no answer to question {question!r}.")
        self.answers[question] = answer
        self._write()

    def reset(self) -> None:
        """Forget every answer, here and on disk."""
        self.answers = {}
        self._write()

    def score(self) -> list[Row]:
        """One row an objective, in the order of the course."""
        rows = []
        for objective in self.objectives.values():
            answered = [q for q in objective.questions if q in self.answers]
            points = sum(self.questions[q].points(self.answers[q]) or 0.0 for q in answered)
            rows.append(Row(objective, points, len(answered), len(objective.questions)))
        return rows

    def _read(self) -> None:
        try:
            data = json.loads(self.path.read_text(encoding="utf-8"))
            if data["schema"] != SCHEMA or not isinstance(data["answers"], dict):
                raise ValueError("written by another version")
        except FileNotFoundError:
            return
        except OSError as error:
            self.trouble = f"Your saved answers cannot be read ({error.strerror}), so you start afresh: {self.path}."
            return
        except (ValueError, KeyError, TypeError, RecursionError):
            aside = self.path.with_name(self.path.name + ".broken")
            try:
                os.replace(self.path, aside)
                where = f"the old file is kept as {aside}"
            except OSError:
                where = f"the file is {self.path}"
            self.trouble = f"Your saved answers were in a broken file, so you start afresh; {where}."
            return
        # A question may have changed since, or be gone: what no longer fits is left out.
        self.answers = {
            name: answer
            for name, answer in data["answers"].items()
            if name in self.questions and self.questions[name].accepts(answer)
        }

    def _write(self) -> None:
        text = json.dumps({"schema": SCHEMA, "answers": self.answers}, indent=1, ensure_ascii=False)
        try:
            write_whole(self.path, text + "\n")
            self.trouble = ""
        except OSError as error:
            why = error.strerror or error
            self.trouble = f"Your answers cannot be saved ({why}), so they last until the kernel stops: {self.path}."
        for listener in list(self.listeners):
            listener.refresh()
