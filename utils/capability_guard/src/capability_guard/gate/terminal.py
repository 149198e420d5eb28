"""A decision of the gate in the terminal, or the choice among several candidates."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from capability_guard.gate.reports import SYMBOL, clean
from capability_guard.gate.rule import PASSED, REGRESSED, UNSURE, Comparison, Decision, learned_text, p_text
from capability_guard.gate.several import Choice
from capability_guard.gate.several_reports import learned, lost, why
from capability_guard.gate.several_words import level_text

COLOUR = {PASSED: "green", REGRESSED: "red", UNSURE: "yellow"}
COLUMNS = ("capability", "baseline", "candidate", "lost / gained", "drop (bounds)", "p", "verdict", "why")
CANDIDATES = ("candidate", "learned", "lost (bounds)", "verdict")
SHOWN = 5  # lost answers in the terminal


def show(decision: Decision) -> None:
    """Print the verdict, a table with one row a capability, why it did not pass, and the worst answers side by side.

    >>> show(Decision(PASSED, "No loss larger than is allowed: arithmetic."))
    ✓ PASSED: No loss larger than is allowed: arithmetic.
    """
    console = _console()
    if decision.baseline is not None:
        _print_table(console, f"{decision.baseline.name}  ->  {decision.candidate.name}", COLUMNS[:-1],
                     [(*cells(row)[:-2], f"{SYMBOL[row.word]} {row.word}") for row in decision.comparisons],
                     [COLOUR[row.word] if row.critical else "dim" for row in decision.comparisons])  # fmt: skip
        worst = decision.lost[:SHOWN]
        if worst:
            title = f"answers that were lost: the worst {len(worst)} of {len(decision.lost)}"
            _print_table(
                console, title, ("probe", "baseline", "candidate"), [(x.prompt, x.before, x.after) for x in worst]
            )
    if decision.learned is not None:
        console.print(f"Learned meanwhile: {learned_text(decision)}.", highlight=False)
    said = [f"{row.name}: {row.why}" for row in decision.comparisons if row.word != PASSED]
    _print_lines(console, [*said, *(f"Note: {note}" for note in decision.notes)], decision.word, decision.why)


def show_several(choice: Choice) -> None:
    """Print a table with one row a candidate, why each that did not pass did not, and which is the best within the budget.

    >>> from capability_guard.gate.several import unable
    >>> show_several(unable(["a.json", "b.json"], "base.json is not JSON; measure again."))
    ? CANNOT CERTIFY: None of the 2 candidates could be judged: base.json is not JSON; measure again.
    """
    console = _console()
    if choice.baseline is not None:
        rows = [(one.name, learned(one), lost(one), f"{SYMBOL[one.word]} {one.word}{', the best' if one is choice.best else ''}")
                for one in choice.candidates]  # fmt: skip
        _print_table(console, f"{choice.baseline.name}  ->  {len(rows)} candidates", CANDIDATES, rows,
                     [COLOUR[one.word] for one in choice.candidates])  # fmt: skip
        said = [f"{one.name}: {why(one)}" for one in choice.candidates if one.word != PASSED or one.copy_of]
        notes = dict.fromkeys((*choice.notes, *(note for one in choice.candidates for note in one.decision.notes)))
        shared = level_text(choice.rules)
        _print_lines(console, [*said, *(f"Note: {note}" for note in (*notes, shared) if note)], choice.word, choice.why)
    else:
        _print_lines(console, [], choice.word, choice.why)


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=130)  # a log has no edge to wrap at


def _print_lines(console: Console, lines: Sequence[str], word: str, why: str) -> None:
    """Sentences, and the verdict as the last of them."""
    # Soft wrap: the terminal may break a sentence, and one that is copied out of a log is still whole.
    for line in lines:
        console.print(escape(clean(line)), soft_wrap=True, highlight=False)
    verdict = f"[bold {COLOUR[word]}]{SYMBOL[word]} {word.upper()}[/]"
    console.print(f"{verdict}: {escape(clean(why))}", soft_wrap=True, highlight=False)


def _print_table(
    console: Console, title: str, columns: Sequence[str], rows: Sequence, colours: Sequence[str] = ()
) -> None:
    """A table of texts, none of which rich may take for its own markup. colours: of the last column, one a row."""
    table = Table(*columns, title=escape(clean(title)))
    for i, row in enumerate(rows):
        *others, last = (escape(clean(cell)) for cell in row)
        table.add_row(*others, f"[{colours[i]}]{last}[/]" if colours else last)
    console.print(table)


def cells(row: Comparison) -> list[str]:
    """One line of the gate as text: name, before, after, lost / gained, drop (bounds), p, verdict, why.

    >>> row = Comparison("capitals", True, "points", 78, 100.0, 74.4, 25.6, 15.0, 35.0, 1e-6, 5.0, lost=20, gained=0)
    >>> cells(row)[:6]
    ['capitals', '100.0 %', '74.4 %', '20 / 0', '25.6 (15.0 to 35.0)', '< 0.001']
    """
    digits, unit = (1, " %") if row.unit == "points" else (3, "")
    low, drop, high = (f"{x:.{digits}f}" for x in (row.low, row.drop, row.high))
    before, after = (f"{x:.{digits}f}{unit}" for x in (row.before, row.after))
    changed = "" if row.lost is None else f"{row.lost} / {row.gained}"
    name = row.name if row.critical else f"{row.name} (informational)"
    # The column is called p already: "0.031" and "< 0.001" are left.
    chance = p_text(row.p)[2:].lstrip("= ")
    return [name, before, after, changed, f"{drop} ({low} to {high})", chance, row.word, row.why]
