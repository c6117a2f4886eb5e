"""Variation of populations: exchange of genes, mutations, and who is better. A gene is one weight.

Shapes: R replicas, K candidates, n weights.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, inf, log1p, sqrt

import torch
from torch import Tensor

from beyond.problem import Problem
from beyond.streams import Stream

# of two float32 numbers, relative to the larger: half a unit in the last place each
RESOLUTION = 2.0**-23
# as in the code of arXiv:1712.06563: no gene mutates by more than 100 standard deviations
SENSITIVITY_FLOOR = 0.01


def standings(losses: Tensor) -> tuple[Tensor, Tensor]:
    """Count for each candidate how many have a smaller loss, and how many have no larger one,
    shapes (R, K).

    Two losses that rounding may have told apart are equal. That is asked of each pair: in a large
    population neighbours are that close all the way from the best to the worst. A loss that is not
    a number, or infinite, is the largest.

    Parameters
    ----------
    losses : Tensor of shape (R, K)
    """
    losses = losses.double().nan_to_num(inf, inf)
    one, other = losses * (1 - RESOLUTION), losses / (1 - RESOLUTION)
    ordered = losses.sort(1).values
    n_smaller = torch.searchsorted(ordered, torch.minimum(one, other))
    return n_smaller, torch.searchsorted(ordered, torch.maximum(one, other), right=True)


def mate(
    candidates: Tensor, swaps: Callable[[Stream, int, int], Tensor], rate: float, rng: Stream
) -> None:
    """Let neighbours (0, 1), (2, 3), ... of candidates (R, K, n) swap genes in place, pairs with
    probability `rate`.
    """
    _, n_candidates, n_weights = candidates.shape
    n_pairs = n_candidates // 2
    first, second = candidates[:, : 2 * n_pairs : 2], candidates[:, 1 : 2 * n_pairs : 2]
    swap = swaps(rng, n_pairs, n_weights) * (rng.uniform(n_pairs, 1) < rate)
    mixed = first.lerp(second, swap)  # exact at 0 and 1, and several times faster than torch.where
    second.lerp_(first, swap)
    first.copy_(mixed)


def uniform_swaps(rng: Stream, n_pairs: int, n_weights: int) -> Tensor:
    """One fair coin a gene: 1.0 or 0.0, shape (R, n_pairs, n). A draw has 31 coins in it, for
    speed.
    """
    draws = rng.integers(2**31, n_pairs, ceil(n_weights / 31)).int()
    coins = (draws.unsqueeze(-1) >> torch.arange(31, dtype=torch.int32)) & 1
    return coins.flatten(2)[..., :n_weights].float()


def two_point_swaps(rng: Stream, n_pairs: int, n_weights: int) -> Tensor:
    """1.0 between two points drawn along the genes, 0.0 outside, shape (R, n_pairs, n)."""
    first, second = rng.integers(n_weights + 1, n_pairs, 2).sort(-1).values.split(1, -1)
    genes = torch.arange(n_weights)
    return ((first <= genes) & (genes < second)).float()


def mutate_gaussian(candidates: Tensor, std: float, rng: Stream) -> None:
    """Add normal noise to every gene of candidates (R, K, n), in place."""
    candidates.add_(rng.normal(*candidates.shape[1:]), alpha=std)


def mutate_sparse(candidates: Tensor, std: float, rate: float, rng: Stream) -> None:
    """Add normal noise to each gene with probability `rate`, in place.

    The gaps between mutating genes are geometric, so only those genes are drawn: 8 standard
    deviations more than their expected number, of which the ones beyond the last gene are dropped.
    """
    genes = candidates.view(len(candidates), -1)
    expected = genes.shape[1] * rate
    n_draws = ceil(expected + 8 * sqrt(expected) + 8)
    gaps = (-rng.uniform(n_draws)).log1p_().div_(log1p(-rate)).long() + 1
    positions = gaps.cumsum(1) - 1
    noise = rng.normal(n_draws) * (std * (positions < genes.shape[1]))
    genes.scatter_add_(1, positions.clamp_(max=genes.shape[1] - 1), noise)


def mutate_safe(
    candidates: Tensor,
    std: float,
    problem: Problem,
    inputs: Tensor,
    apart: bool,
    limit: float | None,
    rng: Stream,
) -> None:
    """Add to every gene normal noise divided by what that gene does to the outputs, in place; see
    `sensitivities`.

    A gene that does nothing takes the noise as it is; none moves by more than `limit`.
    """
    scale = sensitivities(candidates, problem, inputs, apart)
    scale = torch.where(scale == 0, 1.0, scale.clamp_min(SENSITIVITY_FLOOR))
    noise = rng.normal(*candidates.shape[1:]) / scale
    if limit is not None and std > 0:
        noise.clamp_(-limit / std, limit / std)
    candidates.add_(noise, alpha=std)


def sensitivities(candidates: Tensor, problem: Problem, inputs: Tensor, apart: bool) -> Tensor:
    """How far the outputs move with each gene of each candidate, shape (R, K, n) (Lehman et al.,
    2018).

        together   sqrt(sum_k (sum_i d y_ik / d w_j)^2)        SM-G-SUM: derivatives of the inputs i may cancel
        apart      sqrt(sum_k (mean_i |d y_ik / d w_j|)^2)     SM-G-ABS

    One forward pass and one backward pass an output k, of every input through every candidate.

    Parameters
    ----------
    candidates : Tensor of shape (R, K, n)
    problem : Problem
    inputs : Tensor of shape (R, S, *input_shape)
        A replica's candidates share them.
    apart : bool
        Whether each input has a derivative of its own, so a copy of the weights of its own.
    """
    _, n_candidates, _ = candidates.shape
    n_groups = inputs.shape[1] if apart else 1
    grouped = inputs.unflatten(1, (n_groups, -1)).unsqueeze(1)  # (R, 1, groups, S / groups, ...)
    own_inputs = torch.cat([grouped] * n_candidates, 1).flatten(0, 2)
    own_weights = torch.stack([candidates] * n_groups, 2).flatten(0, 2)
    lanes = problem.lanes(n_candidates * n_groups)
    outputs, tape = lanes.forward(own_weights, own_inputs)
    total = torch.zeros_like(candidates)
    for k in range(outputs.shape[2]):
        one_output = torch.zeros_like(outputs)
        one_output[..., k] = 1
        derivatives = lanes.backward(tape, one_output)  # summed over the inputs of a group
        total += derivatives.abs().view(*candidates.shape[:2], n_groups, -1).mean(2).square()
    return total.sqrt()
