import itertools

import numpy as np
import pytest
from scipy import stats

from analysis.statistics.inference import (
    at_least,
    average_ranks,
    cumulants_of_mean,
    holm,
    mean_interval,
    merged,
    paired,
    reach,
    sign_flip_p,
    smallest_p,
    stream,
)

FAULTS = [
    # ties: equal scores share a place
    ("analysis/statistics/inference.py", "((other == each).sum(1) - 1) / 2", "0"),
    ("analysis/statistics/inference.py", "(t**2 + 0.5) / 3", "(t**2 + 0.5) / 6"),
    (
        "analysis/statistics/inference.py",
        "t + np.maximum(-longer, 0), t + np.maximum(longer, 0)",
        "t + longer, t - longer",
    ),
    ("analysis/statistics/inference.py", "third * n**2", "third * n"),
    # one-sided
    (
        "analysis/statistics/inference.py",
        "float(2 * above.sum() / 2.0**n)",
        "float(above.sum() / 2.0**n)",
    ),
    # Bonferroni's correction instead of Holm's
    (
        "analysis/statistics/inference.py",
        "np.arange(len(order), 0, -1)",
        "np.full(len(order), len(order))",
    ),
    # rounding counts as variation
    (
        "analysis/statistics/inference.py",
        "deviation if deviation > off.max() else np.nan",
        "deviation if deviation else np.nan",
    ),
    (
        "analysis/statistics/inference.py",
        "deviation if deviation > off.max() else",
        "deviation if deviation > off.sum() else",
    ),
    ("analysis/statistics/inference.py", "resolution=off.max())", "resolution=off.min())"),
    ("analysis/statistics/inference.py", "np.sqrt(variance * (n - 1)) >", "np.sqrt(variance) >"),
    (
        "analysis/statistics/inference.py",
        "np.broadcast_to(resolution, known.shape)[known]",
        "np.max(resolution)",
    ),
    # two sums are off by as much as either
    ("analysis/statistics/inference.py", "slack=2 * off.sum()", "slack=off.sum()"),
]

EXAMPLES = 270


def counts(*right):
    """Accuracies as they were recorded: float32."""
    return np.float32(right) / np.float32(EXAMPLES)


def test_without_skewness_the_interval_is_the_textbooks():
    for values in ([0.0, 1.0], [1.0, 2.0, 6.0, 10.0, 11.0], [-3.0, 0.0, 0.0, 3.0]):
        n = len(values)
        half = stats.t.ppf(0.975, n - 1) * stats.sem(values)
        low, high = mean_interval(values)
        assert (low, high) == pytest.approx((np.mean(values) - half, np.mean(values) + half))


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_only_the_end_of_the_long_tail_is_further_than_students(rng, level):
    values = rng.exponential(size=7)
    error, t = stats.sem(values), stats.t.ppf((1 + level) / 2, 6)
    longer = stats.skew(values, bias=False) / np.sqrt(7) * (t**2 + 0.5) / 3
    low, high = mean_interval(values, level=level)
    assert (values.mean() - low) / error == pytest.approx(t)
    assert (high - values.mean()) / error == pytest.approx(t + longer)


def test_the_interval_follows_shift_scale_and_mirror(rng):
    values = rng.exponential(size=6)
    low, high = mean_interval(values)
    assert mean_interval(3 + 2 * values) == pytest.approx((3 + 2 * low, 3 + 2 * high))
    assert mean_interval(-values) == pytest.approx((-high, -low))
    assert high - values.mean() > values.mean() - low  # the far tail may hide more


@pytest.mark.parametrize("size", [30, 60])
def test_the_far_end_is_the_true_quantile_of_t(rng, size):
    drawn = rng.gamma(4, size=(100_000, size))  # skewness 1
    t = (drawn.mean(1) - 4) / (drawn.std(1, ddof=1) / np.sqrt(size))
    expected = -np.quantile(t, 0.025)
    _, above = reach(size - 1, 1 / np.sqrt(size))
    plain, _ = reach(size - 1, 0)
    assert abs(above - expected) < 0.2 * abs(plain - expected)


def test_cumulants_of_a_mean_are_fishers_k_statistics(rng):
    values = rng.exponential(size=(9, 2))
    values[7:, 1] = np.nan
    n = np.array([9, 7])
    deviations = np.nan_to_num(values - np.nanmean(values, axis=0)) / n
    for order, found in zip((2, 3), cumulants_of_mean(deviations, n), strict=True):
        expected = [
            stats.kstat(values[:size, k], order) / size ** (order - 1) for k, size in enumerate(n)
        ]
        np.testing.assert_allclose(found, expected)
    assert cumulants_of_mean(np.array([-1.0, 1.0]), 2) == (4, 0)


