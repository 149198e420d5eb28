"""A decision of the gate as Markdown, for a pull request or a job's summary: the verdict, one table, the worst answers folded.

The choice among several candidates has one row for each, and folds what belongs to one of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path

from capability_guard.files import write_whole
from capability_guard.gate.history import Trend
from capability_guard.gate.reports import SYMBOL, clean
from capability_guard.gate.rule import PASSED, Decision, learned_text
from capability_guard.gate.several import Candidate, Choice
from capability_guard.gate.several_reports import learned, lost, why
from capability_guard.gate.several_words import level_text
from capability_guard.gate.terminal import CANDIDATES, COLUMNS, cells

VERSIONS = 8  # in a row of the trends
SHOWN = 10  # lost answers: a summary is read on a phone, and the page has the rest
MARK = "<!-- capability-guard -->"  # by which a bot finds its own comment again
TURNED = re.compile(r"[\u202a-\u202e\u2066-\u2069]")  # signs that would show the rest of the line backwards
# What is linked even behind a backslash, since that is done after Markdown was read: addresses, @names, #numbers.
LINKED = re.compile(r"(?i)(:(?=//)|\bwww(?=\.)|@|#(?=\w))")


def write_markdown(decision: Decision, path: str | Path, trend: Sequence[Trend] = ()) -> Path:
    """Write ``markdown(decision)``, whole or not at all. Raises OSError when it cannot be written.

    >>> path = write_markdown(Decision(PASSED, "No loss larger than is allowed: arithmetic."), FOLDER / "summary.md")
    >>> path.read_text(encoding="utf-8").startswith(MARK)
    True
    """
    return write_whole(path, markdown(decision, trend))


def markdown(decision: Decision, trend: Sequence[Trend] = ()) -> str:
    """The decision as GitHub and GitLab render it. trend: what ``history.note`` gave back.

    What a model said is shown as text, whatever signs are in it.

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
    parts += _trends(trend)
    if decision.notes:
        parts.append("\n".join(f"> {_text(note)}  " for note in decision.notes))
    return "\n\n".join(parts) + "\n"


def write_markdown_several(choice: Choice, path: str | Path, trend: Sequence[Trend] = ()) -> Path:
    """Write ``markdown_several(choice)``, whole or not at all. Raises OSError when it cannot be written.

    >>> from capability_guard.gate.several import unable
    >>> path = write_markdown_several(unable(["a.json", "b.json"], "base.json is not JSON."), FOLDER / "summary.md")
    >>> path.read_text(encoding="utf-8").startswith(MARK)
    True
    """
    return write_whole(path, markdown_several(choice, trend))


def markdown_several(choice: Choice, trend: Sequence[Trend] = ()) -> str:
    """The choice among several: the sentence that names the best, one row a candidate, and each by itself, folded.

    >>> from capability_guard.gate.several import unable
    >>> print(markdown_several(unable(["a.json", "b.json"], "base.json is not JSON.")).splitlines()[2])
    ## ? Cannot certify
    """
    parts = [MARK, f"## {SYMBOL[choice.word]} {choice.word.capitalize()}", _text(choice.why)]
    if choice.baseline is not None:
        rows = [(one.name, learned(one), lost(one), f"{SYMBOL[one.word]} {one.word}{', the best' if one is choice.best else ''}")
                for one in choice.candidates]  # fmt: skip
        parts += [f"Against {_code(choice.baseline.name)}", _rows(CANDIDATES, rows)]
        if said := [one for one in choice.candidates if one.word != PASSED or one.copy_of]:
            parts.append("\n".join(f"- **{_text(one.name)}**: {_text(why(one))}" for one in said))
    if notes := [note for note in (*choice.notes, level_text(choice.rules)) if note]:
        parts.append("\n".join(f"> {_text(note)}  " for note in notes))
    parts += _trends(trend)
    parts += [_one(one) for one in choice.candidates if one.decision.comparisons and one.copy_of is None]
    return "\n\n".join(parts) + "\n"


def _trends(trend: Sequence[Trend]) -> list[str]:
    """The last versions, the newest on the right, and what the baseline has."""
    if not trend:
        return []
    rows = [(one.name, one.bars[-VERSIONS:], replace(one, values=one.values[-VERSIONS:]).text) for one in trend]
    return ["Over the versions:", _rows(("capability", "", "right, or the loss of texts"), rows)]


def _one(candidate: Candidate) -> str:
    decision = candidate.decision
    # Between tags Markdown means nothing, so a backslash would be seen; what is linked after Markdown was read still is.
    name = LINKED.sub("\\1\u200b", escape(_line(candidate.name)[:120], quote=False))
    parts = [f"<summary>{SYMBOL[candidate.word]} {name}</summary>", _table(decision)]
    if decision.lost:
        parts.append(_answers(decision))
    parts += [f"> {_text(note)}  " for note in decision.notes]
    return "\n\n".join(["<details>\n" + parts[0], *parts[1:], "</details>"])


def _table(decision: Decision) -> str:
    rows = []
    for row in decision.comparisons:
        *values, word, _ = cells(row)
        rows.append((*values, f"{SYMBOL[row.word]} {word}"))
    return _rows(COLUMNS[:-1], rows)


def _rows(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(_text(value) for value in row) + " |" for row in rows)])


def _folded(decision: Decision) -> str:
    head = f"Answers that were lost: the worst {min(SHOWN, len(decision.lost))} of {len(decision.lost)}"
    return f"<details>\n<summary>{head}</summary>\n\n{_answers(decision)}\n\n</details>"


def _answers(decision: Decision) -> str:
    return _rows(("probe", "baseline", "candidate"), [(x.prompt, x.before, x.after) for x in decision.lost[:SHOWN]])


def _text(value: str) -> str:
    """Plain text inside Markdown: on one line, not too long, and no sign of it means anything."""
    line = _line(value)
    line = LINKED.sub("\\1\u200b", line if len(line) <= 300 else line[:297] + "...")
    return re.sub(r"([\\`*_{}\[\]#|~!@$])", r"\\\1", escape(line, quote=False))


def _code(name: str) -> str:
    return f"`{_line(name).replace('`', chr(39))[:120] or '?'}`"


def _line(value: str) -> str:
    return " ".join(TURNED.sub("�", clean(value)).split())
