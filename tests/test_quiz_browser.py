"""The quiz in headless Chromium on JupyterLab: each kind of question, by keyboard alone and by mouse, and a restart."""

import json
import os
import shutil
from pathlib import Path

import pytest
from jupyter_pages import CHROMIUM, go_dark, look, opened
from playwright.sync_api import expect

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


def tab_to(page, what: str, script: str) -> None:
    """Press Tab until the focused element says ``what``."""
    for _ in range(25):
        page.keyboard.press("Tab")
        if page.evaluate(script) == what:
            return
    raise AssertionError(f"Tab never reached {what!r}")


TEXT = "document.activeElement.textContent"
LABEL = "document.activeElement.parentElement.textContent.slice(0, 2)"
KIND = "document.activeElement.placeholder || document.activeElement.type || ''"


def says(page, words: str) -> None:
    expect(page.locator(".course-quiz [role=status]", has_text=words).first).to_be_visible(timeout=10_000)


def test_jupyterlab(browser, lesson, tmp_path):
    saved = tmp_path / "state" / "quiz.json"
    with opened(browser, "jupyterlab", lesson, "quiz.ipynb", tmp_path, (1250, 2600)) as page:  # all of it in view
        page.get_by_role("button", name="Reset", exact=True).wait_for(timeout=60_000)
        cells = page.locator(".jp-Cell").count()

        page.locator(".course-quiz input[type=radio]").first.focus()  # from here on, the keyboard alone
        tab_to(page, "C.", LABEL)
        page.keyboard.press("Space")
        tab_to(page, "Check answer 2", TEXT)
        page.keyboard.press("Space")
        says(page, "C is right.")
        tab_to(page, "number", KIND)
        page.keyboard.press("Control+A")
        page.keyboard.type("4")
        tab_to(page, "Check answer 18", TEXT)
        page.keyboard.press("Enter")
        says(page, "4 is not right; it is 0.25.")
        tab_to(page, "the letters", KIND)
        page.keyboard.type("d d a b")
        tab_to(page, "Check answer 17", TEXT)
        page.keyboard.press("Enter")
        says(page, "Write each of the letters A, B, C, D once")
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Control+A")
        page.keyboard.type("cadb")
        tab_to(page, "Check answer 17", TEXT)
        page.keyboard.press("Enter")
        says(page, "Right, all of them.")
        tab_to(page, "Your own words", KIND)
        page.keyboard.type("Old skills may be gone.")
        tab_to(page, "Show a model answer 28", TEXT)
        page.keyboard.press("Enter")
        says(page, "Compare yours with this one")
        tab_to(page, "I ", LABEL)
        page.keyboard.press("Space")
        says(page, "You rated it: I had all of it.")
        says(page, "4 of 28 answered.")
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
        says(page, "0 of 28 answered.")
        assert json.loads(saved.read_text())["answers"] == {}
