"""Oracles: the recursion day by day, automatic differentiation of it, and the package `arch`."""

import numpy as np
import pytest
import torch

from beyond.architectures.garch import GARCH
from beyond.contracts import TargetKind
from beyond.errors import InputError
from beyond.network.parts import trial
from beyond.network.volatility_layers import (
    LOG_OMEGA,
    LOGIT_PERSISTENCE,
    LOGIT_SHARE,
    GARCHRecursion,
)

FAULTS = [
    # the mean is taken off twice
    ("beyond/network/volatility_layers.py", "- 2 * mu * sums[:, 1]", "- 4 * mu * sums[:, 1]"),
    # the variance before the series begins is not the shock's too
    ("beyond/network/volatility_layers.py", "+ persistence * sums[:, 4]", "+ alpha * sums[:, 4]"),
    # the oldest day comes first
    ("beyond/network/volatility_layers.py", "single(x).flip(2).unbind(1)", "single(x).unbind(1)"),
    # beta^k by itself, without what it multiplies
    ("beyond/network/volatility_layers.py", "slopes = lags * cache", "slopes = cache"),
    (
        "beyond/network/volatility_layers.py",
        "persistence * (d_alpha - d_beta)",
        "(d_alpha - d_beta)",
    ),
]
R, P, B, LENGTH = 3, 2, 7, 9


def draw(n_copies=R):
    """Weights, and returns that begin on another day in each example, in one of them before all."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(n_copies, 4, 1, generator=generator, dtype=torch.float64)
    returns = torch.randn(R, LENGTH, B, generator=generator, dtype=torch.float64)
    begin = torch.arange(B)  # days that are before the series
    before = (torch.arange(LENGTH).unsqueeze(1) < begin).double().expand(R, -1, -1)
    spread = 0.5 + torch.rand(R, 1, B, generator=generator, dtype=torch.float64)
    return weight, torch.stack([returns * (1 - before), spread * before], 1)


def recursion(weight, x):
    """One replica, day by day: weight (4, 1), x (2, length, B), which begins."""
    mu, log_omega, logit, share = weight.flatten()
    persistence = torch.sigmoid(logit + LOGIT_PERSISTENCE)
    alpha = persistence * torch.sigmoid(share + LOGIT_SHARE)
    beta, omega = persistence - alpha, torch.exp(log_omega + LOG_OMEGA)
    variance = shock = torch.zeros(x.shape[-1], dtype=x.dtype)
    for returns, stand_in in zip(*x, strict=True):
        ahead = omega + alpha * shock + beta * variance
        variance = torch.where(stand_in > 0, stand_in, ahead)
        shock = torch.where(stand_in > 0, stand_in, (returns - mu) ** 2)
    variance = omega + alpha * shock + beta * variance
    return torch.stack([mu.expand_as(variance), variance.log()])


def test_forward_is_the_recursion_day_by_day():
    weight, x = draw()
    x[:, 1, 0] = 1.0  # every example begins
    y, _ = GARCHRecursion().forward({"weight": weight}, x)
    expected = torch.stack([recursion(*pair) for pair in zip(weight, x, strict=True)])
    torch.testing.assert_close(y, expected)


def test_the_chain_rule_is_automatic_differentiation_of_the_recursion():
    weight, x = draw()
    x[:, 1, 0] = 1.0
    leaves = [weight.clone().requires_grad_(), x.clone().requires_grad_()]
    layer = GARCHRecursion()
    y, cache = layer.forward({"weight": weight}, x)
    dy = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=y.dtype)
    expected = torch.stack([recursion(*pair) for pair in zip(*leaves, strict=True)])
    d_weight, d_x = torch.autograd.grad(expected, leaves, dy)
    torch.testing.assert_close(layer.gradients(cache, dy)["weight"], d_weight)
    torch.testing.assert_close(layer.carry({"weight": weight}, cache, dy), d_x)
    torch.testing.assert_close(layer.carry({"weight": weight}, cache, dy, weight), d_x)


def test_candidates_share_the_returns_of_their_replica():
    weight, x = draw(R * P)
    together, _ = GARCHRecursion().forward({"weight": weight}, x)
    for candidate in range(P):
        alone, _ = GARCHRecursion().forward({"weight": weight[candidate::P]}, x)
        torch.testing.assert_close(together[candidate::P], alone)


def test_on_a_whole_series_it_is_the_filter_of_arch():
    """Every example has all days before its own, and the package's start before those."""
    from arch import arch_model

    returns = np.random.default_rng(0).normal(0.1, 1.5, 60)
    model = arch_model(returns, mean="Constant", vol="GARCH", rescale=False)
    mu, omega, alpha, beta = 0.05, 0.2, 0.1, 0.8
    backcast = model.volatility.backcast(returns - returns.mean())
    expected = model.volatility.compute_variance(
        np.array([omega, alpha, beta]),
        returns - mu,
        np.empty(60),
        backcast,
        np.tile([1e-9, 1e9], (60, 1)),
    )
    x = np.zeros((1, 2, 60, 60))
    for day in range(60):
        x[0, 0, 60 - day :, day] = returns[:day]
        x[0, 1, : 60 - day, day] = backcast
    logits = [mu, np.log(omega) - LOG_OMEGA, np.log(0.9 / 0.1) - LOGIT_PERSISTENCE]
    weight = torch.tensor([*logits, np.log(alpha / beta) - LOGIT_SHARE]).view(1, 4, 1)
    y, _ = GARCHRecursion().forward({"weight": weight}, torch.from_numpy(x))
    np.testing.assert_allclose(y[0, 1].exp(), expected, rtol=1e-9)


def test_it_takes_returns_and_predicts_one_distribution():
    spec = trial(GARCH(), (2, 6), target_kind=TargetKind.DISTRIBUTIONS)
    network = GARCH().build(spec)
    assert (network.n_weights, GARCH().name) == (4, "garch")
    with pytest.raises(InputError, match="garch targets must be distributions of one value, got"):
        GARCH().build(trial(GARCH(), (2, 6)))
    with pytest.raises(InputError, match=r"GARCH input must be of shape \(2, length\).*got \(6,\)"):
        GARCH().build(trial(GARCH(), (6,), target_kind=TargetKind.DISTRIBUTIONS))
