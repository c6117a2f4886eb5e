import numpy as np
import pytest
from scipy.stats import norm
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score

from beyond import catalog
from beyond.contracts import TargetKind
from tasks.surfaces import surface

FAULTS = [
    ("tasks/surfaces.py", "self.noise_slope * x[:, 3] / 2", "self.noise_slope * x[:, 3]"),
    ("tasks/surfaces.py", "np.sin(2 * np.pi * x[:, 2])", "2 * np.sin(2 * np.pi * x[:, 2])"),
]
VARIANCE = 1.5 + 0.25 * np.sinh(2) / 2


@pytest.fixture(scope="module")
def task():
    return catalog.load("task", "regression/surfaces", split_seed=0)


def test_knowing_function_and_noise_gives_the_ceilings_of_the_datasheet(task):
    raw = task.examples()
    y, known = raw.targets[:, 0], surface(raw.inputs)
    assert y.var() == pytest.approx(VARIANCE, rel=0.02)
    assert known.var() == pytest.approx(1.5, rel=0.02)
    assert pytest.approx(0.768, abs=5e-4) == 1.5 / VARIANCE
    assert r2_score(y, known) == pytest.approx(0.768, abs=0.005)
    best = -(1 + np.log(2 * np.pi * 0.25) - np.log(VARIANCE)) / 2
    assert best == pytest.approx(-0.391, abs=5e-4)
    std = 0.5 * np.exp(raw.inputs[:, 3])  # a / 2 = 1
    found = norm(known, std).logpdf(y).mean() + np.log(VARIANCE) / 2
    assert found == pytest.approx(best, abs=0.01)
    assert -(1 + np.log(2 * np.pi)) / 2 == pytest.approx(-1.419, abs=5e-4)


def test_the_noise_is_normal_and_sevenfold_at_the_other_end(task):
    raw = task.examples()
    noise = raw.targets[:, 0] - surface(raw.inputs)
    ends = [np.abs(raw.inputs[:, 3] - end) < 0.05 for end in (-1, 1)]
    low, high = (noise[end].std() for end in ends)
    assert high / low == pytest.approx(np.exp(1.95), rel=0.1)
    assert (noise / np.exp(raw.inputs[:, 3])).std() == pytest.approx(0.5, rel=0.02)


def test_it_may_ask_for_the_distribution():
    spec = catalog.load("task", "regression/surfaces", predicts="distribution").spec
    assert (spec.target_kind, spec.n_outputs) == (TargetKind.DISTRIBUTIONS, 2)
    assert spec.target_shape == (1,)
    assert spec.score == "log_likelihood_score"


def test_the_references_are_those_of_the_datasheet(task, arrays):
    inputs, targets = arrays(task, "train")
    linear = LinearRegression().fit(inputs, targets)
    assert linear.score(*arrays(task, "test")) == pytest.approx(0.039, abs=0.002)
    trees = HistGradientBoostingRegressor(random_state=0).fit(inputs, targets.ravel())
    assert trees.score(*arrays(task, "test")) == pytest.approx(0.742, abs=0.005)
