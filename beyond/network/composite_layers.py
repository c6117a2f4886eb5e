"""Layers made of layers, see `beyond.network.layers`: one behind the other, or side by side.

From outside it is one layer, with one input, one output and one place in the network; its weights
are those of the layers within, each with its block, its fans and its name: "1.0.weight" is that of
the first layer of the second.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from beyond.errors import require
from beyond.network.activation_layers import Identity
from beyond.network.layers import Flops, Layer, Part, Role, Shape, Weights
from beyond.streams import Stream


class Passed(NamedTuple):
    """What a pass leaves: weights, the cache of each layer within, and how many channels it has."""

    weights: Weights
    caches: Sequence[Any]
    n_channels: Sequence[int] = ()


@dataclass(frozen=True)
class Composite(Layer, ABC):
    """What layers made of layers have in common."""

    role = Role.COMPOSITE

    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        require("layers", "one at least", self.layers, bool(self.layers))

    @abstractmethod
    def inputs_of(self, shape: Shape) -> list[Shape]:
        """Shape of one example at the input of each layer within."""

    @property
    def fewest(self) -> int:
        return max(layer.fewest for layer in self.layers)

    @property
    def roles(self) -> frozenset[Role]:
        return frozenset({self.role}).union(*(layer.roles for layer in self.layers))

    def parts(self, shape: Shape) -> list[Part]:
        return [
            Part(f"{index}.{part.prefix}", part.layer, part.shape)
            for index, (layer, below) in enumerate(self._placed(shape))
            for part in layer.parts(below)
        ]

    def parameters(self, shape: Shape) -> dict[str, Shape]:
        return {
            part.prefix + name: size
            for part in self.parts(shape)
            for name, size in part.layer.parameters(part.shape).items()
        }

    def within(self, shape: Shape) -> list[tuple[Layer, Shape]]:
        return [one for layer, below in self._placed(shape) for one in layer.within(below)]

    def kept(self, shape: Shape) -> int:
        return sum(layer.kept(below) for layer, below in self._placed(shape))

    def buffers(self, shape: Shape) -> dict[str, Tensor]:
        found = [layer.buffers(below) for layer, below in self._placed(shape)]
        return _named(found)

    def changed(self, cache: Passed) -> dict[str, Tensor]:
        passed = zip(self.layers, cache.caches, strict=True)
        return _named([layer.changed(kept) for layer, kept in passed])

    def gradients(self, cache: Passed, dy: Tensor) -> dict[str, Tensor]:
        return self.backward(cache.weights, cache, dy, onward=False)[1]

    def _placed(self, shape: Shape) -> Iterator[tuple[Layer, Shape]]:
        return zip(self.layers, self.inputs_of(shape), strict=True)

    def _costs(self, shape: Shape) -> list[Flops]:
        return [layer.flops(below) for layer, below in self._placed(shape)]

    def _within(self, weights: Weights) -> list[dict[str, Tensor]]:
        """Weights of each layer within, by its names."""
        parts: list[dict[str, Tensor]] = [{} for _ in self.layers]
        for name, weight in weights.items():
            index, _, rest = name.partition(".")
            parts[int(index)][rest] = weight
        return parts


@dataclass(frozen=True)
class Chain(Composite):
    """Layers one behind the other, as one."""

    def inputs_of(self, shape: Shape) -> list[Shape]:
        shapes = [shape]
        for layer in self.layers[:-1]:
            shapes.append(layer.output_shape(shapes[-1]))
        return shapes

    def output_shape(self, shape: Shape) -> Shape:
        return self.layers[-1].output_shape(self.inputs_of(shape)[-1])

    def flops(self, shape: Shape) -> Flops:
        costs = self._costs(shape)
        forward, carry = sum(cost.forward for cost in costs), sum(cost.carry for cost in costs)
        learning = [
            index for index, (layer, below) in enumerate(self._placed(shape)) if layer.parts(below)
        ]
        if not learning:
            return Flops(forward, carry)
        first = learning[0]
        gradients = costs[first].gradients + sum(cost.both for cost in costs[first + 1 :])
        both = sum(cost.both for cost in costs)
        return Flops(forward, carry, gradients, carry + gradients - both)

    def forward(
        self, weights: Weights, x: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, Passed]:
        caches: list[Any] = []
        for layer, part in zip(self.layers, self._within(weights), strict=True):
            x, cache = layer.forward(part, x, rng)
            caches.append(cache)
        return x, Passed(weights, caches)

    def carry(
        self, weights: Weights, cache: Passed, dy: Tensor, carrier: Tensor | None = None
    ) -> Tensor:
        parts = self._within(weights)
        for layer, part, passed in zip(
            self.layers[::-1], parts[::-1], cache.caches[::-1], strict=True
        ):
            dy = layer.carry(part, passed, dy)
        return dy

    def backward(
        self, weights: Weights, cache: Passed, dy: Tensor, *, onward: bool = True
    ) -> tuple[Tensor, dict[str, Tensor]]:
        parts, gradients = self._within(weights), dict[str, Tensor]()
        first = 0 if onward else next((at for at, part in enumerate(parts) if part), len(parts))
        for index in range(len(parts) - 1, first - 1, -1):
            layer, passed = self.layers[index], cache.caches[index]
            dy, found = layer.backward(parts[index], passed, dy, onward=onward or index > first)
            gradients.update({f"{index}.{name}": value for name, value in found.items()})
        return dy, gradients


@dataclass(frozen=True)
class Branches(Composite, ABC):
    """Layers side by side, which have one input."""

    def inputs_of(self, shape: Shape) -> list[Shape]:
        return [shape] * len(self.layers)

    def flops(self, shape: Shape) -> Flops:
        costs = self._costs(shape)
        return Flops(*(sum(parts) for parts in zip(*costs, strict=True)))

    @abstractmethod
    def split(self, cache: Passed, dy: Tensor) -> Sequence[Tensor]:
        """Errors at the output of each layer, from that at the joint output."""

    def carry(
        self, weights: Weights, cache: Passed, dy: Tensor, carrier: Tensor | None = None
    ) -> Tensor:
        parts, errors = self._within(weights), self.split(cache, dy)
        passed = zip(self.layers, parts, cache.caches, errors, strict=True)
        carried = [layer.carry(part, kept, error) for layer, part, kept, error in passed]
        return _sum(carried)

    def backward(
        self, weights: Weights, cache: Passed, dy: Tensor, *, onward: bool = True
    ) -> tuple[Tensor, dict[str, Tensor]]:
        parts, errors = self._within(weights), self.split(cache, dy)
        carried, gradients = [], dict[str, Tensor]()
        for index, layer in enumerate(self.layers):
            error, found = layer.backward(
                parts[index], cache.caches[index], errors[index], onward=onward
            )
            carried.append(error)
            gradients.update({f"{index}.{name}": value for name, value in found.items()})
        return (_sum(carried) if onward else dy), gradients

    def _each(
        self, weights: Weights, x: Tensor, rng: Stream | None
    ) -> tuple[list[Tensor], list[Any]]:
        """Outputs and caches of all; where some have more copies than others, as many of all."""
        passed = [
            layer.forward(part, x, rng)
            for layer, part in zip(self.layers, self._within(weights), strict=True)
        ]
        n_copies = max(len(y) for y, _ in passed)
        outputs = [
            y if len(y) == n_copies else y.repeat_interleave(n_copies // len(y), 0)
            for y, _ in passed
        ]
        return outputs, [cache for _, cache in passed]


@dataclass(frozen=True)
class Sum(Branches):
    """The sum of what layers side by side make of one input."""

    def output_shape(self, shape: Shape) -> Shape:
        first, *others = [layer.output_shape(shape) for layer in self.layers]
        for other in others:
            require("Sum of layers", f"of outputs of one shape, {first}", other, other == first)
        return first

    def forward(
        self, weights: Weights, x: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, Passed]:
        outputs, caches = self._each(weights, x, rng)
        return _sum(outputs), Passed(weights, caches)

    def split(self, cache: Passed, dy: Tensor) -> Sequence[Tensor]:
        return [dy] * len(self.layers)


@dataclass(frozen=True)
class Concatenation(Branches):
    """What layers side by side make of one input, channels behind channels."""

    def output_shape(self, shape: Shape) -> Shape:
        first, *others = [layer.output_shape(shape) for layer in self.layers]
        for other in others:
            allowed = f"of outputs of one shape but for the channels, {first}"
            require("Concatenation of layers", allowed, other, other[1:] == first[1:])
        return first[0] + sum(other[0] for other in others), *first[1:]

    def forward(
        self, weights: Weights, x: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, Passed]:
        outputs, caches = self._each(weights, x, rng)
        return torch.cat(outputs, 1), Passed(weights, caches, [y.shape[1] for y in outputs])

    def split(self, cache: Passed, dy: Tensor) -> Sequence[Tensor]:
        return dy.split(list(cache.n_channels), 1)


def residual(*layers: Layer, shortcut: Layer | None = None) -> Sum:
    """Return a branch of layers plus a shortcut, by default the input (He et al., 2016)."""
    return Sum((Chain(layers), shortcut or Identity()))


def _named(of_layers: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """What layers within have, by the names that it has from outside."""
    return {
        f"{index}.{name}": value
        for index, found in enumerate(of_layers)
        for name, value in found.items()
    }


def _sum(terms: Sequence[Tensor]) -> Tensor:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total
