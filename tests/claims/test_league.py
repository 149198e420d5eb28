"""The league: stated whole, each training done once, read off at equal learning, and decided by the rule."""

import math

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from capability_guard.probes import Probe
from utils.claims import league, league_runs, statistics
from utils.claims.league import AT, CANDIDATES, CURVES, LEAGUE, PLAIN, SEEDS, STRENGTHS
from utils.claims.league_runs import LeagueRuns, decide_league, league_plan, read_off, trained_as, with_every_seed
from utils.claims.samples import Table
from utils.training import REMEDIES, FineTuneConfig, finetune
from utils.training.models import load_model
from utils.training.sweeps import Point, load

pytestmark = pytest.mark.training


def point(config, learned, lost, probes=400):
    """A run that learned so many per cent and lost about so many points."""
    wrong = round(probes * lost / 100)
    after = "0" * wrong + "1" * (probes - wrong)
    return Point(config, learned / 100, lost, 5.0, 1.0, (0, 40), (10.0, 10 - learned / 10), (1.0, 1 - lost / 100), (), (0.0, 1.0),
                 before="1" * probes, after=after, probes="same")  # fmt: skip


def invented(curves, seeds=(11, 12)):
    """Runs of each curve: from 60 to 80 % learned, with 10, 20, ... points lost, less what ``curves`` says it spares."""
    points = {}
    for curve, spares in curves:
        for i, config in enumerate(sorted(curve, key=lambda c: (c.learning_rate, c.strength))):
            learned = 60 + 20 * i / (len(curve) - 1)
            for seed in seeds:
                run = config.with_(seed=seed)
                points.setdefault(run, point(run, learned + 0.1 * (seed == 12), max(0, 3 * (learned - 60) - spares)))
    return list(points.values())


def test_claims_9_to_13_are_stated_and_all_that_they_ask_is_planned():
    assert [claim.number for claim in LEAGUE] == ["9", "10", "11", "12", "13"]
    assert all(claim.hypothesis and claim.varied and claim.held for claim in LEAGUE)
    asked = [contrast.asks for claim in LEAGUE for contrast in claim.contrasts]
    assert len(set(asked)) == len(asked)
    for claim in LEAGUE:
        for contrast in claim.contrasts:
            assert contrast.counts != contrast.asks.startswith("For comparison")
            assert contrast.beyond in (0, -league.NEARLY) and (contrast.matters == 0) == (contrast.beyond != 0)
    assert sum(contrast.counts for claim in LEAGUE for contrast in claim.contrasts) == 21
    tables = league_plan()
    every = [config for runs in tables.values() for config in runs.configs]
    assert len(set(every)) == len(every) and {c.remedy for c in every} == {"", *REMEDIES}
    assert {c for curve in (*CURVES.values(), PLAIN) for c in curve} <= set(tables["league"].configs)
    assert tables["league"].seeds == SEEDS and tables["league-smollm2"].seeds == SEEDS


def test_one_training_serves_every_strength_and_what_comes_after_it(tmp_path):
    config = FineTuneConfig(learning_rate=1.3e-2)
    assert trained_as(config.with_(strength=0.4)) == trained_as(config.with_(remedy="graded", strength=0.4)) == config
    assert trained_as(config.with_(remedy="kl", strength=0.4)) == config.with_(remedy="kl")
    assert trained_as(config.with_(remedy="average_of_two")) == config.with_(remedy="average_of_two")
    trainings, figures, seconds = league_plan(tmp_path)["league"].estimate()
    assert trainings < figures and 0 < seconds < 2 * 45 * 60, "more than 45 minutes on two cores"


def test_runs_are_compared_where_they_learned_as_much():
    sample = Table(invented([(PLAIN, 0), (league.RECKLESS, 20), (CURVES["kl"], 10)])).sample()
    assert league.lost(sample, PLAIN) == pytest.approx(3 * (AT - 60), abs=2)
    assert league.spared(sample, league.RECKLESS) == pytest.approx(20, abs=3)
    at = PLAIN[5]
    assert league.lost(sample, PLAIN, at) == pytest.approx(sample.lost(at))
    assert math.isnan(league.lost(sample, PLAIN, 99.0)) and math.isnan(league.lost(sample, CURVES["dora"]))


def test_smollm2_tries_the_five_that_spared_most():
    order = {name: 2.0 * i for i, name in enumerate(CANDIDATES)}
    sample = Table(invented([(PLAIN, 0), *((CURVES[name], spares) for name, spares in order.items())])).sample()
    found = league.best(sample)
    assert len(found) == 5 and set(found) <= set(CANDIDATES[-8:])
    settings = league.on_smollm2(found)
    assert {c.remedy for c in settings} >= {CURVES[name][0].remedy for name in found}
    assert {c.strength for c in settings} == set(STRENGTHS) and {c.model for c in settings} == {"smollm2"}


