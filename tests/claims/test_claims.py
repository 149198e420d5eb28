"""The claims: statistics against references, the decision rule, and the stored verdicts held to the stored runs."""

import json
import math
import re
from dataclasses import replace
from html import escape

import numpy as np
import pytest

from capability_guard.probes import load_probes
from utils.claims import claim_brief, claim_card, experiments, verdicts
from utils.claims.experiments import CLAIMS, Claim, Contrast
from utils.claims.in_brief import in_brief, one_line_each
from utils.claims.league import LEAGUE
from utils.claims.literature import SOURCES
from utils.claims.runs import FOLDER, plan
from utils.claims.samples import Table
from utils.claims.source_run import source_run
from utils.claims.statistics import interval, outcome, verdict
from utils.training.config import FineTuneConfig
from utils.training.data import GENERAL, REPERTOIRE
from utils.training.finetuning import finetune
from utils.training.models import SHIPPED
from utils.training.sweeps import Point, fingerprint, load, sweep

pytestmark = pytest.mark.training

BASE = FineTuneConfig()
A, B = BASE.with_(rank=1), BASE.with_(rank=2)


def point(config, after, learned=0.5, kl=(0.0, 1.0), before=None, **curve):
    """A run that was asked len(after) probes, all of them right before."""
    before = before or "1" * len(after)
    lost = 100 * (before.count("1") - after.count("1")) / len(after)
    curve = {"steps": (0, 40), "held_out": (10.0, 10 * (1 - learned)), "retention": (1.0, 1 - lost / 100)} | curve
    return Point(config, learned, lost, 5.0, 1.0, kl=kl, before=before, after=after, probes="same", **curve)


def noisy(config, rate, seeds, probes, rng, spread=0.0):
    """Runs in which each probe is lost with a chance that differs from seed to seed."""
    runs = []
    for seed in range(seeds):
        chance = np.clip(rate + spread * rng.standard_normal(), 0, 1)
        runs.append(point(config.with_(seed=seed), "".join("01"[int(x > chance)] for x in rng.random(probes))))
    return runs


def test_a_sample_measures_what_the_experiments_ask():
    table = Table([point(A, "1100", 0.4, (0, 0.5)), point(A.with_(seed=1), "1000", 0.6, (0, 0.7)),
                   point(B, "1111", 0.2, (0, 0.1)), point(B.with_(seed=1), "0111", 0.3, (0, 0.2))])  # fmt: skip
    whole = table.sample()
    assert (whole.lost(A), whole.lost(B)) == (62.5, 12.5)
    assert (whole.learned(A), whole.learned(B)) == (50, 25) and whole.kl(A) == pytest.approx(0.6)
    assert table.sample(seeds=[1]).lost(A) == 75 and table.sample(probes=[0, 0]).lost(A) == 0
    assert whole.interpolate([A, B], 37.5) == 37.5 and math.isnan(whole.interpolate([A, B], 60))
    assert whole.excess(A, [A, B]) == 0 and whole.learns_most([B, A]) == A
    assert whole.learned_within([B, A], 37.5) == 37.5 and whole.learned_within([B], 50) == 25
    assert whole.correlation("kl", [A, B, B]) == pytest.approx(1)


def test_a_sample_reads_curves():
    curve = dict(steps=(0, 2, 4, 6), held_out=(10.0, 8.0, 6.0, 4.0), retention=(1.0, 0.98, 0.5, 0.6))
    whole = Table([point(A, "110", 0.6, **curve)]).sample()
    assert whole.kept(A, 5) == pytest.approx((20, 2)) and whole.kept(A, 90) == pytest.approx((60, 40))
    assert whole.peak(A) == pytest.approx(10) and whole.share_lost_by(A, 2) == pytest.approx(0.05)


def test_runs_that_do_not_pair_are_refused():
    with pytest.raises(ValueError, match="was not run with seed 1"):
        Table([point(A, "11"), point(A.with_(seed=1), "11"), point(B, "11")])
    with pytest.raises(ValueError, match="2 different sets of probes"):
        Table([point(A, "11"), replace(point(B, "11"), probes="others")])


