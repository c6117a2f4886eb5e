import itertools

import numpy as np
import pytest
from scipy import stats

from analysis.statistics import average_ranks, bootstrap_interval, holm, paired, sign_flip_p, smallest_p


def test_interval_of_two_values_is_their_range(rng):
    low, high = bootstrap_interval([0.0, 1.0], rng)  # both resampled means have probability 1/4
    assert (low, high) == (0.0, 1.0)


def test_interval_equals_the_quantiles_of_all_resamples(rng):
    values = np.array([0.1, 0.2, 0.25, 0.7, 0.9])
    every = np.array(list(itertools.product(values, repeat=5))).mean(1)  # 5^5 equally likely resamples
    low, high = bootstrap_interval(values, rng, draws=200_000)
    assert (low, high) == pytest.approx(np.quantile(every, [0.025, 0.975]), abs=0.01)


def test_interval_agrees_with_scipy_and_the_normal_limit(rng):
    values = rng.standard_normal(400)
    low, high = bootstrap_interval(values, rng)
    reference = stats.bootstrap((values,), np.mean, method="percentile", rng=1).confidence_interval
    assert (low, high) == pytest.approx((reference.low, reference.high), abs=0.01)
    half = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.01)


def test_interval_treats_columns_apart_and_leaves_out_what_is_missing(rng):
    table = np.array([[0.0, 5.0, np.nan, 0.0], [1.0, 5.0, 2.0, np.inf], [np.nan, 5.0, np.nan, 1.0]])
    low, high = bootstrap_interval(table, rng)
    np.testing.assert_array_equal(low, [0, 5, np.nan, 0])  # the third column has one value, hence no interval
    np.testing.assert_array_equal(high, [1, 5, np.nan, 1])


def test_interval_is_a_function_of_the_generator():
    values = np.arange(5.0)
    first, second, other = (bootstrap_interval(values, np.random.default_rng(seed), draws=50) for seed in (1, 1, 2))
    assert first == second
    assert first != other


def test_sign_flip_by_hand(rng):
    assert sign_flip_p([1, 2, 3, 4, 5], rng) == 2 / 32  # only all plus and all minus are as far from zero
    assert sign_flip_p([1, 1, -1], rng) == 1  # |sum| is 1 or 3: all eight patterns reach 1
    assert sign_flip_p([3, 1, -1], rng) == 6 / 8  # |sum| >= 3: 3+1+1, 3+1-1, 3-1+1 and their mirror images
    assert sign_flip_p([0, 0, 0, 0], rng) == 1
    assert np.isnan(sign_flip_p([], rng))


def test_sign_flip_exact_against_scipy(rng):
    differences = rng.standard_normal(9) + 0.5
    reference = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", alternative="two-sided", n_resamples=np.inf
    )
    assert sign_flip_p(differences, rng) == pytest.approx(reference.pvalue)


def test_sign_flip_by_monte_carlo_is_near_the_t_test(rng):
    differences = rng.standard_normal(40) + 0.3
    assert sign_flip_p(differences, rng) == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, abs=0.02)
    assert sign_flip_p(np.ones(40), rng) == smallest_p(40) == 1 / 10_001


def test_smallest_p():
    assert [smallest_p(n) for n in (1, 2, 5, 6)] == [1, 0.5, 2 / 32, 2 / 64]
    assert np.isnan(smallest_p(0))


def test_holm_by_hand():
    # sorted 0.01, 0.02, 0.03: times 3, 2, 1 gives 0.03, 0.04, 0.03, and the third may not fall below the second
    np.testing.assert_allclose(holm([0.03, 0.01, 0.02]), [0.04, 0.03, 0.04])
    np.testing.assert_allclose(holm([0.5, np.nan, 0.9]), [1, np.nan, 1])


def test_paired_by_hand(rng):
    result = paired([3.0, 4.0, 8.0, np.nan], [1.0, 3.0, 5.0, 0.0], rng)  # differences 2, 1, 3
    assert (result.n, result.mean, result.p, result.smallest_p) == (3, 2.0, 0.25, 0.25)
    assert result.d_z == pytest.approx(2.0)
    assert 1 <= result.low < 2 < result.high <= 3
    assert np.isnan(paired([1.0, 2.0], [0.0, 1.0], rng).d_z)
    assert paired([np.nan], [1.0], rng).n == 0


def test_ranks_by_hand():
    ranks = average_ranks([[0.9, 0.8], [0.7, 0.8], [np.nan, 0.1], [np.nan, np.nan]])
    # first seed: 1, 2, and two failures that share places 3 and 4; second: a tie for 1 and 2, then 3, 4
    np.testing.assert_allclose(ranks, [1.25, 1.75, 3.25, 3.75])
