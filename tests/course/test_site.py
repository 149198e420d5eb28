"""The site: whole without a network, and everything that the lessons hold is in it."""

import json

import nbformat
import pytest
from bs4 import BeautifulSoup

from utils.course.maintain import build_site, links, site_fader, site_playground
from utils.music.notes import align, is_right, parse

pytestmark = pytest.mark.training

ADDRESS = ("ada/what-it-forgot", "v1.0")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The pages by file name, built as `make site` does while the course has no public address."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build_site, "load_address", lambda: ("", "main"))
        folder = tmp_path_factory.mktemp("built") / "site"
        assert build_site.build(folder) == []
    return {path.name: BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser") for path in folder.glob("*.html")}


def test_there_is_a_page_for_each_lesson_and_one_leads_to_the_next(site):
    files = [page.file for page in build_site.pages()]
    assert files[0] == "index.html" and files[-1] == "teaching.html" and set(files) == set(site)
    assert [name for name in files if name[0].isdigit()] == [p.with_suffix(".html").name for p in links.lesson_paths()]
    for before, after in zip(files, files[1:], strict=False):
        assert site[before].find("a", rel="next")["href"] == after
        assert site[after].find("a", rel="prev")["href"] == before
    menus = {tuple(link["href"] for link in soup.select("header li a")) for soup in site.values()}
    assert menus == {tuple(files)}


def test_all_that_a_lesson_holds_is_on_its_page(site):
    for page in build_site.pages():
        soup = site[page.file]
        data = [o.data for cell in page.notebook.cells for o in cell.get("outputs", []) if "data" in o]
        pictures = soup.select('figure img[src^="data:image/png"]')
        assert len(pictures) == sum("image/png" in d for d in data)
        assert all(len(picture["alt"]) > 30 for picture in pictures)
        html = "".join(d.get("text/html", "") for d in data)
        assert len(soup.find_all("audio")) == html.count("<audio")
        assert all(s["src"].startswith("data:audio/wav;base64,") for s in soup.select("audio source"))
        texts = "".join(c.source for c in page.notebook.cells if c.cell_type == "markdown")
        folds = texts.count("<details>") + sum(d.get("text/markdown", "").count("<details>") for d in data)
        assert len(soup.select("section.text details, .shown details")) == folds
    assert len(site["02_musician_analogy.html"].find_all("audio")) > 5
    assert len(site["10_quiz.html"].select(".shown details")) > 20


def test_what_is_interactive_says_so_and_shows_no_stand_in(site):
    for name, soup in site.items():
        text = soup.get_text()
        assert not any(words in text for words in ("IntSlider", "VBox(", "<Figure", "interactive: run this cell"))
        assert ("stands still" in text) == name.startswith("10_"), name
        assert ("The playground on this page works" in text) == bool(soup.select(".playground")), name
    assert "make lab" in site["04_playground.html"].select_one(".still").get_text()


def test_a_lessons_own_playground_stands_on_its_page(site):
    frames = {name[:2]: soup.select(".playground iframe") for name, soup in site.items()}
    addresses = {lesson: [frame["src"] for frame in found] for lesson, found in frames.items() if found}
    assert addresses == {
        "04": ["playground/index.html"],
        "05": [
            "playground/index.html?preset=tiny+rank,+huge+scale&lock=learning_rate,method,steps"
            "&hide=preset,replay,examples,model&run=no"
        ],
        "07": [
            "playground/index.html?lock=rank,scaling,method,steps&hide=preset,replay,examples,model&run=no"
            "#learning_rate=0.0005"
        ],
    }
    assert all(frame["loading"] == "lazy" and len(frame["title"]) > 20 for found in frames.values() for frame in found)
    assert site["04_playground.html"].select_one(".playground.wide")


def test_the_riff_is_turned_down_on_the_page(site):
    """The slider has the notes of each strength, and at full strength they are those that the lesson itself has stored."""
    soup = site["02_musician_analogy.html"]
    section = soup.select_one(".fader")
    rows = {row.th.get_text(): row.find_all("td") for row in section.select("tbody tr")}
    assert list(rows) == ["0", *(f"0.{tenth}" for tenth in range(1, 10)), "1"]
    pieces = [head.get_text() for head in section.select("thead th, thead td")][1:]
    assert pieces == ["Ode to Joy", "The Midnight Riff"]
    scores = json.loads(site_fader.PLAYED.read_text(encoding="utf-8"))["scores"]
    for strength, cells in rows.items():
        for piece, cell in zip(pieces, cells, strict=True):
            played = parse(cell.code.get_text())
            right = {id(note) for pair in align(parse(scores[piece]), played) if is_right(pair) for note in pair}
            wanted = [[n.start, n.beats, n.pitch, id(n) in right] for n in played if n.pitch is not None]
            assert json.loads(cell["data-notes"]) == wanted, strength
    ode = {strength: cells[0].code.get_text() for strength, cells in rows.items()}
    assert ode["0"] == scores["Ode to Joy"] != ode["1"]
    before = "".join(str(element) for element in section.find_all_previous("section", class_="code"))
    assert ode["1"] in before and ode["0.6"] != ode["1"]


@pytest.mark.parametrize(
    ("source", "address"),
    [
        ("playground()", ""),
        ("playground(preset='reckless')", "?preset=reckless"),
        ("playground(preset='reckless', steps=8)", "#learning_rate=0.013;steps=8"),
        ("same = dict(lock=('rank',))\nplay = playground(**same, run=True)", "?lock=rank"),
        ("playground(hide=('seed', 'model'), run=False, seed=3)", "?hide=seed,model&run=no#seed=3"),
    ],
)
def test_a_call_becomes_an_address(source, address):
    assert site_playground.address(source) == site_playground.PAGE + address


def test_a_lesson_that_turns_nothing_down_is_told():
    cells = [nbformat.v4.new_code_cell("with fade(model, 0.6):\n    pass"), nbformat.v4.new_code_cell("listen(riff)")]
    assert site_fader.place(nbformat.v4.new_notebook(cells=cells)) == cells[1].id
    with pytest.raises(ValueError, match=r"has no cell with 'with fade\('"):
        site_fader.place(nbformat.v4.new_notebook(cells=cells[1:]))


def test_a_cell_without_a_playground_has_no_address_and_what_is_computed_is_told():
    assert site_playground.address("from utils.playground import playground\nprint(1)") == ""
    with pytest.raises(ValueError, match=r"rank=2 \* r in playground\(rank=2 \* r\) is computed"):
        site_playground.address("playground(rank=2 * r)")
    with pytest.raises(ValueError, match=r"\*\*same is no dict"):
        site_playground.address("playground(**same)")


def test_no_page_needs_anything_from_elsewhere(site):
    for name, soup in site.items():
        scripts = ["fader.js"] if name.startswith("02_") else []
        assert [script.get("src") for script in soup.find_all("script")] == scripts
        for frame in soup.find_all("iframe"):
            if frame.has_attr("src"):  # the playground, which has its own tests
                assert frame["src"].startswith("playground/index.html") and frame.parent["class"][0] == "playground"
                continue
            # the gate's report in lesson 9: a page inside the page, which can't run
            assert frame.has_attr("sandbox")
            assert not BeautifulSoup(frame["srcdoc"], "html.parser").find_all(["script", "iframe", "link"])
        for element in soup.find_all(["img", "link", "source"]):
            assert not element.get("src", element.get("href", "")).startswith(("http", "//"))


def test_without_an_address_there_is_no_dead_link(site):
    everything = "".join(str(soup) for soup in site.values())
    assert "mybinder" not in everything and "Try it live" not in everything


def test_with_an_address_each_lesson_can_be_tried_live(monkeypatch, tmp_path):
    monkeypatch.setattr(build_site, "load_address", lambda: ADDRESS)
    assert build_site.build(tmp_path / "site") == []
    for page in build_site.pages():
        text = (tmp_path / "site" / page.file).read_text(encoding="utf-8")
        soup = BeautifulSoup(text, "html.parser")
        live = [a["href"] for a in soup.find_all("a", string="Try it live")]
        wanted = links.binder(*ADDRESS, f"lab/tree/{page.path}")
        assert (wanted in live) == page.file[0].isdigit(), page.file
        assert soup.select_one(f'footer a[href="https://github.com/{ADDRESS[0]}/blob/v1.0/{page.path}"]')
    assert "voila/render" in (tmp_path / "site" / "04_playground.html").read_text(encoding="utf-8")


def test_badges_from_elsewhere_are_left_out(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(links.with_line("# A title\n\nText.\n", links.badges(*ADDRESS, "lessons/x.ipynb")))
    assert build_site._page(readme, "index.html").notebook.cells[0].source.split() == ["#", "A", "title", "Text."]


def test_broken_pages_are_found_and_nothing_is_written(monkeypatch, tmp_path):
    (tmp_path / "a.html").write_text(
        '<h2 id="here">x</h2><a href="#here">1</a><a href="#gone">2</a><a href="b.html">3</a><a href="http://x.y">4</a>'
        '<img src="https://x.y/z.png" alt="w"><img src="data:," alt=" ">(interactive: run this cell to see it)'
    )
    found = build_site.problems(tmp_path)
    assert len(found) == 6 and all(sentence.startswith("a.html ") for sentence in found)
    monkeypatch.setattr(build_site, "problems", lambda folder: found)
    assert build_site.build(tmp_path / "site") == found and not (tmp_path / "site").exists()
