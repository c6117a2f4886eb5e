import numpy as np
import pytest
import torch
from sklearn.metrics import mean_squared_error, r2_score

from beyond import catalog
from beyond.streams import Stream


@pytest.fixture(scope="module")
def task():
    return catalog.load("task", "regression/sinusoids", split_seed=0)


def whole(task, split):
    """Inputs and targets (episodes, points) of queries, then of the support."""
    size = task.at([0]).size(split)
    return shown(task.at([0]).batch(split, torch.arange(size).unsqueeze(0)), size)


def shown(batch, size):
    return [
        values[0].unflatten(0, (size, -1)).squeeze(2).double().numpy()
        for part in (batch, batch.support)
        for values in (part.inputs, part.targets)
    ]


def fit(x, y):
    """Amplitude and phase by least squares: y = a sin x - b cos x, a = A cos p, b = A sin p."""
    a, b = np.linalg.lstsq(np.stack([np.sin(x), -np.cos(x)], 1), y, rcond=None)[0]
    return np.hypot(a, b), np.arctan2(b, a)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_support_and_queries_lie_on_one_sinusoid_of_the_papers_family(task, split):
    x, y, shown, answers = whole(task, split)
    found = np.array([fit(*one) for one in zip(shown, answers, strict=True)])
    np.testing.assert_allclose(found[:, :1] * np.sin(x - found[:, 1:]), y, atol=1e-4)
    for values, low, high in (
        (found[:, 0], 0.1, 5),
        (found[:, 1], 0, np.pi),
        (x, -5, 5),
        (shown, -5, 5),
    ):
        assert low - 1e-5 <= values.min() < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < values.max() <= high + 1e-5
        assert values.mean() == pytest.approx((low + high) / 2, abs=0.06 * (high - low))


def test_fresh_points_lie_on_the_same_sinusoids(task):
    fresh = next(task.at([0]).training(torch.arange(1000).view(1, 1, -1), Stream("augment", [3])))
    x, y, _, _ = shown(fresh, 1000)
    _, _, points, answers = whole(task, "train")
    found = np.array([fit(*one) for one in zip(points, answers, strict=True)])
    np.testing.assert_allclose(found[:, :1] * np.sin(x - found[:, 1:]), y, atol=1e-4)


def test_no_sinusoid_is_in_two_splits(task):
    together = torch.cat(
        [task.at([0]).parts[split][0][0] for split in ("train", "validation", "test")]
    )
    assert len(together.unique(dim=0)) == len(together) == 1900


def test_the_references_are_those_of_the_datasheet(task):
    x, y, shown, answers = whole(task, "test")
    assert y.var() == pytest.approx(4.40, abs=0.01)
    amplitude, phase = fit(shown.ravel(), answers.ravel())
    assert (amplitude, phase) == pytest.approx((1.68, 1.69), abs=0.01)
    assert r2_score(y.ravel(), (amplitude * np.sin(x - phase)).ravel()) == pytest.approx(
        0.28, abs=0.01
    )


def test_the_papers_error_is_the_mean_square(task):
    targets = task.at([0]).batch("test", torch.arange(20).unsqueeze(0)).targets
    outputs = targets + Stream("test", [0]).normal(*targets.shape[1:])
    error = task.score(outputs, targets)["mean_squared_error"]
    assert error.item() == pytest.approx(
        mean_squared_error(targets[0].numpy(), outputs[0].numpy()), rel=1e-5
    )


def test_shots_and_queries_are_settings():
    batch = (
        catalog.load("task", "regression/sinusoids", shots=5, n_query=3, split_seed=0)
        .at([0])
        .batch("test", torch.arange(4).unsqueeze(0))
    )
    assert (batch.inputs.shape, batch.support.inputs.shape) == ((1, 12, 1), (1, 20, 1))
