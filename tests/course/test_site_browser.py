"""The site as people have it: on a phone, in the dark, by keyboard, and with axe-core looking for what shuts them out."""

import re

import pytest
from axe import serious
from playwright.sync_api import expect

from utils.course.maintain import build_site
from utils.course.maintain.jupyter_pages import CHROMIUM, look

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
def opened(new_page, site):
    """Opens a page of the site, with nothing else to be reached; fails if it asks for anything from elsewhere."""
    asked = []

    def open_page(name, size=DESK, scheme="light"):
        page = new_page(*size, scheme)
        page.on("request", lambda request: asked.append(request.url))
        page.goto((site / name).as_uri())
        return page

    yield open_page
    assert all(re.match(r"file:|data:|blob:", url) for url in asked), asked


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


def test_a_lessons_playground_works_on_its_page(opened):
    """From a folder, too: there the frame shows the playground in one file."""
    page = opened("05_fixes.html")
    page.locator(".playground").scroll_into_view_if_needed()
    inside = page.frame_locator(".playground iframe")
    expect(inside.locator("#headline")).to_contain_text("press Run")
    frame = next(frame for frame in page.frames if "playground" in frame.url)
    frame.evaluate("playground.ready")
    expect(inside.get_by_label("learning rate", exact=True)).to_be_disabled()
    expect(inside.get_by_label("LoRA rank", exact=True)).to_have_value("0")
    expect(inside.locator("#claim")).to_contain_text("Rank 1 is the smallest adapter")
    expect(inside.get_by_role("link", name="The course")).to_be_hidden()
    after = frame.evaluate("playground.run({learning_rate: 0.005, rank: 1, steps: 40, evaluate_every: 40})")["after"]
    assert after.count(False) > 0, "it trains, and it forgets"
    assert page.evaluate("document.documentElement.scrollWidth") <= DESK[0]
    look(page, "site-playground")


def test_by_keyboard(opened):
    page = opened("10_quiz.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the text"
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("#content$"))
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
    page.wait_for_function("[...document.querySelectorAll('audio')].every(a => a.readyState > 0 || a.load())")
    lengths = page.evaluate("[...document.querySelectorAll('audio')].map(a => a.duration)")
    assert len(lengths) > 5 and all(1 < seconds < 60 for seconds in lengths), lengths


def test_the_riff_is_faded_by_a_slider(opened):
    page = opened("02_musician_analogy.html", PHONE)
    section = page.locator(".fader")
    section.scroll_into_view_if_needed()
    count = "[...document.querySelectorAll('.roll')].map(r => ['rect', 'path'].map(n => r.querySelectorAll(n).length))"
    (right, wrong), (riff, _) = page.evaluate(count)
    assert right < 15 / 2 and wrong > 0 and riff > 5, "at full strength it plays the riff, and not the Ode"
    slider = section.get_by_label("adapter strength")
    slider.focus()
    page.keyboard.press("Home")
    expect(section.locator(".words").first).to_have_text("15 of 15 notes right.")
    assert page.evaluate(count)[0] == [15, 0]
    expect(section.locator("output")).to_have_text("0.0")
    expect(section.locator(".said")).to_have_text("")  # the Ode was played, since the slider was let go
    section.get_by_role("button", name="Play The Midnight Riff").click()
    expect(section.locator(".said")).to_have_text("Not a single note is played.")
    look(page, "site-fader")


def test_dark_and_light_differ_and_figures_do_not_glare(opened):
    light, dark = (opened("01_explanation.html", DESK, scheme) for scheme in ("light", "dark"))
    colour = "getComputedStyle(document.body).backgroundColor"
    assert light.evaluate(colour) != dark.evaluate(colour)
    assert "invert" in dark.evaluate("getComputedStyle(document.querySelector('figure img')).filter")
    for page, scheme in ((light, "light"), (dark, "dark")):
        look(page, f"site-{scheme}")
