"""When the gate passes: all critical probes together, or each capability by itself; and how often each rule errs."""

import numpy as np
import pytest

from capability_guard.cli import main
from capability_guard.gate import judge, lines
from capability_guard.gate.allowed import ALL_MEANS, ALL_TEXTS, Budget
from capability_guard.gate.rule import PASSED, REGRESSED, TOGETHER, UNSURE, unseen_loss
from capability_guard.measurement import Mean, Measurement, MeasurementError, Row


def measured(name, **groups):
    """groups: capability=(right, wrong)."""
    return Measurement(name, [Row(f"{group} {i}?", "yes", group, right=i < right)
                              for group, (right, wrong) in groups.items() for i in range(right + wrong)])  # fmt: skip


SIX = dict.fromkeys(("a", "b", "c", "d", "e", "f"), (57, 0))


def test_a_copy_that_lost_nothing_passes_and_names_what_is_too_small():
    base = measured("base", sums=(200, 0), art=(30, 0))
    decision = judge(base, measured("copy", sums=(200, 0), art=(30, 0)))
    assert (
        decision.word == PASSED
        and "Too few probes to certify by itself: art (30 asked, it takes about 59)." in decision.why
    )
    each = judge(base, measured("copy", sums=(200, 0), art=(30, 0)), certify="each")
    assert each.word == UNSURE and "Open: art." in each.why


def test_six_capabilities_of_57_pass_together_and_not_each():
    assert judge(measured("base", **SIX), measured("copy", **SIX)).word == PASSED
    assert judge(measured("base", **SIX), measured("copy", **SIX), certify="each").word == UNSURE


def test_one_capability_that_regressed_blocks_whatever_the_others_do():
    after = {**SIX, "f": (37, 20)}
    for rule in ("together", "each"):
        decision = judge(measured("base", **SIX), measured("new", **after), certify=rule)
        assert decision.word == REGRESSED and "f" in decision.why


def test_a_small_loss_everywhere_blocks():
    decision = judge(measured("base", **SIX), measured("new", **dict.fromkeys(SIX, (51, 6))))
    assert decision.word == REGRESSED and decision.comparisons[0].name == TOGETHER


def test_what_decides_where_there_is_a_single_capability():
    assert judge(measured("base", a=(200, 0)), measured("new", a=(200, 0))).word == PASSED
    few = judge(measured("base", a=(30, 0)), measured("new", a=(30, 0)))
    assert few.word == UNSURE and few.why.startswith("30 probes can show a drop of 26 points or more. Open: a."), (
        few.why
    )


def texts(name, loss, **counts):
    return [
        Row("", f"{group} text {i}", group, "loss", loss=loss + i / 1000)
        for group, n in counts.items()
        for i in range(n)
    ]


def test_texts_and_means_each_have_a_whole_of_their_own():
    rows = measured("m", a=(100, 0), b=(100, 0)).rows
    both = Measurement("base", (*rows, *texts("m", 2.0, x=40, y=40)))
    worse = Measurement("new", (*rows, *texts("m", 2.3, x=40, y=40)))
    decision = judge(both, worse)
    assert decision.word == REGRESSED and ALL_TEXTS in {row.name for row in decision.comparisons}
    assert judge(both, Measurement("new", both.rows)).word == PASSED
    few = Measurement("base", (*rows, *texts("m", 2.0, x=2)))
    assert judge(few, Measurement("new", few.rows)).word == UNSURE, (
        "two texts decide nothing, and nothing stands in for them"
    )
    means = [
        Measurement(n, (), means=tuple(Mean(t, v, 0.01) for t in ("x", "y", "z")))
        for n, v in (("a", 0.8), ("b", 0.8), ("c", 0.6))
    ]
    assert {row.name for row in judge(means[0], means[1]).comparisons} >= {ALL_MEANS}
    assert judge(means[0], means[1]).word == PASSED and judge(means[0], means[2]).word == REGRESSED


def test_shares_are_compared_pair_by_pair_and_stand_in_the_whole():
    def shares(name, value):
        return [Row(f"q{i}", "a", "truth", "share", share=value + (i % 7 - 3) / 50) for i in range(200)]

    rows = measured("m", a=(200, 0)).rows
    base = Measurement("base", (*rows, *shares("truth", 0.5)))
    assert judge(base, Measurement("new", base.rows)).word == PASSED
    worse = judge(base, Measurement("new", (*rows, *shares("truth", 0.3))))
    assert worse.word == REGRESSED and "truth" in worse.why
    with pytest.raises(MeasurementError, match="share is 1.5"):
        Measurement("m", [Row("q", "a", "truth", "share", share=1.5)])


def test_the_rule_is_checked_and_offered_on_the_command_line(tmp_path, capsys):
    with pytest.raises(MeasurementError, match='certify is \'all\'; give "together" or "each"'):
        judge(measured("a", a=(9, 0)), measured("b", a=(9, 0)), certify="all")
    files = [str(measured(name, **SIX).save(tmp_path / f"{name}.json")) for name in ("a", "b")]
    assert main(["gate", *files]) == 0 and main(["gate", *files, "--certify", "each"]) == 2
    capsys.readouterr()


def simulated(rng, losses, probes, churn=0.02):
    """Two measurements of capabilities that truly lose these shares, each with some probes that change both ways by chance."""
    before, after = {}, {}
    for name, lost in losses.items():
        u = rng.random(probes)
        worse = u < lost + churn
        better = (u >= lost + churn) & (u < lost + 2 * churn)
        before[name], after[name] = ~better, ~worse
    rows = [
        [Row(f"{name} {i}?", "yes", name, right=bool(side[name][i])) for name in losses for i in range(probes)]
        for side in (before, after)
    ]
    return Measurement("base", rows[0]), Measurement("new", rows[1])


