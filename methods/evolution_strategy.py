"""OpenAI's evolution strategy (Salimans, Ho, Chen, Sidor & Sutskever, 2017).

Pairs of networks, mirrored about the current weights, are compared by their loss on a batch; the
differences, each along another random direction, add up to an estimate of the gradient.

    e_k ~ N(0, I)                                                       k = 1 .. K
    d_k = L(w + s e_k) - L(w - s e_k)                                   s = noise_std
    g   = 1 / (2 K s) sum_k d_k e_k                                     handed to the optimizer

    ranks     L is the candidate's rank among all 2K, scaled to [-1/2, 1/2], instead of its loss
    rank = r  each weight matrix's part of e_k is A B^T / sqrt(r), with A (n_out, r) and
              B (n_in, r) ~ N(0, 1); its entries are uncorrelated with variance 1, as at full
              rank, and biases and gains stay N(0, 1)

Departures: the loss on a batch instead of an episode's return; ranks are divided by s too; no
weight decay unless the optimizer has it; a low-rank perturbation is added to the weights before the
forward pass, so it saves random numbers but not memory; dropout is off.
Needs: global loss.
Cost: 2K forward passes of the batch, and the products that weigh the directions and make the
low-rank ones.
Check: the cosine with the true gradient is sqrt(K / (K + n + 1))
(tests/methods/test_evolution_strategy.py).
Source: arXiv:1703.03864; low rank: Sarkar et al., 2025, Evolution strategies at the hyperscale,
arXiv:2511.16652.
"""

from __future__ import annotations

from math import prod, sqrt
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from beyond.contracts import Batch, Signal
from beyond.kits.descent import Descent, State
from beyond.kits.directions import mirrored_losses
from beyond.kits.optimizers import Adam, Optimizer
from beyond.kits.variation import standings
from beyond.problem import Problem
from beyond.replicas import each
from beyond.search import Choice, LogUniform
from beyond.settings import BatchSize, OneOrEach, Positive, PositiveInt, settings
from beyond.streams import Stream


@settings
class EvolutionStrategy(Descent):
    """Estimate the gradient from the losses of mirrored pairs of networks.

    Parameters
    ----------
    n_pairs : int, >= 1
        Random directions per step; two candidates each, all on one batch.
    noise_std : float, > 0
        Distance of the candidates from the weights, a standard deviation of each weight.
    ranks : bool
        Compare candidates by their ranks, which no monotone change of the loss alters.
    rank : int, >= 1, or None
        Of the directions' weight matrices; None for full rank.
    """

    signal: ClassVar[Signal] = Signal.LOSS

    optimizer: Optimizer = Adam(learning_rate=0.01)
    batch_size: BatchSize = 64
    n_pairs: Annotated[PositiveInt, Choice(8, 16, 32, 64, 128)] = 32
    noise_std: Annotated[OneOrEach[Positive], LogUniform(0.005, 0.5)] = 0.05
    ranks: bool = True
    rank: PositiveInt | None = None

    def direction(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> Tensor:
        directions = self.directions(problem, rng)  # (R, K, n)
        steps = each(self.noise_std, directions) * directions
        losses = mirrored_losses(problem, state["params"], steps, batch)
        if self.ranks:
            losses = centred_ranks(losses).to(losses.dtype)
        above, below = losses.chunk(2, 1)
        slopes = (above - below) / (2 * self.n_pairs * each(self.noise_std, above))  # (R, K)
        return problem.matmul(slopes.unsqueeze(1), directions).squeeze(1)

    def directions(self, problem: Problem, rng: Stream) -> Tensor:
        """Draw directions (R, K, n) of mean 0 and covariance I."""
        if self.rank is None:
            return rng.normal(self.n_pairs, problem.n_weights)
        parts: list[Tensor] = []
        for block in problem.blocks:
            for shape in block.shapes.values():
                if len(shape) == 1:  # a bias or a gain
                    parts.append(rng.normal(self.n_pairs, *shape))
                    continue
                # a kernel is the matrix that multiplies its patches
                n_out, n_in = shape[0], prod(shape[1:])
                left = rng.normal(self.n_pairs, n_out, self.rank)
                right = rng.normal(self.n_pairs, n_in, self.rank)
                parts.append((problem.matmul(left, right.mT) / sqrt(self.rank)).flatten(2))
        return torch.cat(parts, 2)


def centred_ranks(losses: Tensor) -> Tensor:
    """Ranks of each replica's losses (R, P), scaled to [-1/2, 1/2]; equal losses share a mean.

    What is equal, and that no number ranks last, is as in `variation.standings`.
    """
    n_smaller, n_no_larger = standings(losses)
    return (n_smaller + n_no_larger - 1) / 2 / (losses.shape[1] - 1) - 0.5
