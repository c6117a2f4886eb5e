"""Initial weights: standard normal draws (G, n_out, ...) scaled, made uniform or orthogonal."""

from collections.abc import Callable
from math import sqrt

import torch
from torch import Tensor

Initialisation = Callable[[Tensor, int, int], Tensor]


def he(draws: Tensor, fan_in: int, fan_out: int) -> Tensor:
    """Variance 2 / fan_in (He et al., 2015, equation 10): keeps a ReLU network's variance."""
    return draws * sqrt(2 / fan_in)


def xavier(draws: Tensor, fan_in: int, fan_out: int) -> Tensor:
    """Variance 2 / (fan_in + fan_out) (Glorot & Bengio, 2010, equation 12)."""
    return draws * sqrt(2 / (fan_in + fan_out))


def lecun(draws: Tensor, fan_in: int, fan_out: int) -> Tensor:
    """Variance 1 / fan_in (LeCun et al., 1998, section 4.6)."""
    return draws * sqrt(1 / fan_in)


def uniform(draws: Tensor, fan_in: int, fan_out: int) -> Tensor:
    """Uniform in +-1 / sqrt(fan_in), variance 1 / (3 fan_in), biases too: torch's default."""
    # the distribution function of a draw is uniform
    return torch.erf(draws * sqrt(0.5)) / sqrt(fan_in)


def orthogonal(draws: Tensor, fan_in: int, fan_out: int) -> Tensor:
    """Orthonormal rows or columns, whichever are fewer, uniform among them (Saxe et al., 2014)."""
    matrices = draws.flatten(2)
    wide = matrices.shape[1] < matrices.shape[2]
    q, r = torch.linalg.qr(matrices.mT if wide else matrices)
    q = q * r.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)  # without the signs, Q is not uniform
    return (q.mT if wide else q).reshape(draws.shape)


def gaussian(std: float) -> Initialisation:
    """Return an initialisation of the given standard deviation, whatever the fan."""

    def scale(draws: Tensor, fan_in: int, fan_out: int) -> Tensor:
        return draws * std

    return scale


def identity(scale: float) -> Initialisation:
    """Return an initialisation to `scale` times the identity, cut or padded with zeros."""

    def fill(draws: Tensor, fan_in: int, fan_out: int) -> Tensor:
        eye = torch.eye(*draws.shape[1:], dtype=draws.dtype, device=draws.device)
        return scale * eye.expand_as(draws)

    return fill


INITIALISATIONS: dict[str, Initialisation] = {
    "he": he,
    "xavier": xavier,
    "lecun": lecun,
    "uniform": uniform,
    "orthogonal": orthogonal,
}
DRAW_BIASES = (uniform,)  # the others start biases at zero
