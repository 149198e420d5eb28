"""Print how large the lessons are: ``python -m utils.course.maintain.lesson_sizes``.

Half of the code cells should have at most 4 lines, nine in ten at most 12, and a lesson about 1,000 words."""

import statistics

from rich.console import Console
from rich.table import Table

from utils.course.maintain.store_lessons import code_cells, lesson_paths, read


def lines_of_code(notebook) -> list[int]:
    """Lines of each code cell, without blank ones and comments."""
    return [len([line for line in cell.source.splitlines() if line.strip() and not line.strip().startswith("#")])
            for cell in code_cells(notebook)]  # fmt: skip


def ninth_tenth(lines: list[int]) -> int:
    return sorted(lines)[int(0.9 * len(lines))]


def main() -> None:
    table, every = Table("lesson", "words", "code cells", "median lines", "nine in ten at most"), []
    for path in lesson_paths():
        notebook = read(path)
        words = sum(len(cell.source.split()) for cell in notebook.cells if cell.cell_type == "markdown")
        lines = lines_of_code(notebook)
        every += lines
        table.add_row(
            path.stem, f"{words:,}", str(len(lines)), f"{statistics.median(lines):g}", str(ninth_tenth(lines))
        )
    table.add_row("all", "", str(len(every)), f"{statistics.median(every):g}", str(ninth_tenth(every)), style="bold")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
