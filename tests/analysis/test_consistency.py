import numpy as np
import pytest
from scipy.stats import pearsonr
from scipy.stats import t as student
from sklearn.metrics import cohen_kappa_score

from analysis.statistics.consistency import beside_own, other_seeds, same_seed

FAULTS = [
    ("analysis/statistics/consistency.py", "n_seeds >= MIN_SEEDS", "n_seeds > MIN_SEEDS"),
    (
        "analysis/statistics/consistency.py",
        "(n * both - p * q) * share",
        "(n * both - p * p) * share",
    ),
    ("analysis/statistics/consistency.py", "scale / 2, n - scale", "scale, n - scale"),
    ("analysis/statistics/consistency.py", "sums[:, :, seeds, :, seeds] = 0", "pass"),
    ("analysis/statistics/consistency.py", "* (n - 1) / n)", "/ n)"),
    (
        "analysis/statistics/consistency.py",
        "within_without[None]) / 2",
        "within_without[None]) / 4",
    ),
    ("analysis/statistics/consistency.py", "known @ (b**2).T", "known @ b.T"),
]


def failing(rng, seeds, examples, tested, common=1.0, easy=(1.0, 1.5)):
    """Errors of two arms; `common` is how much an example's hardness, for both, weighs."""
    hardness = rng.normal(0, common, examples)
    latent = hardness + rng.normal(0, 0.2, (1, seeds, 1)) + rng.normal(size=(2, seeds, examples))
    errors = (latent < -np.array(easy)[:, None, None]).astype(float)
    for seed in range(seeds):
        errors[:, seed, rng.permutation(examples)[tested:]] = np.nan
    return errors


def test_one_seed_equals_scikit_learn_and_scipy(rng):
    errors, residuals = (rng.random((3, 2, 50)) < 0.3).astype(float), rng.normal(size=(3, 2, 50))
    for seed in range(2):
        kappa = same_seed(errors[:, seed : seed + 1], classes=True)
        correlation = same_seed(residuals[:, seed : seed + 1], classes=False)
        for i, j in np.ndindex(3, 3):
            one, two = errors[i, seed], errors[j, seed]
            assert kappa.value[i, j] == pytest.approx(cohen_kappa_score(one, two))
            assert kappa.observed[i, j] == pytest.approx((one == two).mean())
            p, q = one.mean(), two.mean()
            assert kappa.expected[i, j] == pytest.approx(p * q + (1 - p) * (1 - q))
            expected = pearsonr(residuals[i, seed], residuals[j, seed]).statistic
            assert correlation.value[i, j] == pytest.approx(expected)
    assert np.isnan(correlation.observed).all()


def test_other_seeds_equal_scikit_learn_on_shared_examples(rng):
    errors = failing(rng, 2, 60, 40)
    found = other_seeds(errors, classes=True)
    for i, j in ((0, 0), (1, 1)):  # two seeds make one pair of networks within an arm
        shared = np.isfinite(errors[i, 0]) & np.isfinite(errors[j, 1])
        assert found.value[i, j] == pytest.approx(
            cohen_kappa_score(errors[i, 0, shared], errors[j, 1, shared])
        )
    weights, kappas = [], []
    for s, t in ((0, 1), (1, 0)):
        shared = np.isfinite(errors[0, s]) & np.isfinite(errors[1, t])
        one, two = errors[0, s, shared], errors[1, t, shared]
        p, q = one.mean(), two.mean()
        weights.append(len(one) * (p + q - 2 * p * q))
        kappas.append(cohen_kappa_score(one, two))
    assert found.value[0, 1] == pytest.approx(np.average(kappas, weights=weights))


