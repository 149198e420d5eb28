"""``make demo``: run lesson 03 without a browser, and print what it found.

python -m utils.course.demo
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from rich.console import Console
from rich.table import Table as RichTable

LESSON = Path(__file__).resolve().parents[2] / "lessons" / "03_gpt2_lora_demo.ipynb"
# Runs inside the lesson's own kernel, after its last cell: what is printed is what its cells computed.
HARVEST = """
import json as _json
from utils.figures import curve_table, finding, plot_run, result_answers
_found = {"title": finding(reckless), "config": str(reckless.config),
          "answers": result_answers(reckless).frame.to_dict("list"), "curve": curve_table(reckless).frame.to_dict("list")}
_FOUND.write_text(_json.dumps(_found))
plot_run(reckless).savefig(_FIGURE, dpi=150)
"""


def main() -> int:
    """Execute the lesson, print its answer table, its curve as numbers and the path of its figure."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)  # a file has no edge to wrap at
    folder = Path(tempfile.mkdtemp(prefix="capability-regression-"))
    figure, found = folder / "forgetting.png", folder / "found.json"
    console.print("Running lesson 03, as a browser would: about a minute ...")
    os.environ.setdefault("COURSE_REAL_SCALE", "0")  # the part at real scale takes minutes; the lesson has it
    notebook = nbformat.read(LESSON, as_version=4)
    names = f"from pathlib import Path\n_FOUND, _FIGURE = Path({str(found)!r}), Path({str(figure)!r})"
    notebook.cells.append(nbformat.v4.new_code_cell(names + HARVEST))
    try:
        NotebookClient(
            notebook,
            timeout=600,
            kernel_name="python3",
            resources={"metadata": {"path": str(LESSON.parent)}},
            extra_arguments=["--log-level=ERROR"],  # of the kernel: else it warns that it sends without encryption
        ).execute()
    except KeyboardInterrupt:
        print("Stopped before the lesson was through; nothing was written.", file=sys.stderr)
        return 130
    except CellExecutionError as error:
        print(f"Lesson 03 stopped: {error.ename}: {error.evalue}", file=sys.stderr)
        return 1
    run = json.loads(found.read_text())
    found.unlink()
    console.print(f"\n[bold]{run['title']}[/bold]  ({run['config']})\n")
    for name in ("answers", "curve"):
        table = RichTable(*run[name], title=name)
        for row in zip(*run[name].values(), strict=True):
            table.add_row(*(str(value) for value in row))
        console.print(table)
    console.print(f"Figure: {figure}", soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
