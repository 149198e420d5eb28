"""The playground in a real browser: headless Chromium on JupyterLab and on Voilà, with mouse and keyboard.

Pages are driven with what a learner has: the mouse, the keyboard and the eyes (pixels of the figure, and its words).
"""

import os
import re
import time
from pathlib import Path

import pytest
from playwright.sync_api import expect

from utils.course.maintain.jupyter_pages import CHROMIUM, free_port, go_dark, look, opened, served, tab_to

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here"),
]
FIGURE = ".course-figure img"


@pytest.fixture(scope="module")
def lesson(tmp_path_factory, root) -> Path:
    """A folder with the course and a notebook of two cells: the set-up and the playground."""
    import nbformat

    folder = tmp_path_factory.mktemp("course")
    for name in ("utils", "data"):
        os.symlink(root / name, folder / name)
    (folder / "lessons").mkdir()
    whole = nbformat.read(root / "lessons" / "04_playground.ipynb", 4)
    cells = [cell for cell in whole.cells if cell.id in ("setup", "open")]
    for cell in cells:
        cell.outputs, cell.execution_count = [], None
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=whole.metadata), folder / "lessons" / "play.ipynb")
    return folder


def words(page) -> str:
    return page.locator(FIGURE).get_attribute("alt")


def wait_for(page, pattern: str, seconds: float = 60) -> str:
    """Wait until the figure's words match."""
    expect(page.locator(FIGURE)).to_have_attribute("alt", re.compile(pattern, re.S), timeout=1000 * seconds)
    return words(page)


def slider(page, name: str):
    """The row of a control, found by its label as a reader finds it."""
    return page.locator(
        ".widget-inline-hbox", has=page.locator(".widget-label", has_text=re.compile(f"^{name}$"))
    ).first


def drag(page, name: str, by: float) -> None:
    """Take the slider's handle, move it by so many pixels in several moves, and let go."""
    box = slider(page, name).locator(".noUi-handle").first.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    for i in range(1, 9):
        page.mouse.move(x + by * i / 8, y)
    page.mouse.up()


