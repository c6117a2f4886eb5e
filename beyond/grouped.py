"""Features in groups that never meet: a matrix of their own for each, and no bias."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from beyond.contracts import TaskSpec
from beyond.errors import require
from beyond.layers import Flops, Layer, Role, Shape, Weights
from beyond.network import InitialisationName, LayeredNetwork, initialisation_of
from beyond.settings import Positive, PositiveInt, settings
from beyond.streams import Stream


@dataclass(frozen=True)
class GroupedLinear(Layer):
    """z_g = W_g x_g for each group g of neighbouring features, weight (G, n_groups, n_out / n_groups, n_in / n_groups).

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
        require("GroupedLinear input", f"one axis, a multiple of n_groups ({self.n_groups}) long", shape, fits)
        return shape[0] // self.n_groups, self.n_out // self.n_groups

    def flops(self, shape: Shape) -> Flops:
        n_in, n_out = self.fans(shape)
        product = 2 * self.n_groups * n_out * n_in
        return Flops(product, product, product)

    def forward(self, weights: Weights, x: Tensor, rng: Stream | None = None) -> tuple[Tensor, Tensor]:
        weight = weights["weight"]
        parts = x.unflatten(1, (self.n_groups, -1))  # (R, n_groups, n_in / n_groups, B)
        parts = parts.repeat_interleave(len(weight) // len(x), 0)  # copies may share an input
        return (weight @ parts).flatten(1, 2), parts

    def carry(self, weights: Weights, cache: Tensor, dy: Tensor, transport: Tensor | None = None) -> Tensor:
        carrier = weights["weight"] if transport is None else transport
        return (carrier.mT @ dy.unflatten(1, (self.n_groups, -1))).flatten(1, 2)

    def gradients(self, cache: Tensor, dy: Tensor) -> dict[str, Tensor]:
        return {"weight": dy.unflatten(1, (self.n_groups, -1)) @ cache.mT}


@settings
class Grouped:
    """One grouped linear layer from inputs to outputs, which must be vectors.

    Parameters
    ----------
    n_groups : int, >= 1
        A divisor of the numbers of inputs and of outputs.
    initialisation, init_std
        As in `MLP`.
    """

    n_groups: PositiveInt = 2
    initialisation: InitialisationName = "uniform"
    init_std: Positive = 0.1

    @property
    def name(self) -> str:
        """`grouped-2`."""
        return f"grouped-{self.n_groups}"

    def build(self, spec: TaskSpec) -> LayeredNetwork:
        """Make the network for a task."""
        layer = GroupedLinear(spec.n_outputs, self.n_groups)
        return LayeredNetwork([layer], spec.input_shape, initialisation_of(self.initialisation, self.init_std))
