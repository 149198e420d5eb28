"""The lessons as they are stored: executed in order, normalised, small, without traces of one machine.

That they still run is tested elsewhere: nbval executes each of their cells in the same pytest run.
"""

import copy
import statistics
import subprocess
import sys

import nbformat
import pytest

from utils.course.maintain import lesson_sizes, store_lessons

pytestmark = pytest.mark.training

PATHS = store_lessons.lesson_paths()
NONE = [pytest.param(None, marks=pytest.mark.skip(reason="there are no lessons in lessons/"))]


@pytest.mark.parametrize("path", PATHS or NONE, ids=lambda path: path.stem if path else "none")
def test_stored_lesson(path):
    """Nothing in it that `make lessons` refuses to store, nor anything that storing it again would change."""
    assert store_lessons.stored_problems(path) == []
    nbformat.validate(store_lessons.read(path))


def test_the_first_cell_is_the_same_everywhere_and_works_from_any_folder(tmp_path):
    notebooks = [store_lessons.read(path) for path in PATHS]
    first = {next(cell.source for cell in notebook.cells if cell.cell_type == "code") for notebook in notebooks}
    assert len(first) == 1, "the set-up cell differs between lessons"
    deep = store_lessons.LESSONS / "images"
    for folder in (store_lessons.ROOT, store_lessons.LESSONS, deep):
        done = subprocess.run([sys.executable, "-c", first.copy().pop()], cwd=folder, capture_output=True, text=True)
        assert done.stdout.startswith("Ready: Python"), (folder, done.stderr)


def test_code_cells_are_short():
    """STYLE: half of the cells have at most 4 lines of code, nine in ten at most 12."""
    lines = [n for path in PATHS for n in lesson_sizes.lines_of_code(store_lessons.read(path))]
    assert statistics.median(lines) <= 4 and lesson_sizes.ninth_tenth(lines) <= 12, sorted(lines)


def test_the_readme_shows_what_the_lesson_stored():
    lesson, _, picture = store_lessons.SHOWCASE
    assert store_lessons.showcase(store_lessons.read(store_lessons.LESSONS / lesson)) == picture.read_bytes()


PICTURE = {"image/png": {"alt": "words"}}  # the metadata of a picture that has them


def notebook_of(*cells):
    """A notebook with these cells, not executed."""
    return nbformat.v4.new_notebook(cells=list(cells), metadata={"widgets": {"state": 1}, "colab": {}})


def code(source, *outputs, **extra):
    """A code cell with these outputs, as executed first."""
    return nbformat.v4.new_code_cell(source, outputs=list(outputs), execution_count=1, **extra)


def test_a_lesson_that_is_not_in_stored_form_is_found(tmp_path, monkeypatch, capsys):
    path = tmp_path / "lesson.ipynb"
    nbformat.write(notebook_of(code("1")), path)  # with metadata of widgets
    monkeypatch.setattr(store_lessons, "lesson_paths", lambda: [path])
    monkeypatch.setattr(sys, "argv", ["store_lessons.py", "--check"])
    before = path.read_bytes()
    assert store_lessons.main() == 1 and "lesson.ipynb: its metadata or ids" in capsys.readouterr().out
    assert path.read_bytes() == before
    nbformat.write(store_lessons.normalise(store_lessons.read(path)), path)
    assert store_lessons.main() == 0


def test_normalise_drops_what_differs_by_run():
    view = nbformat.v4.new_output(
        "display_data", {store_lessons.WIDGET_VIEW: {"model_id": "5f"}, "text/plain": "IntSlider(value=0)"}
    )
    cell = code("slider", view, metadata={"tags": ["quiz"], "execution": {"iopub.execute_input": "2026"}})
    notebook = notebook_of(cell)
    del notebook.cells[0]["id"]
    first, again = (store_lessons.normalise(copy.deepcopy(notebook)) for _ in range(2))
    assert first == again and len(first.cells[0].id) == 8
    assert first.metadata == store_lessons.METADATA
    assert first.cells[0].metadata == {"tags": ["quiz"]}
    assert first.cells[0].outputs[0].data == {"text/plain": store_lessons.WIDGET_TEXT}
    assert store_lessons.normalise(copy.deepcopy(first)) == first
    nbformat.validate(first)


