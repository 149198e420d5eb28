"""Tables that read well in a notebook, in a terminal and in a saved page."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from capability_guard.gate import Decision
from capability_guard.gate.terminal import COLUMNS, cells
from capability_guard.verdict import compare
from utils.training.results import RunResult

STYLE = (
    "<style>.course-table{border-collapse:collapse;width:100%;table-layout:auto!important}"
    ".course-table.reasons td:last-child{min-width:15em}"
    ".course-table th,.course-table td{text-align:left!important;"
    "padding:.35em .8em;vertical-align:top;white-space:normal;border-bottom:1px solid #9995}</style>"
)


class Table:
    """A pandas table that wraps long text as HTML, and prints as plain text. Everything in it is escaped.

    reasons: its last column holds sentences, and is kept wide enough to read.
    """

    def __init__(self, frame: pd.DataFrame, reasons: bool = False) -> None:
        self.frame = frame
        self.classes = "course-table reasons" if reasons else "course-table"

    def _repr_html_(self) -> str:
        with pd.option_context("display.max_colwidth", None):
            return STYLE + self.frame.to_html(index=False, escape=True, border=0, classes=self.classes)

    def __repr__(self) -> str:
        return self.frame.to_string(index=False, justify="left", max_colwidth=70)


def answer_table(questions: Sequence[str], **answers: Sequence[str]) -> Table:
    """Questions and what was said to them, side by side: ``answer_table(questions, before=..., after=...)``."""
    columns = {name.replace("_", " "): list(said) for name, said in answers.items()}
    return Table(pd.DataFrame({"question": list(questions), **columns}))


def result_answers(result: RunResult) -> Table:
    """The answer table of a run, before and after it."""
    return answer_table(result.questions, before=result.answers_before, after=result.answers_after)


def capability_table(result: RunResult) -> Table:
    """One row a capability: right before, right after, and the verdict on the difference."""
    rows = []
    groups = [*sorted(set(result.capabilities)), "all probes"]
    for name in groups:
        chosen = [i for i, c in enumerate(result.capabilities) if name in (c, "all probes")]
        before, after = [result.before[i] for i in chosen], [result.after[i] for i in chosen]
        verdict = compare(before, after)
        rows.append(
            {
                "capability": name,
                "probes": verdict.probes,
                "right before": f"{sum(before) / len(before):.0%}",
                "right after": f"{sum(after) / len(after):.0%}",
                "drop (points)": f"{verdict.drop:.1f}",
                "95 % interval": f"{verdict.low:.1f} to {verdict.high:.1f}",
                "verdict": verdict.word,
            }
        )
    return Table(pd.DataFrame(rows))


def curve_table(result: RunResult) -> Table:
    """The two curves as numbers, one row a checkpoint."""
    rows = [
        {
            "step": c.step,
            "train loss": _number(c.train_loss),
            "held-out loss": _number(c.held_out_loss),
            "original loss": _number(c.original_loss),
            "KL to base": _number(c.kl),
            "retention": f"{c.accuracy:.0%}",
            **{name: f"{share:.0%}" for name, share in c.retention.items()},
        }
        for c in result.checkpoints
    ]
    return Table(pd.DataFrame(rows))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def decision_table(decision: Decision) -> Table:
    """The lines of a decision of the gate, each with its reason."""
    return Table(pd.DataFrame([cells(row) for row in decision.comparisons], columns=COLUMNS), reasons=True)
