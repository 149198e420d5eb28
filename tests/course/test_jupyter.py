"""The course in JupyterLab and Notebook 7, in headless Chromium: the playground, the quiz and the lessons, on one server.

They stand in one file so that, of several workers, one runs them all: its server and its kernel are started once.
"""

import json
import os
import re
import shutil
from pathlib import Path

import nbformat
import pytest
from axe import serious
from playground_page import FIGURE, drag, drive, handle, wait_for, write_notebook
from playwright.sync_api import expect

from utils.course.maintain import jupyter_pages
from utils.course.maintain.build_site import lesson_paths
from utils.course.maintain.jupyter_pages import CHROMIUM, go_dark, look, restart, run_all, tab_to
from utils.quiz.objectives import course_quiz

QUESTIONS, _ = course_quiz()
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")]


@pytest.fixture(scope="module")
def course(tmp_path_factory, root) -> Path:
    """A folder with the course, whose notebooks may be changed."""
    folder = tmp_path_factory.mktemp("course")
    for name in ("utils", "data"):
        os.symlink(root / name, folder / name)
    shutil.copytree(root / "lessons", folder / "lessons")
    return folder


@pytest.fixture(scope="module")
def server(course, tmp_path_factory):
    with jupyter_pages.jupyter(course, tmp_path_factory.mktemp("settings")) as one:
        yield one


# --- The playground ---------------------------------------------------------------------------------------
# From letting go to the first new point, and to the end of the run: how long it takes is read in the page, as a learner has it.
TIME_A_RUN = """() => {
  const words = () => document.querySelector('.course-figure img')?.alt ?? '', rate = () => words().match(/lr (\\S+),/)?.[1];
  const start = performance.now(), old = rate(), times = {};
  window.times = null;
  const timer = setInterval(() => {
    if (!rate() || rate() == old) return;
    const ended = /New-task loss|Diverged/.test(words());
    if (ended || /Training: step [1-9]/.test(words())) times.first ??= performance.now() - start;
    times.zero ??= performance.now() - start;
    if (ended) { clearInterval(timer); window.times = {...times, end: performance.now() - start}; }
  }, 5);
}"""
COUNT_FRAMES = """() => {
  window.frames_ = {all: 0, blank: 0};
  const count = () => {
    const img = document.querySelector('.course-figure img');
    window.frames_.all++;
    if (!img || !img.complete || !img.naturalWidth || img.getBoundingClientRect().height < 100) window.frames_.blank++;
    requestAnimationFrame(count);
  };
  requestAnimationFrame(count);
}"""


def test_playground_in_jupyterlab(new_page, server, course, root):
    write_notebook(root, course / "lessons" / "play.ipynb")
    page = new_page(1250, 1500)
    server.open(page, "play.ipynb")
    run_all(page)
    drive(page, "lab")

    times = []
    page.evaluate(COUNT_FRAMES)
    handle(page, "learning rate").focus()
    for _ in range(3):
        page.evaluate(TIME_A_RUN)
        page.keyboard.press("ArrowRight")
        times.append(page.wait_for_function("window.times").json_value())
    print("release to first new point, ms:", [{k: round(v) for k, v in t.items()} for t in times])
    frames = page.evaluate("window.frames_")
    assert frames["all"] and not frames["blank"], f"frames without a picture: {frames}"

    go_dark(page)
    # Asked again and again: a picture that is just being replaced has no style.
    page.wait_for_function(f"getComputedStyle(document.querySelector({FIGURE!r})).filter.includes('invert')")
    look(page, "lab-5-dark")

    restart(page, ".course-figure")  # leaves controls that work
    wait_for(page, r"lr 0\.0015, r=8 .*New-task loss fell")
    drag(page, "LoRA rank", 60)
    wait_for(page, r"lr 0\.0015, r=(16|32|64) .*New-task loss fell")


def test_playground_in_notebook_7(new_page, server, course, root):
    write_notebook(root, course / "lessons" / "play-7.ipynb")
    page = new_page(1100, 1500)
    server.open(page, "play-7.ipynb", "notebook")
    run_all(page)
    drive(page, "notebook")


