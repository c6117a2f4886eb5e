"""Oracles: known mean rewards, automatic differentiation, and the frequencies of exploration."""

import pytest
import torch
from scipy.stats import chisquare

from beyond import catalog
from beyond.architectures.mlp import MLP
from beyond.contracts import Batch
from beyond.errors import UnsupportedError
from beyond.kits.optimizers import SGD
from beyond.ledger import Budget, Ledger
from beyond.problem import seal
from beyond.run.loop import train
from beyond.run.setup import Setup
from beyond.streams import Stream
from methods.q_learning import QLearning

FAULTS = [
    # the first of equal actions is the best one
    ("methods/q_learning.py", "(best * (1 + rng.uniform(n_inputs, n_outputs)))", "(best * 1)"),
    # a sign
    (
        "methods/q_learning.py",
        "values.gather(2, actions) - earned",
        "values.gather(2, actions) + earned",
    ),
    # A sum over actions instead of the mean.
    ("methods/q_learning.py", "surprise / surprise[0].numel()", "surprise / surprise.shape[1]"),
]


@pytest.mark.parametrize("exploration", ["epsilon_greedy", "softmax"])
@pytest.mark.parametrize("task", ["image/digits", "text/languages"])
def test_a_step_equals_automatic_differentiation_of_the_squared_error(
    exploration, task, make_problem, close
):
    method = QLearning(n_actions=6, exploration=exploration, epsilon=0.5)
    given = make_problem(method, task)
    asked, answer = [], given.problem.reward
    given.problem.reward = lambda actions, batch: (
        asked.append((actions, answer(actions, batch))) or asked[-1][1]
    )
    state = method.init(given.problem, given.params, given.rng)
    gradient, _ = method.direction(state, given.sealed, given.problem, given.rng)
    ((actions, rewards),) = asked
    assert actions.shape == (2, 16, 6)
    assert 0 < rewards.mean() < 1

    leaf = given.params.clone().requires_grad_()
    taken = given.network.outputs(leaf, given.batch.inputs).gather(2, actions)
    loss = 0.5 * (taken - rewards).square().mean((1, 2))
    close(gradient, torch.autograd.grad(loss.sum(), leaf)[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("exploration", ["epsilon_greedy", "softmax"])
def test_values_become_the_mean_reward_of_each_action(exploration, make_problem, close):
    """Three inputs, each shown ten times with labels of known frequency: outputs are a table."""
    explored = {
        "exploration": exploration,
        "epsilon": 1.0,
        "final_epsilon": 1.0,
        "temperature": 1.0,
    }
    method = QLearning(SGD(learning_rate=0.1), n_actions=200, **explored)
    given = make_problem(method, batch_size=3, network=MLP(hidden=()), half="upper")
    inputs = Stream("inputs", [0, 1]).normal(3, *given.task.spec.input_shape)
    labels = torch.tensor(
        [[0] * 10, [0, 0, 0, 1, 1, 1, 1, 1, 1, 1], [2, 2, 2, 2, 3, 3, 3, 4, 4, 4]]
    )
    batch = Batch(inputs.repeat_interleave(10, 1), labels.flatten().expand(2, -1))
    state = method.init(given.problem, given.params, given.rng)
    for _ in range(300):
        state = method.step(state, seal(batch, method.signal), given.problem, given.rng)
    # what naming each class earns, on average
    frequencies = torch.nn.functional.one_hot(labels, 5).float().mean(1)
    values = method.predict(state, given.problem, Batch(inputs, None))
    close(values, frequencies.expand(2, -1, -1), rtol=0, atol=0.03)


@pytest.mark.parametrize(("n_steps", "epsilon"), [(0, 0.8), (5, 0.5), (10, 0.2), (1000, 0.2)])
def test_epsilon_greedy_explores_as_often_as_it_says(n_steps, epsilon):
    method = QLearning(n_actions=20_000, epsilon=0.8, final_epsilon=0.2, n_decay_steps=10)
    values = Stream("values", [0, 1]).normal(3, 4)
    actions = method._explore(values, method.n_actions, n_steps, Stream("step", [0, 1]))
    for row, of_input in zip(actions.flatten(0, 1), values.flatten(0, 1), strict=True):
        expected = torch.full((4,), epsilon / 4, dtype=torch.float64)
        expected[of_input.argmax()] += 1 - epsilon
        assert chisquare(row.bincount(minlength=4), 20_000 * expected).pvalue > 1e-4


def test_of_equal_values_one_is_drawn():
    method = QLearning(epsilon=0.0, final_epsilon=0.0)
    values = torch.tensor([0.5, -1.0, 0.5, 0.5]).expand(2, 3000, 4)
    drawn = (
        method._explore(values, method.n_actions, 0, Stream("step", [0, 1]))
        .flatten()
        .bincount(minlength=4)
    )
    assert drawn[1] == 0
    assert chisquare(drawn[[0, 2, 3]]).pvalue > 1e-4


def test_softmax_explores_by_temperature():
    method = QLearning(n_actions=20_000, exploration="softmax", temperature=0.5)
    values = Stream("values", [0, 1]).normal(3, 4)
    actions = method._explore(values, method.n_actions, 0, Stream("step", [0, 1]))
    for row, of_input in zip(actions.flatten(0, 1), values.flatten(0, 1), strict=True):
        expected = 20_000 * (of_input.double() / 0.5).softmax(0)
        assert chisquare(row.bincount(minlength=4), expected).pvalue > 1e-4


def test_a_step_costs_one_forward_and_one_backward_pass(make_problem):
    method = QLearning(n_actions=5)
    given = make_problem(method, batch_size=16)
    given.problem.ledger = Ledger()
    state = method.step(
        method.init(given.problem, given.params, given.rng), given.sealed, given.problem, given.rng
    )
    assert (given.problem.ledger.forward, given.problem.ledger.backward) == (16, 16)
    assert state["n_steps"] == 1


def test_values_are_refused_in_one_line(make_problem):
    method = QLearning()
    given = make_problem(method, "regression/diabetes")
    with pytest.raises(UnsupportedError, match=r"^action values need a finite number of actions"):
        method.init(given.problem, given.params, given.rng)


@pytest.mark.slow
def test_it_learns_the_digits():
    task = catalog.load("task", "image/digits")
    network = task.spec.network.build(task.spec)
    *_, end = train(
        Setup(catalog.load("method", "q_learning"), task, network, [0, 1, 2], Budget("epochs", 300))
    )
    assert sum(row["best_test_score"] for row in end.runs) / 3 >= 0.92
