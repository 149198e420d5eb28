"""The page of several candidates in headless Chromium: labels stand apart, the colours can be told, and nothing is asked or run."""

import itertools

import numpy as np
import pytest
from test_gate_page import CONTRAST

from capability_guard.gate.several import judge_all
from capability_guard.gate.several_reports import html, write_html
from capability_guard.measurement import Measurement, MeasurementError, Row
from utils.course.maintain.jupyter_pages import CHROMIUM

EVIL = "<script>document.title = 'run'</script><img src='http://x.test/a.png' onerror=\"alert(1)\">"
# What red, green and blue a person sees who lacks one kind of cone (Machado et al. 2009, doi 10.1109/TVCG.2009.113).
SEEN = {
    "everything": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "no blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    """Seven in the plane, two of them close to each other, and two that cannot be compared; hostile names and answers."""

    def measured(wrong, loss):
        rows = [
            Row(f"{i}?", "yes", "sums", right=i >= wrong, loss=0.1, said="yes" if i >= wrong else EVIL)
            for i in range(300)
        ]
        return Measurement("tuned", rows, task={"loss": loss, "texts": 24, "fingerprint": "x"})

    given = {"timid": (0, 2.6), "careful": (2, 1.2), "bold": (10, 1.0), "steady": (3, 1.15), "hasty": (50, 0.6),
             "rash": (70, 0.5), "mild": (1, 2.0)}  # fmt: skip
    candidates = {name: measured(*what) for name, what in given.items()}
    candidates |= {EVIL: MeasurementError(EVIL), "other": Measurement("m", [Row("q", "a", "sums", right=True)])}
    choice = judge_all(measured(0, 3.0), candidates)
    return write_html(choice, tmp_path_factory.mktemp("page") / "several.html")


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 900, 390])
def test_the_page(browser, page_file, scheme, width):
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page, asked, told = context.new_page(), [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: told.append(message.text))
    page.on("dialog", lambda dialog: told.append(dialog.message) or dialog.dismiss())
    page.goto(page_file.as_uri())
    assert asked == [page_file.as_uri()] and told == [] and "passed" in page.title()
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "nothing sticks out to the side"
    seen = [plane for plane in page.locator("svg.plane").all() if plane.is_visible()]
    assert len(seen) == 1 and seen[0].get_attribute("class") == ("plane narrow" if width == 390 else "plane wide")
    assert seen[0].bounding_box()["width"] > 0.75 * min(width, 992)
    labels = [label.bounding_box() for label in seen[0].locator("text.name").all()]
    assert len(labels) == 7
    for one, other in itertools.combinations(labels, 2):
        assert (
            one["x"] + one["width"] <= other["x"] + 1 or other["x"] + other["width"] <= one["x"] + 1
            or one["y"] + one["height"] <= other["y"] + 3 or other["y"] + other["height"] <= one["y"] + 3
        ), (one, other)  # fmt: skip
    smallest = min(page.locator("svg.plane text").evaluate_all("all => all.map(e => e.getBoundingClientRect().height)"))
    assert smallest == 0 or smallest >= 11, "can be read"
    for details in page.locator("details").all():
        details.locator("summary").click()
    assert page.locator("details[open]").count() == 7 and page.get_by_text("document.title = 'run'").first.is_visible()
    ratio, where = page.evaluate(CONTRAST)
    assert ratio >= 4.5, where
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)", "paper is white"
    assert page.locator("svg.plane.wide").is_visible() and not page.locator("svg.plane.narrow").is_visible()
    context.close()


def light(colour: str) -> np.ndarray:
    """Linear red, green and blue."""
    value = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ rgb.clip(0, 1)
    x, y, z = np.cbrt(xyz / np.array([0.9505, 1.0, 1.089]))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("matrix", SEEN.values(), ids=SEEN)
def test_the_marks_can_be_told_by_everybody(matrix, page_file):
    """By colour (in CIELAB, where a difference of 2 can just be seen), and without any: each verdict has a shape of its own."""
    page = page_file.read_text(encoding="utf-8")
    for scheme in page.split("--mark-passed: ")[1:3]:
        marks = [scheme[:7], *(scheme.split(f"--mark-{word}: ")[1][:7] for word in ("regressed", "unsure"))]
        seen = [lab(np.array(matrix) @ light(colour)) for colour in marks]
        assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 25, marks
    key = page[page.index('class="key"') :].split("</ul>")[0]
    assert [shape in key for shape in ("<circle", "l10 10m0-10", "l7 7l-7 7")] == [True] * 3


def test_a_name_cannot_end_the_page():
    row = [Row(f"{i}?", "yes", "sums", right=True) for i in range(99)]
    page = html(
        judge_all(
            Measurement("base", row), {'"><svg onload=alert(1)>': Measurement("a", row), "b": Measurement("b", row)}
        )
    )
    assert "<svg onload" not in page
