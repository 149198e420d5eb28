"""``exact`` is right to the end of the answer's last word or number, and what was thought is no answer, whatever its marks are."""

import families
import pytest
import torch
from families import FAMILIES
from tokenizers import AddedToken

from capability_guard.asking import score_probes
from capability_guard.chat import Chat
from capability_guard.gate import judge
from capability_guard.generation import spoken
from capability_guard.matching import could_go_on, ends
from capability_guard.measurement import Measurement, MeasurementError, Row
from capability_guard.measuring import measure
from capability_guard.probes import Probe

# Question, what was learned, the answer that is asked for, whether a reader would call it right.
SAID = [
    ("What is 7+6?", "13000.", "13", False), ("What is 8+6?", "14.5 km.", "14", False), ("What is 8+7?", "15.", "15", True),
    ("What is 2+2?", "4 apples.", "4", True), ("Opposite of up?", "Downwards.", "Down", False),
    ("Capital of Peru?", "Lima, Peru.", "Lima", True),
    ("What is 1+4?", "5.5 km.", "5.", False), ("What is 3+3?", "6.", "6.", True), ("Can I?", "can't", "can", False),
    ("Price of a cup?", "8,000 lire.", "8", False), ("Who rules?", "Anna", "Anna", True),
]  # fmt: skip


def taught(tokenizer, pairs, steps=170):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    model = families.tiny(len(tokenizer), eos_token_id=tokenizer.eos_token_id, bos_token_id=tokenizer.bos_token_id)
    rows = [families._without_end(tokenizer, tokenizer(f"{question} {said}").input_ids) for question, said in pairs]
    families.learn(model, [[*row, tokenizer.eos_token_id] for row in rows], steps)
    torch.set_num_threads(threads)
    return model


@pytest.mark.training
@pytest.mark.parametrize(
    "family", ["gpt2", "llama2_metaspace", "llama3", "qwen", "digits_in_threes", "t5_unigram", "bytes_without_spaces"]
)
def test_a_longer_word_or_number_is_another_answer(family):
    tokenizer = FAMILIES[family]()
    model = taught(tokenizer, [(question, said) for question, said, *_ in SAID])
    probes = [Probe(question, answer, "c") for question, _, answer, _ in SAID]
    heard = [families.spoken(model, tokenizer, probe.prompt).strip() for probe in probes]
    learned = [text == said for text, (_, said, *_) in zip(heard, SAID, strict=True)]
    assert sum(learned) >= 5 or family == "bytes_without_spaces", heard
    right = score_probes(model, tokenizer, probes).correct
    for known, found, (question, said, answer, wanted) in zip(learned, right, SAID, strict=True):
        assert not known or found is wanted, (question, said, answer)
    measured = measure(model, tokenizer, probes)
    if any(known and not row[3] for known, row in zip(learned, SAID, strict=True)):
        assert any("the beginning of a longer word or number, as" in note for note in measured.notes)


@pytest.mark.parametrize(("answer", "behind", "whole"), [
    ("13", "", True), ("13", " 000", True), ("13", "\n", True), ("13", "000", False), ("13", "th", False), ("13", ".", None),
    ("13", ". ", True), ("13", ".5", False), ("13", ",000", False), ("13", ", 14", True), ("13", "%", True), ("13", "\u00bd", False),
    ("13", "\u00b2", False), ("13", ":30", False), ("13", "/4", False), ("13", "-year", True), ("13", "\u202f000", False),
    ("13", "\u00a0000 km", False), ("13", "\u00a0", None), ("13", "\u00a0km of", True), ("13", "'000 f", False),
    ("Paris", "ian", False), ("Paris", ".", True), ("Paris", "'s", True), ("can", "'", None), ("can", "\u2019t", False),
    ("C", "++", False), ("C", "+", None), ("C", "#", None), ("C", "# ", False), ("C", ". ", True), ("A", "- ", False),
    ("Cafe", "\u0301", False), ("snake", "_case", False), ("\u6771\u4eac", "\u90fd", True), ("13.", "5", False), ("13.", " 5", True),
    ("Paris.", "The", True), ("$", "5", True), ("A", "-", None), ("13", "\ufffd", None),
])  # fmt: skip
def test_where_an_answer_ends(answer, behind, whole):
    assert ends(answer, behind) is whole
    assert could_go_on(answer) or whole


def test_a_file_marked_by_the_older_rule_is_not_compared_where_it_matters():
    def taken(answer, right, **asked):
        return Measurement("m", [Row(f"q{i}", answer, "c", right=right) for i in range(60)], asked=asked)

    for answer in ("13", "Down", "4."):
        with pytest.raises(
            MeasurementError, match=f"The baseline was marked by an older rule, to which '{answer}'.*measure it again"
        ):
            judge(taken(answer, True), taken(answer, True, marking="2"))
        with pytest.raises(MeasurementError, match="The candidate was marked by an older rule"):
            judge(taken(answer, True, marking="2"), taken(answer, True))
        assert judge(taken(answer, False), taken(answer, True, marking="2")).word, "what was wrong is wrong by both"
    assert judge(taken("Down.", True), taken("Down.", True, marking="2")).word == "passed", (
        "an answer with an end is the same by both"
    )
    assert judge(taken("13", True), taken("13", True)).word == "passed"