@pytest.mark.parametrize(("seeds", "spread"), [(5, 0.0), (5, 0.08), (3, 0.08)])
def test_the_interval_holds_the_truth_about_95_times_in_100(seeds, spread):
    """Simulated: few seeds that differ, and probes that are a sample, too. It may be wider than it need be, not narrower."""
    rng, inside = np.random.default_rng(seeds), 0
    for trial in range(60):
        table = Table(noisy(A, 0.3, seeds, 80, rng, spread))
        _, low, high, _ = interval(table, lambda s: s.lost(A), seed=trial)
        inside += low <= 30 <= high
    assert inside >= 52  # 57 expected; less than 52 has a chance of 2 in 100 if the level is right


def test_the_interval_agrees_with_a_formula_where_there_is_one():
    """One number a seed, and nothing to resample over probes: that is the t-interval of the textbook."""
    from scipy.stats import t

    learned = [0.50, 0.56, 0.61, 0.58, 0.47]
    table = Table([point(A.with_(seed=i), "1111", share) for i, share in enumerate(learned)])
    effect, low, high, p = interval(table, lambda s: s.learned(A))
    mean, error = 100 * np.mean(learned), 100 * np.std(learned, ddof=1) / math.sqrt(5)
    assert effect == pytest.approx(mean) and p == pytest.approx(2 * t.sf(mean / error, 4), rel=0.3)
    assert (low, high) == pytest.approx(t.interval(0.95, 4, mean, error), rel=0.05)


def test_where_nothing_was_lost_the_interval_is_that_of_none_in_n():
    table = Table([point(A.with_(seed=i), "1" * 100) for i in range(5)])
    effect, low, high, p = interval(table, lambda s: s.lost(A))
    assert (effect, p) == (0, 1) and high == pytest.approx(100 * (1 - 0.025 ** (1 / 100))) and low == -high


def test_what_cannot_be_compared_says_so():
    table = Table([point(A.with_(seed=i), "1110") for i in range(3)])
    assert all(map(math.isnan, interval(table, lambda s: s.interpolate([A], 99))))
    assert outcome(Contrast("?", None), *[math.nan] * 4) == "not comparable"


@pytest.mark.parametrize(
    ("low", "high", "effect", "p", "word"),
    [(4, 9, 6, 0.01, "shown"), (-9, -4, -6, 0.01, "opposite"),
     (-2, 2.5, 0.5, 0.6, "too small to matter"), (1, 2.9, 2, 0.001, "too small to matter"),
     (-1, 9, 4, 0.2, "open"), (0.5, 5, 2.5, 0.02, "open"), (4, 9, 6, 0.06, "open")],
)  # fmt: skip
def test_the_rule_for_a_contrast(low, high, effect, p, word):
    assert outcome(Contrast("?", None), low, high, effect, p) == word
    predicted_none = outcome(Contrast("?", None, predicts="none"), low, high, effect, p)
    assert predicted_none == ("differs" if word in ("shown", "opposite") else word)


def test_the_rule_for_a_claim():
    two = Claim(
        "k",
        "0",
        "t",
        "h",
        "v",
        "h",
        (Contrast("a", None), Contrast("b", None, predicts="none"), Contrast("c", None, counts=False)),
    )
    words = {("shown", "too small to matter"): "supported", ("shown", "differs"): "qualified",
             ("open", "too small to matter"): "qualified",
             ("opposite", "open"): "not shown"}  # fmt: skip
    words |= {("shown", "not measured"): "supported", ("not measured", "not measured"): "not shown"}
    for outcomes, word in words.items():
        assert verdict(two, outcomes) == word


def test_a_null_is_found_and_an_effect_is_found():
    rng = np.random.default_rng(0)
    tables = {"practice": Table([*noisy(A, 0.5, 5, 300, rng, 0.02), *noisy(B, 0.1, 5, 300, rng, 0.02)])}
    claims = [Claim("k", "0", "t", "h", "v", "h", (Contrast("effect", lambda s: s.lost(A) - s.lost(B)),
                                                   Contrast("none", lambda s: s.lost(A) - s.lost(A)),
                                                   Contrast("other", None, model="smollm2")))]  # fmt: skip
    found = verdicts.decide(tables, claims)["k"]
    assert [f.outcome for f in found.findings] == ["shown", "too small to matter", "not measured"]
    assert found.word == "qualified"
    assert len(found.findings[0].by_seed) == 5 and found.findings[0].adjusted >= found.findings[0].p


