"""Execute the lessons and store them with their outputs, in one form that git can compare.

    make lessons                                          every lesson
    make lessons ARGS="lessons/02_measure.ipynb ..."      those named
    make lessons ARGS=--check                             execute nothing: are they as this script stores them?

A lesson is stored only if every cell ran without an error (or is tagged raises-exception) and wrote nothing
to stderr, so that no warning gets committed. tests/test_lessons.py holds stored lessons to the same rules.
"""

from __future__ import annotations

import argparse
import base64
import copy
import hashlib
import io
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from PIL import Image

ROOT = Path(__file__).resolve().parents[3]
LESSONS = ROOT / "lessons"
CELL_SECONDS = 600
PNG_BYTES = 150_000
NOTEBOOK_BYTES = 1_500_000
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
# The README shows a figure that a lesson produced: (lesson, id of the cell) and the file that it is copied to.
SHOWCASE = ("06_after_the_training.ipynb", "the-fader", LESSONS / "images" / "forgetting.png")
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
WIDGET_TEXT = "(interactive: run this cell to see it)"
MACHINE_PATH = re.compile(r"(?<![\w.:/-])/(?:home|root|work|Users)/|\b[A-Za-z]:\\+Users\\", re.IGNORECASE)


def lesson_paths() -> list[Path]:
    """The course's lessons in their order."""
    return sorted(LESSONS.glob("*.ipynb"))


def read(path: Path) -> NotebookNode:
    """A notebook as it is on disk: not validated, which would invent cell ids at random."""
    notebook = nbformat.reads(path.read_text(encoding="utf-8"), as_version=nbformat.NO_CONVERT)
    return notebook if notebook.nbformat == 4 else nbformat.convert(notebook, 4)


def normalise(notebook: NotebookNode) -> NotebookNode:
    """Bring a notebook, in place, to the stored form: nothing in it that differs by run or by machine."""
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    notebook.metadata = nbformat.from_dict(METADATA)
    taken: set[str] = set()
    for position, cell in enumerate(notebook.cells):
        if not cell.get("id") or cell.id in taken:
            digest = hashlib.sha256(f"{position}\n{cell.source}".encode()).hexdigest()
            cell.id = next(digest[at : at + 8] for at in range(48) if digest[at : at + 8] not in taken)
        taken.add(cell.id)
        for key in ("execution", "ExecuteTime", "collapsed", "scrolled", "outputId", "colab", "id"):
            cell.metadata.pop(key, None)
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if data.pop(WIDGET_VIEW, None) is not None:
                # A stored view is dead without its widget's state, which is large and differs at each run.
                data["text/plain"] = WIDGET_TEXT
            if alternative_text(output):
                data.pop("text/html", None)  # the same picture a second time, for JupyterLab (utils/figure_words.py)
    for cell_number, cell in enumerate(code_cells(notebook), start=1):
        if cell.execution_count is not None:
            cell.execution_count = cell_number
            for output in cell.outputs:
                if "execution_count" in output:
                    output.execution_count = cell_number
    return notebook


def alternative_text(output: NotebookNode) -> str:
    """The words of a picture, for those who do not see it; "" where it has none, or where there is no picture."""
    if "image/png" not in output.get("data", {}):
        return ""
    return output.get("metadata", {}).get("image/png", {}).get("alt", "")


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """The code cells that hold any code: Jupyter does not execute, and so does not count, the others."""
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def output_texts(output: NotebookNode) -> Iterator[str]:
    """Every text that an output shows; pictures are left out."""
    yield output.get("text", "")
    yield "\n".join(output.get("traceback", []))
    for kind, value in output.get("data", {}).items():
        if not kind.startswith("image/") or kind == "image/svg+xml":
            yield value if isinstance(value, str) else repr(value)