def test_the_league_is_decided_by_the_rule(monkeypatch):
    monkeypatch.setattr(statistics, "RESAMPLES", 30)
    curves = [(league.RECKLESS, 30), (league.FADED[8e-3], 30), (league.FADED[2e-2], 30), (PLAIN, 0), (league.SMALL, 0)]
    curves += [(league.SMALL_FADED, 30), (league.FULL, 0), (league.FULL_FADED, 30)]
    curves += [(curve, 20) for name, curve in CURVES.items() if "fader" not in name]
    curves += [(league.REPLAY_FADED, 31), (league.KL_FADED, 31)]
    points = invented(curves, SEEDS)
    left_out = next(iter(CURVES["dft"])).with_(seed=11)
    found = decide_league([p for p in points if p.config != left_out])
    outcomes = {key: [f.outcome for f in verdict.findings if f.counts] for key, verdict in found.items()}
    assert outcomes["fader"] == ["shown"] * 4 + ["not measured"] and found["fader"].word == "supported"
    assert set(outcomes["no_old_data"]) == {"shown"} and set(outcomes["placement"]) == {"too small to matter"}
    assert found["own_replay"].findings[0].whole()[0] == pytest.approx(0, abs=1.5)


def test_a_setting_of_which_a_seed_diverged_is_left_out():
    points = invented([(PLAIN[:3], 0)])
    assert with_every_seed(points, (11, 12)) == points
    assert {p.config.with_(seed=0) for p in with_every_seed(points[1:], (11, 12))} == set(PLAIN[1:3])


@pytest.fixture
def tiny(monkeypatch):
    tokenizer = load_model("practice-small", quiet=True)[1]
    torch.manual_seed(0)
    shape = dict(n_layer=2, n_head=2, n_embd=32, n_positions=128, vocab_size=len(tokenizer))
    base = GPT2LMHeadModel(
        GPT2Config(**shape, embd_pdrop=0, attn_pdrop=0, resid_pdrop=0, bos_token_id=0, eos_token_id=0)
    ).eval()
    probes = [Probe("What is 2+2?", "4.", "arithmetic"), Probe("Name it.", "The old map.", "words")]
    for module in ("utils.training.finetuning", "utils.claims.league_runs"):
        monkeypatch.setattr(f"{module}.base_model", lambda name: (base, tokenizer))
        monkeypatch.setattr(f"{module}.default_probes", lambda name: probes)
    league_runs._asked.cache_clear()
    yield base, tokenizer
    league_runs._asked.cache_clear()


@pytest.mark.parametrize("method", ["lora", "full"])
def test_what_is_read_off_is_what_a_run_of_its_own_gives(tiny, method):
    config = FineTuneConfig(method=method, steps=2, batch_size=2, evaluate_every=2, learning_rate=2e-2)
    asked = [
        config.with_(strength=0.5),
        config,
        config.with_(remedy="graded"),
        config.with_(remedy="graded", strength=0.5),
    ]
    for one, found in zip(asked, read_off(asked), strict=True):
        alone = finetune(one, live=None, questions=(), beside=False)
        assert found.config == one and found.model is None and found.after == alone.after
        left, right = Point.of(found), Point.of(alone)
        assert (left.learned, left.loss) == pytest.approx((right.learned, right.loss), abs=2e-4)
        assert left.kl[-1] == pytest.approx(right.kl[-1], abs=2e-4)


def test_a_table_of_the_league_goes_on_where_it_was(tiny, tmp_path, capsys):
    config = FineTuneConfig(steps=1, batch_size=2, evaluate_every=1)
    some = LeagueRuns(tmp_path / "league.jsonl", [config, config.with_(strength=0.5)], (11, 12))
    assert some.estimate()[:2] == (2, 4)
    first = some.carry_out(seeds=(11,))
    assert some.estimate()[:2] == (1, 2) and len(load(some.store)) == 2
    every = some.carry_out()
    assert every[:1] == first[:1] and len(every) == 4 and some.estimate() == (0, 0, 0)
    assert "2 of 4 runs come from league.jsonl; 2 to run." in capsys.readouterr().out
    before = some.store.read_bytes()
    assert some.carry_out() == every and some.store.read_bytes() == before
    assert {point.config.seed for point in every} == {11, 12}
