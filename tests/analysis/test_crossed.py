import itertools

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy import stats
from statsmodels.stats.anova import anova_lm

from analysis.statistics.crossed import components, shares, two_way
from analysis.statistics.inference import mean_interval

FAULTS = [
    (
        "analysis/statistics/crossed.py",
        "np.nanmean(scores, 1).var(ddof=1)",
        "np.nanmean(scores, 1).var()",
    ),
    ("analysis/statistics/crossed.py", "total - (y.sum(0) ** 2", "total - (y.sum(0) ** 2 / 2"),
    (
        "analysis/statistics/crossed.py",
        "[n - n_examples, 0, n - n_examples]",
        "[n - n_seeds, 0, n - n_examples]",
    ),
    (
        "analysis/statistics/crossed.py",
        "if np.allclose(np.dot(which, told), which) else np.nan",
        "",
    ),
    ("analysis/statistics/crossed.py", "found.example * (known.sum(0) ** 2).sum() / n**2", "0"),
    ("analysis/statistics/inference.py", "second * n / (n - 1)", "second"),
    (
        "analysis/statistics/crossed.py",
        "skew_by_seed + skew_by_example",
        "skew_by_seed - skew_by_example",
    ),
    ("analysis/statistics/crossed.py", "    if by_seed > 0:\n", "    if False:\n"),
    ("analysis/statistics/crossed.py", "- (spread - found.seed)", ""),
    ("analysis/statistics/crossed.py", "known), by_seed, by_example)", "known), by_seed)"),
    ("analysis/statistics/crossed.py", "known), by_seed, by_example)", "known), by_example)"),
    (
        "analysis/statistics/crossed.py",
        "scores - mean, 0) / n",
        "scores - np.nanmean(scores, 1).mean(), 0) / n",
    ),
    (
        "analysis/statistics/crossed.py",
        "found.seed * (known.sum(1) ** 2).sum() / n**2",
        "found.seed / len(known)",
    ),
    (
        "analysis/statistics/crossed.py",
        "return of_seeds + found.rest / n",
        "return of_seeds + found.residual / n",
    ),
    ("analysis/statistics/crossed.py", "max(freedom, 1), level)]", "freedom, level)]"),
]


def crossing(rng, seeds, examples, tested, of_seed, of_example, of_rest):
    """Draw scores with known components; each seed tests other examples."""
    scores = rng.normal(0, of_seed, (seeds, 1)) + rng.normal(0, of_example, examples)
    scores = scores + rng.normal(0, of_rest, scores.shape)
    for row in scores:
        row[rng.permutation(examples)[tested:]] = np.nan
    return scores


def test_a_complete_crossing_is_the_analysis_of_variance(rng):
    scores = crossing(rng, 6, 25, 25, 1, 2, 1)
    seed, example = np.indices(scores.shape)
    table = pd.DataFrame({"y": scores.ravel(), "seed": seed.ravel(), "example": example.ravel()})
    squares = anova_lm(smf.ols("y ~ C(seed) + C(example)", table).fit())
    mean = squares["sum_sq"] / squares["df"]
    found = components(scores)
    assert found.residual == pytest.approx(mean["Residual"])
    assert found.seed == pytest.approx((mean["C(seed)"] - mean["Residual"]) / 25)
    assert found.example == pytest.approx((mean["C(example)"] - mean["Residual"]) / 6)
    assert found.rest == pytest.approx(found.example + found.residual)


@pytest.mark.parametrize("tested", [40, 12])
def test_planted_components_are_recovered_without_bias(rng, tested):
    found = [components(crossing(rng, 8, 40, tested, 0.5, 1, 1.5)) for _ in range(600)]
    for name, truth in (("seed", 0.25), ("example", 1), ("residual", 2.25), ("rest", 3.25)):
        values = np.array([getattr(each, name) for each in found])
        assert abs(values.mean() - truth) < 4 * values.std() / np.sqrt(len(values)), name


def test_components_that_nothing_tells_apart_are_not_given(rng):
    disjoint = np.full((4, 40), np.nan)
    for seed in range(4):
        disjoint[seed, 10 * seed : 10 * seed + 10] = rng.normal(size=10)
    found = components(disjoint)
    assert np.isnan([found.example, found.residual]).all()
    assert np.isfinite([found.seed, found.rest]).all()
    assert found.rest == pytest.approx(np.mean([np.nanvar(row, ddof=1) for row in disjoint]))
    split = shares(disjoint)
    assert np.isnan([split.example, split.residual]).all()
    assert 0 <= split.seed_low <= split.seed <= split.seed_high <= 1
    alone = components(rng.normal(size=(1, 40)))
    assert np.isnan([alone.seed, alone.example, alone.residual]).all()
    assert np.isnan(shares(rng.normal(size=(1, 40))).seed)
    assert np.isnan(components(np.full((3, 4), np.nan)).rest)


def test_shares_add_up_and_their_interval_covers(rng):
    truth, inside = 0.1**2 / (0.1**2 + (0.5**2 + 1) / 100), []
    for _ in range(300):
        found = shares(crossing(rng, 10, 300, 100, 0.1, 0.5, 1))
        assert found.seed + found.example + found.residual == pytest.approx(1)
        inside.append(found.seed_low <= truth <= found.seed_high)
    assert 0.92 <= np.mean(inside) <= 0.985