def test_a_picture_is_stored_once_with_its_words():
    """JupyterLab is shown it as HTML; what is stored is the PNG, which every reader of notebooks draws."""
    bundle = {"image/png": "AAAA", "text/html": "<img alt='words'>", "text/plain": "words"}
    told, mute = (nbformat.v4.new_output("display_data", dict(bundle), metadata=m) for m in (PICTURE, {}))
    stored = store_lessons.normalise(notebook_of(code("plot()", told), code("other()", mute)))
    assert set(stored.cells[0].outputs[0].data) == {"image/png", "text/plain"}
    assert set(stored.cells[1].outputs[0].data) == set(bundle)


def test_normalise_keeps_ids_and_numbers_cells():
    notebook = notebook_of(code("1", id="mine"), nbformat.v4.new_code_cell(""), code("2"))
    notebook.cells[2].update(id="mine", execution_count=7)
    store_lessons.normalise(notebook)
    assert notebook.cells[0].id == "mine" != notebook.cells[2].id
    assert [cell.execution_count for cell in notebook.cells] == [1, None, 2]


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (nbformat.v4.new_output("error", ename="ValueError", evalue="no", traceback=[]), "raised ValueError"),
        (nbformat.v4.new_output("stream", name="stderr", text="a warning"), "wrote to stderr: a warning"),
        (nbformat.v4.new_output("stream", name="stdout", text="at /home/ann/x.py"), "path of one machine"),
        (
            nbformat.v4.new_output("display_data", {"text/html": r"<b>C:\Users\ann</b>"}),
            "path of one machine",
        ),
        (
            nbformat.v4.new_output("display_data", {"image/png": "A" * 400_000}, metadata=PICTURE),
            "PNG of 300,000 bytes",
        ),
        (nbformat.v4.new_output("display_data", {"image/png": "AAAA"}), "without alternative text"),
    ],
)
def test_problems_are_found(output, words):
    found = store_lessons.problems(notebook_of(code("train()", output)), 1000)
    assert len(found) == 1 and words in found[0] and "train()" in found[0]


def test_problems_allow_what_is_meant():
    error = nbformat.v4.new_output("error", ename="ValueError", evalue="no", traceback=[])
    meant = code("f()", error, metadata={"tags": ["raises-exception"]})
    assert store_lessons.problems(notebook_of(meant), 1000) == []
    fine = nbformat.v4.new_output("stream", name="stdout", text="https://example.org/work/ and/or ../root/x")
    assert store_lessons.problems(notebook_of(code("f()", fine)), 1000) == []


def test_problems_of_order_and_size():
    unexecuted = nbformat.v4.new_code_cell("f()")
    assert "not run in order" in store_lessons.problems(notebook_of(unexecuted), 1000)[0]
    assert "2,000,000 bytes" in store_lessons.problems(notebook_of(), 2_000_000)[0]


@pytest.fixture
def lesson(tmp_path):
    """Writes a lesson with one cell and answers its path."""

    def write(source):
        path = tmp_path / "lesson.ipynb"
        nbformat.write(notebook_of(nbformat.v4.new_code_cell(source)), path)
        return path

    return write


def test_store_executes_and_replaces(lesson):
    path = lesson("import sys, os\nprint(os.path.samefile(sys.prefix, os.environ['WANTED']), os.listdir())")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANTED", store_lessons.sys.prefix)
        assert store_lessons.store(path) == []
    stored = store_lessons.read(path)
    assert stored.cells[0].outputs[0].text == "True ['lesson.ipynb']\n"
    assert store_lessons.problems(stored, 1) == []
    assert store_lessons.normalise(copy.deepcopy(stored)) == stored
    assert list(path.parent.iterdir()) == [path]


def test_store_refuses_stderr_and_errors(lesson):
    path = lesson("import sys; print('careful', file=sys.stderr); print('made' 'up')")
    before = path.read_bytes()
    assert "wrote to stderr: careful" in store_lessons.store(path)[0]
    assert path.read_bytes() == before
    assert "ZeroDivisionError" in store_lessons.store(lesson("1 / 0"))[0]