# --- The quiz ---------------------------------------------------------------------------------------------
def write_quiz(path: Path, state: Path) -> None:
    """The set-up, one question of each kind, and the score; the answers are kept in a folder of their own."""
    whole = nbformat.read(path.with_name("10_quiz.ipynb"), 4)
    setup = next(cell for cell in whole.cells if cell.id == "setup")
    setup.outputs, setup.execution_count = [], None
    asked = 'quiz("one-knob", "scale", "first-rate", "colleague")'
    sources = (
        f'os.environ["COURSE_STATE"] = {str(state)!r}',
        f"from utils.quiz import quiz, score\n\n{asked}",
        "score()",
    )
    cells = [setup, *map(nbformat.v4.new_code_cell, sources)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=whole.metadata), path)


def to_button(page, words: str) -> None:
    tab_to(page, f"focus.textContent === '{words}'")


def to_option(page, words: str) -> None:
    """To the radio button whose label begins with ``words``."""
    tab_to(page, f"focus.parentElement.textContent.startsWith('{words}')")


def answer_by_keys(page, field: str, typed: str, button: str, said: str) -> None:
    """Go to the field of this placeholder or type before the button, type, press that, and read what is said."""
    page.evaluate(
        """([field, button]) => {
            const all = [...document.querySelectorAll(['input', 'textarea', 'a', 'button'].map(e => `.course-quiz ${e}`).join())];
            const at = all.findLastIndex((e, i) => (e.placeholder || e.type || '') === field &&
                all.slice(i).find(other => other.tagName === 'BUTTON').textContent === button);
            all[at].focus(); }""",
        [field, button],
    )
    page.keyboard.press("Control+A")
    page.keyboard.type(typed)
    to_button(page, button)
    page.keyboard.press("Enter")
    says(page, said)


def says(page, words: str) -> None:
    expect(page.locator(".course-quiz [role=status]", has_text=words).first).to_be_visible()


def test_quiz_in_jupyterlab(new_page, server, course, tmp_path):
    """Each kind of question, by keyboard alone and by mouse, and a restart."""
    write_quiz(course / "lessons" / "quiz.ipynb", tmp_path / "state")
    saved = tmp_path / "state" / "quiz.json"
    page = new_page(1250, 2600)  # all of it in view
    server.open(page, "quiz.ipynb")
    run_all(page)
    page.get_by_role("button", name="Reset", exact=True).wait_for()
    cells = page.locator(".jp-Cell").count()

    page.locator(".course-quiz input[type=radio]").first.focus()  # from here on, the keyboard alone
    to_option(page, "C.")
    page.keyboard.press("Space")
    to_button(page, "Check answer 2")
    page.keyboard.press("Space")
    says(page, "C is right.")
    answer_by_keys(page, "the letters", "d d a b", "Check answer 17", "Write each of the letters A, B, C, D once")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    answer_by_keys(page, "the letters", "cadb", "Check answer 17", "Right, all of them.")
    answer_by_keys(page, "number", "4", "Check answer 18", "4 is not right; it is 0.25.")
    answer_by_keys(
        page,
        "Your own words",
        "Old skills may be gone.",
        f"Show a model answer {len(QUESTIONS)}",
        "Compare yours with this one",
    )
    to_option(page, "I ")
    page.keyboard.press("Space")
    says(page, "You rated it: I had all of it.")
    says(page, f"4 of {len(QUESTIONS)} answered.")
    assert page.locator(".jp-Cell").count() == cells, "no key was taken for a command of the notebook"
    answers = {"one-knob": "C", "scale": 4, "first-rate": "CADB",
               "colleague": {"text": "Old skills may be gone.", "rating": "I had all of it"}}  # fmt: skip
    assert json.loads(saved.read_text())["answers"] == answers
    look(page, "quiz-1-keyboard")

    page.get_by_text("A. Rank 4, with").click()  # and by mouse
    page.get_by_role("button", name="Check answer 2", exact=True).click()
    says(page, "A is not right; C is.")
    with page.context.expect_page() as another:
        page.locator(".course-quiz a", has_text="Rank is not what it seems").first.click()
    another.value.wait_for_url(re.compile("/lessons/04_playground.ipynb$"), wait_until="commit")
    another.value.close()

    restart(page, ".course-quiz")
    says(page, "A is not right; C is.")
    says(page, "You rated it: I had all of it.")
    expect(page.locator(".course-quiz input[type=radio]").first).to_be_checked()
    look(page, "quiz-2-restarted")

    go_dark(page)
    shade = "e => getComputedStyle(e).color.match(/\\d+/g).slice(0, 3).reduce((a, b) => a + +b, 0)"
    for part in (".course-quiz label", ".course-quiz p", ".course-quiz a"):
        assert page.locator(part).first.evaluate(shade) > 380, f"{part} is dark on dark"
    look(page, "quiz-3-dark")

    page.get_by_role("button", name="Reset", exact=True).click()
    page.get_by_role("button", name="Yes, delete my answers", exact=True).click()
    says(page, f"0 of {len(QUESTIONS)} answered.")
    assert json.loads(saved.read_text())["answers"] == {}


