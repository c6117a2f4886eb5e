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
from math import pi, prod, sqrt
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from beyond.errors import require
from beyond.hardware import single
from beyond.replicas import each, numbers
from beyond.streams import Stream

Shape = tuple[int, ...]
Weights = Mapping[str, Tensor]

RUNNING = ("running_mean", "running_var")  # buffers of batch normalisation, as torch has them
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
class Identity(Layer):
    """The input, unchanged: the activation of a linear network."""

    role = Role.RESHAPING

    def forward(
        self, weights: Weights, x: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, None]:
        return x, None

    def carry(
        self, weights: Weights, cache: None, dy: Tensor, carrier: Tensor | None = None
    ) -> Tensor:
        return dy


@dataclass(frozen=True)
class ReLU(Layer):
    """max(x, 0)."""

    role = Role.ACTIVATION

    def forward(
        self, weights: Weights, x: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, Tensor]:
        y = x.relu()
        return y, y

    def carry(
        self, weights: Weights, cache: Tensor, dy: Tensor, carrier: Tensor | None = None
    ) -> Tensor:
        return torch.ops.aten.threshold_backward(dy, cache, 0)  # in one pass: dy where y > 0

    def off(self, cache: Tensor) -> Tensor:
        return cache <= 0


@dataclass(frozen=True)
class Tanh(Layer):
    """tanh x; its derivative is 1 - y^2."""

    role = Role.ACTIVATION
    bounded = True

    def forward(
        self, weights: Weights, x: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, Tensor]:
        y = x.tanh()
        return y, y

    def carry(
        self, weights: Weights, cache: Tensor, dy: Tensor, carrier: Tensor | None = None
    ) -> Tensor:
        return dy * (1 - cache.square())


@dataclass(frozen=True)
class Sigmoid(Layer):
    """1 / (1 + exp(-x)); its derivative is y (1 - y)."""

    role = Role.ACTIVATION
    bounded = True

    def forward(
        self, weights: Weights, x: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, Tensor]:
        y = x.sigmoid()
        return y, y

    def carry(
        self, weights: Weights, cache: Tensor, dy: Tensor, carrier: Tensor | None = None
    ) -> Tensor:
        return dy * cache * (1 - cache)


@dataclass(frozen=True)
class LeakyReLU(Layer):
    """x, or `slope` times it where it is negative (Maas et al., 2013)."""

    role = Role.ACTIVATION

    slope: float = 0.01

    def __post_init__(self) -> None:
        require("slope", "in [0, 1)", self.slope, 0 <= self.slope < 1)

    def forward(
        self, weights: Weights, x: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, Tensor]:
        return F.leaky_relu(x, self.slope), x

    def carry(
        self, weights: Weights, cache: Tensor, dy: Tensor, carrier: Tensor | None = None
    ) -> Tensor:
        return torch.where(cache > 0, dy, self.slope * dy)


@dataclass(frozen=True)
class GELU(Layer):
    """x Phi(x), Phi the standard normal distribution function (Hendrycks & Gimpel, 2016).

    Its derivative is Phi(x) + x phi(x), phi the density.
    """

    role = Role.ACTIVATION

    def forward(
        self, weights: Weights, x: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, Tensor]:
        return F.gelu(x), x

    def carry(
        self, weights: Weights, cache: Tensor, dy: Tensor, carrier: Tensor | None = None
    ) -> Tensor:
        density = torch.exp(-cache.square() / 2) / sqrt(2 * pi)
        return dy * (torch.special.ndtr(cache) + cache * density)


@dataclass(frozen=True)
class SiLU(Layer):
    """x s, with s = 1 / (1 + exp(-x)) (Elfwing et al., 2018).

    Its derivative is s (1 + x (1 - s)).
    """

    role = Role.ACTIVATION

    def forward(
        self, weights: Weights, x: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, Tensor]:
        return F.silu(x), x

    def carry(
        self, weights: Weights, cache: Tensor, dy: Tensor, carrier: Tensor | None = None
    ) -> Tensor:
        gate = cache.sigmoid()
        return dy * gate * (1 + cache * (1 - gate))


@dataclass(frozen=True)
class Step(Layer):
    """1 where x is positive, else 0 (McCulloch & Pitts, 1943); its derivative is 0, at 0 too."""

    role = Role.ACTIVATION
    bounded = True

    def forward(
        self, weights: Weights, x: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, None]:
        return (x > 0).to(x.dtype), None

    def carry(
        self, weights: Weights, cache: None, dy: Tensor, carrier: Tensor | None = None
    ) -> Tensor:
        return torch.zeros_like(dy)


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


def examples_along(apart: Tensor, n_copies: int) -> Tensor:
    """(G * B, channels, ...) as (G, channels, ..., B), a view."""
    return apart.unflatten(0, (n_copies, -1)).movedim(1, -1)


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


def total(touched: Sequence[Touched]) -> Touched:
    """Add up over layers."""
    return Touched(sum(one.values for one in touched), sum(one.weights for one in touched))


def touched_back(touched: Sequence[Touched]) -> Touched:
    """Count what a pass back reads and writes, from what each layer's pass forward does.

    It stops at the first layer that has weights: gradients of all that do, errors through the rest.
    """
    first = next((place for place, one in enumerate(touched) if one.weights), len(touched))
    return total([*touched[first + 1 :], *(one for one in touched if one.weights)])


ACTIVATIONS: dict[str, type[Layer]] = {
    "relu": ReLU,
    "tanh": Tanh,
    "sigmoid": Sigmoid,
    "leaky_relu": LeakyReLU,
    "gelu": GELU,
    "silu": SiLU,
    "step": Step,
    "identity": Identity,
}


def _vector(layer: Layer, shape: Shape) -> Shape:
    require(
        f"{type(layer).__name__} input", "one axis (flatten images first)", shape, len(shape) == 1
    )
    return shape


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
