"""Layers on stacked series of returns, see `beyond.network.layers`: conditional variance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from beyond.errors import require
from beyond.hardware import single
from beyond.network.layers import Flops, Layer, Role, Shape, Weights
from beyond.streams import Stream

# What weights of zero stand for: a persistence of 0.95, of which a ninth is the last shock's.
LOG_OMEGA, LOGIT_PERSISTENCE, LOGIT_SHARE = -2.0, 3.0, -2.0
N_COLUMNS = 5  # what is summed over lags


class Moments(NamedTuple):
    """Parameters of the recursion, (G, 1) each."""

    mu: Tensor
    omega: Tensor
    alpha: Tensor
    beta: Tensor
    persistence: Tensor  # alpha + beta
    share: Tensor  # alpha's of it


class Filtered(NamedTuple):
    """What the recursion keeps; the latest lag comes first."""

    columns: Tensor  # (G, length, 5, B)
    powers: Tensor  # of beta, (G, length)
    sums: Tensor  # (G, 5, B)
    variance: Tensor  # (G, B)
    moments: Moments


@dataclass(frozen=True)
class GARCHRecursion(Layer):
    """Mean and log-variance of a day's return from those before (Bollerslev, 1986), (G, 2, B).

        v_t = omega + alpha e_{t-1}^2 + beta v_{t-1}          e_t = r_t - mu

    The input (2, length) has the past returns, the latest last, and a variance for each day that
    stands in for v and e^2 before the series begins: 0 where the return is known. The recursion
    starts at the latest day with one; without any, v is 0 on the oldest day. Unrolled it is
    a sum over lags with the weights beta^k: one product of matrices for all days of a batch.

    weight (G, 4, 1) is mu, log omega, logit(alpha + beta) and logit(alpha / (alpha + beta)), the
    last three from the values of this file that a weight of zero stands for. So omega and both
    shares are positive, and alpha + beta is below 1.
    """

    role = Role.RECURSION

    def output_shape(self, shape: Shape) -> Shape:
        _length(shape)
        return (2,)

    def parameters(self, shape: Shape) -> dict[str, Shape]:
        _length(shape)
        return {"weight": (4, 1)}

    def fans(self, shape: Shape) -> tuple[int, int]:
        return 1, 1

    def flops(self, shape: Shape) -> Flops:
        product = 2 * N_COLUMNS * _length(shape)
        return Flops(product, product, product)

    def forward(
        self, weights: Weights, x: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, Filtered]:
        moments = _moments(single(weights["weight"]))
        returns, stand_in = single(x).flip(2).unbind(1)  # (R, length, B)
        known = (stand_in <= 0).to(returns.dtype).cumprod(1)
        start = torch.cat([torch.ones_like(known[:, :1]), known[:, :-1]], 1) - known
        seen = known * returns
        columns = torch.stack([known, seen, seen * returns, start, start * stand_in], 2)
        powers = moments.beta ** torch.arange(x.shape[2], device=x.device)  # (G, length)
        rows = powers.view(len(x), -1, x.shape[2])  # copies may share an input
        sums = (rows @ columns.flatten(2)).view(len(powers), N_COLUMNS, -1)
        mu, omega, alpha, _, persistence, _ = moments
        squares = sums[:, 2] - 2 * mu * sums[:, 1] + mu.square() * sums[:, 0]
        started = omega * sums[:, 3] + persistence * sums[:, 4]
        variance = omega * sums[:, 0] + alpha * squares + started
        y = torch.stack([mu.expand_as(variance), variance.log()], 1)
        return y.to(x.dtype), Filtered(columns, powers, sums, variance, moments)

    def carry(
        self, weights: Weights, cache: Filtered, dy: Tensor, carrier: Tensor | None = None
    ) -> Tensor:
        moments = cache.moments if carrier is None else _moments(single(carrier))
        at_sums = _at_sums(moments, _at_variance(cache, dy))
        powers = moments.beta ** torch.arange(cache.powers.shape[1], device=dy.device)
        d_columns = powers.unsqueeze(2) @ at_sums.flatten(1).unsqueeze(1)
        d_known = d_columns.unflatten(2, (N_COLUMNS, -1))
        known, seen, _, start, _ = cache.columns.unbind(2)
        d_returns = known * d_known[:, :, 1] + 2 * seen * d_known[:, :, 2]
        return torch.stack([d_returns, start * d_known[:, :, 4]], 1).flip(2).to(dy.dtype)

    def gradients(self, cache: Filtered, dy: Tensor) -> dict[str, Tensor]:
        mu, omega, alpha, _beta, persistence, share = cache.moments
        known, seen, squared, start, started = cache.sums.unbind(1)
        at_variance = _at_variance(cache, dy)
        d_mu = single(dy)[:, 0] + at_variance * 2 * alpha * (mu * known - seen)
        d_omega = at_variance * (known + start)
        d_alpha = at_variance * (squared - 2 * mu * seen + mu.square() * known + started)
        d_beta = (at_variance * started).sum(1, keepdim=True)
        at_sums = _at_sums(cache.moments, at_variance).flatten(1).unsqueeze(2)
        d_powers = (cache.columns.flatten(2) @ at_sums).squeeze(2)  # (G, length)
        lags = torch.arange(1, d_powers.shape[1], device=dy.device)
        slopes = lags * cache.powers[:, :-1]  # of beta^k, for k > 0
        d_beta = d_beta + (d_powers[:, 1:] * slopes).sum(1, keepdim=True)
        d_alpha = d_alpha.sum(1, keepdim=True)
        parts = [
            d_mu.sum(1, keepdim=True),
            d_omega.sum(1, keepdim=True) * omega,
            (share * d_alpha + (1 - share) * d_beta) * persistence * (1 - persistence),
            persistence * (d_alpha - d_beta) * share * (1 - share),
        ]
        return {"weight": torch.stack(parts, 1)}


def _moments(weight: Tensor) -> Moments:
    """Parameters of the recursion from weights (G, 4, 1)."""
    mu, log_omega, logit, share = weight.unbind(1)
    persistence = torch.sigmoid(logit + LOGIT_PERSISTENCE)
    share = torch.sigmoid(share + LOGIT_SHARE)
    omega = torch.exp(log_omega + LOG_OMEGA)
    return Moments(mu, omega, persistence * share, persistence * (1 - share), persistence, share)


def _at_variance(cache: Filtered, dy: Tensor) -> Tensor:
    """Error (G, B) at the variance, from that at its logarithm."""
    return single(dy)[:, 1] / cache.variance


def _at_sums(moments: Moments, at_variance: Tensor) -> Tensor:
    """Error (G, 5, B) at the sums over lags."""
    mu, omega, alpha, _, persistence, _ = moments
    slopes = [omega + alpha * mu.square(), -2 * alpha * mu, alpha, omega, persistence]
    return torch.stack([slope * at_variance for slope in slopes], 1)


def _length(shape: Shape) -> int:
    allowed = "of shape (2, length): returns, and what stands in before they begin"
    require("GARCH input", allowed, shape, len(shape) == 2 and shape[0] == 2)
    return shape[1]