def test_every_claim_is_stated_in_full_and_its_settings_are_run():
    planned = {config for runs in plan().values() for config in runs.configs}
    assert len(planned) == sum(len(runs.configs) for runs in plan().values()), "a setting stands in two tables"
    for claim in CLAIMS:
        assert claim.hypothesis and claim.varied and claim.held and claim.key in SOURCES
        assert all(contrast.matters >= 0 for contrast in claim.contrasts if contrast.counts)
    assert [claim.number for claim in CLAIMS] == ["1", "2a", "2b", "2c", "3", "4", "5", "6", "7", "8"]
    smollm2 = {claim.number for claim in CLAIMS for contrast in claim.contrasts if contrast.model == "smollm2"}
    assert smollm2 == {"1", "2a", "2c", "5"}
    assert len(experiments.SEEDS["practice"]) >= 5 and len(experiments.SEEDS["smollm2"]) >= 3


# --- What is stored -------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def stored():
    return {name: load(runs.store) for name, runs in plan().items()}


def test_every_planned_run_is_stored_with_the_probes_of_today(stored):
    for name, runs in plan().items():
        wanted = {config.with_(seed=seed) for config in runs.configs for seed in runs.seeds}
        assert wanted == {point.config for point in stored[name]}, f"{name}: run `make claims`"
        source = GENERAL if name == "smollm2" else REPERTOIRE
        asked = fingerprint([probe.prompt for probe in load_probes(source)])
        assert {point.probes for point in stored[name]} == {asked}, f"{name}: the probes changed; measure again"
        row = json.loads(runs.store.read_text().splitlines()[0])
        assert row["versions"]["torch"] and row["machine"]
    assert len(load_probes(GENERAL)) >= 100 and sum(map(len, stored.values())) == 298


def test_what_recovers_starts_where_the_reckless_run_ended(stored):
    ended = {p.config.seed: p.after for p in stored["practice"] if p.config.with_(seed=0) == experiments.RECKLESS}
    assert all(p.before == ended[p.config.seed] for p in stored["recovery"])
    for name in ("practice", "practice-small", "dense"):
        assert all(p.before.count("1") >= 0.97 * len(p.before) for p in stored[name]), (
            f"{name}: a base model was not untouched"
        )


def test_the_stored_verdicts_follow_from_the_stored_runs(stored):
    decided = verdicts.decide(verdicts.tables_of([point for points in stored.values() for point in points]))
    kept = verdicts.load()
    assert [v.word for v in decided.values()] == [v.word for v in kept.values()] and list(decided) == list(kept)
    for key, found in decided.items():
        for new, old in zip(found.findings, kept[key].findings, strict=True):
            assert (new.asks, new.outcome) == (old.asks, old.outcome)
            numbers = [(f.effect, f.low, f.high, *f.by_seed) for f in (new, old)]
            assert numbers[0] == pytest.approx(numbers[1], abs=0.01, nan_ok=True)


def test_one_claim_made_again_with_two_other_seeds_agrees(stored):
    """Replay at the reckless rate, from nothing. Two new seeds scatter as seeds do: by as much as the stored ones, at most."""
    again = Table(sweep([experiments.RECKLESS, experiments.REPLAY[0.25]], seeds=(21, 22)))
    finding, contrast = verdicts.load()["replay"].findings[0], CLAIMS[3].contrasts[0]
    effect = contrast.measure(again.sample())
    scatter = (max(finding.by_seed) - min(finding.by_seed)) / 2
    assert finding.low - scatter <= effect <= finding.high + scatter
    assert contrast.measure(Table(stored["practice"]).sample()) == pytest.approx(finding.effect, abs=0.01)