def test_equal_values_have_a_point():
    assert mean_interval([0.3] * 5) == (0.3, 0.3)
    assert mean_interval(counts(243, 243, 243)) == pytest.approx((0.9, 0.9))
    noisy = np.array([0.9, np.nextafter(np.float32(0.9), np.float32(1))])
    assert mean_interval(noisy)[0] == mean_interval(noisy)[1]  # they differ by rounding alone
    assert mean_interval(np.zeros(4)) == (0, 0)


def test_an_interval_is_cut_where_no_mean_can_be():
    low, high = mean_interval([0.97, 0.98, 1.0], (0, 1))
    assert high == 1
    assert low == mean_interval([0.97, 0.98, 1.0])[0]


def test_interval_treats_columns_apart_and_leaves_out_what_is_missing(rng):
    none, one, two = (np.where(np.arange(3) < n, rng.random(3), np.nan) for n in range(3))
    columns = [
        none,
        one,
        two,
        [0.0, np.inf, 1.0],
        [5.0] * 3,
        rng.exponential(size=3),
        1e-8 * rng.exponential(size=3),
    ]
    table = np.column_stack(columns)
    low, high = mean_interval(table)
    expected = [mean_interval(column[np.isfinite(column)]) for column in table.T]
    np.testing.assert_allclose(np.array([low, high]).T, expected)
    assert np.isnan(low).tolist() == [True, True, False, False, False, False, False]


def test_a_stream_is_its_names():
    first, again, other = (
        stream(*names).random() for names in (("a", "b"), ("a", "b"), ("ab", ""))
    )
    assert first == again != other


def test_equal_scores_are_equal():
    assert at_least(counts(243), 0.9)
    assert not at_least(counts(242), 0.9)
    assert at_least([0.9, -np.inf, np.inf, np.nan], 0.9).tolist() == [True, False, True, False]
    mixed = np.array([0.9, np.float64(np.float32(0.9)), counts(90)[0], 90 / 270, -np.inf, np.nan])
    assert merged(mixed)[0] == merged(mixed)[1]
    assert merged(mixed)[2] == merged(mixed)[3]
    assert len(np.unique(merged(np.arange(EXAMPLES) / EXAMPLES))) == EXAMPLES


def test_ties_of_counts_are_seen_in_float32(rng):
    """The right value follows from whole numbers, of which no tie can be missed."""
    first, second = (256, 243, 246, 264, 258), (260, 242, 248, 268, 259)
    assert paired(counts(*first), counts(*second), rng).p == 0.1875
    for _ in range(100):
        first, second = rng.integers(230, EXAMPLES + 1, (2, 5))
        exact = sign_flip_p(first - second, rng)
        assert paired(counts(*first), counts(*second), rng).p == exact
        assert paired(first / EXAMPLES, second / EXAMPLES, rng).p == exact


def test_differences_that_do_not_vary_have_no_effect_size(rng):
    right = np.array([40, 251, 147, 262, 93])
    first, second = counts(*right), counts(*(right - 1))
    assert np.ptp(first.astype(float) - second) > 0  # by rounding alone
    result = paired(first, second, rng)
    assert np.isnan(result.d_z)
    assert (result.low, result.high) == (result.mean, result.mean)


def test_what_is_off_at_one_seed_is_not_variation(rng):
    # 0.2 apart at every seed
    first, second = np.float32([10_000.1, 0.3, 0.4]), np.float32([9_999.9, 0.1, 0.2])
    assert np.std(first.astype(float) - second) > 1e-5  # by rounding
    found = paired(first, second, rng)
    assert np.isnan(found.d_z)
    assert (found.low, found.high) == (found.mean, found.mean)


def test_variation_beyond_the_rounding_of_one_score_counts_however_many_there_are(rng):
    ulp = 2.0**-24  # of float32 in [0.5, 1)
    values = 0.75 + 3 * ulp * np.tile([-1.0, 1.0], 50)
    half = stats.t.ppf(0.975, 99) * stats.sem(values)
    assert mean_interval(values) == pytest.approx((0.75 - half, 0.75 + half), rel=1e-12)
    assert paired(values, np.full(100, 0.75 - ulp), rng).d_z == pytest.approx(
        1 / 3 * np.sqrt(99 / 100)
    )


