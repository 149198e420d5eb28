"""Build the course as a static site in _site/, to be read without running anything.

    make site

One page a lesson, and one each for README and TEACHING, from the notebooks as they are stored. It needs no network to
build and none to read: no font and nothing from another address. A page has no script, but for what is tried on it: the
playground stands in a frame where the lesson opens one, and lesson 2 has a slider for its sounds.

By nbconvert, with a template of our own in site_template/. Jupyter Book 2 (MyST 1.8) was tried: it stops when it cannot
fetch its theme from api.mystmd.org, and its pages need scripts. nbconvert builds offline and keeps what the lessons
hold: figures with their words, folded solutions, tables and sound.

A page is written only if every link inside the site leads somewhere. "Try it live" comes from the address that
`make links` keeps in lessons/links.json; as long as there is none, no page shows a dead link.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

import nbformat
from bs4 import BeautifulSoup
from nbconvert import HTMLExporter
from nbformat import NotebookNode

from utils.course.maintain import site_fader, site_playground, teaching
from utils.course.maintain.links import MARK, PLAYGROUND, binder, load_address
from utils.course.maintain.store_lessons import LESSONS, ROOT, WIDGET_TEXT, code_cells, lesson_paths, read

TARGET = ROOT / "_site"
STYLE = Path(__file__).parent / "site_template" / "style.css"
HOW_TO_RUN = 'open the course on your machine with <code>make lab</code> (see <a href="index.html">Start</a>)'


@dataclass(frozen=True)
class Page:
    """One page: the file of the course that it shows, the file that it is written to, and its title."""

    source: Path
    file: str
    title: str
    notebook: NotebookNode

    @property
    def path(self) -> str:
        """Of the source, inside the course."""
        return self.source.relative_to(ROOT).as_posix()


def pages() -> list[Page]:
    """The site's pages in reading order."""
    found = [_page(ROOT / "README.md", "index.html")]
    found += [_page(path, path.with_suffix(".html").name) for path in lesson_paths()]
    teaching = LESSONS / "TEACHING.md"
    return found + ([_page(teaching, "teaching.html")] if teaching.exists() else [])


def _page(source: Path, file: str) -> Page:
    if source.suffix == ".ipynb":
        notebook = read(source)
    else:
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(source.read_text(encoding="utf-8"))])
    first = notebook.cells[0]
    # Badges are pictures from other addresses; the site has links of its own in their place.
    first.source = re.sub(rf"\n[^\n]*{re.escape(MARK)}[^\n]*(?=\n|$)", "", first.source)
    return Page(source, file, first.source.splitlines()[0].removeprefix("# "), notebook)


def live_links(page: Page, repo: str, ref: str) -> str:
    """Where a reader can run this page; "" where the course has no public address."""
    if not repo or page.source.suffix != ".ipynb":
        return ""
    found = f'<a href="{binder(repo, ref, f"lab/tree/{page.path}")}">Try it live</a>'
    if page.path == PLAYGROUND:
        found += f' (or <a href="{binder(repo, ref, f"voila/render/{page.path}")}">the playground alone</a>)'
    return found


def playgrounds(page: Page) -> dict[str, str]:
    """Cell id -> the address of the playground that stands in its place on the page."""
    cells = [cell for cell in code_cells(page.notebook) if any(_is_widget(output) for output in cell.outputs)]
    return {cell.id: address for cell in cells if (address := site_playground.address(cell.source))}


def _is_widget(output: NotebookNode) -> bool:
    return output.get("data", {}).get("text/plain") == WIDGET_TEXT


