"""The verdict is the exact paired test, and it does not cry wolf."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from capability_guard.verdict import compare


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=120))
def test_against_the_definition(pairs):
    before, after = [b for b, _ in pairs], [a for _, a in pairs]
    verdict = compare(before, after)
    lost = sum(b and not a for b, a in pairs)
    gained = sum(a and not b for b, a in pairs)
    assert (verdict.lost, verdict.gained, verdict.probes) == (lost, gained, len(pairs))
    assert verdict.drop == pytest.approx(100 * (sum(before) - sum(after)) / len(pairs))
    # McNemar's exact test by hand: both tails of a fair coin over the probes that changed.
    n, k = lost + gained, min(lost, gained)
    by_hand = 1.0 if n == 0 else min(1.0, 2 * binom.cdf(k, n, 0.5))
    assert verdict.p == pytest.approx(by_hand)
    assert -100 <= verdict.low <= verdict.drop + 1e-9 and verdict.drop - 1e-9 <= verdict.high <= 100
    assert (verdict.low > 0) == (verdict.word == "regressed"), "interval and test must not contradict each other"


@pytest.mark.parametrize(("probes", "lost"), [(100, 0), (100, 1), (120, 1), (339, 5), (7, 7)])
def test_the_interval_is_exact_where_only_losses_occurred(probes, lost):
    verdict = compare([True] * probes, [False] * lost + [True] * (probes - lost))
    exact = binomtest(lost, probes).proportion_ci(0.95, "exact")
    assert verdict.high == pytest.approx(100 * exact.high, abs=1e-3)
    assert verdict.word == ("regressed" if lost > 5 else "held" if exact.high <= 0.03 else "within noise")


@pytest.mark.training
@pytest.mark.parametrize(("losing", "gaining"), [(0.01, 0.0), (0.03, 0.01), (0.1, 0.1), (0.3, 0.05)])
def test_the_interval_holds_the_true_drop_at_least_95_times_in_100(losing, gaining):
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(300):
        drawn = rng.random(120)
        before, after = np.ones(120, bool), drawn >= losing
        gains = rng.random(120) < gaining / (1 - losing)
        before = before & ~(gains & after)
        verdict = compare(before.tolist(), after.tolist())
        inside += verdict.low <= 100 * (losing - gaining) <= verdict.high
    assert inside >= 0.93 * 300, inside


def test_the_words():
    assert compare([True] * 100, [True] * 59 + [False] * 41).word == "regressed"
    assert compare([True] * 300, [True] * 300).word == "held"
    assert compare([True] * 3, [True, True, False]).word == "within noise", "three prompts cannot tell"
    assert compare([True] * 3, [True] * 3).word == "within noise", "nor can they show that nothing was lost"
    assert "lost 41 of 100" in str(compare([True] * 100, [True] * 59 + [False] * 41))


@pytest.mark.training
def test_no_change_is_called_a_regression_at_most_one_time_in_twenty():
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(400):
        flips = rng.random(80) < 0.1  # a tenth of the probes change, in a random direction
        before = rng.random(80) < 0.5
        wrong += compare(before.tolist(), np.where(flips, ~before, before).tolist()).word == "regressed"
    assert wrong / 400 <= 0.05


def test_what_does_not_pair_is_refused():
    with pytest.raises(ValueError, match="do not pair"):
        compare([True], [True, False])
    with pytest.raises(ValueError, match="do not pair"):
        compare([], [])