def test_independent_errors_have_none_and_equal_ones_all(rng):
    independent = (rng.random((2, 20, 2000)) < np.array([0.1, 0.4])[:, None, None]).astype(float)
    for found in (same_seed(independent, classes=True), other_seeds(independent, classes=True)):
        assert abs(found.value[0, 1]) < 0.02
        assert found.low[0, 1] < 0 < found.high[0, 1]
    same = np.broadcast_to(independent[:1, :1], (2, 4, 2000))
    for found in (same_seed(same, classes=True), other_seeds(same, classes=True)):
        assert found.value == pytest.approx(np.ones((2, 2)))
        assert found.low == pytest.approx(np.ones((2, 2)))


def test_no_errors_and_errors_alone_are_not_compared(rng):
    errors = (rng.random((4, 3, 30)) < 0.4).astype(float)
    errors[0], errors[1] = 0, 1
    errors[3, 1:] = np.nan
    found = same_seed(errors, classes=True)
    assert np.isnan(np.diag(found.value)[:2]).all()  # always right, or always wrong, twice
    assert found.value[0, 1] == 0 == found.value[0, 2]
    assert found.n_seeds[2, 3] == 1
    assert np.isnan(found.low[2, 3])
    assert np.isfinite(found.value[2, 3])
    assert np.isnan(other_seeds(errors, classes=True).value[3, 3])


@pytest.mark.parametrize("common", [0.0, 1.0])
@pytest.mark.parametrize("seeds", [5, 10])
def test_the_intervals_cover(rng, common, seeds):
    long = failing(np.random.default_rng(1), 60, 20_000, 20_000, common)
    same, other = same_seed(long, classes=True).value, other_seeds(long, classes=True).value
    inside = []
    for _ in range(200):
        errors = failing(rng, seeds, 900, 150, common)
        one, two = same_seed(errors, classes=True), other_seeds(errors, classes=True)
        inside.append(
            [
                one.low[0, 1] <= same[0, 1] <= one.high[0, 1],
                two.low[0, 1] <= other[0, 1] <= two.high[0, 1],
                two.low[0, 0] <= other[0, 0] <= two.high[0, 0],
            ]
        )
    assert (np.mean(inside, axis=0) > 0.91).all()


def test_one_rule_under_two_names_fails_like_itself_and_another_does_not(rng):
    alike, apart = [], []
    for _ in range(150):
        value, low, high = beside_own(
            other_seeds(failing(rng, 10, 900, 150, easy=(1, 1)), classes=True)
        )
        alike.append(low[0, 1] <= 0 <= high[0, 1])
        hardness = 2 * rng.normal(size=(2, 1, 300))  # another for each arm
        errors = (hardness + rng.normal(size=(2, 10, 300)) < -1).astype(float)
        apart.append(beside_own(other_seeds(errors, classes=True))[2][0, 1] < 0)
    assert np.mean(alike) > 0.91
    assert np.mean(apart) > 0.95
    assert np.diag(value) == pytest.approx(np.zeros(2))


def test_three_seeds_have_an_interval_and_two_have_none(rng):
    errors = failing(rng, 3, 200, 120)
    assert np.isfinite(same_seed(errors, classes=True).low[0, 1])
    assert np.isnan(same_seed(errors[:, :2], classes=True).low[0, 1])


def test_intervals_are_those_of_a_jackknife_done_by_hand(rng):
    errors = failing(rng, 6, 200, 120)

    def values(kept):
        other = other_seeds(kept, classes=True)
        return [
            same_seed(kept, classes=True).value[0, 1],
            other.value[0, 1],
            other.value[0, 0],
            beside_own(other)[0][0, 1],
        ]

    without = np.array([values(np.delete(errors, seed, axis=1)) for seed in range(6)])
    reach = student.ppf(0.975, 5) * np.sqrt(5 / 6 * ((without - without.mean(0)) ** 2).sum(0))
    same, other = same_seed(errors, classes=True), other_seeds(errors, classes=True)
    found = [same.high[0, 1], other.high[0, 1], other.high[0, 0], beside_own(other)[2][0, 1]]
    assert np.array(found) == pytest.approx(np.array(values(errors)) + reach)
