import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import KNeighborsRegressor

from beyond import catalog


@pytest.fixture(scope="module")
def task():
    return catalog.load("task", "regression/diabetes", split_seed=0)


def test_measurements_and_progression_are_in_their_own_units(task):
    raw = task.examples()
    assert raw.inputs.shape == (442, 10)
    assert raw.inputs[0].tolist() == pytest.approx(
        [59, 2, 32.1, 101, 157, 93.2, 38, 4, 4.8598, 87], abs=1e-3
    )
    assert raw.targets[:3, 0].tolist() == [151, 75, 141]
    assert (raw.targets.min(), raw.targets.max()) == (25, 346)
    assert raw.targets.mean() == pytest.approx(152.13, abs=0.01)


def test_each_feature_and_the_target_are_standardised(task, arrays):
    for values in arrays(task, "train"):
        np.testing.assert_allclose(values.mean(0), 0, atol=1e-5)
        np.testing.assert_allclose(values.std(0), 1, atol=1e-5)


def test_the_references_are_those_of_the_datasheet(task, arrays):
    linear = LinearRegression().fit(*arrays(task, "train"))
    assert linear.score(*arrays(task, "test")) == pytest.approx(0.362, abs=0.005)
    nearest = KNeighborsRegressor(10).fit(*arrays(task, "train"))
    assert nearest.score(*arrays(task, "test")) == pytest.approx(0.354, abs=0.005)
