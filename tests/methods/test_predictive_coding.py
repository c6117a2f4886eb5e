"""Oracles: backpropagation for fixed predictions; for free ones a closed form, F's derivative."""

from types import SimpleNamespace

import pytest
import torch

from beyond import losses
from beyond.architectures.cnn import CNN
from beyond.architectures.mlp import MLP
from beyond.contracts import Batch
from beyond.errors import UnsupportedError
from beyond.network.initialisations import lecun
from beyond.network.layered import LayeredNetwork
from beyond.network.vector_layers import Linear
from methods.predictive_coding import PredictiveCoding

FAULTS = [
    # Predictions follow the values: with those of the forward pass kept, there is nothing left to
    # settle.
    (
        "methods/predictive_coding.py",
        'if self.predictions == "free":',
        'if self.predictions != "free":',
    ),
    # The loss of a batch instead of an example's.
    ("methods/predictive_coding.py", "batch.targets) * n_examples", "batch.targets)"),
    # One stage that learns is named too.
    ("methods/predictive_coding.py", "len(stages) - 1 - self", "len(stages) - self"),
]


def direction(given, **settings):
    """The gradient that the optimizer is handed."""
    method = PredictiveCoding(**settings)
    state = method.init(given.problem, given.params, given.rng)
    return method.direction(state, given.batch, given.problem, given.rng)


@pytest.mark.parametrize(
    ("task", "network"),
    [
        ("image/digits", CNN(channels=(3, 4))),
        ("image/digits", MLP(hidden=(12, 9), activation="tanh")),
        ("text/languages", MLP(hidden=(12, 9), activation="sigmoid", dropout=0.3)),
        ("regression/diabetes", MLP(hidden=(7, 5), layer_norm=True)),
    ],
)
def test_with_fixed_predictions_the_settled_update_is_the_gradient(task, network, make_problem):
    given, again = (make_problem(task=task, network=network) for _ in range(2))
    update = direction(given, predictions="fixed", n_inference=50, inference_rate=0.4)
    gradient = again.problem.gradient(again.params, again.batch, again.rng)
    distance = (update - gradient).norm(dim=1) / gradient.norm(dim=1)
    assert distance.max() < 1e-3


@pytest.mark.parametrize("n_inference", [1, 2, 3, 4])
def test_stages_that_no_error_reaches_are_named(n_inference, make_problem):
    given = make_problem(network=MLP(hidden=(8, 8, 8, 8)))
    update = direction(given, n_inference=n_inference)
    still = [
        block.name
        for block in given.problem.blocks
        if not update[:, block.start : block.stop].any()
    ]
    rule = PredictiveCoding(n_inference=n_inference)
    assert rule.left_alone(given.problem) == still
    assert len(still) == 4 - n_inference


def test_at_rate_one_each_move_reaches_one_stage_further_down(make_problem, deep_network, close):
    given = make_problem(network=deep_network)
    gradient = given.problem.gradient(given.params, given.batch)
    second = given.problem.stages[1].start
    one, two = (
        direction(given, predictions="fixed", n_inference=n, inference_rate=1.0) for n in (1, 2)
    )
    close(two, gradient, rtol=1e-4, atol=1e-6)
    close(one[:, second:], gradient[:, second:], rtol=1e-4, atol=1e-6)
    close(one[:, :second], torch.zeros_like(one[:, :second]), atol=1e-6)


def test_free_values_of_a_linear_network_settle_at_the_closed_form(make_problem, close):
    layers = [Linear(6), Linear(5), Linear(1)]
    network = SimpleNamespace(build=lambda spec: LayeredNetwork(layers, spec.input_shape, lecun))
    given = make_problem(task="regression/diabetes", network=network)
    given.params = given.params + 0.1 * torch.randn(
        given.params.shape, generator=torch.Generator().manual_seed(0)
    )
    update = direction(given, predictions="free", n_inference=400, inference_rate=0.3)
    steps, layered = given.network.unflatten(update), given.network.unflatten(given.params)
    for r in range(2):
        (w1, b1), (w2, b2), (w3, b3) = ((layer["weight"][r], layer["bias"][r]) for layer in layered)
        x, y = given.batch.inputs[r].T, given.batch.targets[r].T  # a column an example
        mu1 = w1 @ x + b1[:, None]
        surprise = y - (w3 @ (w2 @ mu1 + b2[:, None]) + b3[:, None])
        eps3 = torch.linalg.solve(torch.eye(1) + w3 @ w3.T + w3 @ w2 @ w2.T @ w3.T, surprise)
        eps2 = w3.T @ eps3
        eps1 = w2.T @ eps2
        v1 = mu1 + eps1
        v2 = w2 @ v1 + b2[:, None] + eps2
        for step, eps, value in zip(steps, (eps1, eps2, eps3), (x, v1, v2), strict=True):
            close(step["weight"][r], -eps @ value.T / 16, rtol=1e-3, atol=1e-5)
            close(step["bias"][r], -eps.mean(1), rtol=1e-3, atol=1e-5)


def test_free_moves_and_updates_descend_the_energy(make_problem, deep_network, close):
    """Values and weights follow F's derivatives by automatic differentiation, seed by seed."""
    given = make_problem(network=deep_network)
    update = direction(given, predictions="free", n_inference=3, inference_rate=0.2)
    for r in range(2):
        batch = Batch(given.batch.inputs[r : r + 1], given.batch.targets[r : r + 1])
        weights = given.params[r : r + 1].clone().requires_grad_()

        def energy(values, weights=weights, batch=batch):
            """F, summed over the batch."""
            total = torch.zeros(())
            for i, stage in enumerate(given.problem.stages):
                mu, _ = stage.forward(weights, values[i - 1] if i else batch.inputs)
                if i < len(values):
                    total = total + 0.5 * (values[i] - mu).square().sum()
                else:
                    total = (
                        total
                        + losses.loss(given.problem.spec.target_kind, mu, batch.targets).sum()
                        * mu.shape[1]
                    )
            return total

        values = [batch.inputs]
        for stage in given.problem.stages[:-1]:
            values.append(stage.forward(weights, values[-1])[0].detach())
        values = values[1:]
        for _ in range(3):
            moving = [value.requires_grad_() for value in values]
            slopes = torch.autograd.grad(energy(moving), moving)
            values = [
                (value - 0.2 * slope).detach() for value, slope in zip(moving, slopes, strict=True)
            ]
        (expected,) = torch.autograd.grad(energy(values), weights)
        close(update[r], expected[0] / 16, rtol=1e-4, atol=1e-6)


def test_free_predictions_refuse_dropout(make_problem):
    given = make_problem(network=MLP(dropout=0.5))
    with pytest.raises(UnsupportedError, match="dropout"):
        PredictiveCoding().init(given.problem, given.params, given.rng)
