"""A decision of the gate as Markdown, for a pull request or a job's summary: the verdict, one table, the worst answers folded."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path

from capability_guard.files import write_whole
from capability_guard.gate.reports import SYMBOL, clean
from capability_guard.gate.rule import PASSED, Decision, learned_text
from capability_guard.gate.terminal import COLUMNS, cells

SHOWN = 10  # lost answers: a summary is read on a phone, and the page has the rest
MARK = "<!-- capability-guard -->"  # by which a bot finds its own comment again
TURNED = re.compile(r"[\u202a-\u202e\u2066-\u2069]")  # signs that would show the rest of the line backwards
# What is linked even behind a backslash, since that is done after Markdown was read: addresses, @names, #numbers.
LINKED = re.compile(r"(?i)(:(?=//)|\bwww(?=\.)|@|#(?=\w))")


def write_markdown(decision: Decision, path: str | Path) -> Path:
    """Write ``markdown(decision)``, whole or not at all. Raises OSError when it cannot be written.

    >>> path = write_markdown(Decision(PASSED, "No loss larger than is allowed: arithmetic."), FOLDER / "summary.md")
    >>> path.read_text(encoding="utf-8").startswith(MARK)
    True
    """
    return write_whole(path, markdown(decision))


def markdown(decision: Decision) -> str:
    """The decision as GitHub and GitLab render it. What a model said is shown as text, whatever signs are in it.

    >>> print(markdown(Decision(PASSED, "It said *stop*.")).splitlines()[-1])
    It said \\*stop\\*.
    """
    parts = [MARK, f"## {SYMBOL[decision.word]} {decision.word.capitalize()}", _text(decision.why)]
    if decision.comparisons:
        parts += [f"{_code(decision.baseline.name)} against {_code(decision.candidate.name)}", _table(decision)]
    if decision.learned is not None:
        parts.append(f"Learned meanwhile: {learned_text(decision)}.")
    if open_rows := [row for row in decision.comparisons if row.word != PASSED]:
        parts.append("\n".join(f"- **{_text(row.name)}**: {_text(row.why)}" for row in open_rows))
    if decision.lost:
        parts.append(_folded(decision))
    if decision.notes:
        parts.append("\n".join(f"> {_text(note)}  " for note in decision.notes))
    return "\n\n".join(parts) + "\n"


def _table(decision: Decision) -> str:
    lines = ["| " + " | ".join(COLUMNS[:-1]) + " |", "|---" * len(COLUMNS[:-1]) + "|"]
    for row in decision.comparisons:
        *values, word, _ = cells(row)
        lines.append("| " + " | ".join(_text(value) for value in (*values, f"{SYMBOL[row.word]} {word}")) + " |")
    return "\n".join(lines)


def _folded(decision: Decision) -> str:
    shown = decision.lost[:SHOWN]
    head = f"Answers that were lost: the worst {len(shown)} of {len(decision.lost)}"
    rows = [f"| {_text(x.prompt)} | {_text(x.before)} | {_text(x.after)} |" for x in shown]
    table = "\n".join(["| probe | baseline | candidate |", "|---|---|---|", *rows])
    return f"<details>\n<summary>{head}</summary>\n\n{table}\n\n</details>"


def _text(value: str) -> str:
    """Plain text inside Markdown: on one line, not too long, and no sign of it means anything."""
    line = _line(value)
    line = LINKED.sub("\\1\u200b", line if len(line) <= 300 else line[:297] + "...")
    return re.sub(r"([\\`*_{}\[\]#|~!@$])", r"\\\1", escape(line, quote=False))


def _code(name: str) -> str:
    return f"`{_line(name).replace('`', chr(39))[:120] or '?'}`"


def _line(value: str) -> str:
    return " ".join(TURNED.sub("�", clean(value)).split())
