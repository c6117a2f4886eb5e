"""Random directions, and the slopes along them as an estimate of a gradient."""

from typing import Literal

from torch import Tensor

from beyond.kits.passes import stretch
from beyond.streams import Stream

Distribution = Literal["rademacher", "normal"]


def random_directions(distribution: Distribution, rng: Stream, n_directions: int, n_weights: int) -> Tensor:
    """Draw directions v, (R, K, n), with E[v v^T] = I: fair signs, or normal.

    Parameters
    ----------
    distribution : {"rademacher", "normal"}
    """
    if distribution == "normal":
        return rng.normal(n_directions, n_weights)
    return 2.0 * rng.integers(2, n_directions, n_weights) - 1


def mean_along(slopes: Tensor, directions: Tensor) -> Tensor:
    """Estimate a gradient: the mean over K of slopes (R, K, ...) times directions (R, K, ..., *shape)."""
    return (stretch(slopes, directions) * directions).mean(1)
