"""Draw it, print it, say it in words: every figure and table of the lessons, from results that ``training`` measured.

``plots`` has the figures and the one look that they share, ``movement`` that of the weights, ``tables`` what is read, and
``words`` gives each figure its words, for those who do not see it.
"""

from utils.figures.fades import plot_fader
from utils.figures.movement import plot_movement
from utils.figures.plots import (
    alt_text,
    finding,
    plot_checkpoints,
    plot_dashboard,
    plot_dose,
    plot_guess,
    plot_plane,
    plot_power,
    plot_run,
    plot_runs,
)
from utils.figures.tables import answer_table, capability_table, curve_table, decision_table, result_answers

__all__ = [
    "alt_text",
    "answer_table",
    "capability_table",
    "curve_table",
    "decision_table",
    "finding",
    "plot_checkpoints",
    "plot_dashboard",
    "plot_dose",
    "plot_fader",
    "plot_guess",
    "plot_movement",
    "plot_plane",
    "plot_power",
    "plot_run",
    "plot_runs",
    "result_answers",
]
