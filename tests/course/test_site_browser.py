"""Pages as people have them: on a phone, in the dark, by keyboard, and with axe-core looking for what shuts them out.

The site first, then the lessons in JupyterLab.
"""

import os
import re
import shutil
import time

import pytest
from playwright.sync_api import expect

from utils.course.maintain import build_site
from utils.course.maintain.jupyter_pages import CHROMIUM, free_port, look, served

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here"),
]
PHONE, DESK = (390, 844), (1280, 900)
PAGES = [page.file for page in build_site.pages()]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built") / "site"
    assert build_site.build(folder) == []
    return folder


@pytest.fixture
def opened(browser, site):
    """Opens a page of the site, with nothing else to be reached; fails if it asks for anything from elsewhere."""
    asked, contexts = [], []

    def open_page(name, size=DESK, scheme="light"):
        context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.goto((site / name).as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert all(re.match(r"file:|data:", url) for url in asked), asked


def serious(page, context=None, **options) -> list[str]:
    """What axe-core finds that is serious or critical, with the first element that it is about."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, context, {"resultTypes": ["violations"], **options}).response["violations"]
    bad = [violation for violation in found if violation["impact"] in ("serious", "critical")]
    return [f"{v['id']}: {v['help']}: {len(v['nodes'])} times, {v['nodes'][0]['html'][:200]}" for v in bad]


@pytest.mark.parametrize("name", PAGES)
def test_nothing_shuts_anybody_out(opened, name):
    """Light and dark, with all folds open: what is folded away must be readable, too. Headings go down step by step."""
    for scheme, size in (("light", DESK), ("dark", PHONE)):
        page = opened(name, size, scheme)
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert serious(page) == [], (name, scheme)
        levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map(h => +h.tagName[1])")
        assert levels[0] == 1 and levels.count(1) == 1
        assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False)), levels


def test_axe_would_find_what_is_wrong(opened):
    """The check can fail: a picture without words, and grey on grey."""
    page = opened("index.html")
    page.evaluate("document.querySelector('img').removeAttribute('alt')")
    page.evaluate("document.querySelector('main p').style.color = '#ddd'")
    found = " ".join(serious(page))
    assert "image-alt" in found and "color-contrast" in found


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_a_phone_and_what_is_wide_scrolls_inside_itself(opened, name):
    page = opened(name, PHONE)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    wide = page.evaluate(
        "[...document.querySelectorAll('pre, table, figure img')].filter(e => e.scrollWidth > innerWidth).map(e => {"
        "  for (let p = e; p.tagName != 'MAIN'; p = p.parentElement)"
        "    if (getComputedStyle(p).overflowX == 'auto') return p.clientWidth <= innerWidth && p.tabIndex == 0;"
        "  return false; })"
    )
    assert all(wide), f"{wide.count(False)} wide things do not scroll inside themselves"
    if name.startswith("03"):
        assert len(wide) > 5
    small = page.evaluate(
        "[...document.querySelectorAll('main p, main li')].filter(e => parseFloat(getComputedStyle(e).fontSize) < 15)"
    )
    assert small == []
    look(page, f"site-{name}-phone")


def test_figures_stay_readable_on_a_phone(opened):
    """A figure of 989 pixels whose letters are 17 high has them at 10 or more: it scrolls, and does not shrink to the page."""
    page = opened("00_start_here.html", PHONE)
    assert page.evaluate("document.querySelector('figure img').getBoundingClientRect().width") > 0.59 * 989


def test_by_keyboard(opened):
    page = opened("09_quiz.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the text"
    page.keyboard.press("Enter")
    assert page.url.endswith("#content")
    answer = page.locator(".shown details").first
    answer.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(answer).to_have_attribute("open", "")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid", "the focus is seen"
    page.locator("header summary").focus()
    page.keyboard.press("Enter")
    page.get_by_role("link", name=re.compile("^2. The musician")).click()
    expect(page).to_have_title(re.compile("musician"))
    page.get_by_role("link", name=re.compile("^Next")).click()
    expect(page).to_have_title(re.compile("LoRA demo"))


def test_sound_plays_from_the_page_alone(opened):
    page = opened("02_musician_analogy.html")
    page.wait_for_function(
        "[...document.querySelectorAll('audio')].every(a => a.readyState > 0 || a.load())", timeout=30_000
    )
    lengths = page.evaluate("[...document.querySelectorAll('audio')].map(a => a.duration)")
    assert len(lengths) > 5 and all(1 < seconds < 60 for seconds in lengths), lengths


def test_dark_and_light_differ_and_figures_do_not_glare(opened):
    light, dark = (opened("01_explanation.html", DESK, scheme) for scheme in ("light", "dark"))
    colour = "getComputedStyle(document.body).backgroundColor"
    assert light.evaluate(colour) != dark.evaluate(colour)
    assert "invert" in dark.evaluate("getComputedStyle(document.querySelector('figure img')).filter")
    for page, scheme in ((light, "light"), (dark, "dark")):
        look(page, f"site-{scheme}")


# What the course puts into a notebook. The rest, editors and buttons, is JupyterLab's own, with faults of its own.
OURS = {
    "include": [[".jp-MarkdownOutput"], [".jp-OutputArea-output"]],
    "exclude": [[".jp-collapseHeadingButton"]],
}


@pytest.fixture(scope="module")
def lab(browser, root, tmp_path_factory):
    """Opens a lesson, as stored, in JupyterLab: so tall that every cell is drawn."""
    folder, port = tmp_path_factory.mktemp("course"), free_port()
    for name in ("utils", "data"):
        os.symlink(root / name, folder / name)
    shutil.copytree(root / "lessons", folder / "lessons")
    command = ["jupyterlab", "--no-browser", "--allow-root", f"--port={port}", "--IdentityProvider.token=x"]
    command += [f"--ServerApp.root_dir={folder}", "--ServerApp.port_retries=0"]
    with served(command, port, tmp_path_factory.mktemp("settings"), "/api?token=x") as address:

        def open_lesson(name):
            page = browser.new_page(viewport={"width": 1250, "height": 9000})
            page.goto(f"{address}/lab/workspaces/{name[:2]}/tree/lessons/{name}?token=x")
            page.locator(".jp-Notebook").wait_for(timeout=60_000)
            page.locator(".jp-MarkdownOutput h1").wait_for(timeout=60_000)
            time.sleep(3)
            return page

        yield open_lesson


@pytest.mark.parametrize("path", build_site.lesson_paths(), ids=lambda path: path.stem)
def test_a_stored_lesson_in_jupyterlab(lab, path):
    """Before it is run, JupyterLab shows pictures without their words (utils/figure_words.py); nothing else is amiss."""
    page = lab(path.name)
    found = serious(page, OURS)
    assert [sentence for sentence in found if not sentence.startswith("image-alt")] == []
    page.close()


def test_a_lesson_that_was_run_in_jupyterlab(lab):
    page = lab("00_start_here.ipynb")
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).first.click()
    figures = page.locator(".jp-OutputArea-output img")
    expect(page.locator(".jp-OutputArea-output img[alt*='retention']")).to_have_count(2, timeout=300_000)
    assert serious(page, OURS) == []
    assert all(len(figure.get_attribute("alt")) > 100 for figure in figures.all())
    look(page, "lab-lesson-0")
    page.close()