def test_the_readme_has_each_stored_verdict_in_one_line(root):
    text = (root / "README.md").read_text()
    table = text.split(verdicts.BEGIN)[1].split(verdicts.END)[0].strip()
    stored = verdicts.load() | verdicts.load(verdicts.LEAGUE_FILE)
    assert table == one_line_each(stored, (*CLAIMS, *LEAGUE)), "run `make claims`"
    assert len(table.splitlines()) == len(CLAIMS) + len(LEAGUE)


def test_verdicts_survive_their_file_and_a_broken_one_is_a_sentence(tmp_path):
    kept = verdicts.load()
    assert verdicts.load(verdicts.save(kept, tmp_path / "v.json")).keys() == kept.keys()
    assert (tmp_path / "v.json").read_text() == verdicts.FILE.read_text()
    for content in ("{", '{"schema": 1}', '{"schema": 7, "claims": {}}'):
        (tmp_path / "v.json").write_text(content)
        with pytest.raises(ValueError, match="make claims"):
            verdicts.load(tmp_path / "v.json")
    (tmp_path / "README.md").write_text("no markers")
    with pytest.raises(ValueError, match="no place for the verdicts"):
        verdicts.write_into(tmp_path / "README.md", "table")


def test_the_command_runs_nothing_that_is_stored(capsys):
    from utils.claims.__main__ import main

    before = (FOLDER / "dense.jsonl").read_bytes()
    assert main(["--only", "dense"]) == 0 and (FOLDER / "dense.jsonl").read_bytes() == before
    assert "10 of 10 runs come from dense.jsonl; 0 to run." in capsys.readouterr().out


def test_both_practice_models_know_the_repertoire(root):
    for folder in SHIPPED.values():
        figures = json.loads((folder / "figures.json").read_text())
        assert min(figures["exact_match"].values()) >= 97, folder
        assert (folder / "README.md").exists()


# --- Cards ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.key)
def test_a_card_says_what_is_said_and_what_was_measured(claim):
    card = claim_card(claim.key)
    html = card._repr_html_()
    assert card.verdict.word in html and "Said" in html and "<a href=" in html and "Your runs" not in html
    assert all(escape(finding.asks.removeprefix("For comparison: ")) in html for finding in card.verdict.findings)
    assert card.verdict.word in card.figure.get_suptitle() and card.figure.alt
    assert claim.title in repr(card) and "href" not in repr(card)


@pytest.mark.parametrize("claim", (*CLAIMS, *LEAGUE), ids=lambda claim: claim.key)
def test_a_brief_is_the_verdict_one_sentence_and_where_the_rest_stands(claim, root):
    brief = claim_brief(claim.key)
    found = in_brief(claim, brief.verdict)
    assert brief.sentence == f"{claim.title}: {brief.verdict.word}. {found}." and re.search(r"\d", found)
    assert (
        len(found.split()) <= 25
        and escape(found) in brief._repr_html_()
        and len(brief.figure.axes) == 1
        and brief.figure.alt
    )
    assert (root / "lessons" / brief._repr_html_().partition('href="')[2].partition('"')[0]).exists()


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.key)
def test_a_figure_draws_every_result_for_and_against_the_claim(claim):
    card = claim_card(claim.key)
    below = card.figure.axes[1:]
    drawn = {text.get_text() for axes in below for text in axes.texts}
    assert all(f.asks in drawn and f.outcome in drawn for f in card.verdict.findings)
    at = sorted(x for axes in below for line in axes.lines if len(line.get_xdata()) == 1 for x in line.get_xdata())
    effects = sorted(f.whole()[0] for f in card.verdict.findings if math.isfinite(f.effect))
    assert at == pytest.approx(effects)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.key)
def test_lines_between_settings_do_not_run_backwards(claim):
    axes = claim_card(claim.key).figure.axes[0]
    rates_fold = claim.key in ("forgetting", "rate", "replay", "full")  # joined by rate, which is not drawn
    for line in axes.lines:
        if line.get_linestyle() not in ("None", "none") and not rates_fold and line.get_label()[0] != "_":
            assert list(line.get_xdata()) == sorted(line.get_xdata()), line.get_label()


