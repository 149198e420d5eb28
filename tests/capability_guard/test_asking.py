"""Retention by one teacher-forced pass is what greedy generation would score, and measuring changes nothing."""

import copy

import pytest
import torch

from capability_guard.asking import kl_divergence, retention, score, score_probes
from capability_guard.encoding import IGNORE, encode
from capability_guard.generation import Said
from capability_guard.jsonl import DataError
from capability_guard.probes import Probe, live_subset, load_probes
from utils.training.answers import answer
from utils.training.data import GENERAL, QUESTIONS, REPERTOIRE


def generated(model, tokenizer, probes):
    """Exact match by really generating, in one padded batch from the left: as many tokens as the answer has."""
    outcome = []
    for probe in probes:
        wanted = tokenizer(" " + probe.answer, add_special_tokens=False).input_ids
        prompt = tokenizer(probe.prompt, return_tensors="pt")
        said = model.generate(
            **prompt, max_new_tokens=len(wanted), min_new_tokens=len(wanted), do_sample=False,
            pad_token_id=tokenizer.pad_token_id, eos_token_id=None,
        )  # fmt: skip
        outcome.append(said[0, prompt.input_ids.shape[1] :].tolist() == wanted)
    return outcome


@pytest.mark.training
@pytest.mark.parametrize("side", ["left", "right"])
def test_teacher_forcing_equals_generate_on_the_practice_model(practice, side):
    model, tokenizer = practice
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.padding_side = side
    probes = live_subset(load_probes(REPERTOIRE), 90)
    # Half of the answers are swapped, so that the two are compared on wrong answers too.
    probes += [Probe(p.prompt, q.answer, p.capability) for p, q in zip(probes[::3], probes[1::3], strict=True)]
    forced = score_probes(model, tokenizer, probes).correct
    assert forced == generated(model, tokenizer, probes)
    assert any(forced) and not all(forced)


@pytest.mark.training
@pytest.mark.parametrize("side", ["left", "right"])
def test_teacher_forcing_equals_generate_on_smollm2(smollm2, side):
    model, tokenizer = smollm2
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.padding_side = side
    probes = live_subset(load_probes(GENERAL), 12)
    forced = score_probes(model, tokenizer, probes).correct
    assert forced == generated(model, tokenizer, probes)
    assert any(forced) and not all(forced)


def test_the_loss_is_the_models_own(practice):
    """Against transformers' own loss, one row at a time: the shift by one is where hand-written metrics go wrong."""
    model, tokenizer = practice
    texts = ["The lamp is in the kitchen.", "Anna: Where is the map? Ben: The map is at home."]
    scores = score(model, encode(tokenizer, texts))
    for text, loss in zip(texts, scores.loss, strict=True):
        ids = tokenizer(text, return_tensors="pt").input_ids
        assert loss == pytest.approx(model(input_ids=ids, labels=ids).loss.item(), abs=1e-4)
    together = sum(x * n for x, n in zip(scores.loss, scores.tokens, strict=True)) / sum(scores.tokens)
    assert scores.mean_loss == pytest.approx(together)


def test_only_the_answer_is_scored_and_the_order_is_kept(practice):
    _, tokenizer = practice
    probes = [
        Probe("What is the capital of France?", "Paris.", "capitals"),
        Probe("What is 2+2?", "4.", "arithmetic"),
    ]
    (batch,) = encode(tokenizer, probes)
    for row, i in enumerate(batch.rows):
        scored = batch.ids[row][batch.labels[row] != IGNORE]
        assert tokenizer.decode(scored) == f" {probes[i].answer}"
    alone = [score_probes(*practice, [p]).loss[0] for p in probes]
    assert score_probes(*practice, probes).loss == pytest.approx(alone, abs=1e-4)


def test_measuring_leaves_modes_and_random_numbers_alone(practice):
    model, tokenizer = copy.deepcopy(practice[0]), practice[1]
    model.train()
    model.transformer.h[0].eval()
    modes = [module.training for module in model.modules()]
    state = torch.get_rng_state()
    score_probes(model, tokenizer, load_probes(REPERTOIRE)[:8])
    answer(model, tokenizer, QUESTIONS[:1])
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)


def test_kl_is_zero_at_home_and_positive_away(practice):
    model, tokenizer = practice
    batches = encode(tokenizer, ["Customer: Where is my order? Agent: It is on the van."])
    base = score(model, batches, keep=256).log_probabilities
    assert kl_divergence(base, score(model, batches, keep=256).log_probabilities) == pytest.approx(0, abs=1e-6)
    moved = copy.deepcopy(model)
    with torch.no_grad():
        moved.transformer.ln_f.weight.mul_(1.5)
    assert kl_divergence(base, score(moved, batches, keep=256).log_probabilities) > 0.01
    assert len(score(model, batches, keep=3).log_probabilities) == 3
    assert score(model, batches).log_probabilities is None


