"""Oracles: the covariance of the inputs, the map's singular values, the law of a linear network."""

import numpy as np
import pytest
import torch

from beyond import catalog
from beyond.errors import InputError
from beyond.network.initialisations import he
from beyond.network.layered import LayeredNetwork
from beyond.network.vector_layers import Linear
from beyond.problem import Problem

NAME = "regression/linear_teacher"


@pytest.fixture(scope="module")
def task():
    return catalog.load("task", NAME, singular_values=[5.0, 3.0, 2.0, 1.0])


def fitted(x, y):
    return np.linalg.lstsq(x, y, rcond=None)[0].T


def test_training_inputs_are_exactly_white(task, arrays):
    x, _ = arrays(task, "train")
    assert x.shape == (200, 10)
    np.testing.assert_allclose(x.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(x.T @ x / 200, np.eye(10), atol=1e-5)
    x, _ = arrays(task, "validation")
    np.testing.assert_allclose(x.T @ x / 100, np.eye(10), atol=0.5)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_the_map_has_the_singular_values_asked_for_and_targets_keep_their_units(
    task, arrays, split
):
    found = np.linalg.svd(fitted(*arrays(task, split)))[1]
    np.testing.assert_allclose(found, [5, 3, 2, 1, 0, 0, 0, 0, 0, 0], atol=1e-4)


def test_on_axes_the_map_is_diagonal(arrays):
    task = catalog.load(
        "task", NAME, singular_values=[2.0, 1.0], basis="axes", n_inputs=4, n_outputs=3
    )
    np.testing.assert_allclose(
        fitted(*arrays(task, "train")), [[2, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]], atol=1e-5
    )


def test_without_singular_values_the_entries_are_normal(arrays):
    task = catalog.load("task", NAME, n_inputs=30, n_outputs=200)
    entries = fitted(*arrays(task, "train")) * np.sqrt(30)
    assert entries.mean() == pytest.approx(0, abs=0.05)
    assert entries.std() == pytest.approx(1, rel=0.05)
    u, s, v = task.modes
    np.testing.assert_allclose((u * s) @ v.T * np.sqrt(30), entries, atol=1e-4)


def test_the_score_of_a_mode_is_the_learnt_part_of_it(task):
    u, s, v = task.modes
    learnt = np.array([0.25, 1.0, 0.0, -0.5])
    learner = (u * s * learnt) @ v.T
    batch = task.at([0]).batch("train", torch.arange(200).unsqueeze(0))
    scores = task.score(batch.inputs @ torch.from_numpy(learner.T).float(), batch.targets)
    assert [scores[f"mode_{k}_score"].item() for k in (1, 2, 3, 4)] == pytest.approx(
        learnt, abs=1e-5
    )
    beyond = task.score(1.25 * batch.targets, batch.targets)
    assert [beyond[f"mode_{k}_score"].item() for k in (1, 2, 3, 4)] == pytest.approx(
        [0.75] * 4, abs=1e-5
    )
    assert scores["squared_error_loss"].item() == pytest.approx(
        0.5 * (s**2 * (1 - learnt) ** 2).sum(), rel=1e-5
    )


def test_a_balanced_linear_network_follows_the_law(task):
    """Half-time of a mode, 1 / (2 s) ln((s - a) / a), from a balanced, aligned start a u v^T."""
    start, rate = 1e-4, 1e-3
    network = LayeredNetwork([Linear(4), Linear(10)], (10,), he)
    u, s, v = task.modes
    weights = [np.sqrt(start) * v.T, np.zeros(4), np.sqrt(start) * u, np.zeros(10)]
    params = (
        torch.from_numpy(np.concatenate([part.ravel() for part in weights])).float().unsqueeze(0)
    )
    problem, batch = (
        Problem(network, task.spec),
        task.at([0]).batch("train", torch.arange(200).unsqueeze(0)),
    )
    half: dict[str, float] = {}
    for step in range(1, 2600):
        outputs, tape = problem.forward(params, batch.inputs)
        params = params - rate * problem.backward(tape, problem.error(outputs, batch.targets))
        if step % 5 == 0:
            for name, score in task.score(outputs, batch.targets).items():
                if score >= 0.5:
                    half.setdefault(name, step * rate)
    law = np.log((s - start) / start) / (2 * s)
    assert [half[f"mode_{k}_score"] for k in (1, 2, 3)] == pytest.approx(law[:3], rel=0.01)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_samples": 10}, "n_samples must be > n_inputs "),
        ({"singular_values": []}, "singular_values must be a list of 1 to 10, or null"),
        ({"singular_values": [1.0] * 11}, "singular_values must be a list of 1 to 10"),
        ({"singular_values": [0.0]}, "singular_values must be a list, each > 0, or null"),
        ({"basis": "none"}, "basis must be one of"),
    ],
)
def test_what_is_no_map_is_refused(settings, message):
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        catalog.load("task", NAME, **settings)


def test_its_own_seed_draws_another_map(task, arrays):
    other = catalog.load("task", NAME, singular_values=[5.0, 3.0, 2.0, 1.0], data_seed=1)
    assert not np.allclose(fitted(*arrays(other, "train")), fitted(*arrays(task, "train")))
