import numpy as np
import pytest
from sklearn.datasets import make_friedman1
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score

from beyond import catalog
from tasks.friedman import OTHER_COEFFICIENTS, friedman

# Of Friedman's function: 100 Var(sin(pi u v)) + 400 Var((u - 1/2)^2) + (100 + 25) Var(u), u and v
# uniform.
NODES, WEIGHTS = np.polynomial.legendre.leggauss(60)
U = (NODES + 1) / 2
SINE = np.sin(np.pi * np.outer(U, U))
MEAN_OF = np.outer(WEIGHTS, WEIGHTS) / 4
VARIANCE = 100 * ((MEAN_OF * SINE**2).sum() - (MEAN_OF * SINE).sum() ** 2) + 400 / 180 + 125 / 12


@pytest.fixture(scope="module")
def task():
    return catalog.load("task", "regression/friedman", split_seed=0)


def test_the_formula_is_scikit_learns():
    x, y = make_friedman1(200, n_features=10, noise=0.0, random_state=1)
    np.testing.assert_allclose(friedman(x), y)


def test_inputs_are_uniform_and_noise_is_normal(task):
    raw = task.examples()
    assert raw.inputs.shape == (2000, 10)
    assert (raw.inputs.min() > 0) & (raw.inputs.max() < 1)
    np.testing.assert_allclose(raw.inputs.std(0), 1 / np.sqrt(12), rtol=0.05)
    noise = raw.targets[:, 0] - friedman(raw.inputs)
    assert noise.mean() == pytest.approx(0, abs=0.08)
    assert noise.std() == pytest.approx(1, rel=0.05)


def test_knowing_the_function_gives_the_ceiling_of_the_datasheet(task):
    ceiling = VARIANCE / (VARIANCE + 1)
    assert ceiling == pytest.approx(0.960, abs=0.0005)
    raw = task.examples()
    assert r2_score(raw.targets[:, 0], friedman(raw.inputs)) == pytest.approx(ceiling, abs=0.004)
    clean = catalog.load("task", "regression/friedman", noise_std=0.0).examples()
    np.testing.assert_allclose(clean.targets[:, 0], friedman(clean.inputs))


def test_the_source_has_other_coefficients_and_other_draws(task):
    raw = task.source("other_coefficients").examples()
    residual = raw.targets[:, 0] - friedman(raw.inputs, OTHER_COEFFICIENTS)
    assert residual.std() == pytest.approx(1, rel=0.05)
    assert r2_score(raw.targets[:, 0], friedman(raw.inputs)) < 0.9
    assert not np.isin(raw.inputs, task.examples().inputs).any()


def test_its_own_seed_draws_other_data(task):
    other = catalog.load("task", "regression/friedman", data_seed=1, n_samples=100).examples()
    assert len(other.targets) == 100
    assert not np.isin(other.inputs, task.examples().inputs).any()


@pytest.mark.parametrize(
    ("model", "score"),
    [(LinearRegression(), 0.720), (GradientBoostingRegressor(random_state=0), 0.908)],
    ids=["linear", "trees"],
)
def test_the_references_are_those_of_the_datasheet(model, score, task, arrays):
    inputs, targets = arrays(task, "train")
    model.fit(inputs, targets.ravel())
    assert model.score(*arrays(task, "test")) == pytest.approx(score, abs=0.005)
