"""Oracles: backpropagation projected on the tangents, enumeration of signs, the cosine law."""

from types import SimpleNamespace

import pytest
import torch

from beyond.architectures.mlp import MLP
from beyond.contracts import Batch
from beyond.kits.directions import random_directions
from beyond.ledger import Ledger
from methods.forward_gradient import ForwardGradient

FAULTS = [
    # grows with K
    (
        "methods/forward_gradient.py",
        "mean_along(slopes, tangents)",
        "mean_along(slopes, tangents) * self.n_tangents",
    ),
    # a coin's sides are 0 and 1
    (
        "beyond/kits/directions.py",
        "2.0 * rng.integers(2, n_directions, n_weights) - 1",
        "1.0 * rng.integers(2, n_directions, n_weights)",
    ),
]


def estimate(given, method, rng=None):
    """The gradient that a step hands to the optimizer."""
    state = method.init(given.problem, given.params, given.rng)
    return method.direction(state, given.sealed, given.problem, rng or given.rng)


def backpropagated(given):
    outputs, tape = given.problem.forward(given.params, given.batch.inputs)
    return given.problem.backward(tape, given.problem.error(outputs, given.batch.targets))


@pytest.mark.parametrize("tangent", ["normal", "rademacher"])
@pytest.mark.parametrize("task", ["image/digits", "text/languages", "regression/diabetes"])
def test_a_step_is_the_gradient_projected_on_the_tangents(task, tangent, make_problem, close):
    method = ForwardGradient(n_tangents=3, tangent=tangent)
    given = make_problem(method, task)
    before = given.rng.state()
    tangents = random_directions(tangent, given.rng, 3, given.params.shape[1])
    given.rng.restore(before)
    slopes = (tangents * backpropagated(given).unsqueeze(1)).sum(2)  # v . grad L
    close(
        estimate(given, method), (slopes.unsqueeze(2) * tangents).sum(1) / 3, rtol=1e-4, atol=1e-5
    )


def test_the_mean_over_every_sign_vector_is_the_gradient(make_problem, close):
    def every_sign(high, n_tangents, n_weights):
        return torch.cartesian_prod(*[torch.arange(high)] * n_weights).expand(
            2, n_tangents, n_weights
        )

    method = ForwardGradient(n_tangents=2**11, tangent="rademacher")
    given = make_problem(method, "regression/diabetes", network=MLP(()))
    close(
        estimate(given, method, SimpleNamespace(integers=every_sign)),
        backpropagated(given),
        rtol=1e-4,
        atol=1e-5,
    )


def test_normal_tangents_are_unbiased(make_problem):
    """A thousand replicas of one network on one batch are a thousand draws."""
    method = ForwardGradient(n_tangents=1)
    given = make_problem(method, "regression/diabetes", seeds=range(1000), network=MLP(()))
    given.params = given.params[:1].repeat(1000, 1)
    inputs, targets = given.batch.inputs[:1], given.batch.targets[:1]
    given.sealed = given.batch = Batch(inputs.expand(1000, -1, -1), targets.expand(1000, -1, -1))
    draws = estimate(given, method)
    errors = draws.mean(0) - backpropagated(given)[0]
    assert (errors.abs() < 3 * draws.std(0) / 1000**0.5).all()


@pytest.mark.parametrize("n_tangents", [16, 128])
def test_the_cosine_with_the_gradient_follows_its_law(n_tangents, make_problem):
    method = ForwardGradient(n_tangents=n_tangents)
    given = make_problem(method, seeds=range(40), network=MLP((8,)))
    cosine = torch.cosine_similarity(estimate(given, method), backpropagated(given), 1)
    law = (n_tangents / (n_tangents + given.params.shape[1] + 1)) ** 0.5
    assert float(cosine.mean()) == pytest.approx(law, rel=0.1)


def test_a_step_costs_a_forward_pass_and_one_more_a_tangent(make_problem):
    method = ForwardGradient(n_tangents=3)
    given = make_problem(method, batch_size=16)
    given.problem.ledger = Ledger()
    estimate(given, method)
    assert (given.problem.ledger.forward, given.problem.ledger.backward) == (16, 3 * 16)
