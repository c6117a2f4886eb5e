"""Recurrent layers on stacked sequences (`beyond.network.sequence_layers`), unrolled in time.

    a_t = W x_t + b                   for all times at once
    r_t = U h_{t-1} + c               h_0 = 0, time after time
    h_t = what the kind of unit makes of a_t, r_t and its memory

weight (G, D * rows, n_in) stacks W of D directions, with `rows` sums for n_hidden units;
weight_hidden (G, D * rows, n_hidden), bias and bias_hidden (G, D * rows) likewise. The second
direction reads the sequence from its end; outputs (G, D * n_hidden, length, B) are the states h_t
in the order of the input. Names and order are torch's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from beyond.errors import require, require_one_of
from beyond.network.layers import LOOP, Flops, Layer, Role, Shape, Weights
from beyond.network.sequence_layers import sequence
from beyond.streams import Stream


class Unrolled(NamedTuple):
    """What a recurrence keeps: its input; the rest by direction's time, (length, G * D, ..., B)."""

    x: Tensor  # (R, n_in, length, B)
    weight_hidden: Tensor  # (G * D, rows, n_hidden)
    before: Tensor  # the state it came from
    kept: tuple[Tensor, ...]  # what the kind of unit needs to go back


@dataclass(frozen=True)
class Recurrence(Layer, ABC):
    """What is common to all kinds of units: time order, directions, weights, cost."""

    role = Role.RECURRENT
    n_gates: ClassVar[int]  # sums for each unit

    n_hidden: int
    bidirectional: bool = False

    def __post_init__(self) -> None:
        require("n_hidden", ">= 1", self.n_hidden, self.n_hidden >= 1)

    @abstractmethod
    def unroll(
        self, driven: Tensor, weight: Tensor, bias: Tensor
    ) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """States (length, G * D, n_hidden, B), the one before each, and what the way back needs.

        `driven` (length, G * D, rows, B) is W x + b, `weight` (G * D, rows, n_hidden) is U.
        """

    @abstractmethod
    def errors(self, cache: Unrolled, dy: Tensor) -> tuple[Tensor, Tensor]:
        """Errors at W x + b and at U h + c, (length, G * D, rows, B), from those at the states.

        It costs a product a time but the first, for `carry` and for `gradients` alike.
        """

    @property
    def n_directions(self) -> int:
        """One, or two."""
        return 2 if self.bidirectional else 1

    def output_shape(self, shape: Shape) -> Shape:
        return self.n_directions * self.n_hidden, sequence(self, shape)[1]

    def parameters(self, shape: Shape) -> dict[str, Shape]:
        n_rows = self.n_gates * self.n_directions * self.n_hidden
        weights = {
            "weight": (n_rows, sequence(self, shape)[0]),
            "weight_hidden": (n_rows, self.n_hidden),
        }
        return {**weights, "bias": (n_rows,), "bias_hidden": (n_rows,)}

    def fans(self, shape: Shape) -> tuple[int, int]:
        # what comes back weighs more than what comes in, as in torch
        return self.n_hidden, self.n_hidden

    def flops(self, shape: Shape) -> Flops:
        # operations for each column of the weights, a time
        n_rows = 2 * self.n_gates * self.n_directions * self.n_hidden
        n_in, length = shape
        driven, recurrent = n_rows * n_in * length, n_rows * self.n_hidden * length
        back = n_rows * self.n_hidden * (length - 1)  # an error goes back from every time but one
        return Flops(driven + recurrent, back + driven, back + driven + recurrent)

    def forward(
        self, weights: Weights, x: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, Unrolled]:
        n_hidden, n_copies = self.n_hidden, len(weights["weight"])
        rows = weights["weight"].reshape(len(x), -1, x.shape[1])  # (R, P * D * rows, n_in)
        driven = (rows @ x.flatten(2)).view(n_copies, -1, *x.shape[2:]) + weights["bias"][
            ..., None, None
        ]
        weight = weights["weight_hidden"].reshape(-1, self.n_gates * n_hidden, n_hidden)
        bias = weights["bias_hidden"].reshape(-1, self.n_gates * n_hidden, 1)
        states, before, kept = self.unroll(self._by_time(driven), weight, bias)
        return self._in_input_order(states), Unrolled(x, weight, before, kept)

    def carry(
        self, weights: Weights, cache: Unrolled, dy: Tensor, carrier: Tensor | None = None
    ) -> Tensor:
        carrier = weights["weight"] if carrier is None else carrier
        driven, _ = self.errors(_looped(weights, cache), self._by_time(dy))
        return (carrier.mT @ self._in_input_order(driven).flatten(2)).unflatten(2, dy.shape[2:])

    def gradients(self, cache: Unrolled, dy: Tensor) -> dict[str, Tensor]:
        driven, recurrent = self.errors(cache, self._by_time(dy))
        driven = self._in_input_order(driven)
        at_rows, before = (
            values.permute(1, 2, 0, 3).flatten(2) for values in (recurrent, cache.before)
        )
        n_copies = len(dy)
        return {
            "weight": driven.flatten(2) @ cache.x.flatten(2).mT,
            "weight_hidden": (at_rows @ before.mT).view(n_copies, -1, self.n_hidden),
            "bias": driven.sum((2, 3)),
            "bias_hidden": at_rows.sum(2).view(n_copies, -1),
        }

    def backward(
        self, weights: Weights, cache: Unrolled, dy: Tensor, *, onward: bool = True
    ) -> tuple[Tensor, dict[str, Tensor]]:
        return super().backward(weights, _looped(weights, cache), dy, onward=onward)

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


