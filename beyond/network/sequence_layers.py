"""Layers on stacked sequences, see `beyond.network.layers`: convolution, means, recurrence.

A sequence is `(G, channels, length, B)`: at each of `length` times a vector of `channels` numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from beyond.errors import require
from beyond.network.layers import Convolution, Flops, Layer, Role, Shape, Weights
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
class MeanOverTime(Layer):
    """Mean of each channel over all times, so that their order does not count."""

    role = Role.POOLING

    def output_shape(self, shape: Shape) -> Shape:
        return (_sequence(self, shape)[0],)

    def forward(self, weights: Weights, x: Tensor, rng: Stream | None = None) -> tuple[Tensor, int]:
        return x.mean(2), x.shape[2]

    def carry(
        self, weights: Weights, cache: int, dy: Tensor, carrier: Tensor | None = None
    ) -> Tensor:
        return (dy / cache).unsqueeze(2).expand(-1, -1, cache, -1)


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
        return _sequence(self, shape)[1:]

    def forward(
        self, weights: Weights, x: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, Windows]:
        weight, bias = weights["weight"], weights["bias"].unsqueeze(-1)
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
        return {"weight": dw.view(cache.weight_shape), "bias": dy.sum((2, 3))}


class Unrolled(NamedTuple):
    """What a recurrence keeps: its input; the rest by direction's time, (length, G * D, ..., B)."""

    x: Tensor  # (R, n_in, length, B)
    weight_hidden: Tensor  # (G * D, 3 n_hidden, n_hidden)
    before: Tensor  # the state it came from
    gates: Tensor  # reset and update, 2 n_hidden
    candidate: Tensor
    recalled: Tensor  # what the reset gate multiplies