def test_a_tie_of_scores_that_were_all_rounded_the_wrong_way_is_seen(rng):
    # of 231
    first, second = np.array([118, 129, 129, 129, 118]), np.array([124, 127, 127, 127, 116])
    assert sign_flip_p(first - second, rng) == 1
    assert paired(np.float32(first / 231), np.float32(second / 231), rng).p == 1


def test_sign_flip_by_hand(rng):
    # only all plus and all minus are as far from zero
    assert sign_flip_p([1, 2, 3, 4, 5], rng) == 2 / 32
    assert sign_flip_p([1, 1, -1], rng) == 1  # |sum| is 1 or 3: all eight patterns reach 1
    # |sum| >= 3: 3+1+1, 3+1-1, 3-1+1 and their mirror images
    assert sign_flip_p([3, 1, -1], rng) == 6 / 8
    assert sign_flip_p([0, 0, 0, 0], rng) == 1
    assert np.isnan(sign_flip_p([], rng))


def test_sign_flip_exact_against_scipy(rng):
    differences = rng.standard_normal(9) + 0.5
    reference = stats.permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        alternative="two-sided",
        n_resamples=np.inf,
    )
    assert sign_flip_p(differences, rng) == pytest.approx(reference.pvalue)


def test_the_exact_test_counts_every_pattern(rng):
    for n in (1, 2, 7, 12):
        differences = rng.integers(-3, 5, n) / 7
        signs = np.array(list(itertools.product([1, -1], repeat=n)))
        expected = (np.abs(signs @ differences) >= abs(differences.sum()) - 1e-9).mean()
        assert sign_flip_p(differences, rng) == expected


def test_sign_flip_of_thirty_pairs_is_exact(rng):
    assert sign_flip_p(np.ones(30), rng) == smallest_p(30) == 2.0**-29
    heads = stats.binomtest(20, 30).pvalue  # signs of equal differences are coins
    assert sign_flip_p(np.repeat([1.0, -1.0], [20, 10]), rng) == pytest.approx(heads)


def test_sign_flip_by_monte_carlo_is_near_the_t_test(rng):
    differences = rng.standard_normal(40) + 0.3
    assert sign_flip_p(differences, rng) == pytest.approx(
        stats.ttest_1samp(differences, 0).pvalue, abs=0.02
    )
    assert sign_flip_p(np.ones(40), rng) == smallest_p(40) == 1 / 10_001


def test_smallest_p():
    assert [smallest_p(n) for n in (1, 2, 5, 6)] == [1, 0.5, 2 / 32, 2 / 64]
    assert np.isnan(smallest_p(0))


def test_holm_by_hand():
    # sorted 0.01, 0.02, 0.03: times 3, 2, 1 gives 0.03, 0.04, 0.03, and the third may not fall
    # below the second
    np.testing.assert_allclose(holm([0.03, 0.01, 0.02]), [0.04, 0.03, 0.04])
    np.testing.assert_allclose(holm([0.5, np.nan, 0.9]), [1, np.nan, 1])


def test_paired_by_hand(rng):
    result = paired([3.0, 4.0, 8.0, np.nan], [1.0, 3.0, 5.0, 0.0], rng)  # differences 2, 1, 3
    assert (result.n, result.mean, result.p, result.smallest_p) == (3, 2.0, 0.25, 0.25)
    assert result.d_z == pytest.approx(2.0)
    half = stats.t.ppf(0.975, 2) / np.sqrt(3)
    assert (result.low, result.high) == pytest.approx((2 - half, 2 + half))
    assert np.isnan(paired([1.0, 2.0], [0.0, 1.0], rng).d_z)
    assert paired([np.nan], [1.0], rng).n == 0


def test_ranks_by_hand():
    ranks = average_ranks([[0.9, 0.8], [0.7, 0.8], [np.nan, 0.1], [np.nan, np.nan]])
    # first seed: 1, 2, and two failures that share places 3 and 4; second: a tie for 1 and 2, then
    # 3, 4
    np.testing.assert_allclose(ranks, [1.25, 1.75, 3.25, 3.75])
    np.testing.assert_allclose(average_ranks([[0.9], counts(243)]), [1.5, 1.5])


def test_one_more_right_at_every_seed_does_not_vary(rng):
    right = np.array([256, 3, 46, 164, 258])
    found = paired(np.float32((right + 1) / 270), np.float32(right / 270), rng)
    differences = np.float32((right + 1) / 270).astype(float) - np.float32(right / 270)
    assert differences.std() > 0  # by rounding
    assert np.isnan(found.d_z)
    assert found.mean == pytest.approx(1 / 270, rel=1e-5)