def _looped(weights: Weights, cache: Unrolled) -> Unrolled:
    """Let an error come back in time by these weights, not by those of the forward pass."""
    return cache._replace(weight_hidden=weights[LOOP].reshape(cache.weight_hidden.shape))


@dataclass(frozen=True)
class RNN(Recurrence):
    """Recurrent units without gates (Elman, 1990): h_t = f(a_t + r_t), f tanh or ReLU."""

    n_gates = 1

    activation: str = "tanh"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_of("activation", RNN_ACTIVATIONS, self.activation)

    def unroll(
        self, driven: Tensor, weight: Tensor, bias: Tensor
    ) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        states = [driven.new_zeros(len(weight), self.n_hidden, driven.shape[-1])]
        for drive in (driven + bias).unbind():
            z = torch.baddbmm(drive, weight, states[-1])
            states.append(z.tanh() if self.activation == "tanh" else z.relu())
        stacked = torch.stack(states)
        return stacked[1:], stacked[:-1], (stacked[1:],)

    def errors(self, cache: Unrolled, dy: Tensor) -> tuple[Tensor, Tensor]:
        (states,) = cache.kept
        slope = 1 - states.square() if self.activation == "tanh" else (states > 0).to(states.dtype)
        at_sums = [slope[-1] * dy[-1]]
        for time in range(len(dy) - 2, -1, -1):
            error = torch.baddbmm(dy[time], cache.weight_hidden.mT, at_sums[-1])
            at_sums.append(slope[time] * error)
        errors = torch.stack(at_sums[::-1])
        return errors, errors


RNN_ACTIVATIONS = ("tanh", "relu")


