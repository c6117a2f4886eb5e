import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, r2_score

from beyond import metrics
from beyond.streams import Stream

RNG_SEEDS = (0, 1, 2)


def test_accuracy_is_scikit_learns():
    rng = Stream("test", RNG_SEEDS)
    outputs, targets = rng.normal(50, 4), rng.integers(4, 50)
    expected = [accuracy_score(t, o.argmax(-1)) for o, t in zip(outputs, targets, strict=True)]
    assert metrics.accuracy(outputs, targets).tolist() == pytest.approx(expected)


def test_r2_is_scikit_learns():
    rng = Stream("test", RNG_SEEDS)
    targets = rng.normal(50, 2) * torch.tensor([1.0, 30.0]) + 5  # outputs of other scales count alike
    outputs = targets + rng.normal(50, 2)
    expected = [r2_score(t.numpy(), o.numpy()) for o, t in zip(outputs, targets, strict=True)]
    assert metrics.r2(outputs, targets).tolist() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("error", [0.0, 1.0])
def test_r2_of_targets_that_do_not_vary_is_finite(error):
    targets = torch.full((1, 5, 1), 2.0)
    score = metrics.r2(targets + error, targets).item()
    assert score == r2_score(np.full(5, 2.0), np.full(5, 2.0 + error)) == 1 - error


def test_the_mean_scores_nothing_and_the_truth_everything():
    targets = Stream("test", RNG_SEEDS).normal(50, 1)
    torch.testing.assert_close(metrics.r2(targets.mean(1, keepdim=True).expand_as(targets), targets), torch.zeros(3))
    assert metrics.r2(targets, targets).tolist() == [1, 1, 1]
