"""Losses of texts between two tokenizers: in nats per token of the baseline where that can be known, and else not at all."""

import math
from dataclasses import replace

import families
import pytest

from capability_guard.asking import score
from capability_guard.encoding import encode, scored_bytes
from capability_guard.gate import judge
from capability_guard.gate.rule import PASSED, REGRESSED, learned_text
from capability_guard.measurement import Measurement, MeasurementError, Row
from capability_guard.measuring import measure
from capability_guard.probes import Probe

TEXTS = [f"The capital of place {i} is Rome, and {i}+{i} is {2 * i}." for i in range(60)]


def texts(name, loss, tokens, size=40, n=60, **asked):
    rows = [Row("", f"text {i}", "prose", "loss", loss=loss, tokens=tokens, bytes=size) for i in range(n)]
    return Measurement(name, rows, asked=asked)


def test_the_same_model_with_more_words_has_neither_gained_nor_lost():
    """10 tokens of 3 nats are 30 nats, and so are 15 of 2: per token, one of the two would seem to have got better or worse."""
    few, many = texts("few", 3.0, 10, tokenizer="a"), texts("many", 2.0, 15, tokenizer="b")
    for before, after in ((few, many), (many, few)):
        decision = judge(before, after)
        assert decision.word == PASSED and decision.comparisons[0].drop == pytest.approx(0)
        assert any("cuts 60 of 60 texts into another number of tokens" in note for note in decision.notes)


def test_a_model_that_got_worse_does_not_pass_by_more_tokens():
    worse = judge(texts("base", 3.0, 10, tokenizer="a"), texts("tuned", 2.5, 15, tokenizer="b"))
    assert worse.word == REGRESSED and worse.comparisons[0].drop == pytest.approx(0.75), "37.5 nats where there were 30"


@pytest.mark.parametrize(("before", "after", "says"), [
    (texts("a", 3.0, None, None, tokenizer="a"), texts("b", 2.0, 15, tokenizer="b"), "it is not known how many tokens"),
    (texts("a", 3.0, None, None, tokenizer="a"), texts("b", 2.0, None, None, tokenizer="b"), "measure both with this version"),
    (texts("a", 3.0, None, None), texts("b", 2.0, 15, tokenizer="b"), "it is not known how many tokens"),
    (texts("a", 3.0, 10, None, tokenizer="a"), texts("b", 2.0, 15, tokenizer="b"), "it is not known how many tokens"),
    (texts("a", 3.0, 10, 40, tokenizer="a"), texts("b", 2.0, 15, 36, tokenizer="b"), "is over 40 bytes of it for the baseline and 36"),
])  # fmt: skip
def test_what_cannot_be_compared_is_one_sentence(before, after, says):
    with pytest.raises(MeasurementError) as refused:
        judge(before, after)
    assert says in str(refused.value) and "\n" not in str(refused.value)


def test_what_can_be_is_compared_as_it_was():
    assert judge(texts("a", 3.0, None, None), texts("b", 3.0, None, None)).word == PASSED, "another harness's file"
    assert judge(texts("a", 3.0, None, None, tokenizer="a"), texts("b", 3.0, 10, tokenizer="a")).word == PASSED, (
        "an older file"
    )
    assert judge(texts("a", 3.0, 10, tokenizer="a"), texts("b", 3.0, 10, tokenizer="b")).word == PASSED, (
        "tokens that no text holds"
    )


