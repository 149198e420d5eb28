"""The parts of lessons/TEACHING.md that are made, not typed: each stands between two markers.

    python -m utils.course.maintain.teaching

writes the answers, from the lessons and from lessons/quiz.json (`make site` does so too). The measured tables come from
the scripts that measure: ``binder_limit`` and ``classroom_load``, beside this one.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

TEACHING = ROOT / "lessons" / "TEACHING.md"


def marked(name: str, text: str) -> re.Match:
    """Where the part of this name stands. Raises ValueError when its markers are not there, once."""
    found = list(re.finditer(rf"(<!-- {name}: [^\n]*-->\n)(.*?)(<!-- end of {name} -->)", text, re.DOTALL))
    if len(found) != 1:
        raise ValueError(f"TEACHING.md has {len(found)} parts named {name}: one is needed, between its two markers.")
    return found[0]


def with_part(text: str, name: str, content: str) -> str:
    """The text with this part replaced."""
    match = marked(name, text)
    return f"{text[: match.start()]}{match[1]}\n{content.strip()}\n\n{match[3]}{text[match.end() :]}"


def write(name: str, content: str, path: Path = TEACHING) -> None:
    """Replace one part of TEACHING.md."""
    from utils.course.maintain.store_lessons import replace

    replace(path, with_part(path.read_text(encoding="utf-8"), name, content).encode())


def quiz_key() -> str:
    """Each question of lesson 10 with its answer in one line, folded, from the questions themselves."""
    from utils.quiz.objectives import course_quiz

    questions, objectives = course_quiz()
    lines = ["<details><summary>The key to the quiz</summary>", "", "| question | about | answer |", "|---|---|---|"]
    for number, question in enumerate(questions.values(), 1):
        answer = {
            "choice": lambda q: f"{q.right_letter}. {q.options[q.letters.index(q.right_letter)].text}",
            "order": lambda q: ", ".join(q.answer),
            "number": lambda q: f"{q.answer:g} {q.unit}".strip(),
            "text": lambda q: q.answer,
        }[question.kind](question)
        lines.append(f"| {number} | {objectives[question.objective].text} | {answer} |".replace("\n", " "))
    return "\n".join([*lines, "", "</details>"])


def exercise_answers() -> str:
    """All that is folded away under the exercises of the lessons, but for hints, each under the place it is from."""
    from utils.course.maintain.store_lessons import lesson_paths, read

    parts, last = [], ""
    for path in lesson_paths():
        texts = [cell.source for cell in read(path).cells if cell.cell_type == "markdown"]
        title, heading, label = texts[0].splitlines()[0].removeprefix("# "), "", ""
        folds = r"^(#+ [^\n]*|<details>.*?</details>)$"
        for piece in re.split(folds, "\n".join(texts), flags=re.MULTILINE | re.DOTALL):
            fold = re.fullmatch(r"<details><summary>(.*?)</summary>(.*?)</details>", piece, re.DOTALL)
            if piece.startswith("#"):
                heading, label = piece.lstrip("# "), ""
            elif fold and re.search("solution|answer", fold[1], re.IGNORECASE):
                place = f"**[{title}]({path.name})**, {heading}"
                parts += [place] if place != last else []
                parts.append(f"<details><summary>{label}{fold[1]}</summary>{fold[2]}</details>")
                last, label = place, ""
            elif named := re.findall(r"\*\*(Exercise \w)\*\*", piece):
                label = f"{named[-1]}: "
    return "\n\n".join(parts)


def write_answers(path: Path = TEACHING) -> None:
    """Bring the answers up to date; the file stays as it is where they are."""
    from utils.course.maintain.store_lessons import replace

    text = path.read_text(encoding="utf-8")
    new = with_part(with_part(text, "exercises", exercise_answers()), "quiz-key", quiz_key())
    if new != text:
        replace(path, new.encode())


if __name__ == "__main__":
    write_answers()
