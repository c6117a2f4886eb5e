"""Layers on stacked weights: each knows its forward pass and its chain rule.

Shapes: G stacked copies of the weights (R replicas, or R * P candidates), B examples. Activations
are feature-major, `(G, features, B)`: the textbook's column vectors, z = W h + b, with the examples
of a batch contiguous in memory. Images are `(G, channels, height, width, B)` by shape; their memory
is laid out as convolutions like it, example first.

Every layer may be handed an input shared by several copies: x of shape (R, ..., B) against weights
of G = R * P copies. The copies of one replica then become the rows of a single product.

The chain rule is cut in two: `carry` takes the error from a layer's output to its input,
`gradients` turns it into the derivative for the layer's weights. `carrier`, in `carry`,
replaces the matrix that carries the error, so that backpropagation, feedback alignment and
sign-symmetry are one backward pass with different carriers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import prod
from typing import Any, ClassVar, NamedTuple

from torch import Tensor

from beyond.errors import require
from beyond.streams import Stream

Shape = tuple[int, ...]
Weights = Mapping[str, Tensor]

LOOP = "weight_hidden"  # of a recurrent layer: from its states to its sums a time later


class Flops(NamedTuple):
    """Floating-point operations per example: multiplications and additions, of products alone.

    `shared` are those that `carry` and `gradients` need both, and `backward` makes once.
    """

    forward: int = 0
    carry: int = 0
    gradients: int = 0
    shared: int = 0

    @property
    def both(self) -> int:
        """Of an error carried back, and what is learnt from it."""
        return self.carry + self.gradients - self.shared


class Touched(NamedTuple):
    """Numbers that a pass reads and writes: for each example, and for each copy of the weights."""

    values: int = 0
    weights: int = 0


class Role(StrEnum):
    """What a layer is, for rules that must know: they refuse what they have no rule for."""

    DENSE = "dense"  # z = W x + b
    # the same map of every patch; weight (n_out, n_in, ...), bias (n_out,)
    CONVOLUTION = "convolution"
    GROUPED = "grouped"  # a map of each group of features
    EMBEDDING = "embedding"  # a vector for each symbol
    RECURRENT = "recurrent"  # sums that come back to themselves in time, through weight_hidden
    RECURSION = "recursion"  # a few numbers that do so by themselves
    RESIDUAL = "residual"  # a map and its activation, added to their input
    COMPOSITE = "composite"  # several layers as one
    ATTENTION = "attention"  # times weigh one another
    OFFSET = "offset"  # learnt numbers, added
    NORMALISATION = "normalisation"
    BATCH = "batch normalisation"  # in training, examples change what others are made
    ACTIVATION = "activation"  # one unit, one value: neurons
    POOLING = "pooling"
    RESHAPING = "reshaping"  # values as they are, perhaps in another shape
    NOISE = "noise"  # draws in training, the identity otherwise
    UNKNOWN = "unknown"


# outputs are weighted sums of inputs
SUMS = frozenset({Role.DENSE, Role.CONVOLUTION, Role.GROUPED, Role.EMBEDDING})
WEIGHTLESS = frozenset({Role.ACTIVATION, Role.POOLING, Role.RESHAPING, Role.NOISE})
UNMOVED = frozenset({Role.RESHAPING, Role.NOISE})  # outputs are inputs, but in training
# no unit hides within a layer: what enters each is to be seen
TRANSPARENT = SUMS | WEIGHTLESS | {Role.NORMALISATION}
# an error passes back through matrices that others can take the place of
REPLACEABLE = frozenset(Role) - {Role.RECURSION, Role.UNKNOWN}
# through one such matrix at most
ONE_MATRIX = REPLACEABLE - {Role.RECURRENT, Role.COMPOSITE, Role.ATTENTION}


class Part(NamedTuple):
    """A layer with weights within another, or itself: what its names are preceded by, its input."""

    prefix: str
    layer: Layer
    shape: Shape


class Layer(ABC):
    """One layer; it holds no weights. `shape` is that of one input example, without G and B.

    Attributes
    ----------
    role : Role
        Where a layer does not say, every rule that asks must assume the worst.
    bounded : bool
        Whether an activation's values are.
    """

    role: ClassVar[Role] = Role.UNKNOWN
    bounded: ClassVar[bool] = False

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of one output example."""
        return shape

    def parameters(self, shape: Shape) -> dict[str, Shape]:
        """Names and shapes of one copy's parameters."""
        return {}

    def buffers(self, shape: Shape) -> dict[str, Tensor]:
        """Return, by name, what passes in training change and no rule does, as it is at first.

        Passes find it among the weights, a row for each replica.
        """
        return {}

    def changed(self, cache: Any) -> Mapping[str, Tensor]:
        """Return the buffers as a pass in training leaves them."""
        return {}

    @property
    def fewest(self) -> int:
        """Examples that a pass in training takes at least."""
        return 1

    def fans(self, shape: Shape) -> tuple[int, int]:
        """Numbers of inputs to and outputs from one unit, for initialisation."""
        return 0, 0

    @property
    def roles(self) -> frozenset[Role]:
        """Its role, and those of the layers within."""
        return frozenset({self.role})

    def parts(self, shape: Shape) -> list[Part]:
        """Layers with weights: itself, or those within; each is a block of the network."""
        return [Part("", self, shape)] if self.parameters(shape) else []

    def flops(self, shape: Shape) -> Flops:
        """Cost per example."""
        return Flops()

    def within(self, shape: Shape) -> list[tuple[Layer, Shape]]:
        """Layers that are not made of layers, and the shape of one example at the input of each."""
        return [(self, shape)]

    def touched(self, shape: Shape) -> Touched:
        """Count what a pass forward reads and writes, of a layer that is not made of layers."""
        values = 0 if self.role in UNMOVED else prod(shape) + self.kept(shape)
        return Touched(values, sum(map(prod, self.parameters(shape).values())))

    def kept(self, shape: Shape) -> int:
        """Count the numbers per example that it makes: its outputs, and those of layers within."""
        return prod(self.output_shape(shape))

    @abstractmethod
    def forward(self, weights: Weights, x: Tensor, rng: Stream | None = None) -> tuple[Tensor, Any]:
        """Return the output and what the chain rule needs; `rng` in training, for drawing."""

    @abstractmethod
    def carry(
        self, weights: Weights, cache: Any, dy: Tensor, carrier: Tensor | None = None
    ) -> Tensor:
        """Return the error at the input, from the error `dy` at the output."""

    def gradients(self, cache: Any, dy: Tensor) -> dict[str, Tensor]:
        """Return the derivative for each parameter, summed over the batch."""
        return {}

    def backward(
        self, weights: Weights, cache: Any, dy: Tensor, *, onward: bool = True
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return `carry`'s error, if it is to go `onward` (else anything), and `gradients`.

        `weights` are what the error is carried by, which need not be those of the forward pass.
        """
        gradients = self.gradients(cache, dy)
        return (self.carry(weights, cache, dy) if onward else dy), gradients

    def off(self, cache: Any) -> Tensor | None:
        """Say which values (G, ..., B) are off and carry no error; None without such states."""
        return None


def examples_along(apart: Tensor, n_copies: int) -> Tensor:
    """(G * B, channels, ...) as (G, channels, ..., B), a view."""
    return apart.unflatten(0, (n_copies, -1)).movedim(1, -1)


def total(touched: Sequence[Touched]) -> Touched:
    """Add up over layers."""
    return Touched(sum(one.values for one in touched), sum(one.weights for one in touched))


def touched_back(touched: Sequence[Touched]) -> Touched:
    """Count what a pass back reads and writes, from what each layer's pass forward does.

    It stops at the first layer that has weights: gradients of all that do, errors through the rest.
    """
    first = next((place for place, one in enumerate(touched) if one.weights), len(touched))
    return total([*touched[first + 1 :], *(one for one in touched if one.weights)])


@dataclass(frozen=True)
class Convolution(Layer, ABC):
    """One map of every window of `kernel` places along each axis but the channels', `stride` apart.

    Its weight has the shape (G, n_out, n_in, kernel, ...), its bias, if any, (G, n_out).
    """

    role = Role.CONVOLUTION
    inputs: ClassVar[str]  # what they are called, given their sides

    n_out: int
    kernel: int = 3
    stride: int = 1
    padding: int = 0
    bias: bool = True

    def __post_init__(self) -> None:
        for name in ("n_out", "kernel", "stride"):
            require(name, ">= 1", getattr(self, name), getattr(self, name) >= 1)
        require("padding", ">= 0", self.padding, self.padding >= 0)

    @abstractmethod
    def sides(self, shape: Shape) -> tuple[int, ...]:
        """Lengths of the axes behind the channels; `InputError` for another number of axes."""

    def output_shape(self, shape: Shape) -> Shape:
        sides = self.sides(shape)
        places = [(side + 2 * self.padding - self.kernel) // self.stride + 1 for side in sides]
        inputs = self.inputs.format("x".join(map(str, sides)))
        require("kernel", f"small enough for {inputs}", self.kernel, min(places) >= 1)
        return self.n_out, *places

    def parameters(self, shape: Shape) -> dict[str, Shape]:
        window = [self.kernel] * len(self.sides(shape))
        bias = {"bias": (self.n_out,)} if self.bias else {}
        return {"weight": (self.n_out, shape[0], *window), **bias}

    def fans(self, shape: Shape) -> tuple[int, int]:
        window = self.kernel ** len(self.sides(shape))
        return shape[0] * window, self.n_out * window

    def flops(self, shape: Shape) -> Flops:
        product = 2 * prod(self.output_shape(shape)) * self.fans(shape)[0]
        return Flops(product, product, product)
