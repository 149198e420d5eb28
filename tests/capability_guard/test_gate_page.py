"""The gate's page in headless Chromium: it asks for nothing, runs nothing, and is readable on a phone, in the dark, on paper."""

import pytest

from capability_guard.gate.reports import write_html
from capability_guard.gate.rule import judge
from capability_guard.measurement import Measurement, Row
from utils.course.maintain.jupyter_pages import CHROMIUM

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")]
EVIL = "<script>document.title = 'run'</script><img src='http://x.test/a.png' onerror=\"alert(1)\">"
# The lowest contrast of any text on the page with what is behind it (WCAG 2: at least 4.5), and where it is.
CONTRAST = """() => {
  const parse = c => c.match(/[\\d.]+/g).map(Number);
  const light = c => { const [r, g, b] = parse(c).map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
                       return .2126 * r + .7152 * g + .0722 * b; };
  const behind = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
                        if ((parse(c)[3] ?? 1) > 0) return c; } return "rgb(255, 255, 255)"; };
  let lowest = [99, ""];
  for (const e of document.querySelectorAll("body *")) {
    if (![...e.childNodes].some(n => n.nodeType == 3 && n.textContent.trim())) continue;
    const [a, b] = [light(getComputedStyle(e).color), light(behind(e))].sort((x, y) => y - x);
    const ratio = (a + .05) / (b + .05);
    if (ratio < lowest[0]) lowest = [ratio, e.outerHTML.slice(0, 80)];
  }
  return lowest;
}"""


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    """A decision with all three verdicts, losses of texts, long words and hostile answers."""

    def make(model, known):
        groups = {"arithmetic": (80, known), "capitals": (80, 80), "few": (9, 9), "x" * 60: (70, known)}
        rows = [Row(f"{name} {i}?" + EVIL, "yes", name, right=i < right, loss=0.1, said="yes" if i < right else EVIL + "y" * 200)
                for name, (count, right) in groups.items() for i in range(count)]  # fmt: skip
        return Measurement(model, rows + [Row("", f"text {i}", "prose", "loss", loss=2.0 + i / 9) for i in range(9)])

    return write_html(judge(make("old", 80), make("new", 20)), tmp_path_factory.mktemp("page") / "gate.html")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 360])
def test_the_page(new_page, page_file, scheme, width):
    page, asked, told = new_page(width, 800, scheme), [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: told.append(message.text))
    page.on("dialog", lambda dialog: told.append(dialog.message) or dialog.dismiss())
    page.goto(page_file.as_uri())
    assert asked == [page_file.as_uri()] and told == [] and "regressed" in page.title()
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "nothing sticks out to the side"
    assert page.get_by_text("document.title = 'run'").first.is_visible(), "what a model says is shown as it is"
    ratio, where = page.evaluate(CONTRAST)
    assert ratio >= 4.5, where
    bars = page.locator("figure svg")
    assert bars.count() == 11 and all(bar.bounding_box()["width"] > 100 for bar in bars.all())
    assert page.get_by_role("img", name="capitals: 0.0 points lost, between").count() == 1
    red, green, blue = map(int, page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g)"))
    assert (red + green + blue > 600) == (scheme == "light")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)", "paper is white"
