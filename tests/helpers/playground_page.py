"""A playground's page, driven with what a learner has: the mouse, the keyboard and the eyes (the picture and its words)."""

import re

import nbformat
from playwright.sync_api import expect

from utils.course.maintain.jupyter_pages import look, tab_to

FIGURE = ".course-figure img"


def write_notebook(root, path) -> None:
    """Lesson 4's set-up and its playground, with runs a quarter as long: what is looked at is the page."""
    whole = nbformat.read(root / "lessons" / "04_playground.ipynb", 4)
    cells = [cell for cell in whole.cells if cell.id in ("setup", "open")]
    for cell in cells:
        cell.outputs, cell.execution_count = [], None
    assert cells[1].source.count("playground()") == 1
    cells[1].source = cells[1].source.replace("playground()", "playground(steps=10)")
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=whole.metadata), path)


def words(page) -> str:
    return page.locator(FIGURE).get_attribute("alt")


def wait_for(page, pattern: str) -> str:
    """Wait until the figure's words match."""
    expect(page.locator(FIGURE)).to_have_attribute("alt", re.compile(pattern, re.S))
    return words(page)


def handle(page, name: str):
    """What is dragged of a slider, found by its label as a reader finds it."""
    label = page.locator(".widget-label", has_text=re.compile(f"^{name}$"))
    return page.locator(".widget-inline-hbox", has=label).first.locator(".noUi-handle").first


def drag(page, name: str, by: float) -> None:
    """Take the slider's handle, move it by so many pixels in several moves, and let go."""
    handle(page, name).hover()  # once it is there and stands still
    box = handle(page, name).bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.down()
    for i in range(1, 9):
        page.mouse.move(x + by * i / 8, y)
    page.mouse.up()


def press(page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def unfold(page, title: str) -> None:
    page.get_by_text(title, exact=True).click()


def has_class(name: str) -> str:
    return f"focus.classList.contains('{name}')"


def drive(page, where: str) -> None:
    """What every front end must bear: drag, see, stop, pin, share, keyboard. ``where``: "lab", "notebook" or "voila"."""
    wait_for(page, r"lr 0\.0015, r=8 .*10 steps.*New-task loss fell \d+%")
    look(page, f"{where}-1-first")
    before, pixels = words(page), page.locator(FIGURE).screenshot()

    drag(page, "learning rate", 60)  # to the right: a higher rate
    text = wait_for(page, r"lr (?!0\.0015,)\S+, r=8 .*New-task loss fell")
    assert text != before and page.locator(FIGURE).screenshot() != pixels, "the picture is another one"
    rate = float(re.search(r"lr (\S+),", text)[1])
    assert rate > 0.0015
    pixels = page.locator(FIGURE).screenshot()
    drag(page, "LoRA rank", -60)
    wait_for(page, rf"lr {rate:g}, r=[124] .*New-task loss fell")
    assert page.locator(FIGURE).screenshot() != pixels
    look(page, f"{where}-2-dragged")

    unfold(page, "Pin, compare and share")
    press(page, "Pin this run")
    expect(page.locator(".course-table", has_text="settings")).to_contain_text(f"learning_rate={rate:g}")

    unfold(page, "More settings")
    drag(page, "steps", 300)  # as many steps as there are: time enough to press Stop
    wait_for(page, r"160 steps.*(Training: step|From step 0 to step 16)")
    press(page, "Stop")
    wait_for(page, r"160 steps.*Stopped at step \d+ of 160")
    look(page, f"{where}-3-stopped")

    field = page.locator(".widget-text input").last
    field.fill(f"learning_rate={rate:g};rank=32;steps=10")
    field.press("Enter")
    wait_for(page, rf"lr {rate:g}, r=32 .*10 steps.*New-task loss fell")
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
    tab_to(page, "focus.textContent === 'Undo'", "Shift+Tab")
    page.keyboard.press("Enter")
    wait_for(page, rf"lr {rate:g}, r=32 .*\(remembered\)")
    page.locator(".course-words [role=status]", has_text="Remembered").wait_for()
