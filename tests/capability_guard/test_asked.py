"""What was asked is part of a measurement: what makes two incomparable is refused, what may move a figure is noted."""

from dataclasses import replace

import families
import pytest
from families import PROBES, TEMPLATES, tiny

from capability_guard.chat import Chat
from capability_guard.cli import main
from capability_guard.gate import judge
from capability_guard.measurement import Measurement, MeasurementError, Row
from capability_guard.measuring import measure


@pytest.fixture(scope="module")
def model():
    return tiny(421)


def taken(model, template=None, **how):
    tokenizer = families.gpt2()
    tokenizer.chat_template = TEMPLATES.get(template)
    return measure(model, tokenizer, PROBES, name="m", **how)


def test_another_day_in_the_prompt_is_refused_and_a_fixed_one_is_not(model):
    first, second = (taken(model, "date", chat=Chat(date=day)) for day in ("2026-11-28", "2027-03-04"))
    with pytest.raises(MeasurementError, match="The date was 2026-11-28 for the baseline and 2027-03-04"):
        judge(first, second)
    clock = replace(second, asked={name: value for name, value in second.asked.items() if name != "date"})
    undated = replace(first, asked={name: value for name, value in first.asked.items() if name != "date"})
    with pytest.raises(MeasurementError, match="writes today's date.*--date"):
        judge(undated, clock)
    assert judge(first, taken(model, "date", chat=Chat(date="2026-11-28"))).word


@pytest.mark.parametrize(("ours", "theirs", "says"), [
    (Chat(system="Be short."), Chat(system="Be long."), "The system turn was Be short. for the baseline"),
    (Chat(variables={"enable_thinking": False}), Chat(), 'The template variables was {"enable_thinking": false}'),
])  # fmt: skip
def test_what_the_template_was_told_must_be_the_same(model, ours, theirs, says):
    template = "system needed" if ours.system else "thinking"
    with pytest.raises(MeasurementError) as refused:
        judge(taken(model, template, chat=ours), taken(model, template, chat=theirs))
    assert says.replace("variables was", "variables was") in str(refused.value)


def test_what_may_move_a_few_figures_is_noted(model):
    one = taken(model)
    other = replace(one, asked={**one.asked, "precision": "bfloat16", "device": "cuda", "batch": "up to 8 tokens"})
    notes = judge(one, other).notes
    assert "The two were measured in different precision (float32 and bfloat16)." in notes and len(notes) == 5


def test_a_candidate_that_is_the_baseline_to_the_last_digit_is_noted(model):
    one = taken(model)
    said = "the same losses to the last digit"
    assert any(said in note for note in judge(one, replace(one, adapter="a")).notes)
    moved = replace(one, rows=(*one.rows[:-1], replace(one.rows[-1], loss=one.rows[-1].loss + 1e-6)))
    assert not any(said in note for note in judge(one, moved).notes)


def test_a_file_from_before_there_was_such_a_record_is_compared(model, tmp_path):
    one = taken(model)
    old = replace(one, asked={})
    assert judge(old, one).word == judge(one, old).word == judge(one, one).word


def test_contains_must_have_had_the_same_room():
    rows = [Row(f"q{i}", "a", "c", "contains", right=True) for i in range(60)]
    short, long = (Measurement("m", rows, asked={"decoding": f"greedy, up to {n} tokens"}) for n in (32, 400))
    with pytest.raises(MeasurementError, match="was decoded greedy, up to 32 tokens"):
        judge(short, long)


def test_the_noise_of_asking_otherwise_is_kept_and_said(model, tmp_path):
    counted = taken(model, repeat=True)
    assert set(counted.noise) == {"facts"} and 0 <= counted.noise["facts"] <= len(PROBES)
    assert Measurement.load(counted.save(tmp_path / "m.json")) == counted
    rows = [Row(f"q{i}", "a", "c", right=True) for i in range(200)]
    fewer = [Row(f"q{i}", "a", "c", right=i > 1) for i in range(200)]
    decision = judge(Measurement("a", rows, noise={"c": 3}), Measurement("b", fewer, noise={"c": 1}))
    assert any("2 lost net, and up to 3 flip" in note for note in decision.notes)
    assert not any(
        "flip" in note for note in judge(Measurement("a", rows, noise={"c": 1}), Measurement("b", fewer)).notes
    )


def test_what_was_learned_stands_beside_what_was_lost(tmp_path, capsys):
    before, after = ({"loss": loss, "texts": 24, "fingerprint": "x"} for loss in (3.0, 1.2))
    rows = [Row(f"q{i}", "a", "c", right=True) for i in range(100)]
    files = [
        Measurement(name, rows, task=task).save(tmp_path / f"{name}.json")
        for name, task in (("base", before), ("tuned", after))
    ]
    assert (
        main(["gate", *map(str, files), "--html", str(tmp_path / "r.html"), "--markdown", str(tmp_path / "r.md")]) == 0
    )
    said = "the loss on the new task fell from 3.00 to 1.20 nats a token (60 % learned)"
    assert (
        said in capsys.readouterr().out
        and said in (tmp_path / "r.md").read_text()
        and said in (tmp_path / "r.html").read_text()
    )
    other = Measurement("t", rows, task={**after, "fingerprint": "y"})
    assert judge(Measurement("b", rows, task=before), other).learned is None, "other texts say nothing"


@pytest.mark.parametrize(("options", "says"), [
    (["--system", "Be short."], "add --chat"), (["--template-variable", "a=1"], "add --chat"),
    (["--date", "2026-11-28"], "add --chat"),
    (["--chat", "--template-variable", "enable_thinking"], "write it as NAME=VALUE"), (["--chat", "--date", "today"], "write it as"),
    (["--max-new-tokens", "0"], "give at least 1"), (["--task", "nowhere.jsonl"], "cannot be read"),
])  # fmt: skip
def test_options_that_do_not_fit_are_one_sentence(tmp_path, capsys, options, says):
    (tmp_path / "p.jsonl").write_text(families.jsonl_rows())
    code = main(
        [
            "measure",
            "--model",
            "nowhere",
            "--probes",
            str(tmp_path / "p.jsonl"),
            "--out",
            str(tmp_path / "r.json"),
            *options,
        ]
    )
    error = capsys.readouterr().err
    assert code == 2 and says in error and error.count("\n") == 1
