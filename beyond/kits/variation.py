"""Variation of populations: exchange of genes, mutations, and who is better. A gene is one weight.

Shapes: R replicas, K candidates, n weights.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import ceil, inf, log1p, sqrt
from typing import Annotated, Literal

import torch
from annotated_types import Interval
from torch import Tensor

from beyond.contracts import Batch
from beyond.problem import Problem
from beyond.search import Choice, LogUniform
from beyond.settings import (
    NonNegative,
    Positive,
    PositiveInt,
    UnitInterval,
    UpToOne,
    settings,
)
from beyond.streams import Stream

# of two float32 numbers, relative to the larger: half a unit in the last place each
RESOLUTION = 2.0**-23
# as in the code of arXiv:1712.06563: no gene mutates by more than 100 standard deviations
SENSITIVITY_FLOOR = 0.01


def standings(losses: Tensor) -> tuple[Tensor, Tensor]:
    """Count for each candidate those with a smaller loss, and with no larger one, (R, K).

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


@settings(kw_only=True)
class Crossover(ABC):
    """Neighbours (0, 1), (2, 3), ... of candidates swap genes.

    Parameters
    ----------
    rate : float in [0, 1]
        Probability that a pair swaps genes at all.
    """

    rate: Annotated[UnitInterval, Choice(0.0, 0.5, 1.0)] = 1.0

    @abstractmethod
    def swaps(self, rng: Stream, n_pairs: int, n_weights: int) -> Tensor:
        """Draw which genes are swapped by a pair that does, 1.0 or 0.0, shape (R, n_pairs, n)."""

    def mate(self, candidates: Tensor, rng: Stream) -> None:
        """Change candidates (R, K, n) in place; of an odd number the last stays as it is."""
        _, n_candidates, n_weights = candidates.shape
        n_pairs = n_candidates // 2
        first, second = candidates[:, : 2 * n_pairs : 2], candidates[:, 1 : 2 * n_pairs : 2]
        swap = self.swaps(rng, n_pairs, n_weights) * (rng.uniform(n_pairs, 1) < self.rate)
        swap = swap.to(candidates.dtype)
        # exact at 0 and 1, and several times faster than torch.where
        mixed = first.lerp(second, swap)
        second.lerp_(first, swap)
        first.copy_(mixed)


@settings(kw_only=True)
class Uniform(Crossover):
    """Swap each gene with probability 1/2."""

    def swaps(self, rng: Stream, n_pairs: int, n_weights: int) -> Tensor:
        # a draw has 31 coins in it, for speed
        draws = rng.integers(2**31, n_pairs, ceil(n_weights / 31)).int()
        bits = torch.arange(31, dtype=torch.int32, device=draws.device)
        coins = (draws.unsqueeze(-1) >> bits) & 1
        return coins.flatten(2)[..., :n_weights].float()


@settings(kw_only=True)
class TwoPoint(Crossover):
    """Swap the genes between two points, drawn anew for each pair."""

    def swaps(self, rng: Stream, n_pairs: int, n_weights: int) -> Tensor:
        first, second = rng.integers(n_weights + 1, n_pairs, 2).sort(-1).values.split(1, -1)
        genes = torch.arange(n_weights, device=first.device)
        return ((first <= genes) & (genes < second)).float()


@settings(kw_only=True)
class NoCrossover:
    """Each child has all its genes from one parent."""

    def mate(self, candidates: Tensor, rng: Stream) -> None:
        """Leave them as they are."""


