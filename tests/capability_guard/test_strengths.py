"""The strength that is chosen keeps within the budget, on probes that chose it and on others; the model is left as it was."""

from __future__ import annotations

import copy
import json
import os
import random
from dataclasses import replace
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers is imported

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model

import capability_guard.fading.strengths as strengths
from capability_guard import Probe, best_strength, compare, fade, load_model, load_probes, score_probes
from capability_guard.asking import score
from capability_guard.encoding import encode
from capability_guard.fading.halves import check_half, halves
from capability_guard.fading.methods import FadingError
from capability_guard.gate.rule import PASSED, UNSURE, Rules
from capability_guard.jsonl import DataError
from capability_guard.measurement import Measurement, MeasurementError

pytestmark = pytest.mark.training
# The folder that holds practice-gpt2 and repertoire: COURSE_DATA, or data/ in the nearest folder above.
DATA = Path(os.environ.get("COURSE_DATA") or next(
    (up / "data" for up in Path(__file__).resolve().parents if (up / "data" / "practice-gpt2").is_dir()), "data"
))  # fmt: skip
PROBES = load_probes(DATA / "repertoire")
RATE, STEPS = 8e-3, 24
TRIED = (0.1, 0.2, 0.4, 0.6, 1.0)


def texts(name: str) -> list[str]:
    lines = (DATA / "customer_service" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["text"] for line in lines]


