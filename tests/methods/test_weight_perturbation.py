"""Oracles: enumeration of all sign vectors on a quadratic loss; the cosine law if normal."""

from types import SimpleNamespace

import pytest
import torch

from beyond.architectures.mlp import MLP
from beyond.kits.directions import random_directions
from beyond.ledger import Ledger
from beyond.problem import Problem
from beyond.streams import Stream
from methods.weight_perturbation import WeightPerturbation

FAULTS = [
    # slopes twice too steep
    ("methods/weight_perturbation.py", "(forth - back) / (2", "(forth - back) / (1"),
    # One-sided differences over the width of two-sided ones.
    ("beyond/kits/directions.py", "centre - offsets", "centre"),
]


def true_gradient(given):
    return Problem(given.network, given.task.spec).gradient(given.params, given.batch)


def estimate(given, method, rng=None):
    """The gradient that a step hands to the optimizer."""
    state = method.init(given.problem, given.params, given.rng)
    return method.direction(state, given.sealed, given.problem, rng or given.rng)


def every_sign(n_replicas):
    """A stream that draws each sign vector once, in place of fair coins."""

    def integers(high, n_directions, n_weights):
        vectors = torch.cartesian_prod(*[torch.arange(high)] * n_weights)
        assert len(vectors) == n_directions
        return vectors.expand(n_replicas, -1, -1)

    return SimpleNamespace(integers=integers)


@pytest.mark.parametrize("std", [0.1, 1.0])
def test_the_mean_over_every_sign_vector_is_the_gradient_of_a_quadratic_loss(
    std, make_problem, close
):
    """However long the steps: the even terms cancel between forth and back."""
    method = WeightPerturbation(n_directions=2**11, perturbation_std=std)
    given = make_problem(method, "regression/diabetes", network=MLP(()))
    close(estimate(given, method, every_sign(2)), true_gradient(given), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("perturbation", ["normal", "rademacher"])
def test_a_step_is_the_directions_times_their_slopes(perturbation, make_problem, close):
    """Differences of a smooth network's loss tend to derivatives along the drawn directions."""
    settings = {"n_directions": 3, "perturbation": perturbation, "perturbation_std": 1e-2}
    method = WeightPerturbation(**settings)
    given = make_problem(method, network=MLP((5,), activation="tanh"))
    before = given.rng.state()
    directions = random_directions(perturbation, given.rng, 3, given.params.shape[1])
    given.rng.restore(before)
    slopes = (directions * true_gradient(given).unsqueeze(1)).sum(2)
    close(
        estimate(given, method), (slopes.unsqueeze(2) * directions).sum(1) / 3, rtol=0.02, atol=0.02
    )


def test_directions_have_unit_covariance():
    for perturbation in ("normal", "rademacher"):
        directions = random_directions(perturbation, Stream("step", [0, 1]), 20_000, 4)
        covariance = directions.mT @ directions / 20_000
        assert (covariance - torch.eye(4)).abs().max() < 4 * (2 / 20_000) ** 0.5
        assert set(directions.unique().tolist()) == {-1.0, 1.0} or perturbation == "normal"


@pytest.mark.parametrize("n_directions", [64, 512])
def test_the_cosine_with_the_gradient_follows_its_law(n_directions, make_problem):
    settings = {"n_directions": n_directions, "perturbation": "normal", "perturbation_std": 1e-3}
    method = WeightPerturbation(**settings)
    given = make_problem(method, seeds=range(12))
    cosine = torch.cosine_similarity(estimate(given, method), true_gradient(given), 1)
    law = (n_directions / (n_directions + given.params.shape[1] + 1)) ** 0.5
    assert float(cosine.mean()) == pytest.approx(law, rel=0.1)


def test_a_step_costs_two_forward_passes_a_direction(make_problem):
    method = WeightPerturbation(n_directions=3)
    given = make_problem(method, batch_size=16)
    given.problem.ledger = Ledger()
    estimate(given, method)
    assert (given.problem.ledger.forward, given.problem.ledger.backward) == (6 * 16, 0)