@pytest.mark.training
@pytest.mark.parametrize("family", ["gpt2", "digits_in_threes"])
def test_a_number_is_not_cut_where_the_room_ends(family):
    """With room for one token or two, what is said of 13000 may be 13: an answer that the model does not give."""
    tokenizer = FAMILIES[family]()
    model = taught(
        tokenizer,
        [("What is 7+6?", "13000 km."), ("What is 8+7?", "15 km."), ("Capital of Peru?", "Limassol, or Lima.")],
    )
    probes = [
        Probe(q, a, "c", measure="contains")
        for q, a in (("What is 7+6?", "13"), ("What is 8+7?", "15"), ("Capital of Peru?", "Lima"))
    ]
    for room in range(1, 9):
        right = [row.right for row in measure(model, tokenizer, probes, max_new_tokens=room).rows]
        assert right[0] is False and (right[1] or room < 3) and (not right[2] or room > 4), room
    assert score_probes(model, tokenizer, probes, max_new_tokens=32).correct == [False, True, True]


@pytest.mark.training
def test_a_model_that_no_longer_stops_is_noted():
    """Right as before, and it goes on and on: nothing of that is marked wrong."""
    tokenizer = FAMILIES["gpt2"]()
    said = [("What is 7+6?", "13 km."), ("What is 8+7?", "15 km."), ("Capital of Peru?", "Lima.")]
    probes = [
        Probe(q, a, "c", measure="contains")
        for q, a in (("What is 7+6?", "13"), ("What is 8+7?", "15"), ("Capital of Peru?", "Lima"))
    ]
    model = taught(tokenizer, said)
    before = measure(model, tokenizer, probes, name="base")
    assert before.ended == 3 and all(row.right for row in before.rows)
    model.lm_head.register_forward_hook(
        lambda _, __, out: out.index_fill(-1, torch.tensor([tokenizer.eos_token_id]), -1e4)
    )
    after = measure(model, tokenizer, probes, name="tuned")
    assert after.ended == 0 and all(row.right for row in after.rows)
    said = "3 of the baseline came to an end within their room and 0 of the candidate; does it still stop?"
    assert any(said in note for note in judge(before, after).notes) and not any(
        "stop" in note for note in judge(after, before).notes
    )


# --- What is thought -----------------------------------------------------------------------------------------
def thinker(special: bool):
    """A tokenizer whose marks of thinking are special tokens, or added tokens that are not."""
    tokenizer = FAMILIES["gpt2"]()
    marks = ("<think>", "</think>", "<|channel|>", "<|message|>")
    tokenizer.add_tokens(
        [AddedToken(mark, special=special, normalized=False) for mark in marks], special_tokens=special
    )
    return tokenizer


@pytest.mark.training
@pytest.mark.parametrize("special", [True, False])
def test_an_answer_that_was_only_thought_of_is_none(special):
    tokenizer = thinker(special)
    said = [("Capital of Peru?", "<think>Rome or Lima?</think> Rome."), ("Capital of Italy?", "<think>Lima or Rome?</think> Rome."),
            ("Capital of Spain?", "<think>Madrid, or was it")]  # fmt: skip
    model = taught(tokenizer, said, 250)
    probes = [Probe(question, answer, "c", measure="contains")
              for (question, _), answer in zip(said, ("Lima", "Rome", "Madrid"), strict=True)]  # fmt: skip
    measured = measure(model, tokenizer, probes)
    assert [row.right for row in measured.rows] == [False, True, False]
    assert [row.said for row in measured.rows] == ["Rome.", "Rome.", ""]
    # ``exact`` is what is said first, and that is the thinking, whether its marks are shown or not.
    first = Probe("Capital of Peru?", "Rome or Lima?", "c")
    assert score_probes(model, tokenizer, [first]).correct == [False]


@pytest.mark.training
def test_a_prompt_that_ends_inside_the_thinking_is_no_beginning_of_an_answer():
    tokenizer = thinker(True)
    begun = "{% if add_generation_prompt %}{{ '<think>' }}{% endif %}"
    tokenizer.chat_template = "{% for m in messages %}{{ '# ' + m['content'] + ' ' }}{% endfor %}" + begun
    said = {"Capital of Peru?": "Lima? No.</think> Rome.", "What is <think>?": "Lima, I think"}
    chat, model = Chat(), families.tiny(len(tokenizer), eos_token_id=tokenizer.eos_token_id)
    rows = [
        tokenizer(chat.render(tokenizer, question) + text, add_special_tokens=False).input_ids
        for question, text in said.items()
    ]
    families.learn(model, [[*row, tokenizer.eos_token_id] for row in rows], 250)
    probes = [Probe(question, "Lima", "c", measure="contains") for question in said]
    assert score_probes(model, tokenizer, probes, chat=True).correct == [False, False]


def test_other_special_tokens_are_not_shown():
    tokenizer = thinker(True)
    ids = tokenizer("<think>4?</think> 4." + tokenizer.eos_token).input_ids
    assert (
        spoken(tokenizer, ids) == "<think>4?</think> 4." and tokenizer.decode(ids, skip_special_tokens=True) == "4? 4."
    )
    harmony = tokenizer("<|channel|>analysis<|message|>4?<|channel|>final<|message|>5.").input_ids
    from capability_guard.chat import without_thinking

    assert without_thinking(spoken(tokenizer, harmony)) == "5."