def notes(page: Page, repo: str, ref: str) -> tuple[str, str]:
    """(under the title, in place of a control): what a reader of this page must know, as HTML; "" where nothing."""
    live = live_links(page, repo, ref)
    embedded = playgrounds(page)
    interactive = [
        o.data for c in code_cells(page.notebook) if c.id not in embedded for o in c.outputs if _is_widget(o)
    ]
    where = f"{live}, or {HOW_TO_RUN}." if live else f"To run it, {HOW_TO_RUN}."
    if interactive:
        answers = " Answers are folded away under their questions." if "text/markdown" in interactive[0] else ""
        but = "but the playground " if embedded else ""
        top = f"On this page everything {but}stands still: sliders, buttons and marks need the running lesson.{answers} {where}"
    elif embedded:
        top = (
            "The playground on this page works: it trains a model in your browser, and sends nothing anywhere. "
            f"The outputs of all other cells are stored ones. {where}"
        )
    else:
        top = live and f"This page shows a run that is stored. {live}."
    return top, f"Here, the running lesson has sliders and buttons. {where}"


def render(page: Page, every: list[Page], repo: str, ref: str) -> BeautifulSoup:
    """One page, its links leading to other pages of the site."""
    at = every.index(page)
    note, still = notes(page, repo, ref)
    course = {
        "name": every[0].title,
        "title": page.title if at == 0 else f"{page.title} | {every[0].title}",
        "summary": _summary(page),
        "file": page.file,
        "pages": every,
        "previous": every[at - 1] if at else None,
        "next": every[at + 1] if at + 1 < len(every) else None,
        "source": source_address(page.source, repo, ref),
        "setup": next((cell.id for cell in code_cells(page.notebook)), None),
        "widget_text": WIDGET_TEXT,
        "note": note,
        "still": still,
        "playgrounds": playgrounds(page),
        "wide": page.path == PLAYGROUND,
        "under": {site_fader.place(page.notebook): site_fader.section()}
        if page.source.name == site_fader.LESSON
        else {},
    }
    exporter = HTMLExporter(template_name="site_template", extra_template_basedirs=[str(Path(__file__).parent)])
    text, _ = exporter.from_notebook_node(page.notebook, resources={"course": course})
    soup = BeautifulSoup(text, "html.parser")
    name_headings(soup)
    lead_links(soup, page, {other.source: other.file for other in every}, repo, ref)
    make_scrollable(soup)
    return soup


def _summary(page: Page) -> str:
    """The first sentence under the title, for search engines."""
    body = page.notebook.cells[0].source.partition("\n")[2]
    plain = re.sub(r"[*_`]|\[([^\]]*)\]\([^)]*\)", r"\1", " ".join(body.split()))
    return re.split(r"(?<=[.:?]) ", plain)[0][:200]


def source_address(path: Path, repo: str, ref: str) -> str:
    """Where GitHub shows a file of the course; "" where the course has no public address."""
    kind = "tree" if path.is_dir() else "blob"
    return f"https://github.com/{repo}/{kind}/{quote(ref)}/{path.relative_to(ROOT).as_posix()}" if repo else ""


def name_headings(soup: BeautifulSoup) -> None:
    """Give each heading the id that GitHub gives it, once, so that one link works there and here."""
    taken: set[str] = set()
    for heading in soup.find("main").find_all(["h1", "h2", "h3", "h4"]):
        for mark in heading.find_all("a", class_="anchor-link"):
            mark.decompose()
        name = re.sub(r"[^\w\- ]", "", heading.get_text().strip().lower()).replace(" ", "-")
        while name in taken:
            name += "-1"
        taken.add(name)
        heading["id"] = name


def lead_links(soup: BeautifulSoup, page: Page, files: dict[Path, str], repo: str, ref: str) -> None:
    """Lead each link to the page that shows its file, else to the file where it is published; else it is plain text."""
    for link in soup.find("main").find_all("a", href=True):
        target, _, anchor = unquote(link["href"]).partition("#")
        if re.match(r"[a-z]+:", target) or not target or target in files.values():
            continue
        path = (page.source.parent / target).resolve()
        if path in files:
            link["href"] = files[path] + (f"#{anchor.lower()}" if anchor else "")
        elif path.exists() and path.is_relative_to(ROOT) and repo:
            link["href"] = source_address(path, repo, ref)
        elif path.exists():
            link.unwrap()
    for image in soup.find("main").find_all("img", src=True):
        if not image["src"].startswith("data:"):
            image["src"] = (page.source.parent / unquote(image["src"])).resolve().relative_to(LESSONS).as_posix()


