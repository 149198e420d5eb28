"""The course's public address: written from one place, the same everywhere, and nowhere until there is one."""

import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from utils.course.maintain import links

ADDRESS = ("ada/what-it-forgot", "v1.0")


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A copy of all that `make links` touches, with no address in it; and `make links` as a function on it."""
    (tmp_path / "lessons").mkdir()
    (tmp_path / "data").mkdir()
    for path in (links.README, links.ADDRESS, links.ROOT / "data" / "README.md", *links.lesson_paths()):
        (tmp_path / path.relative_to(links.ROOT)).write_bytes(path.read_bytes())
    linked = [(page.parent / name).resolve() for page, text in links.documents() for name in links.targets(text)]
    for path in filter(Path.is_file, linked):  # such as pictures: they need only be there
        target = tmp_path / path.relative_to(links.ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    monkeypatch.setattr(links, "ROOT", tmp_path)
    monkeypatch.setattr(links, "README", tmp_path / "README.md")
    monkeypatch.setattr(links, "ADDRESS", tmp_path / "lessons" / "links.json")
    monkeypatch.setattr(links, "lesson_paths", lambda: sorted((tmp_path / "lessons").glob("*.ipynb")))

    def make_links(*arguments):
        monkeypatch.setattr(sys, "argv", ["links.py", *arguments])
        return links.main()

    make_links("--repo", "none")
    return make_links


def contents(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in files}


def test_every_link_of_the_course_holds():
    assert links.problems() == []


def test_no_badge_without_an_address(course, tmp_path):
    everything = "".join(contents(tmp_path).values())
    assert not re.search(r"mybinder\.org|colab\.research|badge_logo|colab-badge|github\.com/ada", everything)


def test_an_address_is_written_once_and_taken_out_again(course, tmp_path, capsys):
    before = contents(tmp_path)
    assert course("--repo", ADDRESS[0], "--ref", ADDRESS[1]) == 0
    after = contents(tmp_path)
    assert json.loads(after["lessons/links.json"]) == {"repo": ADDRESS[0], "ref": ADDRESS[1]}
    assert all(after[name] != before[name] for name in before if name.endswith(".ipynb"))
    assert course("--repo", ADDRESS[0], "--ref", ADDRESS[1]) == 0 and course() == 0
    assert (
        contents(tmp_path) == after and f"0 of {len(links.lesson_paths()) + 2} files changed" in capsys.readouterr().out
    )
    assert course("--repo", "grace/forgetting") == 0
    moved = contents(tmp_path)
    assert ADDRESS[0] not in moved["README.md"] and "grace/forgetting/main" in moved["README.md"]
    assert course("--repo", "none") == 0 and contents(tmp_path) == before


def test_only_the_title_and_the_setup_cell_change(course, tmp_path):
    before = {path.name: links.read(path) for path in links.lesson_paths()}
    course("--repo", ADDRESS[0])
    for path in links.lesson_paths():
        old, new = before[path.name].cells, links.read(path).cells
        first_code = next(at for at, cell in enumerate(old) if cell.cell_type == "code")
        assert [at for at in range(len(old)) if old[at] != new[at]] == [0, first_code]
        assert new[first_code].outputs == old[first_code].outputs
        nbformat.validate(links.read(path))


def test_badges_lead_to_the_lesson_that_they_stand_in(course):
    course("--repo", ADDRESS[0], "--ref", "feature/x")
    for path in links.lesson_paths():
        badge = links.read(path).cells[0].source.splitlines()[2]
        found = links.targets(badge)
        assert f"https://mybinder.org/v2/gh/{ADDRESS[0]}/feature%2Fx?urlpath=lab/tree/lessons/{path.name}" in found
        assert f"https://colab.research.google.com/github/{ADDRESS[0]}/blob/feature/x/lessons/{path.name}" in found
        assert all(target.startswith("https://") for target in found) and len(found) == 4
    page = links.README.read_text(encoding="utf-8").splitlines()[2]
    assert "urlpath=voila/render/lessons/04_playground.ipynb)" in page


def test_the_first_link_of_readme_is_try_it_now(course):
    """It leads to the published page, and to the notebook as long as none is published."""

    def first():
        return re.search(r"\[([^]]+)\]\(([^)]+)\)", links.README.read_text(encoding="utf-8")).groups()

    assert first() == ("Try it now", "lessons/04_playground.ipynb")
    course("--repo", "Ada/What-it-forgot")
    assert first() == ("Try it now", "https://ada.github.io/What-it-forgot/playground/")
    course("--repo", "ada/ada.github.io")
    assert first() == ("Try it now", "https://ada.github.io/playground/")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--repo", "https://github.com/ada/course"], "give it as owner/name"),
        (["--repo", "ada"], "give it as owner/name"),
        (["--repo", "ada/x; rm -r y"], "give it as owner/name"),
        (["--repo", "ada/x", "--ref", "--force"], None),
        (["--repo", "ada/x", "--ref", "a..b"], "REF is 'a..b'"),
        (["--repo", "ada/x", "--ref", "v1 && ls"], "REF is 'v1 && ls'"),
    ],
)
def test_a_bad_address_changes_nothing(course, tmp_path, capsys, arguments, words):
    before = contents(tmp_path)
    if words is None:  # argparse's own sentence
        with pytest.raises(SystemExit):
            course(*arguments)
    else:
        assert course(*arguments) == 1 and words in capsys.readouterr().out
    assert contents(tmp_path) == before


def test_broken_links_are_found(course, tmp_path, capsys):
    readme = links.README.read_text(encoding="utf-8")
    lost = '\n[a](lessons/99_no.ipynb) <img src="lessons/images/no.png"> [b](#no-heading) [c](http://example.org/)\n'
    links.README.write_text(readme + lost + "[fine](#start) [fine](lessons/00_start_here.ipynb)\n", encoding="utf-8")
    found = links.broken_links()
    assert len(found) == 4 and all(sentence.startswith("README.md links to ") for sentence in found)
    assert course("--check") == 1 and "99_no.ipynb, which is not there" in capsys.readouterr().out


def test_a_lesson_out_of_date_is_found(course, capsys):
    path = links.lesson_paths()[0]
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("URL, REF", "REF, URL"), encoding="utf-8")
    assert course("--check") == 1 and f"{path.name} is not as `make links` writes it" in capsys.readouterr().out
    assert course() == 0 and path.read_text(encoding="utf-8") == text


def test_a_lesson_without_the_cell_is_told(course, capsys):
    path = links.lesson_paths()[0]
    notebook = links.read(path)
    next(cell for cell in notebook.cells if cell.cell_type == "code").source = "print()"
    nbformat.write(notebook, path)
    assert course() == 1 and f"{path.name}: its first code cell is not the set-up cell" in capsys.readouterr().out


def test_what_the_version_holds_is_looked_up(course, tmp_path, monkeypatch, capsys):
    def git(*arguments):
        done = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-C", str(tmp_path), *arguments]
        subprocess.run(done, check=True, capture_output=True)

    git("init", "-q", "-b", "main")
    git("add", "README.md", *(f"lessons/{path.name}" for path in links.lesson_paths()[1:]))
    git("commit", "-q", "-m", "all lessons but one")
    assert course("--repo", "ada/x") == 0
    assert f"main does not hold {links.lesson_paths()[0].name}." in capsys.readouterr().out
    assert course("--repo", "ada/x", "--ref", "v2") == 0
    assert "v2 is not in this clone yet" in capsys.readouterr().out


def test_alone_and_without_an_address_one_sentence(tmp_path):
    cell = links.setup_cell("", "main")
    alone = [sys.executable, "-I", "-S", "-c", cell]  # without site: this environment knows where the course is
    done = subprocess.run(alone, cwd=tmp_path, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1].startswith("AssertionError: The course is not here: download all of it")
    assert list(tmp_path.iterdir()) == []