@dataclass(frozen=True)
class LSTM(Recurrence):
    """Long short-term memory (Hochreiter & Schmidhuber, 1997) that forgets (Gers et al., 2000).

        i, f, o = sigmoid(a + r),  g = tanh(a + r)
        c <- f c + i g                                        from c = 0
        h <- o tanh(c)

    Rows are in the order i, f, g, o.
    """

    n_gates = 4

    def unroll(
        self, driven: Tensor, weight: Tensor, bias: Tensor
    ) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        n_hidden = self.n_hidden
        states = [driven.new_zeros(len(weight), n_hidden, driven.shape[-1])]
        cells, steps = [states[0]], []
        for drive in (driven + bias).unbind():
            z = torch.baddbmm(drive, weight, states[-1])
            into_keep = z[:, : 2 * n_hidden].sigmoid()
            new = z[:, 2 * n_hidden : 3 * n_hidden].tanh()
            out = z[:, 3 * n_hidden :].sigmoid()
            into, keep = into_keep.chunk(2, 1)
            cells.append(torch.addcmul(keep * cells[-1], into, new))
            squashed = cells[-1].tanh()
            steps.append((into_keep, new, out, squashed))
            states.append(out * squashed)
        stacked = torch.stack(states)
        kept = [torch.stack(values) for values in zip(*steps, strict=True)]
        return stacked[1:], stacked[:-1], (torch.stack(cells[:-1]), *kept)

    def errors(self, cache: Unrolled, dy: Tensor) -> tuple[Tensor, Tensor]:
        cells, into_keep, new, out, squashed = cache.kept
        into, keep = into_keep.chunk(2, 2)
        # what the errors of cell and state are multiplied by
        to_cell = out * (1 - squashed.square())
        at_gates = (
            new * into * (1 - into),
            cells * keep * (1 - keep),
            into * (1 - new.square()),
            squashed * out * (1 - out),
        )
        errors = torch.stack(at_gates, 2)  # (length, G * D, 4, n_hidden, B)
        cell, error = torch.zeros_like(new[0]), dy[-1]
        for time in range(len(dy) - 1, -1, -1):
            cell = torch.addcmul(cell, error, to_cell[time])
            errors[time, :, :3] *= cell.unsqueeze(1)
            errors[time, :, 3] *= error
            cell = cell * keep[time]
            if time:  # the first state is zero for everyone
                error = torch.baddbmm(
                    dy[time - 1], cache.weight_hidden.mT, errors[time].flatten(1, 2)
                )
        flat = errors.flatten(2, 3)
        return flat, flat


@dataclass(frozen=True)
class GRU(Recurrence):
    """Gated recurrent units (Cho et al., 2014) as in torch.

        r = sigmoid(W_r x + b_r + U_r h + c_r)
        z = sigmoid(W_z x + b_z + U_z h + c_z)
        n = tanh(W_n x + b_n + r (U_n h + c_n))
        h <- (1 - z) n + z h                              from h = 0

    Rows are in the order r, z, n.
    """

    n_gates = 3

    def unroll(
        self, driven: Tensor, weight: Tensor, bias: Tensor
    ) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        n_hidden = self.n_hidden
        state = driven.new_zeros(len(weight), n_hidden, driven.shape[-1])
        steps: list[tuple[Tensor, ...]] = []
        for drive in driven:
            recurrent = torch.baddbmm(bias, weight, state)
            gates = (drive[:, : 2 * n_hidden] + recurrent[:, : 2 * n_hidden]).sigmoid()
            reset, update = gates.chunk(2, 1)
            recalled = recurrent[:, 2 * n_hidden :]
            candidate = torch.addcmul(drive[:, 2 * n_hidden :], reset, recalled).tanh()
            steps.append((state, gates, candidate, recalled))
            state = torch.lerp(candidate, state, update)
        before, *kept = [torch.stack(values) for values in zip(*steps, strict=True)]
        return torch.cat([before[1:], state.unsqueeze(0)]), before, tuple(kept)

    def errors(self, cache: Unrolled, dy: Tensor) -> tuple[Tensor, Tensor]:
        """See `Recurrence`.

        Every error is that of the state times a factor that the forward pass fixed; the loop back
        through time only gathers the state's.
        """
        gates, candidates, recalled = cache.kept
        reset, update = gates.chunk(2, 2)
        candidate = (1 - update) * (1 - candidates.square())
        reset_gate = candidate * recalled * reset * (1 - reset)
        update_gate = (cache.before - candidates) * update * (1 - update)
        # (length, G * D, 3, n_hidden, B)
        at_recurrent = torch.stack([reset_gate, update_gate, candidate * reset], 2)
        later = torch.zeros_like(update[0])
        recurrent, states = torch.empty_like(at_recurrent), []
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
        return driven, recurrent.flatten(2, 3)
