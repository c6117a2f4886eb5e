"""Layers on stacked images: convolution and pooling; contract and shapes: `beyond.network.layers`.

Images lie in memory as (G, B, height, width, channels), which torch's kernels are fastest on, and
are shown to the other layers as the view (G, channels, height, width, B). Each copy of the weights
has a convolution to itself: as groups of one, whose images cannot lie so, they took twice as long.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from beyond.errors import require
from beyond.network.layers import Convolution, Layer, Role, Shape, Weights, examples_along
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
        images, kernels = _images(x), _channels_together(weights["weight"])
        biases = weights["bias"] if self.bias else [None] * len(kernels)
        each = [one for one in images for _ in range(len(kernels) // len(x))]  # x may be shared
        copies = zip(each, kernels, biases, strict=True)
        z = [F.conv2d(*copy, self.stride, self.padding) for copy in copies]
        return examples_along(_joined(z), len(kernels)), (images, kernels)

    def carry(
        self,
        weights: Weights,
        cache: tuple[Tensor, Tensor],
        dy: Tensor,
        carrier: Tensor | None = None,
    ) -> Tensor:
        carrier = weights["weight"] if carrier is None else carrier
        kernels = _channels_together(carrier)
        dx, *_ = self._back(cache[0], kernels, dy, (True, False, False))
        return examples_along(_joined(dx), len(dy))

    def gradients(self, cache: tuple[Tensor, Tensor], dy: Tensor) -> dict[str, Tensor]:
        _, *learnt = self._back(*cache, dy, (False, True, self.bias))
        return self._named(learnt)

    def backward(
        self, weights: Weights, cache: tuple[Tensor, Tensor], dy: Tensor, *, onward: bool = True
    ) -> tuple[Tensor, dict[str, Tensor]]:
        kernels = _channels_together(weights["weight"])
        dx, *learnt = self._back(cache[0], kernels, dy, (onward, True, self.bias))
        return (examples_along(_joined(dx), len(dy)) if onward else dy), self._named(learnt)

    def _back(
        self, images: Tensor, kernels: Tensor, dy: Tensor, wanted: tuple[bool, bool, bool]
    ) -> Iterable[Sequence[Tensor]]:
        """Derivatives for images, kernels and biases, of which some are wanted, of each copy."""
        how = [self.stride] * 2, [self.padding] * 2, [1, 1], False, [0, 0], 1, wanted
        copies = zip(_images(dy), images, kernels, strict=True)
        found = [torch.ops.aten.convolution_backward(*copy, [self.n_out], *how) for copy in copies]
        return zip(*found, strict=True)

    def _named(self, learnt: Iterable[Sequence[Tensor]]) -> dict[str, Tensor]:
        named = zip(("weight", "bias")[: 1 + self.bias], learnt, strict=False)
        return {name: torch.stack([*copies]) for name, copies in named}


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
        images = _of_all(x)
        y, indices = F.max_pool2d(images, self.size, return_indices=True)
        return examples_along(y, len(x)), (images, indices)

    def carry(
        self, weights: Weights, cache: Any, dy: Tensor, carrier: Tensor | None = None
    ) -> Tensor:
        images, indices = cache
        sides = [self.size, self.size]
        dx = torch.ops.aten.max_pool2d_with_indices_backward(
            _of_all(dy), images, sides, sides, [0, 0], [1, 1], False, indices
        )
        return examples_along(dx, len(dy))


@dataclass(frozen=True)
class AvgPool2d(Pool2d):
    """Mean of each square."""

    def forward(
        self, weights: Weights, x: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, torch.Size]:
        images = _of_all(x)
        return examples_along(F.avg_pool2d(images, self.size), len(x)), images.shape

    def carry(
        self, weights: Weights, cache: torch.Size, dy: Tensor, carrier: Tensor | None = None
    ) -> Tensor:
        images = _of_all(dy) / self.size**2
        spread = images.repeat_interleave(self.size, 2).repeat_interleave(self.size, 3)
        cut = (0, cache[3] - spread.shape[3], 0, cache[2] - spread.shape[2])
        return examples_along(F.pad(spread, cut), len(dy))


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


def _images(x: Tensor) -> Tensor:
    """(G, channels, height, width, B) as (G, B, channels, height, width), laid out as here."""
    return _channels_together(x.movedim(-1, 1))


def _of_all(x: Tensor) -> Tensor:
    """Images of all copies, (G * B, channels, height, width): what `examples_along` undoes."""
    return _images(x).flatten(0, 1)


def _channels_together(x: Tensor) -> Tensor:
    """Images, or kernels, (G, B, channels, height, width) with the channels of a place together."""
    places = x.movedim(2, -1)
    # through a vector, for torch to see by the strides that a single channel is the last axis
    return places.flatten(2).unflatten(2, places.shape[2:]).movedim(-1, 2)


def _joined(copies: Sequence[Tensor]) -> Tensor:
    """Images (B, channels, height, width) of all copies one after another, laid out as they are."""
    return torch.cat([*copies]) if len(copies) > 1 else copies[0]
