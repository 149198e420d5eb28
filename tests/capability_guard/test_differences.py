"""The bound on a mean of paired differences: exact where exact ones are known, and as good as its word for other shapes."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import gammaln, xlogy
from scipy.stats import binomtest

from capability_guard import statistics as paired
from capability_guard.differences import TIMES, fewest_to_pass, mean_rise
from capability_guard.gate import judge
from capability_guard.gate.rule import PASSED, REGRESSED, UNSURE
from capability_guard.measurement import Measurement, Row

levels = st.sampled_from([0.001, 0.01, 0.05, 0.2])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 120), levels)
def test_of_right_and_wrong_it_is_the_exact_test(lost, gained, same, level):
    rises = [1.0] * lost + [-1.0] * gained + [0.0] * same
    if not rises:
        return
    n, p = len(rises), paired.mcnemar(lost, gained, "greater")
    mean, low, high, ours = mean_rise(rises, level, reach=1.0)
    assert ours == pytest.approx(p, rel=0.05, abs=1e-12) and mean == pytest.approx((lost - gained) / n)
    assert -1 <= low <= mean + 1e-9 and mean - 1e-9 <= high <= 1
    if not gained and lost < n:
        exact = binomtest(lost, n).proportion_ci(1 - 2 * level, "exact")
        assert high == pytest.approx(exact.high, abs=0.01)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=30), levels, st.integers(0, 2**32 - 1))
def test_it_is_the_quantile_that_simulation_finds(rises, level, seed):
    """Weights as the source defines them: the gaps between sorted uniform numbers."""
    rng = np.random.default_rng(seed)
    cuts = np.sort(rng.random((40_000, len(rises))), axis=1)
    weights = np.diff(cuts, axis=1, prepend=0.0, append=1.0)
    found = weights @ np.append(rises, 1.0)
    high = mean_rise(rises, level, reach=1.0)[2]
    assert (found > high).mean() == pytest.approx(level, abs=0.012)


@pytest.mark.parametrize(
    "values", [(-1.0, 0.0, 1.0), (-0.2, 0.1, 1.0), (0.0, 0.3, 1.0), (-0.05, 0.02, 0.5), (-1.0, 0.05, 0.4)]
)
def test_it_keeps_its_promise_for_three_values_however_likely(values):
    """Over every sample of 16, weighted exactly: the true mean is above the bound at most one time in twenty, or as nearly as
    the saddlepoint formula goes."""
    n, level = 16, 0.05
    counts = np.array([(a, b, n - a - b) for a in range(n + 1) for b in range(n + 1 - a)])
    highs = np.array([mean_rise(np.repeat(values, row), level, reach=1.0)[2] for row in counts])
    ways = gammaln(n + 1) - gammaln(counts + 1).sum(axis=1)
    for first in (0.0, 0.1, 0.3, 0.6, 0.9):
        for last in (0.0, 0.02, 0.05, 0.1, 0.2, 0.5):
            if first + last <= 1:
                shares = np.array([first, 1 - first - last, last])
                chance = np.exp(ways + xlogy(counts, shares).sum(axis=1))
                assert chance[highs < shares @ values - 1e-7].sum() <= level * 1.03, shares


SHAPES = {  # rises with a mean of 1, which is the budget: to pass them is an error
    "normal": lambda rng, n: rng.normal(1, 3, n),
    "lognormal": lambda rng, n: rng.lognormal(-0.5, 1, n),
    "exponential": lambda rng, n: rng.exponential(1, n),
    "one in twenty by 20": lambda rng, n: 20.0 * (rng.random(n) < 0.05) + rng.normal(0, 0.05, n),
    "one in ten by 10": lambda rng, n: 10.0 * (rng.random(n) < 0.1),
    "most a little better, some much worse": lambda rng, n: np.where(rng.random(n) < 0.2, 9.0, -1.0),
    "two values": lambda rng, n: np.where(rng.random(n) < 0.5, -1.0, 3.0),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n", [20, 60, 150])
def test_a_rise_beyond_the_budget_passes_at_most_one_time_in_twenty_whatever_its_shape(shape, n):
    rng, rounds = np.random.default_rng(3), 100
    passed = sum(mean_rise(1.0001 * SHAPES[shape](rng, n), 0.05, reach=TIMES)[2] <= 1 for _ in range(rounds))
    assert passed / rounds <= 0.05 + 2 * (0.05 * 0.95 / rounds) ** 0.5


@pytest.mark.parametrize("shape", SHAPES)
def test_no_rise_is_found_at_most_one_time_in_twenty_where_there_is_none(shape):
    rng, rounds = np.random.default_rng(4), 100
    found = sum(mean_rise(1 - SHAPES[shape](rng, 60), 0.05, reach=TIMES)[3] <= 0.05 for _ in range(rounds))
    assert found / rounds <= 0.05 + 2 * (0.05 * 0.95 / rounds) ** 0.5


def test_differences_that_are_all_alike_prove_no_more_than_their_number_and_warn_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for n in (1, 5, 58, 59, 400):
            for rise in (0.0, 0.25, 0.1 + 1e-17, -0.3, 1e-300, 1e200):
                mean, low, high, p = mean_rise([rise] * n, 0.05, reach=1.0)
                assert low <= mean <= high and 0 <= p <= 1 and mean == pytest.approx(rise, abs=1e-12)
    assert mean_rise([0.0] * 58, 0.05, reach=1.0)[2] > 0.05 >= mean_rise([0.0] * 59, 0.05, reach=1.0)[2]
    assert fewest_to_pass(1 / TIMES, 0.05) == 59
    assert mean_rise([5.0] * 4, 0.05, reach=1.0)[3] > 0.05 > mean_rise([5.0] * 5, 0.05, reach=1.0)[3], (
        "as the sign test"
    )


# --- In the gate ---------------------------------------------------------------------------------------------
def texts(name, losses, capability="wiki"):
    return Measurement(name, [Row("", f"{capability} {i}", capability, "loss", loss=x) for i, x in enumerate(losses)])


def test_few_quiet_texts_are_not_certified_and_it_says_how_many_it_takes():
    rng = np.random.default_rng(1)
    base = rng.uniform(2, 4, 59)
    few = judge(texts("a", base[:20]), texts("b", base[:20]))
    assert few.word == UNSURE and "It takes at least about 59 such probes to tell (20 asked)." in few.comparisons[0].why
    assert judge(texts("a", base), texts("b", base)).word == PASSED
    worse = judge(texts("a", base[:20]), texts("b", base[:20] + 0.3))
    assert worse.word == REGRESSED, "a rise that is plain to see needs no 59 texts"


def test_a_capability_of_texts_that_got_better_makes_no_other_good():
    base = Measurement("a", (*texts("a", [2.0] * 40, "x").rows, *texts("a", [2.0] * 40, "y").rows))
    # Of so few texts the one's rise may be chance, and with the other's fall the mean of both is 0.
    moved = Measurement("b", (*texts("b", [2.07] * 40, "x").rows, *texts("b", [1.93] * 40, "y").rows))
    assert judge(base, moved).word == UNSURE


def test_shares_of_which_few_fall_far_are_not_certified():
    def shares(name, fallen):
        return Measurement(
            name, [Row(f"q{i}", "a", "truth", "share", share=0.0 if i < fallen else 1.0) for i in range(60)]
        )

    decision = judge(shares("a", 0), shares("b", 1))
    assert decision.word == UNSURE, "one of 60 lost may be 7.7 points, as for right and wrong"
    assert judge(shares("a", 0), shares("b", 0)).word == PASSED


@pytest.mark.parametrize("budget", [1e-15, 1e-9, 1e-300, 5e-324])
def test_a_budget_of_nearly_nothing_is_open_and_names_no_number_of_probes(budget):
    rows = [Row(f"q{i}?", "y", "s", "share", share=0.8) for i in range(60)]
    base, new = Measurement("base", rows), Measurement("new", rows)
    decision = judge(base, new, max_drop=budget)
    assert decision.word == "cannot certify" and decision.comparisons[0].needed is None
    assert "More probes would tell" in decision.why
    assert fewest_to_pass(1e-17, 0.05) > 1e17 and fewest_to_pass(1 / 20, 0.05) == 59
