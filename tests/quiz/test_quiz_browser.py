"""The quiz in headless Chromium on JupyterLab: each kind of question, by keyboard alone and by mouse, and a restart."""

import json
import os
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import expect

from utils.course.maintain.jupyter_pages import CHROMIUM, go_dark, look, opened, tab_to

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")]


@pytest.fixture
def lesson(tmp_path, root, monkeypatch) -> Path:
    """A folder with the course and a short notebook: the set-up, one question of each kind, and the score."""
    import nbformat

    for name in ("utils", "data"):
        os.symlink(root / name, tmp_path / name)
    shutil.copytree(root / "lessons", tmp_path / "lessons", ignore=shutil.ignore_patterns("images", "09*"))
    whole = nbformat.read(root / "lessons" / "09_quiz.ipynb", 4)
    setup = next(cell for cell in whole.cells if cell.id == "setup")
    setup.outputs, setup.execution_count = [], None
    lines = "from utils.quiz import quiz, score\n\n"
    cells = [setup, nbformat.v4.new_code_cell(lines + 'quiz("one-knob", "scale", "first-rate", "colleague")'),
             nbformat.v4.new_code_cell("score()")]  # fmt: skip
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=whole.metadata), tmp_path / "lessons" / "quiz.ipynb")
    monkeypatch.setenv("COURSE_STATE", str(tmp_path / "state"))
    return tmp_path


def to_button(page, words: str) -> None:
    tab_to(page, f"focus.textContent === '{words}'")


def to_option(page, words: str) -> None:
    """To the radio button whose label begins with ``words``."""
    tab_to(page, f"focus.parentElement.textContent.startsWith('{words}')")


def answer_by_keys(page, field: str, typed: str, button: str, said: str) -> None:
    """Type into the next field of this placeholder or type, press the button, and read what is said."""
    tab_to(page, f"(focus.placeholder || focus.type || '') === '{field}'")
    page.keyboard.press("Control+A")
    page.keyboard.type(typed)
    to_button(page, button)
    page.keyboard.press("Enter")
    says(page, said)


def says(page, words: str) -> None:
    expect(page.locator(".course-quiz [role=status]", has_text=words).first).to_be_visible(timeout=10_000)


def test_jupyterlab(browser, lesson, tmp_path):
    saved = tmp_path / "state" / "quiz.json"
    with opened(browser, "jupyterlab", lesson, "quiz.ipynb", tmp_path, (1250, 2600)) as page:  # all of it in view
        page.get_by_role("button", name="Reset", exact=True).wait_for(timeout=60_000)
        cells = page.locator(".jp-Cell").count()

        page.locator(".course-quiz input[type=radio]").first.focus()  # from here on, the keyboard alone
        to_option(page, "C.")
        page.keyboard.press("Space")
        to_button(page, "Check answer 2")
        page.keyboard.press("Space")
        says(page, "C is right.")
        answer_by_keys(page, "number", "4", "Check answer 18", "4 is not right; it is 0.25.")
        answer_by_keys(page, "the letters", "d d a b", "Check answer 17", "Write each of the letters A, B, C, D once")
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Shift+Tab")
        answer_by_keys(page, "the letters", "cadb", "Check answer 17", "Right, all of them.")
        answer_by_keys(
            page, "Your own words", "Old skills may be gone.", "Show a model answer 30", "Compare yours with this one"
        )
        to_option(page, "I ")
        page.keyboard.press("Space")
        says(page, "You rated it: I had all of it.")
        says(page, "4 of 30 answered.")
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
        assert another.value.url.endswith("/lessons/04_playground.ipynb")
        another.value.close()

        page.get_by_role("menuitem", name="Kernel", exact=True).click()
        page.get_by_text("Restart Kernel and Run All Cells", exact=False).first.click()
        page.locator(".jp-Dialog button").last.click()
        page.locator(".course-quiz").first.wait_for(state="detached", timeout=30_000)
        says(page, "A is not right; C is.")
        says(page, "You rated it: I had all of it.")
        assert page.locator(".course-quiz input[type=radio]").first.is_checked()
        look(page, "quiz-2-restarted")

        go_dark(page)
        shade = "e => getComputedStyle(e).color.match(/\\d+/g).slice(0, 3).reduce((a, b) => a + +b, 0)"
        for part in (".course-quiz label", ".course-quiz p", ".course-quiz a"):
            assert page.locator(part).first.evaluate(shade) > 380, f"{part} is dark on dark"
        look(page, "quiz-3-dark")

        page.get_by_role("button", name="Reset", exact=True).click()
        page.get_by_role("button", name="Yes, delete my answers", exact=True).click()
        says(page, "0 of 30 answered.")
        assert json.loads(saved.read_text())["answers"] == {}
