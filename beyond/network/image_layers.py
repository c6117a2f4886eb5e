"""Layers on stacked images: convolution and pooling; contract and shapes: `beyond.network.layers`.

Copies of the weights become the groups of one convolution, so images are laid out as it wants them,
(B, G * channels, height, width), and shown to the other layers as the view (G, channels, height,
width, B).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.grad import conv2d_input, conv2d_weight

from beyond.errors import require
from beyond.network.layers import Convolution, Layer, Role, Shape, Weights
from beyond.streams import Stream


@dataclass(frozen=True)
class Conv2d(Convolution):
    """Cross-correlation of images, weight (G, n_out, n_in, kernel, kernel), bias (G, n_out)."""

    inputs = "a {} image"

    def sides(self, shape: Shape) -> tuple[int, ...]:
        return _image(self, shape)[1:]

    def forward(
        self, weights: Weights, x: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, tuple[Tensor, Shape]]:
        weight, groups = weights["weight"], len(x)
        images = _examples_first(x)
        kernels = weight.reshape(-1, *weight.shape[2:])
        z = F.conv2d(
            images, kernels, weights["bias"].flatten(), self.stride, self.padding, groups=groups
        )
        return _examples_last(z, len(weight)), (images, tuple(weight.shape))

    def carry(
        self,
        weights: Weights,
        cache: tuple[Tensor, Shape],
        dy: Tensor,
        carrier: Tensor | None = None,
    ) -> Tensor:
        carrier = weights["weight"] if carrier is None else carrier
        images, _ = cache
        dx = conv2d_input(
            images.shape,
            carrier.reshape(-1, *carrier.shape[2:]),
            _examples_first(dy),
            self.stride,
            self.padding,
            groups=len(dy),
        )
        return _examples_last(dx, len(dy))

    def gradients(self, cache: tuple[Tensor, Shape], dy: Tensor) -> dict[str, Tensor]:
        images, shape = cache
        dz = _examples_first(dy)
        dw = conv2d_weight(
            images, (shape[0] * shape[1], *shape[2:]), dz, self.stride, self.padding, groups=len(dy)
        )
        return {"weight": dw.view(shape), "bias": dy.sum((2, 3, 4))}


@dataclass(frozen=True)
class Pool2d(Layer):
    """Makes one number of each `size` x `size` square, apart; a remainder is cut off."""

    role = Role.POOLING

    size: int = 2

    def __post_init__(self) -> None:
        require("size", ">= 1", self.size, self.size >= 1)

    def output_shape(self, shape: Shape) -> Shape:
        channels, height, width = _image(self, shape)
        side = min(height, width)
        require("size", f"at most {side}, the image's side", self.size, self.size <= side)
        return channels, height // self.size, width // self.size


@dataclass(frozen=True)
class MaxPool2d(Pool2d):
    """Largest value of each square."""

    def forward(
        self, weights: Weights, x: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, tuple[Tensor, torch.Size]]:
        images = _examples_first(x)
        y, indices = F.max_pool2d(images, self.size, return_indices=True)
        return _examples_last(y, len(x)), (indices, images.shape)

    def carry(
        self, weights: Weights, cache: Any, dy: Tensor, carrier: Tensor | None = None
    ) -> Tensor:
        indices, shape = cache
        dx = F.max_unpool2d(
            _examples_first(dy), indices, [self.size, self.size], output_size=shape[2:]
        )
        return _examples_last(dx, len(dy))


@dataclass(frozen=True)
class AvgPool2d(Pool2d):
    """Mean of each square."""

    def forward(
        self, weights: Weights, x: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, torch.Size]:
        images = _examples_first(x)
        return _examples_last(F.avg_pool2d(images, self.size), len(x)), images.shape

    def carry(
        self, weights: Weights, cache: torch.Size, dy: Tensor, carrier: Tensor | None = None
    ) -> Tensor:
        spread = (
            _examples_first(dy).repeat_interleave(self.size, 2).repeat_interleave(self.size, 3)
            / self.size**2
        )
        cut = (0, cache[3] - spread.shape[3], 0, cache[2] - spread.shape[2])
        return _examples_last(F.pad(spread, cut), len(dy))


@dataclass(frozen=True)
class MeanOverImage(Layer):
    """Mean of each channel over all places (Lin et al., 2014: global average pooling)."""

    role = Role.POOLING

    def output_shape(self, shape: Shape) -> Shape:
        return _image(self, shape)[:1]

    def forward(
        self, weights: Weights, x: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, torch.Size]:
        return x.mean((2, 3)), x.shape

    def carry(
        self, weights: Weights, cache: torch.Size, dy: Tensor, carrier: Tensor | None = None
    ) -> Tensor:
        sides = cache[2:4]
        return (dy / sides.numel())[:, :, None, None].expand(-1, -1, *sides, -1)


def _image(layer: Layer, shape: Shape) -> Shape:
    require(
        f"{type(layer).__name__} input",
        "an image of shape (channels, height, width)",
        shape,
        len(shape) == 3,
    )
    return shape


def _examples_first(x: Tensor) -> Tensor:
    """(G, channels, height, width, B) as (B, G * channels, height, width), as torch has groups."""
    return x.movedim(-1, 0).flatten(1, 2)


def _examples_last(x: Tensor, n_copies: int) -> Tensor:
    """Undo `_examples_first`, as a view."""
    return x.unflatten(1, (n_copies, -1)).movedim(0, -1)
