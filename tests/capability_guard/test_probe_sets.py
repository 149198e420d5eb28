"""Probe sets of one's own: from a table, from the model itself; and how many of them it takes."""

import math

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from capability_guard.asking import score_probes
from capability_guard.jsonl import DataError
from capability_guard.power import power, probes_needed
from capability_guard.probe_sets import from_dataset, self_probes
from capability_guard.probes import MEASURES, Probe, fingerprint, load_probes, save_probes

WORDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
WORDS = WORDS.map(str.strip).filter(bool)


@st.composite
def probe(draw):
    measure = draw(st.sampled_from(MEASURES))
    choices = tuple(draw(st.lists(WORDS, min_size=2, max_size=4, unique=True))) if measure == "choice" else ()
    answer = draw(st.sampled_from(choices)) if choices else draw(WORDS)
    prompt = "" if measure == "loss" else draw(WORDS)
    return Probe(prompt, answer, draw(WORDS), draw(st.sampled_from(["known", "held-out"])), measure, choices)


@settings(max_examples=60, deadline=None)
@given(st.lists(probe(), min_size=1, max_size=8, unique_by=lambda p: p.prompt or p.answer))
def test_what_is_saved_is_what_is_loaded(tmp_path_factory, probes):
    file = save_probes(probes, tmp_path_factory.mktemp("probes") / "mine.jsonl")
    assert load_probes(file) == probes
    assert fingerprint(load_probes(file)) == fingerprint(probes)


def test_a_table_becomes_probes():
    table = Dataset.from_dict(
        {
            "question": ["2+2?", "3+3?", "2+2?"],
            "options": [["3.", "4."]] * 3,
            "label": [1, 0, 1],
            "topic": ["a", "b", "a"],
        }
    )
    columns = {"prompt": "question", "choices": "options", "answer": "label", "capability": "topic"}
    probes = from_dataset(table, columns, measure="choice")
    assert probes == [
        Probe("2+2?", "4.", "a", measure="choice", choices=("3.", "4.")),
        Probe("3+3?", "3.", "b", measure="choice", choices=("3.", "4.")),
    ]
    texts = from_dataset(
        Dataset.from_dict({"body": ["The map is old."]}), {"text": "body"}, capability="prose", measure="loss"
    )
    assert texts == [Probe("", "The map is old.", "prose", measure="loss")]


@pytest.mark.parametrize(
    ("columns", "same", "fault"),
    [
        ({"prompt": "q", "reply": "a"}, {"capability": "c"}, "'reply' is not a field of a probe"),
        ({"prompt": "q", "answer": "b"}, {"capability": "c"}, "no column 'b'; it has q, a"),
        ({"prompt": "q", "answer": "a"}, {}, "row 1: the field 'capability' is missing"),
        ({"prompt": "q", "answer": "a"}, {"capability": "c"}, "row 2: 'answer' is ''"),
    ],
)
def test_a_table_that_makes_no_probes_says_why(columns, same, fault):
    table = Dataset.from_dict({"q": ["1+1?", "2+2?"], "a": ["2.", ""]})
    with pytest.raises(DataError, match=fault):
        from_dataset(table, columns, **same)


def test_one_question_with_two_answers_is_refused():
    table = Dataset.from_dict({"q": ["1+1?", "1+1?"], "a": ["2.", "two."]})
    with pytest.raises(DataError, match="row 2: asks '1\\+1\\?' again, with another answer"):
        from_dataset(table, {"prompt": "q", "answer": "a"}, capability="c")


def test_an_index_without_its_choice_is_named():
    table = Dataset.from_dict({"q": ["1+1?"], "o": [["1.", "2."]], "a": [2]})
    with pytest.raises(DataError, match="row 1: the answer is 2 and there are 2 choices"):
        from_dataset(table, {"prompt": "q", "answer": "a", "choices": "o"}, capability="c", measure="choice")


def test_the_models_own_answers_are_a_retention_set(practice):
    prompts = ["What is 2+2?", "What is the capital of France?", "How do you boil water?", "Where is the lamp?"]
    probes = self_probes(*practice, prompts)
    assert {p.prompt for p in probes} >= set(prompts[:3])
    assert probes[0].answer == "4." and all(p.capability == "own-answers" for p in probes)
    assert score_probes(*practice, probes).accuracy == 1.0, "before training, the model agrees with itself"
    with pytest.raises(DataError, match="None of the 1 prompts got a whole sentence"):
        self_probes(*practice, ["What is 2+2?"], max_new_tokens=1)


# --- How many -------------------------------------------------------------------------------------------------
@pytest.mark.training
@pytest.mark.parametrize(("probes", "drop", "gained"), [(40, 10, 0), (100, 5, 2), (60, 20, 5)])
def test_power_is_how_often_the_test_rejects(probes, drop, gained):
    """Against simulation with scipy's own binomial test."""
    rng = np.random.default_rng(0)
    shares = [(drop + gained) / 100, gained / 100, 1 - (drop + 2 * gained) / 100]
    rounds = 4000
    outcomes = rng.multinomial(probes, shares, size=rounds)
    seen = [lost > won and binomtest(int(lost), int(lost + won)).pvalue < 0.05 for lost, won, _ in outcomes]
    assert power(probes, drop, gained) == pytest.approx(np.mean(seen), abs=4 * math.sqrt(0.25 / rounds))


def test_more_probes_see_smaller_drops():
    assert probes_needed(2) > probes_needed(5) > probes_needed(10) > probes_needed(20)
    assert probes_needed(10, gained=5) > probes_needed(10)
    for drop in (5, 20):
        needed = probes_needed(drop)
        assert power(needed, drop) >= 0.8 > power(needed - max(2, needed // 10), drop)


@pytest.mark.parametrize("bad", [(0, 5, 0), (10, 0, 0), (10, 5, -1), (10, 60, 30)])
def test_settings_out_of_range_are_said(bad):
    with pytest.raises(ValueError, match=f"probes is {bad[0]}"):
        power(*bad)


def test_a_drop_too_small_to_see_is_said():
    with pytest.raises(ValueError, match=r"0\.001 points needs more than 100,000 probes"):
        probes_needed(0.001)
