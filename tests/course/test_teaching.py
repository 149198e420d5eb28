"""What TEACHING.md holds is made from the course, and what measures for it measures for real."""

import re
import sys
from contextlib import contextmanager

import pytest

from utils.course.maintain import binder_limit, classroom_load, teaching
from utils.course.maintain.store_lessons import lesson_paths, read
from utils.quiz.objectives import course_quiz

TEXT = teaching.TEACHING.read_text(encoding="utf-8")
PARTS = ("exercises", "quiz-key", "classroom-sizes", "classroom-waits", "binder-limit")
SMALL = 300 * 1024**2  # bytes: a limit that a test can reach


def test_the_answers_are_those_of_the_lessons():
    new = teaching.with_part(TEXT, "exercises", teaching.exercise_answers())
    assert teaching.with_part(new, "quiz-key", teaching.quiz_key()) == TEXT, (
        "run `make site`, or utils/course/maintain/teaching.py"
    )


def test_every_exercise_with_a_solution_is_there_and_no_hint_is():
    answers = teaching.exercise_answers()
    for words in (
        "MY_PIECE",
        "turn it down to 0.6",
        "Was alpha changed with it?",
        'eval_strategy="steps"',
    ):
        assert words in answers
    assert "Hint" not in answers and answers.count("<details>") == answers.count("</details>")


def numbers(words: str) -> list[int]:
    """Of "1, 4 and 5", and of a range, "3 to 5", its two ends."""
    return [int(number) for number in re.findall(r"\d+", words)]


def test_every_lesson_part_and_question_that_the_plans_name_is_there():
    plans, listed = TEXT[: TEXT.index("## Answers")], r"\d+(?:(?:, | and | to )\d+)*"
    parts = {}
    for path in lesson_paths():
        words = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
        parts[int(path.stem[:2])] = {int(n) for n in re.findall(r"^## (\d+)\. ", words, re.MULTILINE)}
    links = re.findall(r"\[[Ll]esson (\d+)\]\((\w+\.ipynb)\)", plans)
    assert len(links) > 15
    for number, file in links:
        assert int(number) == int(file[:2]) and (teaching.TEACHING.parent / file).exists(), (number, file)
    named = re.findall(rf"[Ll]esson (\d+)(?:\]\([^)]*\))?(?: instead)?[,:] parts? ({listed})", plans)
    assert len(named) > 15
    for lesson, which in named:
        assert set(numbers(which)) <= parts[int(lesson)], f"lesson {lesson} has no part {which}"
    asked = re.findall(rf"questions:? ({listed})", plans)
    assert len(asked) == 2 and all(1 <= n <= len(course_quiz()[0]) for which in asked for n in numbers(which))


def test_the_measured_tables_are_there_and_complete():
    for name in PARTS[2:]:
        assert "|---|" in teaching.marked(name, TEXT)[2], f"{name} was not measured"
    table = teaching.marked("binder-limit", TEXT)[2]
    for lesson in binder_limit.lesson_paths():
        row = next((line for line in table.splitlines() if line.startswith(f"| {lesson.stem} |")), None)
        assert row, f"{lesson.stem} was not measured under Binder's limit: `make bench ARGS='--only binder'`"
        assert float(row.split("|")[2]) < 2


def test_a_part_is_replaced_and_nothing_else(tmp_path):
    path = tmp_path / "T.md"
    path.write_text("before\n<!-- a: x -->\nold\n<!-- end of a -->\nafter\n")
    teaching.write("a", "new | \\1", path)
    once = path.read_text()
    assert once == "before\n<!-- a: x -->\n\nnew | \\1\n\n<!-- end of a -->\nafter\n"
    teaching.write("a", "new | \\1", path)
    assert path.read_text() == once
    with pytest.raises(ValueError, match="0 parts named b"):
        teaching.write("b", "", path)


@pytest.mark.training
@pytest.mark.skipif(sys.platform != "linux", reason="control groups are Linux's; elsewhere a watchdog does it")
def test_the_limit_kills_what_takes_too_much_and_spares_what_does_not():
    name = binder_limit.way_that_holds()
    code = "import time; kept = bytearray({}); kept[::4096] = bytes([1]) * len(kept[::4096]); time.sleep(1); print('lived')"
    for share, lived in ((0.6, True), (1.4, False)):
        command = [sys.executable, "-c", code.format(int(share * SMALL))]
        ran = binder_limit.run(command, binder_limit.WAYS[name], SMALL)
        assert (ran.status == 0) == ("lived" in ran.output) == lived, (name, ran)
        assert ran.peak < 1.1 * SMALL or not lived
    assert (
        binder_limit.run([sys.executable, "-c", code.format(int(0.6 * SMALL))], binder_limit.WAYS[name]).peak
        > 0.5 * SMALL
    )


@pytest.mark.training
@pytest.mark.skipif(
    not hasattr(binder_limit.os, "wait4"), reason="Windows does not account for processes below a process"
)
def test_the_watchdog_measures_the_whole_tree():
    assert binder_limit.holds(binder_limit.watchdog, SMALL)


@pytest.mark.training
def test_a_way_that_cannot_work_here_is_passed_over(monkeypatch):
    @contextmanager
    def broken(limit):
        raise OSError("no such group")
        yield

    @contextmanager
    def deaf(limit):
        yield [], None

    monkeypatch.setattr(binder_limit, "WAYS", {"broken": broken, "deaf": deaf})
    with pytest.raises(SystemExit, match="Nothing here can hold a memory limit"):
        binder_limit.way_that_holds()


def test_tables_from_measurements():
    ran = binder_limit.Ran(0, 12.3, 9.9, int(0.75 * 1024**3), "")
    assert "| 00_start_here | 0.75 | 10 | 12 |" in binder_limit.table({"00_start_here": ran})
    found = {n: [{"point": 1.0 * n, "end": 2.0 * n, "cpu": 0.5}] for n in (4, 1, 2)}
    assert classroom_load.waits(found).splitlines()[2:] == [f"| {n} | {n}.0 | {2 * n}.0 | 0.5 |" for n in (1, 2, 4)]
    assert classroom_load.playgrounds_a_core(found, 2) == 1.0, "two learners on two cores wait for 2 s, four for 4 s"
    assert classroom_load.cost(2.0, 20.0, 4).endswith("took 20.0 s; with one thread each, 2.0 s: 10.0 times as long.")
    assert classroom_load.cost(2.0, float("inf"), 4).endswith("it took 2.0 s: more than 30 times as long.")
    sizes = classroom_load.sizes(cpu=2.0, own=0.5, shared=0.3, server=0.1)
    assert "| 30 | 18 | 5 |" in sizes and "| 500 | 300 | 72 |" in sizes


@pytest.mark.training
def test_one_run_is_timed_from_the_move_to_its_points():
    from utils.playground.moves import playground

    play = playground(run=False)
    seen = classroom_load.one_run(play, 3)
    assert 0 < seen["zero"] <= seen["point"] <= seen["end"] < 600 and seen["cpu"] > 0
    assert classroom_load.one_run(play, 4, limit=0.01)["end"] == float("inf")
    play.stop.click()
