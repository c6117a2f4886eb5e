import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression

from beyond import catalog
from beyond.errors import InputError

FAULTS = [
    # both markers may be in the first half
    ("tasks/addition.py", "rng.integers(half, self.length", "rng.integers(0, self.length"),
    ("tasks/addition.py", "(outputs - targets).abs()", "(outputs - targets)"),
]


@pytest.fixture(scope="module")
def task():
    return catalog.load("task", "synthetic/addition", split_seed=0)


@pytest.mark.parametrize("length", [2, 7, 20])
def test_the_sum_is_of_one_number_of_each_half(length):
    raw = catalog.load("task", "synthetic/addition", length=length, n_samples=500).examples()
    numbers, markers = raw.inputs[:, 0], raw.inputs[:, 1]
    assert raw.inputs.shape == (500, 2, length)
    assert (numbers.min() >= 0) & (numbers.max() < 1)
    for half in np.split(markers, [length // 2], 1):
        assert (half.sum(1) == 1).all()
        assert set(np.flatnonzero(half.any(0))) == set(range(half.shape[1]))
    np.testing.assert_allclose((numbers * markers).sum(1), raw.targets[:, 0])


def test_the_mean_has_the_loss_that_the_literature_states(task):
    sums = task.examples().targets
    assert np.square(sums - 1).mean() == pytest.approx(1 / 6, abs=0.004)
    # a triangle of height 1 over [0, 2]: 2 * 0.08 - 0.08^2
    chance = 0.16 - 0.08**2
    assert chance == pytest.approx(0.154, abs=5e-4)
    targets = torch.from_numpy(sums).float().unsqueeze(0)
    scores = task.score(torch.ones_like(targets), targets)
    assert scores["solved_score"].item() == pytest.approx(chance, abs=0.01)
    assert scores["r2_score"].item() == pytest.approx(0, abs=0.001)
    assert 2 * scores["squared_error_loss"].item() == pytest.approx(0.167, abs=0.004)


def test_an_answer_within_the_sources_distance_is_right(task):
    outputs = torch.tensor([[[1.0], [1.0], [1.0], [1.0]]])
    targets = torch.tensor([[[1.079], [0.921], [1.081], [0.3]]])
    assert task.score(outputs, targets)["solved_score"].tolist() == [0.5]


def test_the_linear_reference_is_that_of_the_datasheet(task, arrays):
    linear = LinearRegression().fit(*arrays(task, "train"))
    assert linear.score(*arrays(task, "test")) == pytest.approx(0.089, abs=0.002)


def test_a_sequence_without_two_halves_is_refused():
    with pytest.raises(InputError, match=r"^length must be an integer >= 2, got 1"):
        catalog.load("task", "synthetic/addition", length=1)
