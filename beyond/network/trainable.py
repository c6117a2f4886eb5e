"""What a network must answer: weights as one flat vector, and the passes through them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import copy
from dataclasses import dataclass, field
from math import prod
from types import MappingProxyType
from typing import Any, Self

from torch import Tensor, nn

from beyond.errors import UnsupportedError
from beyond.hardware import HOST, Hardware
from beyond.ledger import Work
from beyond.network.layers import LOOP, Touched, Weights
from beyond.streams import Stream

Buffers = Mapping[str, Tensor]
NO_BUFFERS: Buffers = MappingProxyType({})


@dataclass(frozen=True)
class Block:
    """One layer's weights: the slice [start, stop) of the flat vector.

    `depth` counts blocks from the input, starting at 1; `layer` is the index among all layers, the
    same for all within one layer.
    `drawn` says whether the weights start from random draws: those of a normalisation do not.
    `fans` are the numbers of inputs to and outputs from one unit, (0, 0) where they are not known.
    `maps` says whether a row of a weight with two axes or more is what one unit makes of all inputs
    that it has: that is not so of an embedding, nor of a map of each group of features.
    """

    name: str
    depth: int
    layer: int
    start: int
    stop: int
    shapes: Mapping[str, tuple[int, ...]]
    drawn: bool = True
    fans: tuple[int, int] = (0, 0)
    maps: bool = True

    @property
    def weight(self) -> str:
        """The name of the weight that carries the error back, of a drawn one."""
        return next(name for name in self.shapes if name.rpartition(".")[2] == "weight")

    @property
    def loop(self) -> str:
        """The name of the weight that carries it back in time; "" where none does."""
        return next((name for name in self.shapes if name.rpartition(".")[2] == LOOP), "")


@dataclass(frozen=True)
class Tape:
    """What a forward pass leaves for the backward pass: each layer's weights and cache.

    `buffers` are the network's after the pass, where it was one in training that changes them.
    """

    weights: Sequence[Weights]
    caches: Sequence[Any]
    buffers: Buffers = field(default_factory=dict)


class Network(ABC):
    """Something with weights that can be run and differentiated.

    Attributes
    ----------
    blocks : tuple of Block
        In the order of the flat vector.
    n_weights : int
    forward_flops : int
        Floating-point operations of a forward pass, per example.
    forward_touched : Touched
        Numbers that one reads and writes.
    buffers : mapping of str to Tensor of shape (R, ...)
        What passes in training change and no rule does, a row for each replica: the running
        statistics of batch normalisation. Empty where nobody holds any: passes then see those that
        the network starts with, and change none.
    fewest : int
        Examples that a pass in training takes at least: a batch of one cannot be normalised.
    hardware : Hardware
        What it is evaluated on.
    """

    blocks: tuple[Block, ...]
    n_weights: int
    forward_flops: int
    forward_touched: Touched
    buffers: Buffers = NO_BUFFERS
    fewest: int = 1
    hardware: Hardware = HOST

    @abstractmethod
    def init(self, rng: Stream, n_copies: int = 1) -> Tensor:
        """Draw weights for `n_copies` networks per replica, shape (R * n_copies, n)."""

    @abstractmethod
    def forward(
        self, params: Tensor, inputs: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, Tape]:
        """Outputs (G, B, n_outputs) for weights (G, n) and inputs (R, B, ...), and the tape.

        With an `rng` it is in training: dropout is on, and a batch is normalised by itself;
        without, dropout is off and the `buffers` normalise.
        """

    @abstractmethod
    def backward(self, tape: Tape, error: Tensor, *, start: int = 0) -> Tensor:
        """Gradient (G, n - start) for weights[start:], from the error (G, B, n_outputs)."""

    @abstractmethod
    def backward_flops(self, start: int = 0) -> int:
        """Cost per example of `backward` from the end to the block that begins at `start`."""

    @abstractmethod
    def backward_touched(self, start: int = 0) -> Touched:
        """Numbers that such a pass reads and writes."""

    @abstractmethod
    def chunk_size(self, batch_size: int) -> int:
        """How many candidates to evaluate at once so that their activations stay in the cache."""

    def fresh_buffers(self, n_replicas: int) -> Buffers:
        """Return the buffers (R, ...) to start with; empty for a network without any."""
        return NO_BUFFERS

    def holding(self, buffers: Buffers) -> Self:
        """Return the same network with these buffers."""
        if not buffers:
            return self
        twin = copy(self)
        twin.buffers = buffers
        return twin

    def forward_work(self, n_examples: int, n_copies: int = 1) -> Work:
        """Cost of passing so many examples forward, all copies of the weights together."""
        return self._work(self.forward_flops, self.forward_touched, n_examples, n_copies)

    def backward_work(self, n_examples: int, start: int = 0, n_copies: int = 1) -> Work:
        """Cost of passing so many back, to the block that begins at `start`."""
        flops, touched = self.backward_flops(start), self.backward_touched(start)
        return self._work(flops, touched, n_examples, n_copies)

    def _work(self, flops: int, touched: Touched, n_examples: int, n_copies: int = 1) -> Work:
        numbers = n_examples * touched.values + n_copies * touched.weights
        return Work(n_examples * flops, numbers * self.hardware.itemsize)

    @property
    def example_bytes(self) -> int:
        """What the activations of one example take, about: those of a pass for a gradient."""
        return self.hardware.itemsize * max(1, self.forward_flops // 100)

    def require_room(self, n_examples: int) -> None:
        """Raise `MemoryError` where a pass that may go back takes more than there may be."""
        if self.hardware.max_memory is not None:
            what = f"the activations of {n_examples:,} examples in one pass"
            self.hardware.require_room(n_examples * self.example_bytes, what)

    def on(self, hardware: Hardware) -> Self:
        """Return the same network for weights, inputs and buffers that are elsewhere."""
        if hardware == self.hardware:
            return self
        twin = copy(self)
        twin.hardware = hardware
        return twin

    def forward_mode(self) -> AbstractContextManager[None]:
        """Return what a derivative in forward mode is to be taken within; by default nothing."""
        return nullcontext()

    def outputs(self, params: Tensor, inputs: Tensor) -> Tensor:
        """Outputs alone, not in training."""
        return self.forward(params, inputs)[0]

    def suffix(self, n_blocks: int) -> int:
        """Where the weights of the last `n_blocks` layers begin in the flat vector."""
        return self.blocks[-n_blocks].start

    def state_dict(self, weights: Tensor) -> dict[str, Tensor]:
        """Weights (n,) by name, copied, as torch has them: `1.weight` is of layer 1, from 0.

        The first replica's buffers are among them.
        """
        named = {
            f"{block.layer}.{name}": shape
            for block in self.blocks
            for name, shape in block.shapes.items()
        }
        parts = weights.split([prod(shape) for shape in named.values()])
        held = {name: values[0] for name, values in self.buffers.items()}
        learnt = {
            name: part.view(shape) for (name, shape), part in zip(named.items(), parts, strict=True)
        }
        return {name: values.clone() for name, values in (learnt | held).items()}

    def module(self, weights: Tensor) -> nn.Module:
        """Return a torch module with weights (n,), for evaluation; `UnsupportedError` if none."""
        raise UnsupportedError("the network is made of the harness's layers, not a torch module")

    def dead_fraction(self, tape: Tape) -> list[float | Tensor]:
        """For each block, the fraction (R,) of units off for every example; NaN if unknown."""
        return [float("nan")] * len(self.blocks)
