"""Layers on stacked sequences, see `beyond.network.layers`: convolution, what is left of the times.

A sequence is `(G, channels, length, B)`: at each of `length` times a vector of `channels` numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from beyond.errors import require
from beyond.network.layers import Convolution, Layer, Role, Shape, Weights
from beyond.streams import Stream


@dataclass(frozen=True)
class Channels(Layer):
    """(length * n_channels,) numbers, time after time, to a sequence (n_channels, length)."""

    role = Role.RESHAPING

    n_channels: int = 1

    def __post_init__(self) -> None:
        require("n_channels", ">= 1", self.n_channels, self.n_channels >= 1)

    def output_shape(self, shape: Shape) -> Shape:
        fits = len(shape) == 1 and shape[0] % self.n_channels == 0
        require("Channels input", f"one axis, a multiple of {self.n_channels} long", shape, fits)
        return self.n_channels, shape[0] // self.n_channels

    def forward(
        self, weights: Weights, x: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, None]:
        return x.unflatten(1, (-1, self.n_channels)).transpose(1, 2), None

    def carry(
        self, weights: Weights, cache: None, dy: Tensor, carrier: Tensor | None = None
    ) -> Tensor:
        return dy.transpose(1, 2).flatten(1, 2)


@dataclass(frozen=True)
class Transposed(Layer):
    """(channels, length) to (length, channels): what a place was is a channel, and the reverse."""

    role = Role.RESHAPING

    def output_shape(self, shape: Shape) -> Shape:
        n_channels, length = sequence(self, shape)
        return length, n_channels

    def forward(
        self, weights: Weights, x: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, None]:
        return x.transpose(1, 2), None

    def carry(
        self, weights: Weights, cache: None, dy: Tensor, carrier: Tensor | None = None
    ) -> Tensor:
        return dy.transpose(1, 2)


@dataclass(frozen=True)
class Places(Layer):
    """An image (channels, height, width) to channels along its places, row after row."""

    role = Role.RESHAPING

    def output_shape(self, shape: Shape) -> Shape:
        allowed = "an image of shape (channels, height, width)"
        require("Places input", allowed, shape, len(shape) == 3)
        return shape[0], shape[1] * shape[2]

    def forward(
        self, weights: Weights, x: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, torch.Size]:
        return x.flatten(2, 3), x.shape

    def carry(
        self, weights: Weights, cache: torch.Size, dy: Tensor, carrier: Tensor | None = None
    ) -> Tensor:
        return dy.unflatten(2, cache[2:4])


@dataclass(frozen=True)
class MeanOverTime(Layer):
    """Mean of each channel over all times, so that their order does not count."""

    role = Role.POOLING

    def output_shape(self, shape: Shape) -> Shape:
        return (sequence(self, shape)[0],)

    def forward(self, weights: Weights, x: Tensor, rng: Stream | None = None) -> tuple[Tensor, int]:
        return x.mean(2), x.shape[2]

    def carry(
        self, weights: Weights, cache: int, dy: Tensor, carrier: Tensor | None = None
    ) -> Tensor:
        return (dy / cache).unsqueeze(2).expand(-1, -1, cache, -1)


@dataclass(frozen=True)
class MaxOverTime(Layer):
    """Largest value of each channel over all times; the first of equal ones passes the error on."""

    role = Role.POOLING

    def output_shape(self, shape: Shape) -> Shape:
        return (sequence(self, shape)[0],)

    def forward(
        self, weights: Weights, x: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, tuple[Tensor, torch.Size]]:
        y, times = x.max(2, keepdim=True)
        return y.squeeze(2), (times, x.shape)

    def carry(
        self,
        weights: Weights,
        cache: tuple[Tensor, torch.Size],
        dy: Tensor,
        carrier: Tensor | None = None,
    ) -> Tensor:
        times, shape = cache
        return dy.new_zeros(shape).scatter_(2, times, dy.unsqueeze(2))


@dataclass(frozen=True)
class LastTime(Layer):
    """Each channel at the last time, or what two directions end with.

    With `bidirectional` the second half of the channels has read from the end, and the last that it
    has read is the first time.
    """

    role = Role.POOLING

    bidirectional: bool = False

    def output_shape(self, shape: Shape) -> Shape:
        n_channels, _ = sequence(self, shape)
        even = n_channels % 2 == 0 or not self.bidirectional
        require("LastTime input", "an even number of channels for two directions", shape, even)
        return (n_channels,)

    def forward(
        self, weights: Weights, x: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, torch.Size]:
        n_ahead = self._ahead(x.shape)
        return torch.cat([x[:, :n_ahead, -1], x[:, n_ahead:, 0]], 1), x.shape

    def carry(
        self, weights: Weights, cache: torch.Size, dy: Tensor, carrier: Tensor | None = None
    ) -> Tensor:
        n_ahead, dx = self._ahead(cache), dy.new_zeros(cache)
        dx[:, :n_ahead, -1], dx[:, n_ahead:, 0] = dy[:, :n_ahead], dy[:, n_ahead:]
        return dx

    def _ahead(self, shape: torch.Size) -> int:
        """Channels that have read from the beginning."""
        return shape[1] // 2 if self.bidirectional else shape[1]


class Windows(NamedTuple):
    """What a convolution keeps: its input's windows as columns, (R, n_in * kernel, n_out * B)."""

    columns: Tensor
    weight_shape: torch.Size
    length: int