def make_scrollable(soup: BeautifulSoup) -> None:
    """Let what is wide scroll inside itself, by keyboard too, and give sound and empty header cells a name."""
    for table in soup.find_all("table"):
        table.wrap(
            soup.new_tag("div", attrs={"class": "scroll", "tabindex": "0", "role": "group", "aria-label": "Table"})
        )
        for cell in table.find_all("th"):
            if not cell.get_text(strip=True):
                cell.name = "td"
    for image in soup.find("main").find_all("img"):
        if image.parent.name == "p" and len(image.parent.contents) == 1:
            image.parent.name = "figure"  # as Markdown has it: a paragraph with nothing but a picture
    for block in soup.find_all(["pre", "figure"]):
        block["tabindex"] = "0"
    for player in soup.find_all("audio"):
        player.attrs.setdefault("aria-label", "Listen")


def build(target: Path = TARGET) -> list[str]:
    """Write the site; what is wrong with its links, one sentence each, and then nothing is written."""
    repo, ref = load_address()
    every = pages()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "site"
        folder.mkdir()
        for page in every:
            (folder / page.file).write_text(str(render(page, every, repo, ref)), encoding="utf-8")
        shutil.copy(STYLE, folder / "style.css")
        shutil.copy(site_fader.SCRIPT, folder / "fader.js")
        shutil.copytree(LESSONS / "images", folder / "images")
        build_page(folder / "playground")
        (folder / ".nojekyll").touch()  # GitHub Pages: publish the files as they are
        found = problems(folder)
        if not found:
            shutil.rmtree(target, ignore_errors=True)
            shutil.move(folder, target)
    return found


def build_page(folder: Path) -> None:
    """The playground that trains in the reader's browser. It exports a model, so torch is imported only for that."""
    from utils.page.build import build as build_playground

    build_playground(folder, in_course=True)


def problems(folder: Path) -> list[str]:
    """What a reader would miss in a built site: a link that leads nowhere, a picture without words or not at hand."""
    soups = {
        path.name: BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser") for path in folder.glob("*.html")
    }
    ids = {name: {element["id"] for element in soup.find_all(id=True)} for name, soup in soups.items()}
    return [sentence for name, soup in sorted(soups.items()) for sentence in _problems(folder, name, soup, ids)]


def _problems(folder: Path, name: str, soup: BeautifulSoup, ids: dict[str, set[str]]) -> Iterator[str]:
    for element in soup.find_all(["a", "link", "img", "script", "source", "audio", "iframe"]):
        to = element.get("href") or element.get("src") or ""
        file, _, anchor = unquote(to).partition("#")
        if to.startswith(site_playground.PAGE):
            file, anchor = site_playground.PAGE, ""  # what stands behind it is for the playground to read
        if to.startswith("data:") or not to:
            continue
        if re.match(r"[a-z]+:|//", to):
            if element.name != "a":
                yield f"{name} loads {to}: the site must be whole without a network."
            elif not to.startswith(("https://", "mailto:")):
                yield f"{name} links to {to}: give an https address."
        elif file and not (folder / file).is_file():
            yield f"{name} links to {to}, which is not on the site."
        elif anchor and anchor not in ids.get(file or name, ()):
            yield f"{name} links to {to}, and that heading is not there."
    for image in soup.find_all("img"):
        if not (image.get("alt") or "").strip():
            yield f"{name} shows a picture without alternative text: store its lesson again."
    if WIDGET_TEXT in soup.get_text():
        yield f"{name} shows what stands in for a widget."


def main() -> int:
    """Bring the answers in TEACHING.md up to date, build the site and say where it is; 1 where that cannot be done."""
    teaching.write_answers()
    found = build()
    print(
        "\n".join(found)
        if found
        else f"{len(pages())} pages in {TARGET.relative_to(ROOT)}: open {TARGET / 'index.html'}"
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
