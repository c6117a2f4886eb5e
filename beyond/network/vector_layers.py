"""Layers on stacked vectors: maps of all features, or of groups of them; contract and shapes:
`beyond.network.layers`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from beyond.errors import require
from beyond.hardware import single
from beyond.network.layers import Flops, Layer, Role, Shape, Weights
from beyond.replicas import each, numbers
from beyond.streams import Stream


@dataclass(frozen=True)
class Linear(Layer):
    """z = W x + b, weight (G, n_out, n_in), bias (G, n_out)."""

    role = Role.DENSE

    n_out: int

    def __post_init__(self) -> None:
        require("n_out", ">= 1", self.n_out, self.n_out >= 1)

    def output_shape(self, shape: Shape) -> Shape:
        return (self.n_out,)

    def parameters(self, shape: Shape) -> dict[str, Shape]:
        return {"weight": (self.n_out, *_vector(self, shape)), "bias": (self.n_out,)}

    def fans(self, shape: Shape) -> tuple[int, int]:
        return shape[0], self.n_out

    def flops(self, shape: Shape) -> Flops:
        product = 2 * self.n_out * shape[0]
        return Flops(product, product, product)

    def forward(
        self, weights: Weights, x: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, Tensor]:
        weight, bias = weights["weight"], weights["bias"].unsqueeze(-1)
        if len(weight) == len(x):
            return torch.baddbmm(bias, weight, x), x
        rows = weight.reshape(len(x), -1, weight.shape[2])  # (R, P * n_out, n_in)
        return (rows @ x).view(*weight.shape[:2], -1).add_(bias), x

    def carry(
        self, weights: Weights, cache: Tensor, dy: Tensor, carrier: Tensor | None = None
    ) -> Tensor:
        carrier = weights["weight"] if carrier is None else carrier
        return carrier.mT @ dy

    def gradients(self, cache: Tensor, dy: Tensor) -> dict[str, Tensor]:
        return {"weight": dy @ cache.mT, "bias": dy.sum(-1)}


@dataclass(frozen=True)
class Embedding(Layer):
    """A vector for each symbol of a sequence, end to end: (length,) to (length * n_features,).

    weight (G, n_symbols, n_features). Symbols have no derivative, so it can only come first.
    """

    role = Role.EMBEDDING

    n_symbols: int
    n_features: int

    def __post_init__(self) -> None:
        require("n_symbols", ">= 1", self.n_symbols, self.n_symbols >= 1)
        require("n_features", ">= 1", self.n_features, self.n_features >= 1)

    def output_shape(self, shape: Shape) -> Shape:
        return (_vector(self, shape)[0] * self.n_features,)

    def parameters(self, shape: Shape) -> dict[str, Shape]:
        return {"weight": (self.n_symbols, self.n_features)}

    def fans(self, shape: Shape) -> tuple[int, int]:
        return 1, self.n_features  # one symbol is on at a time

    def forward(
        self, weights: Weights, x: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, Tensor]:
        weight = weights["weight"]
        # (R, P, L, B)
        copies = torch.arange(len(weight), device=x.device).view(len(x), -1, 1, 1)
        rows = copies * self.n_symbols + x.unsqueeze(1)
        # (G, L, B, n_features)
        vectors = F.embedding(rows.flatten(0, 1), weight.reshape(-1, self.n_features))
        return vectors.mT.flatten(1, 2), rows.flatten(0, 1)

    def carry(
        self, weights: Weights, cache: Tensor, dy: Tensor, carrier: Tensor | None = None
    ) -> Tensor:
        raise TypeError("symbols carry no error")

    def gradients(self, cache: Tensor, dy: Tensor) -> dict[str, Tensor]:
        n_copies = len(cache)
        # (G * L * B, n_features)
        per_letter = dy.unflatten(1, (-1, self.n_features)).mT.reshape(-1, self.n_features)
        per_letter = single(per_letter)
        total = per_letter.new_zeros(n_copies * self.n_symbols, self.n_features)
        total.index_add_(0, cache.flatten(), per_letter)
        return {"weight": total.view(n_copies, self.n_symbols, self.n_features)}


@dataclass(frozen=True)
class GroupedLinear(Layer):
    """z_g = W_g x_g for groups of features, W (G, n_groups, n_out/n_groups, n_in/n_groups).

    As many groups as features is a diagonal map.
    """

    role = Role.GROUPED

    n_out: int
    n_groups: int

    def __post_init__(self) -> None:
        require("n_groups", ">= 1", self.n_groups, self.n_groups >= 1)
        fits = self.n_out >= 1 and self.n_out % self.n_groups == 0
        require("n_out", f">= 1 and a multiple of n_groups ({self.n_groups})", self.n_out, fits)

    def output_shape(self, shape: Shape) -> Shape:
        return (self.n_out,)

    def parameters(self, shape: Shape) -> dict[str, Shape]:
        n_in, n_out = self.fans(shape)
        return {"weight": (self.n_groups, n_out, n_in)}

    def fans(self, shape: Shape) -> tuple[int, int]:
        fits = len(shape) == 1 and shape[0] % self.n_groups == 0
        require(
            "GroupedLinear input",
            f"one axis, a multiple of n_groups ({self.n_groups}) long",
            shape,
            fits,
        )
        return shape[0] // self.n_groups, self.n_out // self.n_groups

    def flops(self, shape: Shape) -> Flops:
        n_in, n_out = self.fans(shape)
        product = 2 * self.n_groups * n_out * n_in
        return Flops(product, product, product)

    def forward(
        self, weights: Weights, x: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, Tensor]:
        weight = weights["weight"]
        parts = x.unflatten(1, (self.n_groups, -1))  # (R, n_groups, n_in / n_groups, B)
        parts = parts.repeat_interleave(len(weight) // len(x), 0)  # copies may share an input
        return (weight @ parts).flatten(1, 2), parts

    def carry(
        self, weights: Weights, cache: Tensor, dy: Tensor, carrier: Tensor | None = None
    ) -> Tensor:
        carrier = weights["weight"] if carrier is None else carrier
        return (carrier.mT @ dy.unflatten(1, (self.n_groups, -1))).flatten(1, 2)

    def gradients(self, cache: Tensor, dy: Tensor) -> dict[str, Tensor]:
        return {"weight": dy.unflatten(1, (self.n_groups, -1)) @ cache.mT}


@dataclass(frozen=True)
class Flatten(Layer):
    """(G, ..., B) to (G, features, B), in the order of the axes."""

    role = Role.RESHAPING

    def output_shape(self, shape: Shape) -> Shape:
        return (prod(shape),)

    def forward(
        self, weights: Weights, x: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, torch.Size]:
        return x.flatten(1, -2), x.shape

    def carry(
        self, weights: Weights, cache: torch.Size, dy: Tensor, carrier: Tensor | None = None
    ) -> Tensor:
        return dy.reshape(len(dy), *cache[1:])


@dataclass(frozen=True)
class Dropout(Layer):
    """In training, zero each value with probability `rate` and divide the rest by 1 - rate.

    The rate is one number, or one for each replica.
    """

    role = Role.NOISE

    rate: float | tuple[float, ...] = 0.5

    def __post_init__(self) -> None:
        rates = self.rate if isinstance(self.rate, tuple) else (self.rate,)
        require("rate", "in [0, 1)", self.rate, all(0 <= rate < 1 for rate in rates))

    def forward(
        self, weights: Weights, x: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, Tensor | None]:
        if rng is None:
            return x, None
        drawn = rng.uniform(*x.shape[1:])
        kept = drawn >= each(self.rate, drawn)
        mask = (kept / each(1 - numbers(self.rate), drawn)).to(x.dtype)
        return x * mask, mask

    def carry(
        self, weights: Weights, cache: Tensor | None, dy: Tensor, carrier: Tensor | None = None
    ) -> Tensor:
        return dy if cache is None else dy * cache


@dataclass(frozen=True)
class Residual(Layer):
    """x + activation(inner(x)), where inner keeps its input's shape (He et al., 2016, figure 2)."""

    role = Role.RESIDUAL

    inner: Layer
    activation: Layer

    def output_shape(self, shape: Shape) -> Shape:
        inner = self.inner.output_shape(shape)
        require("Residual output", f"{shape}, as its input", inner, inner == shape)
        return shape

    def parameters(self, shape: Shape) -> dict[str, Shape]:
        return self.inner.parameters(shape)

    def fans(self, shape: Shape) -> tuple[int, int]:
        return self.inner.fans(shape)

    def flops(self, shape: Shape) -> Flops:
        return self.inner.flops(shape)

    def within(self, shape: Shape) -> list[tuple[Layer, Shape]]:
        return [(self.inner, shape), (self.activation, shape)]

    def forward(
        self, weights: Weights, x: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, tuple[Any, Any]]:
        z, inner = self.inner.forward(weights, x, rng)
        change, active = self.activation.forward({}, z, rng)
        y = x.unsqueeze(1) + change.unflatten(0, (len(x), -1))  # x may be shared by several copies
        return y.flatten(0, 1), (inner, active)

    def carry(
        self, weights: Weights, cache: tuple[Any, Any], dy: Tensor, carrier: Tensor | None = None
    ) -> Tensor:
        inner, active = cache
        return dy + self.inner.carry(weights, inner, self.activation.carry({}, active, dy), carrier)

    def gradients(self, cache: tuple[Any, Any], dy: Tensor) -> dict[str, Tensor]:
        inner, active = cache
        return self.inner.gradients(inner, self.activation.carry({}, active, dy))

    def off(self, cache: tuple[Any, Any]) -> Tensor | None:
        return self.activation.off(cache[1])


def _vector(layer: Layer, shape: Shape) -> Shape:
    require(
        f"{type(layer).__name__} input", "one axis (flatten images first)", shape, len(shape) == 1
    )
    return shape