# --- The lessons ------------------------------------------------------------------------------------------
SHOWN = ".jp-NotebookPanel:not(.lm-mod-hidden)"  # the notebook in front
# What the course puts into a notebook. The rest, editors and buttons, is JupyterLab's own, with faults of its own.
OURS = {
    "include": [[f"{SHOWN} .jp-MarkdownOutput"], [f"{SHOWN} .jp-OutputArea-output"]],
    "exclude": [[".jp-collapseHeadingButton"]],
}


@pytest.fixture(scope="module")
def lab(window, server):
    """One page for all lessons, so tall that every cell is drawn."""
    page = window.new_page()
    page.set_viewport_size({"width": 1250, "height": 9000})
    server.open(page, "00_start_here.ipynb")
    yield page
    page.close()


@pytest.fixture
def lesson(lab, server, course, new_page):
    """Opens a lesson in JupyterLab, and waits until all of it is drawn."""

    def open_lesson(name: str):
        server.open_beside(lab, name)
        cells = nbformat.read(course / "lessons" / name, 4).cells
        texts = sum(cell.cell_type == "markdown" for cell in cells)
        expect(lab.locator(f"{SHOWN} .jp-Cell")).to_have_count(len(cells))
        expect(lab.locator(f"{SHOWN} .jp-MarkdownOutput")).to_have_count(texts)
        return lab

    return open_lesson


@pytest.mark.parametrize("name", [path.name for path in lesson_paths()])
def test_a_stored_lesson_in_jupyterlab(lesson, name):
    """Before it is run, JupyterLab shows pictures without their words (utils/figure_words.py); nothing else is amiss."""
    found = serious(lesson(name), OURS)
    assert [sentence for sentence in found if not sentence.startswith("image-alt")] == []


def write_quick_lesson(path: Path) -> None:
    """Lesson 0 with runs a quarter as long, which learn less than it asserts: what is looked at is what it shows."""
    whole = nbformat.read(path.with_name("00_start_here.ipynb"), 4)
    whole.cells = [cell for cell in whole.cells if cell.id != "assert"]
    for cell in whole.cells:
        cell.source = cell.source.replace('preset("reckless")', 'preset("reckless").with_(steps=10)')
        cell.source = cell.source.replace("learning_rate=1.5e-3)", "learning_rate=1.5e-3, steps=10)")
    assert sum("steps=10)" in cell.source for cell in whole.cells) == 2
    nbformat.write(whole, path)


def test_a_lesson_that_was_run_in_jupyterlab(lesson, course):
    write_quick_lesson(course / "lessons" / "quick.ipynb")
    page = lesson("quick.ipynb")
    run_all(page)
    expect(page.locator(f"{SHOWN} .jp-OutputArea-output img[alt*='retention']")).to_have_count(2)
    assert serious(page, OURS) == []
    figures = page.locator(f"{SHOWN} .jp-OutputArea-output img")
    assert all(len(figure.get_attribute("alt")) > 100 for figure in figures.all())
    look(page, "lab-lesson-0")
