"""Normalisation, of what lies together in an example or in a batch; contract and shapes:
`beyond.network.layers`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from beyond.errors import require
from beyond.hardware import single
from beyond.network.layers import Layer, Role, Shape, Weights, examples_along
from beyond.streams import Stream

RUNNING = ("running_mean", "running_var")  # buffers of batch normalisation, as torch has them


class Normalisation(Layer, ABC):
    """(x - mean) / sqrt(variance + epsilon), then weight * . + bias, of each channel, (G, n).

    A channel is a place of the first axis: a feature of vectors has one value an example.
    """

    role = Role.NORMALISATION
    axis: ClassVar[int]

    epsilon: float

    def __post_init__(self) -> None:
        require("epsilon", "> 0", self.epsilon, self.epsilon > 0)

    @abstractmethod
    def together(self, x: Tensor) -> Tensor:
        """Inputs (G, n, ..., B), those that are normalised together along `axis`."""

    @abstractmethod
    def undone(self, values: Tensor, x: Tensor) -> Tensor:
        """Undo `together`, in the shape of its inputs."""

    def parameters(self, shape: Shape) -> dict[str, Shape]:
        return {"weight": shape[:1], "bias": shape[:1]}

    def forward(
        self, weights: Weights, x: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        values = self.together(single(x))
        centred = values - values.mean(self.axis, keepdim=True)
        scale = (centred.square().mean(self.axis, keepdim=True) + self.epsilon).rsqrt()
        normal = self.undone(centred * scale, x)
        y = normal.unflatten(0, (len(x), 1)) * _along(weights["weight"], x).unflatten(
            0, (len(x), -1)
        )
        y = y.flatten(0, 1) + _along(weights["bias"], x)
        return y.to(x.dtype), (normal, scale)

    def carry(
        self, weights: Weights, cache: Any, dy: Tensor, carrier: Tensor | None = None
    ) -> Tensor:
        normal, scale = cache
        dn = single(dy) * _along(weights["weight"] if carrier is None else carrier, dy)
        dn, at = self.together(dn), self.together(normal)
        along = at * (dn * at).mean(self.axis, keepdim=True)
        dx = scale * (dn - dn.mean(self.axis, keepdim=True) - along)
        return self.undone(dx, dy).to(dy.dtype)

    def gradients(self, cache: tuple[Tensor, Tensor], dy: Tensor) -> dict[str, Tensor]:
        normal, _ = cache
        others = tuple(range(2, dy.dim()))
        return {"weight": (dy * normal).sum(others), "bias": dy.sum(others)}


@dataclass(frozen=True)
class LayerNorm(Normalisation):
    """Normalisation over the channels, at each place by itself (Ba et al., 2016)."""

    axis = 1

    epsilon: float = 1e-5

    def together(self, x: Tensor) -> Tensor:
        return x

    def undone(self, values: Tensor, x: Tensor) -> Tensor:
        return values


@dataclass(frozen=True)
class GroupNorm(Normalisation):
    """Normalisation over all places of a group of channels (Wu & He, 2018).

    One group is layer normalisation over the whole of an image or a sequence.
    """

    axis = 2

    n_groups: int = 8
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        require("n_groups", ">= 1", self.n_groups, self.n_groups >= 1)

    def parameters(self, shape: Shape) -> dict[str, Shape]:
        allowed = f"channels, a multiple of n_groups ({self.n_groups}), and what else"
        require("GroupNorm input", allowed, shape, shape[0] % self.n_groups == 0)
        return super().parameters(shape)

    def together(self, x: Tensor) -> Tensor:
        # side by side in memory: means of what is far apart take twice as long
        return x.movedim(-1, 1).reshape(len(x) * x.shape[-1], self.n_groups, -1)

    def undone(self, values: Tensor, x: Tensor) -> Tensor:
        return examples_along(values.reshape(-1, *x.shape[1:-1]), len(x))


class Batched(NamedTuple):
    """What batch normalisation leaves: inputs, by what they were normalised, and the buffers after.

    `moments` are torch's: the running ones that were taken, or what was found in training.
    """

    inputs: Tensor
    moments: Sequence[Tensor | None]
    running: Mapping[str, Tensor]


@dataclass(frozen=True)
class BatchNorm(Layer):
    """Normalisation over all places of all examples of a batch (Ioffe & Szegedy, 2015), as torch's.

    So it is in training. Other passes take the mean and the variance that those left behind,

        running_mean <- running_mean + momentum (mean of the batch - running_mean)
        running_var  <- running_var + momentum (variance, of N values with N - 1 - running_var)

    from 0 and 1 on, so that an answer does not depend on who else is asked about.
    """

    role = Role.BATCH

    momentum: float = 0.1
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        require("epsilon", "> 0", self.epsilon, self.epsilon > 0)
        require("momentum", "in (0, 1]", self.momentum, 0 < self.momentum <= 1)

    @property
    def fewest(self) -> int:
        return 2

    def parameters(self, shape: Shape) -> dict[str, Shape]:
        return {"weight": shape[:1], "bias": shape[:1]}

    def buffers(self, shape: Shape) -> dict[str, Tensor]:
        return {RUNNING[0]: torch.zeros(shape[:1]), RUNNING[1]: torch.ones(shape[:1])}

    def changed(self, cache: Batched) -> Mapping[str, Tensor]:
        return cache.running

    def forward(
        self, weights: Weights, x: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, Batched]:
        gain, bias = single(weights["weight"]), single(weights["bias"])
        held = [_for_each(gain, weights[name].to(gain.dtype)) for name in RUNNING]
        inputs = _examples_first(_for_each(gain, single(x)))
        mean, variance = [of.flatten() for of in held] if rng is None else (None, None)
        learnt = gain.flatten(), bias.flatten()
        y, *found = torch.native_batch_norm(
            inputs, *learnt, mean, variance, rng is not None, 0.0, self.epsilon
        )
        y = _examples_last(y, len(gain)).to(x.dtype)
        if rng is None:
            return y, Batched(inputs, (mean, variance, None, None), {})
        n_values = prod(x.shape[2:])
        mean, scale = (of.detach().view(gain.shape) for of in found)
        unbiased = (scale**-2 - self.epsilon) * (n_values / max(1, n_values - 1))
        after = [
            of.lerp(new, self.momentum) for of, new in zip(held, (mean, unbiased), strict=True)
        ]
        running: dict[str, Tensor] = dict(zip(RUNNING, after, strict=True))
        return y, Batched(inputs, (None, None, *found), running)

    def carry(
        self, weights: Weights, cache: Batched, dy: Tensor, carrier: Tensor | None = None
    ) -> Tensor:
        gain = weights["weight"] if carrier is None else carrier
        return self._back(gain, cache, dy, (True, False, False))[0]

    def gradients(self, cache: Batched, dy: Tensor) -> dict[str, Tensor]:
        return self._by_copy(self._back(None, cache, dy, (False, True, True)), dy)

    def backward(
        self, weights: Weights, cache: Batched, dy: Tensor, *, onward: bool = True
    ) -> tuple[Tensor, dict[str, Tensor]]:
        found = self._back(weights["weight"], cache, dy, (onward, True, True))
        return (found[0] if onward else dy), self._by_copy(found, dy)

    def _back(
        self, gain: Tensor | None, cache: Batched, dy: Tensor, wanted: tuple[bool, bool, bool]
    ) -> Sequence[Tensor]:
        """Derivatives for inputs, gains and biases, of which some are wanted."""
        gains = None if gain is None else single(gain).flatten()
        dx, *learnt = torch.ops.aten.native_batch_norm_backward(
            *(_examples_first(single(dy)), cache.inputs, gains),
            *(*cache.moments, bool(cache.running), self.epsilon, wanted),
        )
        return _examples_last(dx, len(dy)).to(dy.dtype) if wanted[0] else dy, *learnt

    def _by_copy(self, found: Sequence[Tensor], dy: Tensor) -> dict[str, Tensor]:
        named = zip(("weight", "bias"), found[1:], strict=True)
        return {name: values.view(dy.shape[:2]) for name, values in named}


def _examples_first(x: Tensor) -> Tensor:
    """(G, channels, height, width, B) as (B, G * channels, height, width), all channels."""
    return x.movedim(-1, 0).flatten(1, 2)


def _examples_last(x: Tensor, n_copies: int) -> Tensor:
    """Undo `_examples_first`, as a view."""
    return x.unflatten(1, (n_copies, -1)).movedim(0, -1)


def _for_each(copies: Tensor, values: Tensor) -> Tensor:
    """Values (R, ...) for each of the copies (G, ...) of a replica's."""
    n_copies = len(copies) // len(values)
    return values.repeat_interleave(n_copies, 0) if n_copies > 1 else values


def _along(values: Tensor, x: Tensor) -> Tensor:
    """A number a channel, (G, n), to go with (G, n, ..., B)."""
    return values.view(*values.shape, *[1] * (x.dim() - 2))