@pytest.mark.parametrize(
    ("ours", "theirs"), [("gpt2", "qwen"), ("gpt2", "bytes_without_spaces"), ("llama2_metaspace", "llama3")]
)
def test_measured_with_two_tokenizers(ours, theirs):
    """Models that know nothing: each token is as likely as any other, so a text costs its number of tokens times log(vocabulary)."""
    probes, sides = [Probe("", text, "prose", measure="loss") for text in TEXTS], []
    for name in (ours, theirs):
        tokenizer = families.FAMILIES[name]()
        model = families.tiny(len(tokenizer))
        for parameter in model.parameters():
            parameter.data.zero_()
        sides.append(measure(model, tokenizer, probes, name=name, task=TEXTS[:9]))
    cost = {m.name: sum(r.loss * r.tokens for r in m.rows) for m in sides}
    for measured in sides:
        assert all(
            row.loss == pytest.approx(math.log(len(families.FAMILIES[measured.name]())), abs=1e-4)
            for row in measured.rows
        )
    if any(b.bytes != a.bytes or b.bytes is None for b, a in zip(*(m.rows for m in sides), strict=True)):
        with pytest.raises(MeasurementError, match="different tokenizers"):
            judge(*sides)
        return
    decision = judge(*sides)
    rise = (cost[theirs] - cost[ours]) / len(TEXTS)
    scale = sum(row.tokens for row in sides[0].rows) / len(TEXTS)
    assert decision.comparisons[0].drop == pytest.approx(rise / scale, rel=0.05)


@pytest.mark.parametrize("family", families.FAMILIES)
def test_how_many_bytes_are_scored(family):
    """Whole texts where the tokenizer begins with a token of its own, and else all but the first token's."""
    tokenizer = families.FAMILIES[family]()
    text = "The capital of Italy is Rome."
    size = scored_bytes(tokenizer, text)
    (batch,) = encode(tokenizer, [text])
    first = batch.ids[0, 0].item()
    if size is None:  # it does not give its texts back
        assert tokenizer.decode(batch.ids[0], skip_special_tokens=True).strip() != text
    elif first == tokenizer.bos_token_id:
        assert size == len(text)
    else:
        assert 0 < size < len(text) and text[: len(text) - size].strip() == tokenizer.decode([first]).strip()
    assert scored_bytes(tokenizer, "Z\u00fcrich \U0001f600 is") is None or family not in ("t5_unigram",)


def test_bytes_and_tokens_are_those_of_the_loss(practice):
    model, tokenizer = practice
    probes = [Probe("", "Close the door, please.", "texts", measure="loss"), Probe("What is 2+2?", "4.", "sums")]
    measured = measure(model, tokenizer, probes)
    (batch,) = encode(tokenizer, [probes[0].answer])
    assert measured.rows[0].tokens == score(model, [batch]).tokens[0] and measured.rows[1].tokens is None
    assert measured.rows[0].bytes == scored_bytes(tokenizer, probes[0].answer)


def test_what_was_learned_is_told_across_tokenizers_or_not_at_all():
    rows = [Row(f"q{i}", "a.", "c", right=True) for i in range(60)]

    def side(loss, tokenizer, **sizes):
        return Measurement(
            "m", rows, task={"loss": loss, "texts": 9, "fingerprint": "x", **sizes}, asked={"tokenizer": tokenizer}
        )

    decision = judge(side(3.0, "a", tokens=100, bytes=400), side(1.0, "b", tokens=150, bytes=400))
    assert decision.learned == pytest.approx(0.5) and "from 3.00 to 1.50" in learned_text(decision)
    assert judge(side(3.0, "a", tokens=100, bytes=400), side(1.0, "b", tokens=150, bytes=390)).learned is None
    assert judge(side(3.0, "a"), side(1.0, "b")).learned is None
    assert judge(side(3.0, "a"), side(1.5, "a")).learned == pytest.approx(0.5)


def test_a_file_with_such_numbers_comes_back_and_impossible_ones_are_refused(tmp_path):
    one = texts("m", 2.0, 10)
    assert Measurement.load(one.save(tmp_path / "m.json")) == one
    for changes in (
        {"tokens": 0},
        {"tokens": 1.5},
        {"bytes": -3},
        {"bytes": True},
        {"tokens": 10**400},
        {"tokens": "9"},
    ):
        with pytest.raises(MeasurementError, match="both must be whole numbers above 0, or null"):
            Measurement("m", [replace(one.rows[0], **changes)])