def test_what_a_claim_asks_to_exceed_is_shown_whole():
    words = {f.asks: verdicts.in_words(f) for v in verdicts.load().values() for f in v.findings}
    early = words["Lost by step 10 of 40: share of the whole loss"]
    assert "51.7 % (44.4 to 59.1; more than 50 % claimed): open" in early
    rho = words["Rank correlation of KL and points lost, all settings without replay"]
    assert "rho 0.85 (0.81 to 0.89; more than 0.8 claimed): open" in rho
    assert not any("beyond one half" in line for line in words.values())


def test_beyond_is_what_the_measure_takes_off(stored):
    """Added again, it gives the number itself: computed here without the contrasts."""
    table = verdicts.tables_of([point for points in stored.values() for point in points])["practice"]
    s, contrasts = table.sample(), {c.asks: c for claim in CLAIMS for c in claim.contrasts if c.beyond}
    assert len(contrasts) == 5
    whole = {asks: c.measure(s) + c.beyond for asks, c in contrasts.items()}
    reckless = experiments.DENSE["reckless"]
    kl = s.correlation("kl", experiments.WITHOUT_REPLAY)
    lost, learned = 100 * s.share_lost_by(reckless, 10), 100 * s.kept(reckless, 5)[0] / s.learned(reckless)
    back = -100 * s.lost(experiments.RECOVER[8]) / s.lost(experiments.RECKLESS)
    assert sorted(whole.values()) == pytest.approx(sorted([kl, lost, lost, learned, back]))


def test_what_was_added_later_decides_nothing():
    """The contrasts that count are those that were stated; what was read afterwards stands beside them."""
    assert sum(c.counts for claim in CLAIMS for c in claim.contrasts) == 50
    later = [c for claim in CLAIMS for c in claim.contrasts if not c.counts]
    assert all(c.asks.startswith("For comparison: ") for c in later) and len(later) == 7
    kept = {f.asks: f for v in verdicts.load().values() for f in v.findings}
    assert all(math.isnan(kept[c.asks].adjusted) and not kept[c.asks].outcome for c in later)


def test_a_run_that_a_budget_stopped_says_which_weights_it_ends_with():
    run = replace(point(FineTuneConfig(), "1110"), steps=(0, 2, 4, 4), held_out=(10.0, 8.0, 6.0, 8.0),
                  retention=(1.0, 0.98, 0.7, 0.98), kl=(0.0, 1.0, 2.0, 1.0))  # fmt: skip
    texts = [text.get_text() for text in claim_card("recovery", runs=[run]).figure.axes[0].texts]
    assert texts == ["best weights back"]


def test_your_own_runs_are_marked_among_ours(tmp_path):
    mine = finetune(FineTuneConfig(learning_rate=4e-3, steps=4, evaluate_every=2), questions=())
    for key in ("rate", "kl", "during", "recovery"):
        card = claim_card(key, runs=[mine, replace(point(A, "11"), steps=(0, 40))])
        labels = [text.get_text() for text in card.figure.axes[0].get_legend().get_texts()]
        assert labels.count("your runs in this notebook") == 1
        assert "Your runs" in card._repr_html_() and "lr 0.004" in repr(card) and "Your runs" in card.figure.alt
        card.figure.savefig(tmp_path / "card.png", dpi=115)
        assert (tmp_path / "card.png").stat().st_size < 150_000


def test_a_card_shows_itself_in_a_notebook(capsys):
    from IPython.core.interactiveshell import InteractiveShell

    InteractiveShell.instance()
    claim_card("rank")._ipython_display_()
    assert "HTML object" in capsys.readouterr().out


def test_another_key_is_named():
    with pytest.raises(ValueError, match="'speed' is not a claim of the course; use one of forgetting, rate"):
        claim_card("speed")


def test_the_tutorials_own_run_in_words(tmp_path):
    words = source_run()
    assert "124,734,720 parameters, 294,912 of them trained" in words and "GB" in words
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(ValueError, match="run data/build/measure_source_run.py"):
        source_run(tmp_path / "run.json")
