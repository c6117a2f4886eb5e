from itertools import product

import numpy as np
import pytest
from scipy.stats import binomtest
from statsmodels.stats.contingency_tables import mcnemar as independent

from analysis.statistics.inference import holm
from analysis.statistics.mcnemar import mcnemar, over_seeds, sign_flip_counts

FAULTS = [
    ("analysis/statistics/mcnemar.py", "binomial[::size]", "binomial[: count + 1]"),
    ("analysis/statistics/mcnemar.py", "        return np.nan\n", "        return 1.0\n"),
    ("analysis/statistics/mcnemar.py", "differences.sum(0)[shared.any(0)]", "differences.sum(0)"),
    (
        "analysis/statistics/mcnemar.py",
        "p_seeds=sign_flip_counts(differences.sum(1)[shared.any(1)])",
        "p_seeds=sign_flip_counts(differences.ravel())",
    ),
    (
        "analysis/statistics/mcnemar.py",
        "first=int((one & ~two).sum())",
        "first=int((one | ~two).sum())",
    ),
    ("analysis/statistics/mcnemar.py", "seed.p < 0.05", "seed.p < 0.5"),
    ("analysis/statistics/mcnemar.py", "min(1.0, chances", "max(0.0, chances"),
]


def test_one_seed_equals_statsmodels_and_the_binomial(rng):
    for _ in range(50):
        first, second = rng.integers(0, 2, (2, 45)).astype(float)
        first[:5] = np.nan
        found = mcnemar(first, second)
        table = [[found.both, found.first], [found.second, found.neither]]
        kept = slice(5, None)
        assert np.sum(table) == 40
        assert found.first == ((first == 1) & (second == 0))[kept].sum()
        assert found.p == pytest.approx(independent(table, exact=True).pvalue)
        assert found.p == pytest.approx(binomtest(found.first, found.first + found.second).pvalue)


def test_equal_arms_do_not_differ():
    assert mcnemar([1, 0, 1], [1, 0, 1]).p == 1
    assert sign_flip_counts([0, 0]) == 1
    p = [sign_flip_counts([1, -1] * n) for n in range(1, 40)]
    assert p == pytest.approx(np.ones(39), rel=1e-12)
    assert max(p) == 1  # and not more by rounding


def test_arms_that_share_no_example_have_no_p():
    one, other = np.array([[1, 0, np.nan, np.nan]] * 2), np.array([[np.nan, np.nan, 1, 1]] * 2)
    assert np.isnan(mcnemar(one[0], other[0]).p)
    found = over_seeds(one, other)
    assert (found.n_seeds, found.clear) == (0, 0)
    assert np.isnan([found.p_seeds, found.p_examples]).all()
    p = [found.p_examples, 0.02, 0.03]
    assert holm(p)[1:].tolist() == [0.04, 0.04]  # it is no member of the family
    # of one seed
    assert over_seeds([[1, np.nan], [np.nan, 1]], [[0, np.nan], [1, np.nan]]).p_seeds == 1


def test_sums_of_signed_counts_equal_their_enumeration(rng):
    for _ in range(40):
        counts = rng.integers(-5, 6, 9)
        sums = [abs(np.dot(signs, counts)) for signs in product((1, -1), repeat=9)]
        assert sign_flip_counts(counts) == pytest.approx(
            np.mean(np.array(sums) >= abs(counts.sum()))
        )


def test_seeds_and_examples_are_flipped_whole(rng):
    first, second = rng.integers(0, 2, (2, 6, 30)).astype(float)
    first[rng.random(first.shape) < 0.4] = np.nan
    found = over_seeds(first, second)
    differences = np.nan_to_num(first - second)
    assert found.n_seeds == 6
    assert found.clear == sum(mcnemar(*pair).p < 0.05 for pair in zip(first, second, strict=True))
    assert found.first - found.second == differences.sum()
    of_seed = differences.sum(1)
    sums = [abs(np.dot(signs, of_seed)) for signs in product((1, -1), repeat=6)]
    assert found.p_seeds == pytest.approx(np.mean(np.array(sums) >= abs(of_seed.sum())))
    assert found.p_examples == pytest.approx(sign_flip_counts(differences.sum(0)))
    one = over_seeds(first[:1], second[:1])
    assert one.p_examples == pytest.approx(mcnemar(first[0], second[0]).p)


def test_examples_that_every_seed_tests_do_not_count_as_many(rng):
    """Two rules alike, each good at other examples at every seed: only whole examples may flip."""
    small, naive = [], []
    for _ in range(300):
        hard = rng.random((2, 1, 60))
        first, second = (rng.random((2, 10, 60)) < 0.2 + 0.6 * (hard < 0.5)).astype(float)
        small.append(over_seeds(first, second).p_examples < 0.05)
        naive.append(sign_flip_counts((first - second).ravel()) < 0.05)
    assert np.mean(small) < 0.075
    assert np.mean(naive) > 0.2


def test_a_planted_difference_is_found(rng):
    first, second = (rng.random((2, 10, 100)) < np.array([0.9, 0.7])[:, None, None]).astype(float)
    found = over_seeds(first, second)
    assert found.p_seeds == pytest.approx(2 / 2**10)
    assert found.p_examples < 1e-4
    assert found.clear >= 5