def press(page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def unfold(page, title: str) -> None:
    page.get_by_text(title, exact=True).click()
    time.sleep(0.5)


def drive(page, where: str) -> None:
    """What every front end must bear: drag, see, stop, pin, share, keyboard."""
    finished = r"lr 0\.0015, r=8 .*New-task loss fell \d+%"
    wait_for(page, finished, 120)
    look(page, f"{where}-1-first")
    before, pixels = words(page), page.locator(FIGURE).screenshot()

    drag(page, "learning rate", 60)  # to the right: a higher rate
    text = wait_for(page, r"lr (?!0\.0015,)\S+, r=8 .*New-task loss fell")
    assert text != before and page.locator(FIGURE).screenshot() != pixels, "the picture is another one"
    rate = float(re.search(r"lr (\S+),", text)[1])
    assert rate > 0.0015
    pixels = page.locator(FIGURE).screenshot()
    drag(page, "LoRA rank", -60)
    text = wait_for(page, rf"lr {rate:g}, r=[124] .*New-task loss fell")
    assert page.locator(FIGURE).screenshot() != pixels
    look(page, f"{where}-2-dragged")

    unfold(page, "Pin, compare and share")
    press(page, "Pin this run")
    expect(page.locator(".course-table", has_text="settings")).to_contain_text(
        f"learning_rate={rate:g}", timeout=20_000
    )

    unfold(page, "More settings")
    drag(page, "steps", 300)  # as many steps as there are: time enough to press Stop
    wait_for(page, r"160 steps.*(Training: step|From step 0 to step 16)")
    press(page, "Stop")
    text = wait_for(page, r"160 steps.*Stopped at step \d+ of 160")
    look(page, f"{where}-3-stopped")

    field = page.locator(".widget-text input").last
    field.fill(f"learning_rate={rate:g};rank=32")
    field.press("Enter")
    wait_for(page, rf"lr {rate:g}, r=32 .*40 steps.*New-task loss fell")
    look(page, f"{where}-4-pasted")

    page.get_by_role("button", name="Reset", exact=True).focus()  # from here on, the keyboard alone
    if where == "notebook":  # which takes the arrow keys for itself: the number beside the slider can be typed
        tab_to(page, has_class("widget-readout"))
        page.keyboard.press("Control+a")
        page.keyboard.type("2e-3")
        page.keyboard.press("Enter")
        wait_for(page, r"lr 0\.002, r=32 .*New-task loss fell")
    else:
        tab_to(page, has_class("noUi-handle"))
        tab_to(page, has_class("noUi-handle"))  # past the learning rate
        page.keyboard.press("ArrowRight")
        wait_for(page, rf"lr {rate:g}, r=64 .*New-task loss fell")
    for _ in range(12):
        page.keyboard.press("Shift+Tab")
        if page.evaluate("document.activeElement.textContent") == "Undo":
            break
    page.keyboard.press("Enter")
    wait_for(page, rf"lr {rate:g}, r=32 .*\(remembered\)")
    page.locator(".course-words [role=status]", has_text="Remembered").wait_for(timeout=20_000)


def has_class(name: str) -> str:
    return f"focus.classList.contains('{name}')"


RELEASE_TO_POINT = """() => new Promise(done => {
  const picture = () => document.querySelector('.course-figure img').alt;
  const start = performance.now(), seen = {};
  const timer = setInterval(() => {
    const words = picture();
    if (!seen.zero && / to step 0,/.test(words) && /Training: step 0/.test(words)) seen.zero = performance.now() - start;
    if (!seen.first && /Training: step [1-9]/.test(words)) seen.first = performance.now() - start;
    if (/New-task loss fell|seconds/.test(words) && seen.first) {
      clearInterval(timer); done({...seen, end: performance.now() - start});
    }
    if (performance.now() - start > 30000) { clearInterval(timer); done(seen); }
  }, 5);
})"""


def test_notebook_7(browser, lesson, tmp_path):
    with opened(browser, "notebook", lesson, "play.ipynb", tmp_path, (1100, 1500)) as page:
        drive(page, "notebook")


def test_jupyterlab(browser, lesson, tmp_path):
    with opened(browser, "jupyterlab", lesson, "play.ipynb", tmp_path, (1250, 1500)) as page:
        drive(page, "lab")

        # The measured time from letting go to the first points, as a learner has it, in the page.
        times = []
        handle = slider(page, "learning rate").locator(".noUi-handle").first
        for _ in range(3):
            handle.focus()
            waiting = page.evaluate_handle(f"() => ({{done: ({RELEASE_TO_POINT})()}})")
            page.keyboard.press("ArrowRight")
            times.append(waiting.evaluate("x => x.done"))
        print("release to first new point, ms:", [{k: round(v) for k, v in t.items()} for t in times])
        assert all("first" in t for t in times)

        handle.focus()
        page.keyboard.press("ArrowRight")
        blank = page.evaluate("""() => new Promise(done => {
          let frames = 0, blank = 0; const start = performance.now();
          const step = () => { const img = document.querySelector('.course-figure img'); frames++;
            if (!img || !img.complete || !img.naturalWidth || img.getBoundingClientRect().height < 100) blank++;
            performance.now() - start < 4000 ? requestAnimationFrame(step) : done([blank, frames]); };
          requestAnimationFrame(step); })""")
        assert blank[0] == 0, f"{blank[0]} of {blank[1]} frames without a picture"

        go_dark(page)
        # Asked again and again: a picture that is just being replaced has no style.
        page.wait_for_function(
            f"getComputedStyle(document.querySelector({FIGURE!r})).filter.includes('invert')", timeout=20_000
        )
        look(page, "lab-5-dark")

        # A restart leaves working controls after run-all.
        page.get_by_role("menuitem", name="Kernel", exact=True).click()
        page.get_by_text("Restart Kernel and Run All Cells…", exact=True).first.click()
        page.locator(".jp-Dialog button", has_text="Restart").click()
        wait_for(page, r"lr 0\.0015, r=8 .*New-task loss fell", 120)
        drag(page, "LoRA rank", 60)
        wait_for(page, r"lr 0\.0015, r=(16|32|64) .*New-task loss fell")


def test_voila(browser, lesson, tmp_path):
    port = free_port()
    command = ["voila", str(lesson / "lessons" / "play.ipynb"), "--no-browser", f"--port={port}"]
    with served(command, port, tmp_path, "/static/nothing") as address:
        page = browser.new_page(viewport={"width": 1100, "height": 1500})
        page.goto(address, timeout=120_000)
        page.locator(FIGURE).wait_for(timeout=120_000)
        drive(page, "voila")
        page.close()