def test_retention_is_a_share_per_capability():
    probes = [Probe("a", "b", "x"), Probe("c", "d", "x"), Probe("e", "f", "y")]
    assert retention(probes, [True, False, True]) == {"x": 0.5, "y": 1.0}


def test_bad_rows_are_named(practice):
    model, tokenizer = practice
    with pytest.raises(DataError, match="tokens and the model reads 128"):
        score_probes(model, tokenizer, [Probe("word " * 200, "x", "c")])
    with pytest.raises(DataError, match="no token to score"):
        encode(tokenizer, [""])
    assert score(model, []).correct == []


# --- Other measures than exact match ----------------------------------------------------------------------------
def test_contains_looks_for_whole_words_in_what_is_said(practice):
    model, tokenizer = practice
    said = answer(model, tokenizer, ["What is 7+7?"], 32)[0]
    assert said.startswith("14")
    probes = [Probe("What is 7+7?", wanted, "sums", measure="contains") for wanted in ("14", "4", "1")]
    assert score_probes(model, tokenizer, probes).correct == [True, False, False]
    capital = Probe("What is the capital of France?", "PARIS", "capitals", measure="contains")
    assert score_probes(model, tokenizer, [capital]).correct == [True], "upper and lower case are the same"


@pytest.mark.parametrize(
    ("answer", "said", "right"),
    [
        ("4", "It is 14.", False),
        ("4", "It is 4.", True),
        ("東京", "日本の首都は東京です。", True),
        ("°C", "20°C", True),
        ("a  b", "a b", True),
    ],
)
def test_whole_words_where_a_script_has_them(practice, monkeypatch, answer, said, right):
    monkeypatch.setattr("capability_guard.asking.completions", lambda *given, **__: [Said(said, True)] * len(given[2]))
    probe = Probe("What is 2+2?", answer, "c", measure="contains")
    assert score_probes(*practice, [probe]).correct == [right]


def test_choice_takes_the_likeliest_per_character(practice):
    """Against the definition, with transformers' own loss for each choice."""
    model, tokenizer = practice
    questions = [
        ("What is the capital of France?", ("Paris.", "Rome.", "Lisbon.")),
        ("What is 2+2?", ("5.", "4.", "11.")),
    ]
    probes = [Probe(q, c, "c", measure="choice", choices=choices) for q, choices in questions for c in choices]
    expected = []
    for probe in probes:
        cost = {}
        for choice in probe.choices:
            prompt, said = (tokenizer(t).input_ids for t in (probe.prompt, f" {choice}"))
            labels = torch.tensor([[IGNORE] * len(prompt) + said])
            loss = model(input_ids=torch.tensor([prompt + said]), labels=labels).loss.item()
            cost[choice] = loss * len(said) / len(choice)
        expected.append(min(cost, key=cost.get) == probe.answer)
    scores = score_probes(model, tokenizer, probes)
    assert scores.correct == expected and sum(expected) == 2
    assert scores.loss[0] < 0.5 < scores.loss[1], "the loss is that of the probe's own answer"


def test_loss_probes_are_neither_right_nor_wrong_and_orders_mix(practice):
    model, tokenizer = practice
    text = "The lamp is in the kitchen."
    probes = [
        Probe("", text, "prose", measure="loss"),
        Probe("What is 2+2?", "4.", "sums"),
        Probe("What is 2+2?", "4", "sums", measure="contains"),
        Probe("What is 2+2?", "4.", "sums", measure="choice", choices=("3.", "4.")),
    ]
    scores = score_probes(model, tokenizer, probes)
    assert scores.correct == [None, True, True, True] and scores.accuracy == 1.0
    assert scores.loss[0] == pytest.approx(score(model, encode(tokenizer, [text])).loss[0], abs=1e-4)
    assert retention(probes, scores.correct) == {"sums": 1.0}


@pytest.mark.training
def test_a_chat_template_is_respected(smollm2):
    """In its own template SmolLM2 answers a question that it is asked as a user would ask it."""
    model, tokenizer = smollm2
    probe = Probe("What is the capital of France?", "The capital of France is Paris.", "capitals")
    inside, outside = (score_probes(model, tokenizer, [probe], chat=chat) for chat in (True, False))
    assert inside.correct == [True] and inside.loss[0] < outside.loss[0]
    said = answer(model, tokenizer, [probe.prompt], 12)[0]
    assert said.startswith(probe.answer)
