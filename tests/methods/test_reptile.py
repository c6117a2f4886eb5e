"""Oracles: gradient descent on the joint loss; the mean of the weights that episodes lead to."""

import pytest
import torch

from beyond.contracts import Batch
from beyond.errors import UnsupportedError
from beyond.kits.optimizers import SGD, Adam
from beyond.ledger import Ledger
from methods.reptile import Reptile

FAULTS = [
    # The starting weights move away from where the episodes lead.
    (
        "methods/reptile.py",
        "(params, ends, each(self.outer_rate, params))",
        "(params, ends, -self.outer_rate)",
    ),
    # The inner optimizer forgets at every step.
    (
        "methods/reptile.py",
        "memory = self.optimizer.init(params, lanes.matrices)\n        for minibatch in minibatches:\n",
        "for minibatch in minibatches:\n            memory = self.optimizer.init(params, lanes.matrices)\n",
    ),
]

TASKS = ["regression/sinusoids", "image/glyphs"]


def labelled(given):
    """All examples of each of the three episodes of a replica, (R, 3, n, ...)."""
    episode, batch = given.task.spec.episode, given.batch
    parts = [
        [values.unflatten(1, (-1, size)) for values in (part.inputs, part.targets)]
        for part, size in ((batch.support, episode.n_support), (batch, episode.n_query))
    ]
    return [torch.cat(pair, 2) for pair in zip(*parts, strict=True)]


@pytest.mark.parametrize("task", TASKS)
def test_one_inner_step_and_the_whole_way_is_gradient_descent_on_the_joint_loss(
    task, make_problem, close
):
    method = Reptile(SGD(learning_rate=0.1), outer_rate=1.0, n_inner_steps=1, inner_batch_size=1000)
    given = make_problem(method, task, batch_size=3)
    state = method.init(given.problem, given.params, given.rng)
    state = method.step(state, given.batch, given.problem, given.rng)
    joint = Batch(*(values.flatten(1, 2) for values in labelled(given)))
    close(
        method.params(state),
        given.params - 0.1 * given.problem.gradient(given.params, joint),
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.parametrize(
    "optimizer", [SGD(learning_rate=0.01, momentum=0.5), Adam(learning_rate=0.01)]
)
@pytest.mark.parametrize("task", TASKS)
def test_the_weights_move_towards_the_average_of_where_episodes_lead(
    task, optimizer, make_problem, close
):
    method = Reptile(optimizer, outer_rate=0.3, n_inner_steps=4, inner_batch_size=1000)
    given = make_problem(method, task, batch_size=3)
    state = method.init(given.problem, given.params, given.rng)
    inputs, targets = labelled(given)
    ends = torch.zeros_like(given.params)
    for index in range(3):
        params, memory = given.params, optimizer.init(given.params)
        for _ in range(4):
            gradient = given.problem.gradient(params, Batch(inputs[:, index], targets[:, index]))
            params, memory = optimizer.update(gradient, memory, params)
        ends += params / 3
    expected = given.params + 0.3 * (ends - given.params)
    close(
        method.params(method.step(state, given.batch, given.problem, given.rng)),
        expected,
        rtol=1e-4,
        atol=1e-5,
    )


def test_minibatches_use_every_example_before_one_again(make_problem):
    method = Reptile(SGD(), n_inner_steps=5, inner_batch_size=4)
    given = make_problem(method)
    rows = method._minibatches(10, 3, given.rng)
    assert rows.shape == (6, 5, 4)
    for drawn in rows.flatten(1):
        assert sorted(drawn[:10].tolist()) == list(range(10))
        assert sorted(drawn[10:].tolist()) == list(range(10))
    assert not torch.equal(rows[0], rows[1])


@pytest.mark.parametrize("task", TASKS)
def test_a_prediction_trains_on_each_support_by_itself(task, make_problem, close):
    method = Reptile(SGD(learning_rate=0.01), n_adaptation_steps=3)
    given = make_problem(method, task, batch_size=3)
    state = method.init(given.problem, given.params, given.rng)
    outputs = method.predict(state, given.problem, given.batch)
    episode, expected = given.task.spec.episode, []
    for index in range(3):
        support, queries = (
            Batch(
                part.inputs[:, index * n : (index + 1) * n],
                part.targets[:, index * n : (index + 1) * n],
            )
            for part, n in (
                (given.batch.support, episode.n_support),
                (given.batch, episode.n_query),
            )
        )
        params = given.params
        for _ in range(3):
            params = params - 0.01 * given.problem.gradient(params, support)
        expected.append(given.problem.outputs(params, queries.inputs))
    close(outputs, torch.cat(expected, 1), rtol=1e-4, atol=1e-4)


def test_an_inner_step_costs_a_forward_and_a_backward_pass_of_its_minibatch(make_problem):
    method = Reptile(SGD(), n_inner_steps=3, inner_batch_size=7)
    given = make_problem(method, "regression/sinusoids", batch_size=4)
    given.problem.ledger = Ledger()
    method.step(
        method.init(given.problem, given.params, given.rng), given.batch, given.problem, given.rng
    )
    assert (given.problem.ledger.forward, given.problem.ledger.backward) == (4 * 3 * 7, 4 * 3 * 7)


def test_tasks_without_episodes_are_refused(make_problem):
    given = make_problem(Reptile(SGD()), "image/digits")
    with pytest.raises(UnsupportedError, match="image/digits does not come in episodes"):
        Reptile(SGD()).init(given.problem, given.params, given.rng)