@dataclass(frozen=True)
class Conv1d(Convolution):
    """Cross-correlation along time, weight (G, n_out, n_in, kernel), bias (G, n_out).

    Windows are laid side by side, which makes it one product of matrices.
    """

    inputs = "a sequence of {}"

    def sides(self, shape: Shape) -> tuple[int, ...]:
        return sequence(self, shape)[1:]

    def forward(
        self, weights: Weights, x: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, Windows]:
        weight = weights["weight"]
        bias = weights["bias"].unsqueeze(-1) if self.bias else weight.new_zeros(1, 1, 1)
        padded = F.pad(x, (0, 0, self.padding, self.padding))
        windows = padded.unfold(2, self.kernel, self.stride)  # (R, n_in, n_times, B, kernel)
        # (R, n_in * kernel, n_times * B)
        columns = windows.permute(0, 1, 4, 2, 3).flatten(3).flatten(1, 2)
        if len(weight) == len(x):
            z = torch.baddbmm(bias, weight.flatten(2), columns)
        else:  # the copies of one replica are the rows of a single product
            rows = weight.reshape(len(x), -1, columns.shape[1])
            z = (rows @ columns).view(*weight.shape[:2], -1).add_(bias)
        return z.unflatten(2, (-1, x.shape[-1])), Windows(columns, weight.shape, x.shape[2])

    def carry(
        self, weights: Weights, cache: Windows, dy: Tensor, carrier: Tensor | None = None
    ) -> Tensor:
        carrier = weights["weight"] if carrier is None else carrier
        n_in, n_times = cache.weight_shape[2], dy.shape[2]
        columns = carrier.flatten(2).mT @ dy.flatten(2)
        windows = columns.unflatten(2, dy.shape[2:]).unflatten(1, (n_in, self.kernel))
        padded = dy.new_zeros(len(dy), n_in, cache.length + 2 * self.padding, dy.shape[-1])
        for place in range(self.kernel):  # of a window: where its times stand in the input
            times = slice(place, place + self.stride * (n_times - 1) + 1, self.stride)
            padded[:, :, times] += windows[:, :, place]
        return padded[:, :, self.padding : self.padding + cache.length]

    def gradients(self, cache: Windows, dy: Tensor) -> dict[str, Tensor]:
        dw = dy.flatten(2) @ cache.columns.mT
        bias = {"bias": dy.sum((2, 3))} if self.bias else {}
        return {"weight": dw.view(cache.weight_shape), **bias}


def sequence(layer: Layer, shape: Shape) -> Shape:
    """Return the shape; `InputError` for what is no sequence."""
    require(
        f"{type(layer).__name__} input",
        "a sequence of shape (channels, length)",
        shape,
        len(shape) == 2,
    )
    return shape
