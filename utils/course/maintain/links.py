"""Write the course's public address wherever the course shows it, and check every link.

    make links REPO=owner/name REF=v1.0     badges and addresses for README and all lessons, at this tag, branch or commit
    make links                              the same for the address in lessons/links.json, the one place that holds it
    make links REPO=none                    take them all out again

Where nothing is published, `repo` in lessons/links.json is empty, README and lessons show no badge, and README's "Try it
now" leads to the playground's notebook instead of its page. To publish a version: `make links` with the tag as REF, commit,
set the tag on that commit, and push both. Then a badge opens, and the set-up cell fetches, the very files that the tag names.
Running it again changes nothing.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote

import nbformat
from markdown_it import MarkdownIt

from utils.course.maintain.store_lessons import ROOT, lesson_paths, read, replace

ADDRESS = ROOT / "lessons" / "links.json"
README = ROOT / "README.md"
FIRST, PLAYGROUND = "lessons/00_start_here.ipynb", "lessons/04_playground.ipynb"
MARK = "<!-- from `make links` -->"  # at the end of the line: a comment at its start would make the whole line HTML
SETUP_CELL = """\
# The same first cell in every lesson: find the course, or fetch it where the notebook came alone, as on Colab.
import os
import sys
from pathlib import Path

URL, REF = "{url}", "{ref}"  # where the course is published: `make links` writes it
places = [Path.cwd(), *Path.cwd().parents, *map(Path, sys.path)]
course = next((p for p in places if (p / "utils" / "course" / "lesson.py").exists()), None)
if not course:
    fetch = f"git init -q course && cd course && git fetch -q --depth 1 {{URL}} {{REF}} && git checkout -q FETCH_HEAD"
    assert URL and os.system(fetch) == 0, "The course is not here: download all of it, and open this lesson there."
sys.path[:0] = [str(course or Path("course").resolve())]
from utils.course.lesson import start

start()"""


def load_address() -> tuple[str, str]:
    """(repo, ref) from lessons/links.json; repo is "" where the course is not published."""
    stored = json.loads(ADDRESS.read_text(encoding="utf-8"))
    return stored["repo"], stored["ref"]


def check_address(repo: str, ref: str) -> None:
    """Raises ValueError unless both have the form that GitHub and git allow."""
    if repo and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+", repo):
        raise ValueError(f"REPO is {repo!r}: give it as owner/name, or as none to take the badges out.")
    if not re.fullmatch(r"(?!.*(\.\.|//|/$))[A-Za-z0-9_][A-Za-z0-9._/-]*", ref):
        raise ValueError(f"REF is {ref!r}: give a tag, a branch or a commit, such as v1.0.")


def setup_cell(repo: str, ref: str) -> str:
    """The first code cell of every lesson."""
    return SETUP_CELL.format(url=f"https://github.com/{repo}" if repo else "", ref=ref if repo else "")


def binder(repo: str, ref: str, page: str) -> str:
    """Where a click starts Binder; ``page`` is what it opens there, such as lab/tree/lessons/00_start_here.ipynb."""
    return f"https://mybinder.org/v2/gh/{repo}/{quote(ref, safe='')}?urlpath={quote(page, safe='/')}"


def colab(repo: str, ref: str, lesson: str) -> str:
    """Where a click opens a lesson in Colab."""
    return f"https://colab.research.google.com/github/{repo}/blob/{ref}/{lesson}"


def badges(repo: str, ref: str, lesson: str) -> str:
    """The badges of one lesson, as Markdown on one line."""
    live = f"[![Try it live on Binder](https://mybinder.org/badge_logo.svg)]({binder(repo, ref, f'lab/tree/{lesson}')})"
    picture = "https://colab.research.google.com/assets/colab-badge.svg"
    return f"{live} [![Open in Colab]({picture})]({colab(repo, ref, lesson)})"


def with_line(text: str, line: str) -> str:
    """Markdown that starts with a heading, with this line under it, in place of the one from the last time."""
    heading, _, rest = re.sub(rf"\n\n[^\n]*{re.escape(MARK)}(?=\n|$)", "", text).partition("\n")
    return f"{heading}\n\n{line} {MARK}\n{rest}" if line else f"{heading}\n{rest}" if rest else heading


def site(repo: str) -> str:
    """Where GitHub Pages publishes the site of a repository; it ends with a slash."""
    owner, name = repo.split("/")
    host = f"{owner.lower()}.github.io"
    return f"https://{host}/" if name.lower() == host else f"https://{host}/{name}/"


def readme_for(text: str, repo: str, ref: str) -> str:
    """README with its first line of links: the page that trains in the reader's browser comes first."""
    if not repo:
        return with_line(
            text, f"**[Try it now]({PLAYGROUND})** in a notebook; `make site` makes a page of it that needs none."
        )
    page = f"[The playground on Binder]({binder(repo, ref, f'voila/render/{PLAYGROUND}')})"
    return with_line(text, f"**[Try it now]({site(repo)}playground/)** {badges(repo, ref, FIRST)} {page}")


