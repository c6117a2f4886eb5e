"""Activations, of each value by itself; contract and shapes: `beyond.network.layers`."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, sqrt

import torch
import torch.nn.functional as F
from torch import Tensor

from beyond.errors import require
from beyond.network.layers import Layer, Role, Weights
from beyond.streams import Stream


@dataclass(frozen=True)
class ReLU(Layer):
    """max(x, 0)."""

    role = Role.ACTIVATION

    def forward(
        self, weights: Weights, x: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, Tensor]:
        y = x.relu()
        return y, y

    def carry(
        self, weights: Weights, cache: Tensor, dy: Tensor, carrier: Tensor | None = None
    ) -> Tensor:
        return torch.ops.aten.threshold_backward(dy, cache, 0)  # in one pass: dy where y > 0

    def off(self, cache: Tensor) -> Tensor:
        return cache <= 0


@dataclass(frozen=True)
class Tanh(Layer):
    """tanh x; its derivative is 1 - y^2."""

    role = Role.ACTIVATION
    bounded = True

    def forward(
        self, weights: Weights, x: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, Tensor]:
        y = x.tanh()
        return y, y

    def carry(
        self, weights: Weights, cache: Tensor, dy: Tensor, carrier: Tensor | None = None
    ) -> Tensor:
        return dy * (1 - cache.square())


@dataclass(frozen=True)
class Sigmoid(Layer):
    """1 / (1 + exp(-x)); its derivative is y (1 - y)."""

    role = Role.ACTIVATION
    bounded = True

    def forward(
        self, weights: Weights, x: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, Tensor]:
        y = x.sigmoid()
        return y, y

    def carry(
        self, weights: Weights, cache: Tensor, dy: Tensor, carrier: Tensor | None = None
    ) -> Tensor:
        return dy * cache * (1 - cache)


@dataclass(frozen=True)
class LeakyReLU(Layer):
    """x, or `slope` times it where it is negative (Maas et al., 2013)."""

    role = Role.ACTIVATION

    slope: float = 0.01

    def __post_init__(self) -> None:
        require("slope", "in [0, 1)", self.slope, 0 <= self.slope < 1)

    def forward(
        self, weights: Weights, x: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, Tensor]:
        return F.leaky_relu(x, self.slope), x

    def carry(
        self, weights: Weights, cache: Tensor, dy: Tensor, carrier: Tensor | None = None
    ) -> Tensor:
        return torch.where(cache > 0, dy, self.slope * dy)


@dataclass(frozen=True)
class GELU(Layer):
    """x Phi(x), Phi the standard normal distribution function (Hendrycks & Gimpel, 2016).

    Its derivative is Phi(x) + x phi(x), phi the density.
    """

    role = Role.ACTIVATION

    def forward(
        self, weights: Weights, x: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, Tensor]:
        return F.gelu(x), x

    def carry(
        self, weights: Weights, cache: Tensor, dy: Tensor, carrier: Tensor | None = None
    ) -> Tensor:
        density = torch.exp(-cache.square() / 2) / sqrt(2 * pi)
        return dy * (torch.special.ndtr(cache) + cache * density)


@dataclass(frozen=True)
class SiLU(Layer):
    """x s, with s = 1 / (1 + exp(-x)) (Elfwing et al., 2018).

    Its derivative is s (1 + x (1 - s)).
    """

    role = Role.ACTIVATION

    def forward(
        self, weights: Weights, x: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, Tensor]:
        return F.silu(x), x

    def carry(
        self, weights: Weights, cache: Tensor, dy: Tensor, carrier: Tensor | None = None
    ) -> Tensor:
        gate = cache.sigmoid()
        return dy * gate * (1 + cache * (1 - gate))


@dataclass(frozen=True)
class Step(Layer):
    """1 where x is positive, else 0 (McCulloch & Pitts, 1943); its derivative is 0, at 0 too."""

    role = Role.ACTIVATION
    bounded = True

    def forward(
        self, weights: Weights, x: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, None]:
        return (x > 0).to(x.dtype), None

    def carry(
        self, weights: Weights, cache: None, dy: Tensor, carrier: Tensor | None = None
    ) -> Tensor:
        return torch.zeros_like(dy)


@dataclass(frozen=True)
class Identity(Layer):
    """The input, unchanged: the activation of a linear network."""

    role = Role.RESHAPING

    def forward(
        self, weights: Weights, x: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, None]:
        return x, None

    def carry(
        self, weights: Weights, cache: None, dy: Tensor, carrier: Tensor | None = None
    ) -> Tensor:
        return dy


ACTIVATIONS: dict[str, type[Layer]] = {
    "relu": ReLU,
    "tanh": Tanh,
    "sigmoid": Sigmoid,
    "leaky_relu": LeakyReLU,
    "gelu": GELU,
    "silu": SiLU,
    "step": Step,
    "identity": Identity,
}