def problems(notebook: NotebookNode, size: int) -> list[str]:
    """What speaks against storing (or keeping) this notebook, one sentence each."""
    found = []
    if size > NOTEBOOK_BYTES:
        found.append(f"the notebook has {size:,} bytes, more than {NOTEBOOK_BYTES:,}")
    for number, cell in enumerate(code_cells(notebook), start=1):
        first_line = cell.source.strip().splitlines()[0]
        where = f"code cell {number} ({first_line[:60]})"
        if cell.execution_count != number:
            found.append(f"{where} has execution count {cell.execution_count}: not run in order from 1")
        for output in cell.outputs:
            if output.output_type == "error" and "raises-exception" not in cell.metadata.get("tags", []):
                found.append(f"{where} raised {output.ename}: {output.evalue}")
            if output.get("name") == "stderr":
                found.append(f"{where} wrote to stderr: {output.text.strip()[:1000]}")
            png = base64.b64decode(output.get("data", {}).get("image/png", ""))
            if len(png) >= PNG_BYTES:
                found.append(f"{where} shows a PNG of {len(png):,} bytes, {PNG_BYTES:,} or more")
            if png and not alternative_text(output):
                found.append(f"{where} shows a picture without alternative text: set the figure's `alt`")
            for text in output_texts(output):
                if match := MACHINE_PATH.search(text):
                    shown = text[max(0, match.start() - 20) : match.end() + 40]
                    found.append(f"{where} shows a path of one machine: ...{shown!r}...")
    return found


def execute(notebook: NotebookNode, folder: Path) -> None:
    """Run a notebook from a clean state in `folder`, with the Python that runs this script."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    notebook.metadata = nbformat.from_dict(METADATA)
    NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        startup_timeout=120,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
        extra_arguments=["--log-level=ERROR"],  # of the kernel: else it warns that it sends without encryption
        store_widget_state=False,
    ).execute()


def showcase(notebook: NotebookNode) -> bytes:
    """The picture for the README, as the lesson stored it."""
    cell = next(cell for cell in notebook.cells if cell.id == SHOWCASE[1])
    picture = next(o.data["image/png"] for o in cell.outputs if "image/png" in o.get("data", {}))
    return base64.b64decode(picture)


def replace(path: Path, content: bytes) -> None:
    """Write a file under a temporary name and move it, so that what is on disk is always a whole one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)


def lighten(notebook: NotebookNode) -> None:
    """Give every figure a palette of 256 colours, in place: a plot looks the same with them, in a third of the bytes."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if png := output.get("data", {}).get("image/png"):
                whole, light = base64.b64decode(png), io.BytesIO()
                image = Image.open(io.BytesIO(whole)).convert("RGB")
                image.quantize(256, dither=Image.Dither.NONE).save(light, "PNG", optimize=True)
                if light.tell() < len(whole):
                    output["data"]["image/png"] = base64.b64encode(light.getvalue()).decode()


def store(path: Path) -> list[str]:
    """Execute one lesson and store it; where something speaks against storing it, say so instead."""
    notebook = normalise(read(path))
    try:
        execute(notebook, path.parent)
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        return [str(error)]
    lighten(notebook)
    text = nbformat.writes(normalise(notebook)) + "\n"
    found = problems(notebook, len(text.encode()))
    if not found:
        replace(path, text.encode())
        if path == LESSONS / SHOWCASE[0]:
            replace(SHOWCASE[2], showcase(notebook))
    return found


def stored_problems(path: Path) -> list[str]:
    """What is wrong with a lesson as it is on disk: what forbids storing it, and what storing it again would change."""
    notebook = read(path)
    found = problems(notebook, path.stat().st_size)
    if normalise(copy.deepcopy(notebook)) != notebook:
        found.append("its metadata or ids are not in the stored form: run `make lessons` for it")
    return found


def main() -> int:
    """Store the lessons named on the command line, or all; 1 if any of them could not be stored."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lessons", nargs="*", type=Path, help="notebooks; every lesson where none is named")
    parser.add_argument("--check", action="store_true", help="execute and change nothing")
    asked = parser.parse_args()
    paths = [path.resolve() for path in asked.lessons] or lesson_paths()
    if not paths:
        print("no lessons to store")
    if asked.check:
        found = [f"{path.name}: {problem}" for path in paths for problem in stored_problems(path)]
        print("\n".join(found) if found else f"{len(paths)} lessons are stored as they should be.")
        return 1 if found else 0
    failed = 0
    for path in paths:
        started = time.monotonic()
        print(f"{path.name:<36}", end=" ", flush=True)
        found = store(path)
        seconds, kilobytes = time.monotonic() - started, path.stat().st_size / 1000
        print(f"{seconds:6.1f} s  {kilobytes:7.1f} kB  {'NOT STORED' if found else 'stored'}", flush=True)
        for problem in found:
            print("    " + problem.replace("\n", "\n    "), flush=True)
        failed += bool(found)
    if failed:
        print(f"{failed} of {len(paths)} not stored: what is on disk is unchanged")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