def lesson_for(path: Path, repo: str, ref: str) -> str:
    """The text of a lesson's file with its badges and its set-up cell; its outputs and all else stay.

    Raises ValueError where the lesson does not start with a title and, as its first code, the set-up cell.
    """
    notebook = read(path)
    title, first = notebook.cells[0], next(cell for cell in notebook.cells if cell.cell_type == "code")
    if title.cell_type != "markdown" or not title.source.startswith("# "):
        raise ValueError(f"{path.name} does not start with its title, as `# 3. The demo`: the badges stand under it.")
    if "from utils.course.lesson import start" not in first.source:
        raise ValueError(f"{path.name}: its first code cell is not the set-up cell; copy that from another lesson.")
    title.source = with_line(title.source, badges(repo, ref, f"lessons/{path.name}") if repo else "")
    first.source = setup_cell(repo, ref)
    return nbformat.writes(notebook) + "\n"


def wanted(repo: str, ref: str) -> dict[Path, str]:
    """What README and each lesson should hold, by path."""
    lessons = {path: lesson_for(path, repo, ref) for path in lesson_paths()}
    return {README: readme_for(README.read_text(encoding="utf-8"), repo, ref), **lessons}


def documents() -> Iterator[tuple[Path, str]]:
    """(path, Markdown) of all that people read: documents, and the text cells of each lesson."""
    for path in (README, *sorted((ROOT / "data").glob("*.md")), *sorted((ROOT / "lessons").glob("*.md"))):
        yield path, path.read_text(encoding="utf-8")
    for path in lesson_paths():
        yield path, "\n\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")


def targets(markdown: str) -> list[str]:
    """Where each link and picture in a text leads, those written in HTML included."""
    tokens = MarkdownIt().enable("table").parse(markdown)
    tokens += [child for token in tokens for child in token.children or []]
    found = [str(token.attrGet("href") or token.attrGet("src") or "") for token in tokens]
    html = "".join(token.content for token in tokens if token.type in ("html_block", "html_inline"))
    return [target for target in found if target] + re.findall(r"""(?:href|src)=["']([^"']+)""", html)


def anchors(markdown: str) -> set[str]:
    """The names of a text's headings in a link, as GitHub makes them and as Jupyter does."""
    tokens = MarkdownIt().enable("table").parse(markdown)
    headings = [tokens[at + 1].content for at, token in enumerate(tokens) if token.type == "heading_open"]
    github = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return github | {heading.replace(" ", "-") for heading in headings}


def broken_links() -> list[str]:
    """One sentence for each link that leads nowhere inside the course. Other sites are not asked."""
    texts, found = dict(documents()), []
    for path, text in texts.items():
        for target in targets(text):
            if re.match(r"https://|mailto:|data:|attachment:", target):
                continue
            file, _, anchor = unquote(target).partition("#")
            place = (path.parent / file).resolve() if file else path
            if re.match(r"[a-z]+:", target) or not place.exists():
                found.append(f"{path.relative_to(ROOT)} links to {target}, which is not there.")
            elif anchor and place in texts and anchor not in anchors(texts[place]):
                found.append(f"{path.relative_to(ROOT)} links to {target}, and that heading is not there.")
    return found


def missing_at(ref: str) -> str:
    """What speaks against a badge that opens ``ref``, as far as this clone knows; "" if nothing does."""

    def git(*arguments: str) -> bool:
        return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True).returncode == 0

    if not git("rev-parse", "--verify", f"{ref}^{{commit}}"):
        return f"{ref} is not in this clone yet: set that tag (or branch) on the commit that holds these files."
    missing = [path.name for path in lesson_paths() if not git("cat-file", "-e", f"{ref}:lessons/{path.name}")]
    return f"{ref} does not hold {', '.join(missing)}." if missing else ""


def problems() -> list[str]:
    """What is wrong with the links as they stand: badges and cells out of date, and links that lead nowhere."""
    stale = [path for path, text in wanted(*load_address()).items() if path.read_text(encoding="utf-8") != text]
    return [f"{path.relative_to(ROOT)} is not as `make links` writes it: run it." for path in stale] + broken_links()


def main() -> int:
    """Write the address everywhere (with --check: nowhere), and check; 1 where anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repo", help="owner/name on GitHub, or none")
    parser.add_argument("--ref", help="tag, branch or commit; main where none is named")
    parser.add_argument("--check", action="store_true", help="change nothing")
    asked, (repo, ref) = parser.parse_args(), load_address()
    if asked.repo is not None:
        repo, ref = asked.repo if asked.repo.lower() != "none" else "", "main"
    ref = asked.ref or ref
    try:
        check_address(repo, ref)
        if not asked.check:
            new = {**wanted(repo, ref), ADDRESS: json.dumps({"repo": repo, "ref": ref}, indent=2) + "\n"}
            changed = [path for path, text in new.items() if path.read_text(encoding="utf-8") != text]
            for path in changed:
                replace(path, new[path].encode())
            print(
                f"{len(changed)} of {len(new)} files changed; they show {f'{repo} at {ref}' if repo else 'no badge'}."
            )
        found = problems()
    except ValueError as error:
        print(error)
        return 1
    print("\n".join(found) if found else "Every link inside the course leads somewhere.")
    if repo and (note := missing_at(ref)):
        print(f"Note: {note}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
