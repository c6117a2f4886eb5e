"""Random directions in weight space, and the slopes along them as an estimate of a gradient."""

from typing import Literal

import torch
from torch import Tensor

from beyond.contracts import Batch
from beyond.kits.passes import stretch
from beyond.problem import Problem
from beyond.streams import Stream

Distribution = Literal["rademacher", "normal"]


def random_directions(
    distribution: Distribution, rng: Stream, n_directions: int, n_weights: int
) -> Tensor:
    """Draw directions v, (R, K, n), with E[v v^T] = I: fair signs, or normal.

    Parameters
    ----------
    distribution : {"rademacher", "normal"}
    """
    if distribution == "normal":
        return rng.normal(n_directions, n_weights)
    return 2.0 * rng.integers(2, n_directions, n_weights) - 1


def mirrored_losses(problem: Problem, params: Tensor, offsets: Tensor, batch: Batch) -> Tensor:
    """Losses (R, 2 K) at weights (R, n) plus offsets (R, K, n), then minus them."""
    centre = params.unsqueeze(1)
    return problem.population_loss(torch.cat([centre + offsets, centre - offsets], 1), batch)


def mean_along(slopes: Tensor, directions: Tensor) -> Tensor:
    """Estimate a gradient: the mean of slopes (R, K, ...) times directions (R, K, ..., *shape)."""
    return (stretch(slopes, directions) * directions).mean(1)
