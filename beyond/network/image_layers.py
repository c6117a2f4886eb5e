"""Layers on stacked images: convolution and pooling; contract and shapes: `beyond.network.layers`.

Copies of the weights become the groups of one convolution, so images are laid out as it wants them,
(B, G * channels, height, width), and shown to the other layers as the view (G, channels, height,
width, B).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from beyond.errors import require
from beyond.network.layers import (
    Convolution,
    Layer,
    Role,
    Shape,
    Weights,
    examples_first,
    examples_last,
)
from beyond.streams import Stream


@dataclass(frozen=True)
class Conv2d(Convolution):
    """Cross-correlation of images, weight (G, n_out, n_in, kernel, kernel), bias (G, n_out)."""

    inputs = "a {} image"

    def sides(self, shape: Shape) -> tuple[int, ...]:
        return _image(self, shape)[1:]

    def forward(
        self, weights: Weights, x: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        images, groups = _laid_out(examples_first(x), len(x)), len(x)
        kernels = _kernels(weights["weight"], groups)
        bias = weights["bias"].flatten() if self.bias else None
        z = F.conv2d(images, kernels, bias, self.stride, self.padding, groups=groups)
        return examples_last(z, len(weights["weight"])), (images, kernels)

    def carry(
        self,
        weights: Weights,
        cache: tuple[Tensor, Tensor],
        dy: Tensor,
        carrier: Tensor | None = None,
    ) -> Tensor:
        carrier = weights["weight"] if carrier is None else carrier
        dx, *_ = self._back(cache[0], _kernels(carrier, len(dy)), dy, (True, False, False))
        return examples_last(dx, len(dy))

    def gradients(self, cache: tuple[Tensor, Tensor], dy: Tensor) -> dict[str, Tensor]:
        _, *learnt = self._back(*cache, dy, (False, True, self.bias))
        return self._by_copy(learnt, len(dy))

    def backward(
        self, weights: Weights, cache: tuple[Tensor, Tensor], dy: Tensor, *, onward: bool = True
    ) -> tuple[Tensor, dict[str, Tensor]]:
        kernels = _kernels(weights["weight"], len(dy))
        dx, *learnt = self._back(cache[0], kernels, dy, (onward, True, self.bias))
        return (examples_last(dx, len(dy)) if onward else dy), self._by_copy(learnt, len(dy))

    def _back(
        self, images: Tensor, kernels: Tensor, dy: Tensor, wanted: tuple[bool, bool, bool]
    ) -> Sequence[Tensor]:
        """Derivatives for images, kernels and biases, of which some are wanted."""
        pair = [self.stride] * 2, [self.padding] * 2, [1, 1]
        return torch.ops.aten.convolution_backward(
            _laid_out(examples_first(dy), len(dy)),
            *(images, kernels, [len(kernels)], *pair, False, [0, 0], len(dy), wanted),
        )

    def _by_copy(self, learnt: Sequence[Tensor], n_copies: int) -> dict[str, Tensor]:
        named = zip(("weight", "bias")[: 1 + self.bias], learnt, strict=False)
        return {name: values.unflatten(0, (n_copies, self.n_out)) for name, values in named}


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
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        images = examples_first(x)
        y, indices = F.max_pool2d(images, self.size, return_indices=True)
        return examples_last(y, len(x)), (images, indices)

    def carry(
        self, weights: Weights, cache: Any, dy: Tensor, carrier: Tensor | None = None
    ) -> Tensor:
        images, indices = cache
        sides = [self.size, self.size]
        dx = torch.ops.aten.max_pool2d_with_indices_backward(
            examples_first(dy), images, sides, sides, [0, 0], [1, 1], False, indices
        )
        return examples_last(dx, len(dy))


@dataclass(frozen=True)
class AvgPool2d(Pool2d):
    """Mean of each square."""

    def forward(
        self, weights: Weights, x: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, torch.Size]:
        images = examples_first(x)
        return examples_last(F.avg_pool2d(images, self.size), len(x)), images.shape

    def carry(
        self, weights: Weights, cache: torch.Size, dy: Tensor, carrier: Tensor | None = None
    ) -> Tensor:
        spread = (
            examples_first(dy).repeat_interleave(self.size, 2).repeat_interleave(self.size, 3)
            / self.size**2
        )
        cut = (0, cache[3] - spread.shape[3], 0, cache[2] - spread.shape[2])
        return examples_last(F.pad(spread, cut), len(dy))


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


def _laid_out(images: Tensor, groups: int) -> Tensor:
    """Images, or kernels, with the channels of a place together where that is faster: one group."""
    if groups > 1:
        return images
    places = images.movedim(1, -1)
    # through a vector, for torch to see by the strides that a single channel is the last axis
    return places.flatten(1).unflatten(1, places.shape[1:]).movedim(-1, 1)


def _kernels(weight: Tensor, groups: int) -> Tensor:
    """Kernels (G * n_out, n_in, kernel, kernel) of all copies, as torch has groups."""
    return _laid_out(weight.flatten(0, 1), groups)