@settings(kw_only=True)
class Mutation(ABC):
    """Adds normal noise to genes, of a standard deviation that decays.

        s_t = std decay^floor(t / n_decay_generations)

    Parameters
    ----------
    std : float, >= 0
        Standard deviation in the first generation.
    decay : float in (0, 1]
        Factor on the standard deviation every `n_decay_generations`.
    n_decay_generations : int, >= 1
    """

    std: Annotated[NonNegative, LogUniform(1e-3, 0.3)] = 0.01
    decay: UpToOne = 0.5
    n_decay_generations: PositiveInt = 2000

    def std_in(self, generation: int) -> float:
        """Return the standard deviation in a generation, counted from 0."""
        return self.std * self.decay ** (generation // self.n_decay_generations)

    @abstractmethod
    def mutate(
        self, candidates: Tensor, generation: int, batch: Batch, problem: Problem, rng: Stream
    ) -> None:
        """Change candidates (R, K, n) in place; a mutation may look at the batch's inputs."""


@settings(kw_only=True)
class Gaussian(Mutation):
    """Every gene mutates."""

    def mutate(
        self, candidates: Tensor, generation: int, batch: Batch, problem: Problem, rng: Stream
    ) -> None:
        candidates.add_(rng.normal(*candidates.shape[1:]), alpha=self.std_in(generation))


@settings(kw_only=True)
class Sparse(Mutation):
    """A few genes mutate.

    The gaps between mutating genes are geometric, so only those genes are drawn: 8 standard
    deviations more than their expected number, of which the ones beyond the last gene are dropped.

    Parameters
    ----------
    rate : float in (0, 1)
        Probability that a gene mutates.
    """

    rate: Annotated[float, Interval(gt=0, lt=1), LogUniform(0.005, 0.5)] = 0.05

    def mutate(
        self, candidates: Tensor, generation: int, batch: Batch, problem: Problem, rng: Stream
    ) -> None:
        genes = candidates.view(len(candidates), -1)
        expected = genes.shape[1] * self.rate
        n_draws = ceil(expected + 8 * sqrt(expected) + 8)
        gaps = (-rng.uniform(n_draws)).log1p_().div_(log1p(-self.rate)).long() + 1
        positions = gaps.cumsum(1) - 1
        noise = rng.normal(n_draws) * (self.std_in(generation) * (positions < genes.shape[1]))
        genes.scatter_add_(1, positions.clamp_(max=genes.shape[1] - 1), noise)


@settings(kw_only=True)
class Safe(Mutation):
    """Every gene mutates, by noise over what it does to the outputs (Lehman et al., 2018).

    See `sensitivities`; below 0.01 they count as 0.01, and a gene that does nothing takes the noise
    as it is.

    Parameters
    ----------
    derivatives : {"sum", "abs"}
        Whether those of the outputs at several inputs are summed, and may cancel, or their
        absolute values averaged.
    n_inputs : int, >= 1
        Inputs of the batch at which the outputs are looked at; at most all of them.
    limit : float, > 0, optional
        Largest change of a gene by one mutation (in the authors' code 0.2 in deep networks, 10 on
        toys).
    """

    derivatives: Literal["sum", "abs"] = "sum"
    n_inputs: PositiveInt = 4
    limit: Positive | None = None

    def mutate(
        self, candidates: Tensor, generation: int, batch: Batch, problem: Problem, rng: Stream
    ) -> None:
        std, inputs = self.std_in(generation), batch.inputs[:, : self.n_inputs]
        scale = sensitivities(candidates, problem, inputs, apart=self.derivatives == "abs")
        scale = torch.where(scale == 0, 1.0, scale.clamp_min(SENSITIVITY_FLOOR))
        noise = rng.normal(*candidates.shape[1:]) / scale
        if self.limit is not None and std > 0:
            noise.clamp_(-self.limit / std, self.limit / std)
        candidates.add_(noise, alpha=std)


CHOICES = {
    "uniform": (Uniform(), ""),
    "two_point": (TwoPoint(), ""),
    "none": (NoCrossover(), ""),
    "gaussian": (Gaussian(), ""),
    "sparse": (Sparse(), ""),
    "safe": (Safe(), ""),
}


def sensitivities(candidates: Tensor, problem: Problem, inputs: Tensor, apart: bool) -> Tensor:
    """How far the outputs move with each gene of each candidate, (R, K, n) (Lehman et al., 2018).

        together   sqrt(sum_k (sum_i d y_ik / d w_j)^2)        SM-G-SUM: inputs i may cancel
        apart      sqrt(sum_k (mean_i |d y_ik / d w_j|)^2)     SM-G-ABS

    One forward pass and one backward pass an output k, of every input through every candidate.

    Parameters
    ----------
    candidates : Tensor of shape (R, K, n)
    problem : Problem
    inputs : Tensor of shape (R, S, *input_shape)
        A replica's candidates share them.
    apart : bool
        Whether each input has a separate derivative, so a separate copy of the weights.
    """
    _, n_candidates, _ = candidates.shape
    n_groups = inputs.shape[1] if apart else 1
    grouped = inputs.unflatten(1, (n_groups, -1)).unsqueeze(1)  # (R, 1, groups, S / groups, ...)
    copied_inputs = torch.cat([grouped] * n_candidates, 1).flatten(0, 2)
    copied_weights = torch.stack([candidates] * n_groups, 2).flatten(0, 2)
    lanes = problem.lanes(n_candidates * n_groups)
    outputs, tape = lanes.forward(copied_weights, copied_inputs)
    total = torch.zeros_like(candidates)
    for k in range(outputs.shape[2]):
        one_output = torch.zeros_like(outputs)
        one_output[..., k] = 1
        derivatives = lanes.backward(tape, one_output)  # summed over the inputs of a group
        total += derivatives.abs().view(*candidates.shape[:2], n_groups, -1).mean(2).square()
    return total.sqrt()
