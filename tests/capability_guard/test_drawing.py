"""A set that is drawn from a table: balanced, without repeats, and with a card that says what it is."""

from collections import Counter

import pytest
from datasets import Dataset

from capability_guard.drawing import draw_probes
from capability_guard.jsonl import DataError
from capability_guard.probes import load_probes

COLUMNS = {"prompt": "q", "answer": "a", "capability": "subject"}


def table(**sizes: int) -> Dataset:
    rows = [{"q": f"{name} {i}?", "a": f"{i}.", "subject": name} for name, size in sizes.items() for i in range(size)]
    return Dataset.from_list(rows)


def test_it_is_balanced_as_far_as_the_table_goes():
    drawn = draw_probes(table(sums=500, art=300, rare=20), COLUMNS, size=220, licence="MIT")
    assert Counter(p.capability for p in drawn.probes) == {"sums": 100, "art": 100, "rare": 20}
    assert "the 20 of rare one of" in str(drawn) and "Licence: MIT." in str(drawn)
    assert len(draw_probes(table(sums=5, art=9), COLUMNS, size=400, licence="MIT").probes) == 14


def test_the_order_of_the_rows_does_not_matter_and_the_seed_does():
    rows = table(sums=200, art=200)
    one = draw_probes(rows, COLUMNS, size=50, licence="MIT").probes
    assert draw_probes(rows.select(range(399, -1, -1)), COLUMNS, size=50, licence="MIT").probes == one
    assert draw_probes(rows, COLUMNS, size=50, licence="MIT", seed=1).probes != one


def test_repeats_contradictions_and_faulty_rows_are_left_out_and_counted(tmp_path):
    rows = Dataset.from_dict({
        "q": ["What is 2+2?", "what is  2+2", "Who?", "Who?", "Why?", " "], "a": ["4.", "4", "Ada.", "Ben.", "So.", "x"],
        "subject": ["sums", "sums", "people", "people", "talk", "talk"],
    })  # fmt: skip
    drawn = draw_probes(rows, COLUMNS, licence="CC0")
    assert [p.answer for p in drawn.probes] == ["4.", "So."], "of two answers to one question, neither can be trusted"
    assert (drawn.rows, drawn.repeats, drawn.faulty) == (6, 2, 1)
    path = drawn.save(tmp_path / "mine.jsonl")
    card = path.with_suffix(".md").read_text()
    assert load_probes(path) == drawn.probes and "Licence: CC0." in card and "row 6: 'prompt' is ' '" in card


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "does not say its licence; look it up"),
        ({"licence": "MIT", "size": 0}, "size is 0; give how many"),
        ({"licence": "MIT", "columns": {"prompt": "gone"}}, "no column 'gone'; it has q, a, subject"),
        ({"licence": "MIT", "columns": {"prompt": "q", "answer": "a"}}, "None of the 3 rows makes a probe. row 1: the field"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_said(settings, says):
    with pytest.raises(DataError, match=says):
        draw_probes(table(sums=3), **({"columns": COLUMNS} | settings))


def test_a_table_that_says_its_licence():
    rows = table(sums=3)
    rows.info.license = "Apache-2.0"
    assert draw_probes(rows, COLUMNS).licence == "Apache-2.0"