@pytest.mark.parametrize("seeds", [5, 10])
@pytest.mark.parametrize(("examples", "tested"), [(150, 150), (400, 80)])
@pytest.mark.parametrize("of_seed", [0.05, 0.25])
def test_the_two_way_interval_covers_where_one_over_seeds_does_not(
    rng, seeds, examples, tested, of_seed
):
    inside, over_seeds = [], []
    for _ in range(400):
        scores = crossing(rng, seeds, examples, tested, of_seed, 1, 1)
        found = two_way(scores)
        inside.append(found.low <= 0 <= found.high)
        replicas = np.nanmean(scores, 1)
        over_seeds.append(abs(replicas.mean()) <= 2.262 * replicas.std(ddof=1) / np.sqrt(seeds))
    assert 0.92 <= np.mean(inside) <= 0.99
    if tested == examples and of_seed < 0.1:
        assert np.mean(over_seeds) < 0.8


def test_without_examples_of_their_own_the_interval_is_student_s(rng):
    scores = np.repeat(rng.normal(size=(5, 1)), 2000, axis=1)  # every example of a seed alike
    found = two_way(scores)
    of_seed = scores[:, 0]
    assert found.error == pytest.approx(of_seed.std(ddof=1) / np.sqrt(5), rel=1e-3)
    assert found.freedom == pytest.approx(4, rel=1e-2)


def test_the_two_way_variance_adds_what_seeds_examples_and_cells_contribute(rng):
    scores = crossing(rng, 12, 300, 300, 0.3, 2, 1)
    found = components(scores)
    assert two_way(scores).error ** 2 == pytest.approx(
        found.seed / 12 + found.example / 300 + found.residual / 3600, rel=1e-9
    )


def test_the_two_way_variance_is_the_largest_of_three_estimates(rng):
    largest = set()
    for of_seed, of_example, of_rest in itertools.product([0, 1], [0, 1], [0.5, 3]):
        for _ in range(10):
            scores = crossing(rng, 5, 12, 12, of_seed, of_example, of_rest)
            # seeds of unequal size
            scores[rng.random(scores.shape) < np.linspace(0, 0.7, 5)[:, None]] = np.nan
            known, found = np.isfinite(scores), components(scores)
            n, off = known.sum(), scores - scores[known].mean()
            by_parts = found.residual / n + sum(
                variance * (known.sum(axis) ** 2).sum() / n**2
                for variance, axis in ((found.seed, 1), (found.example, 0))
            )
            jackknife = [
                units / (units - 1) * (np.nansum(off, axis) ** 2).sum() / n**2
                for axis, units in ((1, known.any(1).sum()), (0, known.any(0).sum()))
            ]
            assert two_way(scores).error ** 2 == pytest.approx(max(by_parts, *jackknife))
            largest.add(int(np.argmax([by_parts, *jackknife])))
    assert largest == {0, 1, 2}


def test_where_no_example_comes_twice_the_error_is_that_of_the_seeds_means(rng):
    disjoint = np.full((4, 40), np.nan)
    for seed in range(4):
        disjoint[seed, 10 * seed : 10 * seed + 10] = seed + rng.normal(size=10)
    assert two_way(disjoint).error == pytest.approx(stats.sem(np.nanmean(disjoint, 1)))


def test_where_seeds_and_examples_add_up_the_seeds_part_has_the_interval_of_a_variance(rng):
    of_seed, of_example = rng.normal(size=5), rng.normal(size=40)
    found = shares(of_seed[:, None] + of_example)
    tails = stats.chi2.ppf([0.975, 0.025], 4)
    variances = 4 * of_seed.var(ddof=1) / tails  # nothing but the seeds moves their means
    expected = variances / (variances + of_example.var(ddof=1) / 40)
    assert [found.seed_low, found.seed_high] == pytest.approx(expected)


def test_the_interval_takes_no_less_than_one_degree_of_freedom():
    found = two_way([[0, 0], [0, 1]])  # the components add up to no more than either jackknife
    assert (found.mean, found.error, found.freedom) == pytest.approx((0.25, 0.25, 0.5))
    half = stats.t.ppf(0.975, 1) * 0.25
    assert (found.low, found.high) == pytest.approx((0.25 - half, 0.25 + half))


def test_the_interval_reaches_into_the_long_tail_of_seeds_and_examples(rng):
    of_seed, of_example = rng.exponential(size=(8, 1)), 8 * rng.exponential(size=30)
    found = two_way(of_seed + of_example)
    third = stats.kstat(of_seed, 3) / 8**2 + stats.kstat(of_example, 3) / 30**2
    t = stats.t.ppf(0.975, found.freedom)
    assert found.mean - found.low == pytest.approx(t * found.error)
    assert found.high - found.mean == pytest.approx(
        (t + third / found.error**3 * (t**2 + 0.5) / 3) * found.error
    )


@pytest.mark.parametrize("of_example", [0.0, 0.3, 3.0])
def test_new_examples_never_shorten_the_interval_of_new_seeds(rng, of_example):
    for _ in range(50):
        scores = (
            rng.exponential(size=(6, 1))
            + of_example * rng.exponential(size=(1, 40))
            + rng.normal(size=(6, 40))
        )
        found, (low, high) = two_way(scores), mean_interval(scores.mean(1))
        assert found.low <= low + 1e-12
        assert found.high >= high - 1e-12


def test_one_seed_or_one_example_has_a_mean_and_no_interval(rng):
    for shape in ((1, 20), (20, 1)):
        found = two_way(rng.normal(size=shape))
        assert np.isfinite(found.mean)
        assert np.isnan([found.error, found.low, found.high]).all()
    assert np.isnan(two_way(np.full((2, 3), np.nan)).mean)
    equal = two_way(np.ones((3, 4)))
    assert (equal.low, equal.mean, equal.high) == (1, 1, 1)
