"""Losses against torch.nn.functional, errors against automatic differentiation, rewards by hand."""

import pytest
import torch
import torch.nn.functional as F

from beyond import losses
from beyond.contracts import TargetKind

FAULTS = [
    # the sum over examples instead of the mean
    ("beyond/losses.py", "error.div_(targets.shape[1]).mT", "error.mT"),
    ("beyond/losses.py", "0.5 * distance.square_()", "distance.square_()"),
    # a loss is earned, not lost
    ("beyond/losses.py", "-example_losses(", "example_losses("),
    # the constant of the normal density
    ("beyond/losses.py", "log(2 * pi) + log_variance", "log_variance"),
    # a precision that grows with the variance
    (
        "beyond/losses.py",
        "precision = mean - targets, torch.exp(-",
        "precision = mean - targets, torch.exp(",
    ),
]

R, P, B, C = 3, 4, 5, 6
KINDS = list(TargetKind)


def draw(kind, n_candidates=1):
    generator = torch.Generator().manual_seed(0)
    outputs = 3 * torch.randn(R * n_candidates, B, C, generator=generator, dtype=torch.float64)
    if kind is TargetKind.CLASSES:
        return outputs, torch.randint(C, (R, B), generator=generator)
    n_values = C // 2 if kind is TargetKind.DISTRIBUTIONS else C
    return outputs, torch.randn(R, B, n_values, generator=generator, dtype=torch.float64)


def torchs_loss(kind, outputs, targets):
    if kind is TargetKind.CLASSES:
        return F.cross_entropy(outputs, targets)
    if kind is TargetKind.DISTRIBUTIONS:
        mean, log_variance = outputs[:, : C // 2], outputs[:, C // 2 :]
        normal = torch.distributions.Normal(mean, (log_variance / 2).exp())
        return -normal.log_prob(targets).sum(1).mean()
    return 0.5 * F.mse_loss(outputs, targets, reduction="sum") / len(outputs)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_candidates", [1, P])
def test_loss_is_torchs_and_candidates_share_their_replicas_targets(kind, n_candidates, close):
    outputs, targets = draw(kind, n_candidates)
    expected = [
        torchs_loss(kind, values, targets[copy // n_candidates])
        for copy, values in enumerate(outputs)
    ]
    close(losses.loss(kind, outputs, targets), torch.stack(expected), rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_error_is_the_derivative_of_the_loss(kind, close):
    outputs, targets = draw(kind)
    leaf = outputs.clone().requires_grad_()
    (expected,) = torch.autograd.grad(losses.loss(kind, leaf, targets).sum(), leaf)
    close(losses.error(kind, outputs, targets), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
def test_arguments_are_not_changed(kind):
    outputs, targets = draw(kind)
    before = outputs.clone(), targets.clone()
    losses.loss(kind, outputs, targets)
    losses.error(kind, outputs, targets)
    assert torch.equal(outputs, before[0])
    assert torch.equal(targets, before[1])


def test_large_logits_do_not_overflow():
    outputs, targets = torch.tensor([[[1e4, 0.0, -1e4]]]), torch.tensor([[1]])
    assert losses.cross_entropy(outputs, targets).item() == pytest.approx(1e4)
    assert losses.cross_entropy_error(outputs, targets).tolist() == [[[1.0, -1.0, 0.0]]]


def test_an_action_that_names_the_class_earns_one():
    actions, targets = torch.tensor([[[0, 1, 2], [2, 2, 0]]]), torch.tensor([[1, 2]])
    assert losses.reward(TargetKind.CLASSES, actions, targets).tolist() == [[[0, 1, 0], [1, 1, 0]]]


def test_an_action_earns_minus_half_its_squared_distance_to_the_values():
    # one replica, one input, two actions of two values
    actions = torch.tensor([[[[1.0, 2.0], [0.0, 0.0]]]])
    targets = torch.tensor([[[1.0, 5.0]]])
    assert losses.reward(TargetKind.VALUES, actions, targets).tolist() == [[[-4.5, -13.0]]]


def test_an_action_that_is_a_distribution_earns_its_log_density_at_the_value(close):
    # two inputs, two actions of a mean and a log-variance
    actions = torch.tensor([[[[0.0, 0.0], [1.0, 2.0]], [[1.0, 0.0], [3.0, 1.0]]]])
    targets = torch.tensor([[[1.0], [-1.0]]])
    normal = torch.distributions.Normal(actions[..., 0], (actions[..., 1] / 2).exp())
    expected = normal.log_prob(targets.expand(-1, -1, 2))
    close(losses.reward(TargetKind.DISTRIBUTIONS, actions, targets), expected)