@pytest.fixture
def words_only(monkeypatch):
    """Without "it takes about so many probes", which is most of the time of a verdict and none of it."""
    monkeypatch.setattr(lines, "_needed", lambda *_: None)


@pytest.mark.training
@pytest.mark.parametrize("certify", ["together", "each"])
def test_a_loss_beyond_the_budget_passes_at_most_one_time_in_twenty(certify, words_only):
    """In simulation, just beyond the budget: over all probes for "together", in one capability for "each"."""
    rng = np.random.default_rng(7)
    losses = dict.fromkeys("abcd", 0.0501) if certify == "together" else {"a": 0.0501, "b": 0.0, "c": 0.0, "d": 0.0}
    rounds = 120
    passed = sum(judge(*simulated(rng, losses, 60), certify=certify).word == PASSED for _ in range(rounds))
    assert passed / rounds <= 0.05 + 2 * (0.05 * 0.95 / rounds) ** 0.5


@pytest.mark.training
def test_nothing_lost_is_called_regressed_at_most_one_time_in_twenty(words_only):
    rng = np.random.default_rng(8)
    alarms = sum(
        judge(*simulated(rng, dict.fromkeys("abcdef", 0.0), 60, churn=0.05), max_drop=1).word == REGRESSED
        for _ in range(200)
    )
    assert alarms / 200 <= 0.05 + 2 * (0.05 * 0.95 / 200) ** 0.5


@pytest.mark.training
@pytest.mark.parametrize("probes", [30, 60, 120])
def test_what_may_go_unseen_in_one_capability_is_as_simulated(probes):
    """``unseen_loss`` against the gate itself: at that loss the gate passes about as often as it says."""
    said = unseen_loss(probes, of=360)
    rng = np.random.default_rng(9)
    others = measured("m", rest=(360 - probes, 0)).rows
    passed = 0
    for _ in range(60):
        lost = rng.binomial(probes, said / 100)
        base = Measurement("base", (*others, *measured("m", one=(probes, 0)).rows))
        new = Measurement("new", (*others, *measured("m", one=(probes - lost, lost)).rows))
        passed += judge(base, new).word == PASSED
    assert passed / 60 >= 0.8 - 0.16


def test_a_baseline_that_knows_little_and_a_candidate_that_knows_much_is_no_open_question():
    better = judge(measured("base", bias=(10, 190)), measured("new", bias=(100, 100)))
    assert better.word == PASSED and better.comparisons[0].why == "It got better."
    assert judge(measured("base", bias=(10, 190)), measured("new", bias=(11, 189))).word == UNSURE


def test_means_of_tasks_that_got_better_or_that_nobody_knows_make_no_other_good():
    def means(name, *values):
        return Measurement(
            name, (), means=tuple(Mean(task, value, 0.03) for task, value in zip("xyz", values, strict=False))
        )

    assert judge(means("a", 0.8, 0.5), means("b", 0.75, 0.55)).word == UNSURE, "the mean of the two stayed"
    assert judge(means("a", 0.8, 0.03, 0.03), means("b", 0.76, 0.03, 0.03)).word == UNSURE, (
        "and two of three cannot fall"
    )


# --- What cannot be certified hides no loss ------------------------------------------------------------------------
def choosing(name, right, wrong, choices):
    return [Row(f"q {i}?", "yes", name, "choice", choices, right=i < right) for i in range(right + wrong)]


@pytest.mark.parametrize(("choices", "before", "after"), [(("yes", "no"), 216, 152), (("yes", *"abc"), 108, 40)])
def test_a_loss_that_is_shown_blocks_also_where_the_baseline_knew_little(choices, before, after):
    """54 % of two choices is hardly more than guessing; 38 % is less, and beyond chance."""
    facts = measured("m", facts=(390, 10)).rows
    base, new = (
        Measurement(n, (*facts, *choosing("choose", k, 400 - k, choices))) for n, k in (("b", before), ("n", after))
    )
    decision = judge(base, new)
    line = next(row for row in decision.comparisons if row.name == "choose")
    assert decision.word == line.word == REGRESSED and "beyond chance" in line.why
    same = judge(base, Measurement("copy", base.rows))
    assert same.word == PASSED and next(r for r in same.comparisons if r.name == "choose").word == UNSURE


def test_a_mean_without_a_spread_shows_no_loss():
    base, new = (
        Measurement(n, (), means=(Mean("x", v, 0.0), Mean("y", 0.8, 0.01))) for n, v in (("b", 0.8), ("n", 0.5))
    )
    decision = judge(base, new)
    line = next(row for row in decision.comparisons if row.name.startswith("x"))
    assert decision.word == line.word == UNSURE and line.p == 1.0 and "standard error of 0" in line.why


def test_what_the_baseline_hardly_knows_is_worded_apart_and_decides_where_it_was_named():
    base, new = (measured(n, facts=(390, 10), safety=(k, 400 - k), art=(20, 0)) for n, k in (("base", 12), ("new", 0)))
    decision = judge(base, new)
    assert decision.word == PASSED and "certify by itself: art (20 asked" in decision.why
    assert "Cannot show a loss: safety (the baseline itself has only 3 % right)." in decision.why
    assert "safety (400" not in decision.why
    named = judge(base, new, critical=["facts", "safety"])
    assert named.word == UNSURE and "Open: safety. The baseline itself has only 3 % right" in named.why
    policy = judge(base, new, budgets={"safety": Budget(max_drop=5)})
    assert policy.word == UNSURE
    assert judge(base, new, critical=["facts"], budgets={"safety": Budget(max_drop=5)}).word == PASSED
