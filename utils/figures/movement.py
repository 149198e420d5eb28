"""How far each weight matrix moved, as a picture."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from utils.figures.plots import INK, QUIET


def plot_movement(runs: dict[str, dict[str, float]], blocks: str = ".h.") -> Figure:
    """One grid a run, the same colours for all: a row for each block of the network, a column for each matrix in it."""
    names = [name for name in next(iter(runs.values())) if blocks in name]
    rows = sorted({int(name.split(blocks)[1].split(".")[0]) for name in names})
    columns = list(dict.fromkeys(name.split(blocks)[1].split(".", 1)[1].removesuffix(".weight") for name in names))
    grids = {run: np.array([[100 * moved[_full(names, blocks, row, column)] for column in columns] for row in rows])
             for run, moved in runs.items()}  # fmt: skip
    highest = max(grid.max() for grid in grids.values())
    figure, axes = plt.subplots(
        1, len(runs), figsize=(8.6, 3.4), layout="constrained", facecolor="white", squeeze=False
    )
    plt.close(figure)
    for ax, (run, grid) in zip(axes[0], grids.items(), strict=True):
        shown = ax.imshow(grid, cmap="Blues", vmin=0, vmax=highest, aspect="auto")
        for (i, j), share in np.ndenumerate(grid):
            ax.text(
                j,
                i,
                f"{share:.0f} %",
                ha="center",
                va="center",
                fontsize=10,
                color="white" if share > 0.55 * highest else INK,
            )
        ax.set_title(f"{run}: {grid.mean():.0f} % on average", fontsize=11, loc="left", color=INK)
        ax.set_xticks(range(len(columns)), [column.replace(".", "\n") for column in columns], fontsize=9, color=QUIET)
        ax.set_yticks(range(len(rows)), [f"block {row}" for row in rows], fontsize=9, color=QUIET)
        ax.spines[:].set_visible(False)
    figure.colorbar(shown, ax=axes[0].tolist(), label="moved, per cent of its size", shrink=0.9)
    figure.alt = "How far each weight matrix moved, in per cent of its size. " + " ".join(
        _grid_in_words(run, grid, rows, columns) for run, grid in grids.items()
    )
    return figure


def _grid_in_words(run: str, grid: np.ndarray, rows: list[int], columns: list[str]) -> str:
    """For those who do not see the figure: the mean of a run, and its largest and smallest matrix."""
    (i, j), (k, m) = (np.unravel_index(at, grid.shape) for at in (grid.argmax(), grid.argmin()))
    return (
        f"{run}: {grid.mean():.0f} % on average, most in block {rows[i]} {columns[j]} with {grid[i, j]:.0f} %, "
        f"least in block {rows[k]} {columns[m]} with {grid[k, m]:.0f} %."
    )


def _full(names: list[str], blocks: str, row: int, column: str) -> str:
    return next(name for name in names if name.endswith(f"{blocks}{row}.{column}.weight"))