def train(model, tokenizer, rate: float, steps: int):
    """Far too fast, on customer service alone."""
    model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=rate)
    drawn, rows = random.Random(0), texts("train")
    for _ in range(steps):
        batch = tokenizer(drawn.sample(rows, 8), return_tensors="pt", padding=True, truncation=True, max_length=96)
        labels = batch.input_ids.masked_fill(batch.attention_mask == 0, -100)
        model(**batch, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


@pytest.fixture(scope="module")
def base():
    return load_model(DATA / "practice-gpt2")


@pytest.fixture(scope="module")
def reckless(base, tmp_path_factory):
    """A LoRA adapter that forgot most of the repertoire, in a folder."""
    torch.manual_seed(0)
    lora = LoraConfig(
        r=8, lora_alpha=16, target_modules=["c_attn", "c_proj", "c_fc"], fan_in_fan_out=True, task_type="CAUSAL_LM"
    )
    folder = tmp_path_factory.mktemp("reckless")
    train(get_peft_model(copy.deepcopy(base[0]), lora), base[1], RATE, STEPS).save_pretrained(folder)
    return folder


@pytest.fixture
def tuned(base, reckless):
    return PeftModel.from_pretrained(copy.deepcopy(base[0]), reckless).eval()


@pytest.fixture(scope="module")
def chosen(base, reckless):
    """(the model's bits before, the same after, what was chosen, each step as it was told)."""
    model, told = PeftModel.from_pretrained(copy.deepcopy(base[0]), reckless).eval(), []
    before = copy.deepcopy(model.state_dict())
    best = best_strength(model, base[1], PROBES, strengths=TRIED, task=texts("held_out")[:12], each=told.append)
    return before, model.state_dict(), best, told


def known(count: int, capability: str = "sums") -> list[Probe]:
    return [Probe(f"What is {n}+1?", f"{n + 1}.", capability) for n in range(count)]


# --- Halves ------------------------------------------------------------------------------------------------------
def test_each_capability_is_halved_and_every_probe_is_in_one_half():
    choosing, reporting = halves(PROBES)
    assert not set(choosing) & set(reporting) and {*choosing, *reporting} == set(PROBES)
    assert abs(len(choosing) - len(reporting)) <= 1
    for name in {probe.capability for probe in PROBES}:
        one, other = (sum(probe.capability == name for probe in half) for half in (choosing, reporting))
        assert abs(one - other) <= 1, name
    assert [p for p in PROBES if p in set(choosing)] == choosing, "in the order given"


def test_the_same_probes_are_halved_alike_whatever_their_order():
    choosing, _ = halves(PROBES)
    mixed = PROBES[:]
    random.Random(1).shuffle(mixed)
    assert set(halves(mixed)[0]) == set(choosing)
    assert set(choosing) != set(PROBES[::2]), "by what they say"


def test_texts_are_halved_beside_the_questions():
    loss = [Probe("", f"Text {n} is long.", "sums", measure="loss") for n in range(10)]
    for half in halves([*known(20), *loss]):
        assert [sum(p.measure == measure for p in half) for measure in ("exact", "loss")] == [10, 5]


def test_a_question_that_is_asked_twice_could_be_in_both_halves():
    with pytest.raises(DataError, match="The probes ask 'What is 0\\+1\\?' twice"):
        halves([*known(3), known(1, "other")[0]])


@pytest.mark.parametrize(("right", "says"), [(58, "It takes at least about 59"), (0, "only 0 % right|ask what it")])
def test_a_half_that_could_not_pass(right, says):
    probes = known(right or 80)
    with pytest.raises(FadingError, match=says):
        check_half(Measurement.of(probes, [i < right for i in range(len(probes))], model="base"), Rules())
    check_half(Measurement.of(known(59), [True] * 59, model="base"), Rules())


# --- What is chosen ----------------------------------------------------------------------------------------------
def test_a_reckless_run_is_turned_down_to_what_the_budget_allows(chosen):
    _, _, best, _ = chosen
    assert 0 < best.strength < 1, best.curve
    assert best.curve[best.strength].drop <= 5 and best.curve[best.strength].most <= 5
    assert best.curve[1.0].drop > 15 and not best.curve[1.0].passed
    assert best.report.drop < 15 and best.report.low <= best.report.drop <= best.report.high
    assert f"strength {best.strength:g}: on the {best.reporting} probes that had no part" in str(best)


def test_it_is_the_largest_below_which_every_strength_passes(chosen):
    best = chosen[2]
    assert list(best.curve) == [step.strength for step in chosen[3]] == sorted(best.curve) == list(TRIED)
    above = [step.strength for step in best.curve.values() if not step.passed]
    assert best.strength == max(s for s in best.curve if s < min(above))


def test_the_model_is_left_as_it_was(chosen):
    before, after, _, _ = chosen
    assert before.keys() == after.keys() and all(torch.equal(x, after[name]) for name, x in before.items())


def test_the_report_is_of_the_half_that_did_not_choose(chosen, base, tuned):
    best, (choosing, reporting) = chosen[2], halves(PROBES)
    assert (best.choosing, best.reporting) == (len(choosing), len(reporting)) and best.report.probes == len(reporting)
    for half, drop in ((reporting, best.report.drop), (choosing, best.curve[best.strength].drop)):
        before = score_probes(base[0], base[1], half).correct
        with fade(tuned, best.strength):
            after = score_probes(tuned, base[1], half).correct
        found = compare(before, after)
        assert found.drop == pytest.approx(drop)
    assert compare(before, after) != best.report and best.decision.candidate.name == f"strength {best.strength:g}"
    assert [row.prompt for row in best.decision.candidate.rows] == [probe.prompt for probe in reporting]


def test_what_was_learned_is_the_fall_of_the_new_task_s_loss(chosen, base, tuned):
    best, batches = chosen[2], encode(base[1], texts("held_out")[:12], 128)
    start = score(base[0], batches).mean_loss
    for strength, learned in ((best.strength, best.learned), (1, best.learned_whole), (0.2, best.curve[0.2].learned)):
        with fade(tuned, strength):
            assert learned == pytest.approx(1 - score(tuned, batches).mean_loss / start, abs=1e-4)
    assert 0.3 < best.learned < best.learned_whole and f"fell by {100 * best.learned:.0f} %" in str(best)


def test_the_order_of_the_probes_changes_nothing(chosen, base, tuned):
    best = best_strength(tuned, base[1], PROBES[::-1], strengths=[0.2, chosen[2].strength])
    assert best.strength == chosen[2].strength and best.report == chosen[2].report and best.learned is None
    assert best.curve[0.2] == replace(chosen[2].curve[0.2], learned=None)


def test_no_strength_is_small_enough(base, tuned):
    best = best_strength(tuned, base[1], PROBES, strengths=[1, 0.9], task=texts("held_out")[:2])
    assert best.strength == 0 and best.report.drop == 0 and list(best.curve) == [0.9, 1.0] and best.learned == 0
    assert str(best).startswith("no strength is within the budget: at 0.9, the lowest, ") and "\n" not in str(best)


def test_a_strength_above_one_that_fails_is_not_taken_even_if_it_passes(base, tuned, monkeypatch):
    """Of many strengths, one may pass by luck."""
    judge = strengths.judge_by

    def lucky(rules, before, after):
        words = {"strength 0.1": PASSED, "strength 0.2": UNSURE, "strength 0.3": PASSED}
        return replace(judge(rules, before, after), word=words.get(after.name, PASSED))

    monkeypatch.setattr(strengths, "judge_by", lucky)
    best = best_strength(tuned, base[1], PROBES, strengths=[0.3, 0.1, 0.2])
    assert best.strength == 0.1 and [step.passed for step in best.curve.values()] == [True, False, True]


def test_as_it_was_seen_more_is_chosen_and_never_more_than_the_budget(chosen, base, tuned):
    seen = [step.strength for step in chosen[2].curve.values() if step.drop <= 10]
    budget = (
        chosen[2].curve[max(seen)].drop + 0.1
    )  # what was seen there is within it, and what may have been lost is not
    best = best_strength(tuned, base[1], PROBES, budget, certain=False, strengths=TRIED)
    assert best.strength == max(seen) and best.curve[best.strength].most > budget
    assert best_strength(tuned, base[1], PROBES, budget, strengths=TRIED).strength < best.strength


def test_as_it_was_seen_fewer_probes_will_do(base, tuned):
    few = best_strength(tuned, base[1], PROBES[:60], certain=False, strengths=[0.05])
    assert few.choosing == few.reporting == 30 and few.strength == 0.05
    with pytest.raises(
        FadingError, match="has 15 with answers, of which a single one is 6.7 points, and 5 are allowed"
    ):
        best_strength(tuned, base[1], PROBES[:30], certain=False)


def test_a_capability_with_a_single_probe_is_in_one_half_alone(base, tuned):
    lonely = replace(PROBES[0], capability="lonely")
    probes = [lonely, *PROBES[1:]]
    assert best_strength(tuned, base[1], probes, strengths=[0.05], informational=["lonely"]).strength == 0.05
    with pytest.raises(FadingError, match="one half has none with answers"):
        best_strength(tuned, base[1], probes, critical=["lonely"])


def test_a_capability_that_is_lost_is_not_hidden_by_the_others(base, monkeypatch):
    """Of all probes few are lost; of one capability, all."""
    ask = strengths.ask

    def without_melodies(model, tokenizer, tokens):
        scores = ask(model, tokenizer, tokens)
        gone = model.get_parameter("base_model.model.transformer.h.0.attn.c_attn.lora_B.default.weight").any()
        right = [
            x and not (gone and probe.capability == "melodies")
            for x, probe in zip(scores.correct, tokens.probes, strict=True)
        ]
        return replace(scores, correct=right)

    monkeypatch.setattr(strengths, "ask", without_melodies)
    model = get_peft_model(copy.deepcopy(base[0]), LoraConfig(fan_in_fan_out=True, target_modules=["c_attn"])).eval()
    torch.nn.init.constant_(
        model.get_parameter("base_model.model.transformer.h.0.attn.c_attn.lora_B.default.weight"), 1e-9
    )
    best = best_strength(model, base[1], PROBES, max_drop=20, strengths=[1])
    assert best.strength == 0 and best.curve[1.0].drop < 10
    assert best_strength(model, base[1], PROBES, max_drop=20, strengths=[1], informational=["melodies"]).strength == 1


def test_a_whole_model_is_chosen_for_in_the_same_way(base, tmp_path):
    model = train(copy.deepcopy(base[0]), base[1], 3e-3, 20)
    base[0].save_pretrained(tmp_path)
    base[1].save_pretrained(tmp_path)
    before = copy.deepcopy(model.state_dict())
    best = best_strength(model, base[1], PROBES, base=tmp_path, strengths=[0.05, 0.5, 1])
    assert 0 < best.strength < 1 and best.curve[1.0].drop > 10, best.curve
    assert all(torch.equal(x, before[name]) for name, x in model.state_dict().items())


# --- What is refused ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"max_drop": 0}, MeasurementError, "max_drop is 0"),
        ({"max_drop": 1.5}, FadingError, "One half of the probes chooses the strength and the other reports"),
        ({"probes": PROBES[:60]}, FadingError, "a half cannot pass even if nothing is lost"),
        ({"probes": known(200, "unknown sums")}, FadingError, "right, so a loss of more than 5 points could not show"),
        (
            {"probes": [Probe("", p.text, "texts", measure="loss") for p in PROBES]},
            FadingError,
            "one half has none with answers",
        ),
        ({"probes": PROBES + PROBES[:1]}, DataError, "twice; keep one"),
        ({"strengths": [0]}, FadingError, "no strength above 0 to try"),
        ({"strengths": [0.5, 2]}, FadingError, "The strength is 2"),
        ({"critical": ["music"]}, MeasurementError, "'music' is not measured"),
    ],
)
def test_what_can_choose_nothing_is_refused(base, tuned, given, error, says):
    if "unknown" in str(given):  # a model that knows none of them
        torch.nn.init.zeros_(tuned.get_parameter("base_model.model.transformer.ln_f.weight"))
    before = copy.deepcopy(tuned.state_dict())
    with pytest.raises(error, match=says) as raised:
        best_strength(tuned, base[1], **{"probes": PROBES} | given)
    assert "\n" not in str(raised.value)
    assert all(torch.equal(x, before[name]) for name, x in tuned.state_dict().items())


def test_a_model_that_cannot_be_faded_is_refused_before_anything_is_asked(base, monkeypatch):
    monkeypatch.setattr(strengths, "ask", lambda *a: pytest.fail("it was asked"))
    monkeypatch.setattr(strengths, "measure", lambda *a, **b: pytest.fail("it was asked"))
    model = get_peft_model(copy.deepcopy(base[0]), LoraConfig(fan_in_fan_out=True, use_dora=True))
    with pytest.raises(FadingError, match="is DoRA"):
        best_strength(model, base[1], PROBES)
    with pytest.raises(FadingError, match="give the base"):
        best_strength(base[0], base[1], PROBES)


def test_a_model_that_gives_no_numbers_is_put_back(base, tuned):
    torch.nn.init.constant_(
        tuned.get_parameter("base_model.model.transformer.h.0.attn.c_attn.lora_B.default.weight"), float("inf")
    )
    before = copy.deepcopy(tuned.state_dict())
    with pytest.raises(MeasurementError, match="diverge"):
        best_strength(tuned, base[1], PROBES, strengths=[0.5])
    assert all(torch.equal(x, before[name]) for name, x in tuned.state_dict().items())
