"""Oracles: the noise's signs enumerated on a linear network; the gradient as a mean of draws."""

from types import SimpleNamespace

import pytest
import torch

from beyond.architectures.cnn import CNN
from beyond.architectures.mlp import MLP
from beyond.contracts import Batch
from beyond.ledger import Ledger
from beyond.network.initialisations import he
from beyond.network.layered import LayeredNetwork
from beyond.network.vector_layers import Linear
from beyond.problem import Problem
from methods.node_perturbation import NodePerturbation

FAULTS = [
    # A unit is given the noise of its neighbour in the draw.
    (
        "methods/node_perturbation.py",
        "noises.append(noise.unflatten(1, (self.n_draws, n_examples)))",
        "noises.append(noise.unflatten(1, (n_examples, self.n_draws)).transpose(1, 2))",
    ),
    # The sum over examples instead of the mean.
    (
        "methods/node_perturbation.py",
        "(each(self.noise_std, changes) * n_examples)",
        "self.noise_std",
    ),
]
LINEAR = SimpleNamespace(
    build=lambda spec: LayeredNetwork([Linear(2), Linear(2), Linear(1)], spec.input_shape, he)
)


def true_gradient(given):
    return Problem(given.network, given.task.spec).gradient(given.params, given.batch)


def estimate(given, method, rng=None):
    """The gradient that a step hands to the optimizer."""
    state = method.init(given.problem, given.params, given.rng)
    return method.direction(state, given.sealed, given.problem, rng or given.rng)


def every_sign(n_units, n_examples):
    """A stream of signs for normal noise: over draws each example sees every pattern of units."""
    # (D, units of all layers)
    patterns = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * n_units)
    remaining = patterns.repeat_interleave(n_examples, 0)  # (D * B, units)

    def normal(n_rows, width):
        nonlocal remaining
        signs, remaining = remaining[:, :width], remaining[:, width:]
        return signs.expand(2, n_rows, width)

    return SimpleNamespace(normal=normal)


@pytest.mark.parametrize("std", [0.1, 1.0])
def test_the_mean_over_every_pattern_is_the_gradient_of_a_linear_networks_squared_error(
    std, make_problem, close
):
    """Signs have the moments of normal noise up to the third, the loss is quadratic: exact."""
    method = NodePerturbation(n_draws=2**5, noise_std=std)
    given = make_problem(method, "regression/diabetes", network=LINEAR)
    close(estimate(given, method, every_sign(5, 16)), true_gradient(given), rtol=1e-4, atol=1e-5)


def test_small_noise_is_unbiased_on_a_relu_network(make_problem):
    """Replicas of one network on one batch are draws."""
    n_replicas = 300
    method = NodePerturbation(n_draws=3, noise_std=0.003)
    given = make_problem(method, seeds=range(n_replicas), batch_size=8)
    given.params = given.params[:1].expand(n_replicas, -1)
    inputs, targets = given.batch.inputs[:1], given.batch.targets[:1]
    given.batch = given.sealed = Batch(
        inputs.expand(n_replicas, *inputs.shape[1:]), targets.expand(n_replicas, *targets.shape[1:])
    )
    draws = estimate(given, method)
    errors, spread = draws.mean(0) - true_gradient(given)[0], draws.std(0) / n_replicas**0.5
    alive = spread > 1e-6  # a pixel that is always off changes nothing
    scores = errors[alive] / spread[alive]
    assert alive.sum() > 1000
    assert scores.abs().max() < 5
    assert float(scores.square().mean()) == pytest.approx(1, abs=0.3)


@pytest.mark.parametrize(
    ("task", "network"),
    [
        ("text/languages", MLP((8,), embedding=2)),
        ("image/digits", CNN((2,))),
        ("image/digits", MLP((6,), layer_norm=True, activation="tanh")),
        ("regression/diabetes", MLP((6, 5))),
    ],
)
def test_every_kind_of_layer_comes_to_its_gradient(task, network, make_problem):
    method = NodePerturbation(n_draws=4000, noise_std=0.01)
    given = make_problem(method, task, network=network, batch_size=2)
    estimated, exact = estimate(given, method), true_gradient(given)
    for block in given.network.blocks:
        found, other = estimated[:, block.start : block.stop], exact[:, block.start : block.stop]
        assert (torch.cosine_similarity(found, other, 1) > 0.95).all(), block.name
        assert (((found * other).sum(1) / other.square().sum(1) - 1).abs() < 0.15).all(), block.name


def test_it_varies_less_than_weight_perturbation_would(make_problem):
    """One noisy pass a step; the cosine of one direction of all weights is 1 / sqrt(n + 2)."""
    method = NodePerturbation(n_draws=1)
    given = make_problem(method, seeds=range(8), batch_size=32)
    cosine = torch.cosine_similarity(estimate(given, method), true_gradient(given), 1)
    assert cosine.mean() > 5 / (given.params.shape[1] + 2) ** 0.5


def test_a_step_costs_its_forward_passes_and_the_products_with_activities(make_problem):
    method = NodePerturbation(n_draws=3)
    given = make_problem(method, batch_size=16)
    given.problem.ledger = Ledger()
    estimate(given, method)
    products = 2 * (64 * 32 + 32 * 10)
    assert given.problem.ledger.forward == pytest.approx(4 * 16)
    assert given.problem.ledger.flops == 16 * (4 * products + products)