@dataclass(frozen=True)
class GRU(Layer):
    """Gated recurrent units (Cho et al., 2014) as in torch; outputs are the states at all times.

        r = sigmoid(W_r x + b_r + U_r h + c_r)
        z = sigmoid(W_z x + b_z + U_z h + c_z)
        n = tanh(W_n x + b_n + r (U_n h + c_n))
        h <- (1 - z) n + z h                              from h = 0

    weight (G, D * 3 n_hidden, n_in) stacks W_r, W_z, W_n of D directions; weight_hidden (G, D * 3
    n_hidden, n_hidden), bias and bias_hidden (G, D * 3 n_hidden) likewise. The second direction
    reads the sequence from its end; outputs (G, D * n_hidden, length, B) are in the order of the
    input.
    """

    role = Role.RECURRENT

    n_hidden: int
    bidirectional: bool = False

    def __post_init__(self) -> None:
        require("n_hidden", ">= 1", self.n_hidden, self.n_hidden >= 1)

    @property
    def n_directions(self) -> int:
        """One, or two."""
        return 2 if self.bidirectional else 1

    def output_shape(self, shape: Shape) -> Shape:
        return self.n_directions * self.n_hidden, _sequence(self, shape)[1]

    def parameters(self, shape: Shape) -> dict[str, Shape]:
        n_rows = 3 * self.n_directions * self.n_hidden
        weights = {
            "weight": (n_rows, _sequence(self, shape)[0]),
            "weight_hidden": (n_rows, self.n_hidden),
        }
        return {**weights, "bias": (n_rows,), "bias_hidden": (n_rows,)}

    def fans(self, shape: Shape) -> tuple[int, int]:
        # what comes back weighs more than what comes in, as in torch
        return self.n_hidden, self.n_hidden

    def flops(self, shape: Shape) -> Flops:
        # operations for each column of the weights, a time
        n_rows = 2 * 3 * self.n_directions * self.n_hidden
        n_in, length = shape
        driven, recurrent = n_rows * n_in * length, n_rows * self.n_hidden * length
        back = n_rows * self.n_hidden * (length - 1)  # an error goes back from every time but one
        return Flops(driven + recurrent, back + driven, back + driven + recurrent)

    def forward(
        self, weights: Weights, x: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, Unrolled]:
        n_hidden, n_copies = self.n_hidden, len(weights["weight"])
        rows = weights["weight"].reshape(len(x), -1, x.shape[1])  # (R, P * D * 3 n_hidden, n_in)
        driven = (rows @ x.flatten(2)).view(n_copies, -1, *x.shape[2:]) + weights["bias"][
            ..., None, None
        ]
        driven = self._by_time(driven)  # (length, G * D, 3 n_hidden, B)
        weight = weights["weight_hidden"].reshape(-1, 3 * n_hidden, n_hidden)
        bias = weights["bias_hidden"].reshape(-1, 3 * n_hidden, 1)
        state = x.new_zeros(len(weight), n_hidden, x.shape[-1])
        steps: list[tuple[Tensor, ...]] = []
        for drive in driven:
            recurrent = torch.baddbmm(bias, weight, state)
            gates = (drive[:, : 2 * n_hidden] + recurrent[:, : 2 * n_hidden]).sigmoid()
            reset, update = gates.chunk(2, 1)
            recalled = recurrent[:, 2 * n_hidden :]
            candidate = torch.addcmul(drive[:, 2 * n_hidden :], reset, recalled).tanh()
            steps.append((state, gates, candidate, recalled))
            state = torch.lerp(candidate, state, update)
        kept = [torch.stack(values) for values in zip(*steps, strict=True)]
        states = torch.cat([kept[0][1:], state.unsqueeze(0)])
        return self._in_input_order(states), Unrolled(x, weight, *kept)

    def carry(
        self, weights: Weights, cache: Unrolled, dy: Tensor, carrier: Tensor | None = None
    ) -> Tensor:
        carrier = weights["weight"] if carrier is None else carrier
        driven, _ = self._errors(cache, dy)
        return (carrier.mT @ driven.flatten(2)).unflatten(2, dy.shape[2:])

    def gradients(self, cache: Unrolled, dy: Tensor) -> dict[str, Tensor]:
        driven, recurrent = self._errors(cache, dy)
        at_rows, before = (
            recurrent.permute(1, 2, 0, 3).flatten(2),
            cache.before.permute(1, 2, 0, 3).flatten(2),
        )
        n_copies = len(dy)
        return {
            "weight": driven.flatten(2) @ cache.x.flatten(2).mT,
            "weight_hidden": (at_rows @ before.mT).view(n_copies, -1, self.n_hidden),
            "bias": driven.sum((2, 3)),
            "bias_hidden": at_rows.sum(2).view(n_copies, -1),
        }

    def _errors(self, cache: Unrolled, dy: Tensor) -> tuple[Tensor, Tensor]:
        """Errors at W x + b, (G, D * 3 n_hidden, length, B), and U h + c, (length, G * D, ..., B).

        Every error is that of the state times a factor that the forward pass fixed; the loop back
        through time only gathers the state's. It costs a product a time but the first, for `carry`
        and for `gradients` alike.
        """
        reset, update = cache.gates.chunk(2, 2)
        candidate = (1 - update) * (1 - cache.candidate.square())
        reset_gate = candidate * cache.recalled * reset * (1 - reset)
        update_gate = (cache.before - cache.candidate) * update * (1 - update)
        # (length, G * D, 3, n_hidden, B)
        at_recurrent = torch.stack([reset_gate, update_gate, candidate * reset], 2)
        later = torch.zeros_like(update[0])
        recurrent, states = torch.empty_like(at_recurrent), []
        dy = self._by_time(dy)
        for time in range(len(dy) - 1, -1, -1):
            error = dy[time] + later
            torch.mul(at_recurrent[time], error.unsqueeze(1), out=recurrent[time])
            if time:  # the first state is zero for everyone
                later = torch.baddbmm(
                    error * update[time], cache.weight_hidden.mT, recurrent[time].flatten(1, 2)
                )
            states.append(error)
        at_candidate = candidate * torch.stack(states[::-1])
        driven = torch.cat([recurrent[:, :, :2].flatten(2, 3), at_candidate], 2)
        return self._in_input_order(driven), recurrent.flatten(2, 3)

    def _by_time(self, values: Tensor) -> Tensor:
        """(G, D * rows, length, B) to (length, G * D, rows, B), each direction in its order."""
        directions = values.unflatten(1, (self.n_directions, -1))
        if self.bidirectional:
            directions = torch.stack([directions[:, 0], directions[:, 1].flip(2)], 1)
        return directions.permute(3, 0, 1, 2, 4).flatten(1, 2)

    def _in_input_order(self, values: Tensor) -> Tensor:
        """Undo `_by_time`."""
        # (G, D, rows, length, B)
        directions = values.unflatten(1, (-1, self.n_directions)).permute(1, 2, 3, 0, 4)
        if self.bidirectional:
            directions = torch.stack([directions[:, 0], directions[:, 1].flip(2)], 1)
        return directions.flatten(1, 2)


def _sequence(layer: Layer, shape: Shape) -> Shape:
    require(
        f"{type(layer).__name__} input",
        "a sequence of shape (channels, length)",
        shape,
        len(shape) == 2,
    )
    return shape
