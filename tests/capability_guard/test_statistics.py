"""The statistics of the gate, against other people's implementations and against their own promises."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.special import gammaln, xlogy
from scipy.stats import binomtest
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests

from capability_guard import statistics as paired

counts = st.integers(0, 60)
levels = st.sampled_from([0.001, 0.01, 0.05, 0.2])


@given(counts, counts, counts)
def test_mcnemar_is_that_of_statsmodels(same, lost, gained):
    theirs = statsmodels_mcnemar([[same, lost], [gained, 3]], exact=True).pvalue
    assert paired.mcnemar(lost, gained) == pytest.approx(min(1.0, theirs))
    one_sided = binomtest(lost, lost + gained, alternative="greater").pvalue if lost + gained else 1.0
    assert paired.mcnemar(lost, gained, "greater") == pytest.approx(one_sided)


@pytest.mark.training
@settings(max_examples=12, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_that_of_statsmodels(values):
    assert paired.holm(values) == pytest.approx(multipletests(values, method="holm")[1].tolist())
    assert paired.holm([]) == []


@settings(max_examples=60, deadline=None)
@given(counts, counts, st.integers(0, 200), levels)
def test_the_bounds_agree_with_the_test(lost, gained, same, level):
    assume(lost + gained + same)
    n = lost + gained + same
    low, high = paired.least_lost(n, lost, gained, level), paired.most_lost(n, lost, gained, level)
    assert -1 <= low <= (lost - gained) / n <= high <= 1
    # Fay and Lumbard's interval leaves out 0 exactly when the exact test rejects.
    assert (low > 1e-7) == (paired.mcnemar(lost, gained, "greater") < level - 1e-9) or abs(low) < 1e-6
    assert (high < -1e-7) == (paired.mcnemar(lost, gained, "less") < level - 1e-9) or abs(high) < 1e-6


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 400), levels)
def test_without_any_change_the_bound_is_the_binomial_one(n, level):
    exact = binomtest(0, n, alternative="less").proportion_ci(1 - level, method="exact").high
    assert paired.most_lost(n, 0, 0, level) == pytest.approx(exact)
    assert paired.most_lost(n, n, 0, level) == 1.0
    assert (paired.most_lost(n, 0, n, level) < 0) == (0.5**n < level), "all gained, and enough of them"


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 80), levels, st.integers(0, 2**32 - 1))
def test_the_bound_is_the_quantile_that_simulation_finds(lost, gained, same, level, seed):
    n, rng = lost + gained + same, np.random.default_rng(seed)
    share = rng.beta(lost + 1, gained, 200_000)
    drops = [rng.beta(a, b, 200_000) * (2 * share - 1)
             for a, b in ((lost + gained + 1, same), (lost + gained, same + 1))]  # fmt: skip
    found = max(np.quantile(drop, 1 - level) for drop in drops)
    assert paired.most_lost(n, lost, gained, level) == pytest.approx(found, abs=0.02)


@pytest.mark.parametrize("level", [0.05, 0.01])
def test_the_bound_keeps_its_promise_whatever_the_truth(level):
    """Over every outcome of 20 probes, weighted exactly: the true drop is above the bound at most ``level`` of the time."""
    n = 20
    outcomes = [(b, c) for b in range(n + 1) for c in range(n + 1 - b)]
    bounds = np.array([paired.most_lost(n, b, c, level) for b, c in outcomes])
    b, c = np.array(outcomes).T
    ways = gammaln(n + 1) - gammaln(b + 1) - gammaln(c + 1) - gammaln(n - b - c + 1)
    for lost in (0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.9):
        for gained in (0, 0.01, 0.03, 0.1, 0.3):
            if lost + gained < 1:
                chance = np.exp(ways + xlogy(b, lost) + xlogy(c, gained) + xlogy(n - b - c, 1 - lost - gained))
                assert chance[bounds < lost - gained - 1e-7].sum() <= level, (lost, gained)


@pytest.mark.training
@settings(max_examples=20, deadline=None)
@given(st.integers(0, 6), st.integers(0, 6), st.integers(0, 60), st.sampled_from([0.02, 0.05, 0.1]))
def test_so_many_probes_would_pass_and_no_fewer(lost, gained, same, budget):
    assume(lost + gained + same)
    n = lost + gained + same
    needed = paired.probes_to_pass(n, lost, gained, budget, 0.05)
    if (lost - gained) / n >= budget:
        assert needed is None
    if needed:
        assert paired.most_lost(needed, lost * needed / n, gained * needed / n, 0.05) <= budget + 1e-9
        fewer = needed - 1
        assert needed == n or paired.most_lost(fewer, lost * fewer / n, gained * fewer / n, 0.05) > budget - 1e-9
    assert paired.probes_to_pass(1, 0, 0, 0.05, 0.05) == 59, "the rule of three: 3 / 0.05, nearly"


def test_so_many_probes_would_show_a_loss():
    assert paired.probes_to_block(200, 4, 0, 0.05) == 250, "with none gained, five lost are the fewest that tell"
    needed = paired.probes_to_block(20, 3, 1, 0.05)
    assert paired.mcnemar(3 * needed // 20, -(-needed // 20), "greater") <= 0.05 < paired.mcnemar(3, 1, "greater")
    assert paired.probes_to_block(20, 1, 1, 0.05) is None


def test_two_means_without_pairs():
    drop, low, high, p = paired.unpaired(0.8, 0.7, 0.03, 0.04, 0.05)
    assert (
        drop == pytest.approx(0.1)
        and high - drop == pytest.approx(1.6449 * 0.05, abs=1e-4)
        and p == pytest.approx(0.0228, abs=1e-3)
    )
    assert low == pytest.approx(2 * drop - high)
