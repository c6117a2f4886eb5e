"""Each trap by what makes it one, and by what gradient descent does in it and in its control."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression, LogisticRegression

import beyond
from beyond import catalog
from beyond.kits.optimizers import SGD
from beyond.streams import Stream
from methods.backprop import Backprop
from tasks.traps import LENGTH, N_SYMBOLS, N_TRAIN, TRAPS

FAULTS = [
    # the control has the difficulty too
    ("tasks/traps.py", "trap.armed if self.armed else trap.control", "trap.armed"),
    ("tasks/traps.py", "partial(remembered, place=-1)", "partial(remembered, place=0)"),
    # the difficulty is in none
    ("tasks/traps.py", "return u + mean, np.sqrt(12) * u", "return u, np.sqrt(12) * u"),
    ("tasks/traps.py", "targets[:N_TRAIN] + noise", "targets[:N_TRAIN]"),
    # a valley along an axis, and not as long
    ("tasks/traps.py", "inputs @ _rotation(rng), targets", "inputs, targets"),
    ("tasks/traps.py", '"smallest": 0.05', '"smallest": 0.5'),
    # held out, the rare ones are rare too
    ("tasks/traps.py", "np.arange(2 * N_HELD_OUT) % N_SYMBOLS", "np.arange(2 * N_HELD_OUT) % 4"),
]


def made(trap, armed=True, **settings):
    return catalog.load("task", "synthetic/traps", trap=trap, armed=armed, **settings)


def slope(trap, armed):
    """Root of the mean square of the loss's gradient where training starts, by depth."""
    task = made(trap, armed)
    network = task.spec.network.build(task.spec)
    batch = task.at([0]).batch("train", torch.arange(N_TRAIN).unsqueeze(0))
    params = network.init(Stream("init", [0]))
    outputs, tape = network.forward(params, batch.inputs)
    error = torch.softmax(outputs, -1) if batch.targets.ndim == 2 else outputs - batch.targets
    if batch.targets.ndim == 2:
        error = error - torch.nn.functional.one_hot(batch.targets, error.shape[-1])
    gradient = network.backward(tape, error / N_TRAIN)
    return [gradient[:, b.start : b.stop].square().mean().sqrt() for b in network.blocks]


@pytest.mark.parametrize("armed", [True, False])
@pytest.mark.parametrize("trap", ["saddle", "valley", "rotation", "outliers", "explosion"])
def test_a_linear_map_is_the_right_answer(trap, armed, arrays):
    task = made(trap, armed)
    test = arrays(task, "test")
    if trap == "outliers" and armed:  # the truth, which least squares does not find
        fit = LinearRegression().fit(*arrays(task, "validation"))
        assert LinearRegression().fit(*arrays(task, "train")).score(*test) < 0.9
    else:
        fit = LinearRegression().fit(*arrays(task, "train"))
    assert fit.score(*test) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("trap", ["valley", "rotation"])
def test_valleys_have_the_condition_number_of_the_datasheet(trap, arrays):
    steep, round_ = (np.cov(arrays(made(trap, armed), "train")[0].T) for armed in (True, False))
    assert np.linalg.cond(steep) == pytest.approx(40_000, rel=0.25)
    assert np.linalg.cond(round_) < 2
    correlations = np.abs(np.corrcoef(arrays(made(trap), "train")[0].T) - np.eye(8))
    assert (correlations.max() > 0.5) == (trap == "rotation")


def test_rarity_are_rare_where_one_learns_alone(arrays):
    train, held_out = (arrays(made("rarity"), split)[1] for split in ("train", "test"))
    counts = np.bincount(train)
    expected = N_TRAIN / np.arange(1, N_SYMBOLS + 1) ** 2 / (1 / np.arange(1, 17) ** 2).sum()
    np.testing.assert_allclose(counts[1:], expected[1:], atol=0.5)
    assert set(np.bincount(held_out)) <= {12, 13}
    assert set(np.bincount(arrays(made("rarity", False), "train")[1])) == {50}


def test_memory_asks_for_one_input(arrays):
    for armed, asked in ((True, 0), (False, LENGTH - 1)):
        inputs, targets = arrays(made("memory", armed), "train")
        assert [np.array_equal(inputs[:, i] > 0, targets == 1) for i in range(LENGTH)] == [
            i == asked for i in range(LENGTH)
        ]


def test_gradients_are_lost_at_the_start_of_those_where_they_vanish():
    for depth in (0, 1):
        assert slope("saddle", True)[depth] < 1e-4 < 0.01 < slope("saddle", False)[depth]
    assert slope("plateau", True)[0] < 2e-4 < 0.01 < slope("plateau", False)[0]
    first, *_, last = slope("depth", True)
    assert first < 1e-6 < 0.001 < last
    assert max(slope("explosion", True)) > 10 * max(slope("explosion", False))
    hidden, read_out = slope("steps", True)
    assert hidden == 0 < read_out


def test_steps_that_are_not_learnt_cannot_tell_the_corners(arrays):
    """Through the middle, whichever: what two opposite corners add up to is the same for both."""
    inputs, targets = arrays(made("steps"), "train")
    planes = np.random.default_rng(0).standard_normal((2, 8))
    steps = np.sign(inputs) @ planes > 0  # of the corners themselves
    assert LogisticRegression(C=100).fit(steps, targets).score(steps, targets) < 0.8
    # and with a bias two do
    both = np.stack([inputs.sum(1) > 1, inputs.sum(1) < -1], 1)
    assert LogisticRegression().fit(both, targets).score(both, targets) > 0.99


@pytest.mark.slow
@pytest.mark.parametrize("trap", TRAPS)
def test_gradient_descent_fails_the_trap_and_passes_its_control(trap, tmp_path):
    """At the best of many rates."""
    rates = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
    rules = [Backprop(optimizer=SGD(learning_rate=rate)) for rate in rates]
    passed = {}
    for armed in (True, False):
        task = made(trap, armed)
        rows = beyond.compare(
            rules, task, budget={"steps": 1000}, seeds=3, runs=tmp_path / str(armed)
        ).runs
        reached = rows["best_validation_score"] >= task.spec.levels[2]
        passed[armed] = reached.groupby(rows["run_id"]).mean().max()
    assert passed[True] < 0.5 < 0.9 < passed[False]
