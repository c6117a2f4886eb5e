"""An architecture as a list of layers; R replicas of it evaluated as one tensor program.

The weights of all replicas are one tensor (R, n): each replica's layers end to end, in order.
Layers see views of it, so optimizers, mutations and cosines work on plain vectors and the last k
layers are a suffix.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from math import prod
from typing import Any, Self

import torch
from torch import Tensor

from beyond.hardware import Hardware, moved
from beyond.ledger import Work
from beyond.network.initialisations import DRAW_BIASES, Initialisation
from beyond.network.layers import Layer, Role, Touched, Weights, total, touched_back
from beyond.network.trainable import NO_BUFFERS, Block, Buffers, Network, Tape
from beyond.streams import Stream


class LayeredNetwork(Network):
    """Stacked layers.

    Parameters
    ----------
    layers : sequence of Layer
    input_shape : tuple of int
        Of one example.
    initialisation : Initialisation
        Draws the weights; gains start at one, and biases at zero unless the initialisation draws
        them too.
    first : int
        Index of the first layer in the whole network, whose buffers are named by that.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        input_shape: tuple[int, ...],
        initialisation: Initialisation,
        first: int = 0,
    ) -> None:
        self.layers = tuple(layers)
        self.initialisation = initialisation
        self.first = first
        self.shapes = [input_shape]
        blocks: list[Block] = []
        start = 0
        for index, layer in enumerate(self.layers):
            for prefix, part, at in layer.parts(self.shapes[-1]):
                shapes = {prefix + name: size for name, size in part.parameters(at).items()}
                stop = start + sum(prod(shape) for shape in shapes.values())
                depth, fans = len(blocks) + 1, part.fans(at)
                name = f"{type(part).__name__.lower()}_{depth}"
                maps = part.role not in (Role.EMBEDDING, Role.GROUPED)
                blocks.append(Block(name, depth, index, start, stop, shapes, all(fans), fans, maps))
                start = stop
            self.shapes.append(layer.output_shape(self.shapes[-1]))
        self.blocks = tuple(blocks)
        self.n_weights = start
        self.fewest = max(layer.fewest for layer in self.layers)
        self._starts = [
            (index, name, values)
            for index, (layer, shape) in enumerate(zip(self.layers, self.shapes, strict=False))
            for name, values in layer.buffers(shape).items()
        ]
        self._places = [
            (block.layer, name, shape) for block in blocks for name, shape in block.shapes.items()
        ]
        self._sizes = [prod(shape) for *_, shape in self._places]
        costs = [layer.flops(shape) for layer, shape in zip(self.layers, self.shapes, strict=False)]
        self.forward_flops = sum(cost.forward for cost in costs)
        self.carry_flops = sum(cost.carry for cost in costs)
        self._backward_flops = {
            block.start: costs[block.layer].gradients
            + sum(cost.both for cost in costs[block.layer + 1 :])
            for block in self.blocks
        }
        touched = [
            (index, part.touched(at))
            for index, (layer, shape) in enumerate(zip(self.layers, self.shapes, strict=False))
            for part, at in layer.within(shape)
        ]
        self.forward_touched = total([one for _, one in touched])
        self._backward_touched = {
            block.start: touched_back([one for index, one in touched if index >= block.layer])
            for block in self.blocks
        }
        self._kept = sum(
            layer.kept(shape) for layer, shape in zip(self.layers, self.shapes, strict=False)
        )

    def init(self, rng: Stream, n_copies: int = 1) -> Tensor:
        n_total = len(rng.generators) * n_copies
        biases = self.initialisation in DRAW_BIASES
        parts: list[Tensor] = []
        for block in self.blocks:
            for path, shape in block.shapes.items():
                name = path.rpartition(".")[2]
                if block.drawn and (biases or name.startswith("weight")):
                    draws = rng.normal(n_copies, *shape).flatten(0, 1)
                    parts.append(self.initialisation(draws, *block.fans).flatten(1))
                else:
                    start = 1.0 if name == "weight" else 0.0
                    parts.append(
                        torch.full(
                            (n_total, prod(shape)), start, dtype=rng.dtype, device=rng.device
                        )
                    )
        return torch.cat(parts, 1)

    def unflatten(self, params: Tensor) -> list[Weights]:
        """View flat weights (G, n) as each layer's named parameters."""
        views: list[dict[str, Tensor]] = [{} for _ in self.layers]
        parts = params.split(self._sizes, 1)  # one step for autograd; slices would be many
        for (layer, name, shape), part in zip(self._places, parts, strict=True):
            views[layer][name] = part.view(-1, *shape)
        return views  # pyright: ignore[reportReturnType]

    def forward(
        self, params: Tensor, inputs: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, Tape]:
        x = self.hardware.narrowed(inputs.movedim(1, -1))
        weights = self.unflatten(self.hardware.narrowed(params))
        held = (self.buffers or self.fresh_buffers(1)) if self._starts else NO_BUFFERS
        for index, name, _ in self._starts:
            weights[index] = {**weights[index], name: held[self._buffer(index, name)]}
        caches: list[Any] = []
        for layer, layer_weights in zip(self.layers, weights, strict=True):
            x, cache = layer.forward(layer_weights, x, rng)
            caches.append(cache)
        tape = Tape(weights, caches, self._after(caches, len(params)) if rng else NO_BUFFERS)
        return self.hardware.widened(x.movedim(-1, 1)), tape

    def _after(self, caches: Sequence[Any], n_rows: int) -> Buffers:
        """Buffers after a pass in training; empty for another number of rows than they have."""
        if not self._starts or {len(values) for values in self.buffers.values()} != {n_rows}:
            return NO_BUFFERS
        return {
            self._buffer(index, name): values
            for index, (layer, cache) in enumerate(zip(self.layers, caches, strict=True))
            for name, values in layer.changed(cache).items()
        }

    def _buffer(self, index: int, name: str) -> str:
        """Name of a layer's buffer in the whole network, as torch has it."""
        return f"{self.first + index}.{name}"

    def fresh_buffers(self, n_replicas: int) -> Buffers:
        return {
            self._buffer(index, name): moved(
                values.expand(n_replicas, *values.shape).clone(),
                self.hardware.place,
                self.hardware.dtype,
            )
            for index, name, values in self._starts
        }

    def backward(
        self,
        tape: Tape,
        error: Tensor,
        *,
        start: int = 0,
        carriers: Mapping[int, Tensor] | None = None,
        loops: Mapping[int, Tensor] | None = None,
    ) -> Tensor:
        """Carry the error (G, B, n_outputs) back; return the gradient for weights[start:].

        `carriers` maps a block's depth to the tensor that replaces its weights on the way back, and
        `loops` a recurrent one's to what replaces them on the way back in time.
        Layers before `start` are not visited, and the error is not carried below the first visited
        block.
        """
        dy = self.hardware.narrowed(error.movedim(1, -1))
        weights = self._replaced(tape, carriers, loops)
        visited = [block for block in self.blocks if block.start >= start]
        first = visited[0].layer
        found: dict[int, dict[str, Tensor]] = {}
        for index in range(len(self.layers) - 1, first - 1, -1):
            dy, found[index] = self.layers[index].backward(
                weights[index], tape.caches[index], dy, onward=index > first
            )
        parts = [found[block.layer][name].flatten(1) for block in visited for name in block.shapes]
        return self.hardware.widened(torch.cat(parts, 1))

    def carry(
        self, tape: Tape, error: Tensor, carriers: Mapping[int, Tensor] | None = None
    ) -> Tensor:
        """Carry the error at the outputs back to the inputs, (G, B, *input_shape); no gradients."""
        dy = self.hardware.narrowed(error.movedim(1, -1))
        weights = self._replaced(tape, carriers)
        for index in range(len(self.layers) - 1, -1, -1):
            dy = self.layers[index].carry(weights[index], tape.caches[index], dy)
        return self.hardware.widened(dy.movedim(-1, 1))

    def _replaced(
        self,
        tape: Tape,
        carriers: Mapping[int, Tensor] | None,
        loops: Mapping[int, Tensor] | None = None,
    ) -> Sequence[Weights]:
        """Each layer's weights with what replaces them on the way back, as products are made."""
        weights = list(tape.weights)
        for block in self.blocks:
            given = {
                name: self.hardware.narrowed(others[block.depth])
                for name, others in (("weight", carriers), ("loop", loops))
                if others and block.depth in others
            }
            if given:
                named = {getattr(block, name): other for name, other in given.items()}
                weights[block.layer] = {**weights[block.layer], **named}
        return weights

    def backward_flops(self, start: int = 0) -> int:
        return self._backward_flops[start]

    def backward_touched(self, start: int = 0) -> Touched:
        return self._backward_touched[start]

    def carry_work(self, n_examples: int) -> Work:
        """Cost of `carry`, of so many examples: it touches what a pass forward does."""
        return self._work(self.carry_flops, self.forward_touched, n_examples)

    def carriers(self, params: Tensor) -> dict[int, Tensor]:
        """By depth, views of drawn weights that carry the error back: not of the first block."""
        views = self.unflatten(params)
        above = [block for block in self.blocks if block.drawn and block.depth > 1]
        return {block.depth: views[block.layer][block.weight] for block in above}

    def loops(self, params: Tensor) -> dict[int, Tensor]:
        """By depth, views of the weights that carry the error back in time, of recurrent blocks."""
        views = self.unflatten(params)
        return {block.depth: views[block.layer][block.loop] for block in self.blocks if block.loop}

    def on(self, hardware: Hardware) -> Self:
        twin = super().on(hardware)
        for part in () if twin is self else ("single_layers", "stages"):
            vars(twin).pop(part, None)  # made of the layers where they were
        return twin

    @cached_property
    def single_layers(self) -> list[LayeredNetwork]:
        """Each layer as a network."""
        return self._cut(list(range(len(self.layers))))

    @cached_property
    def stages(self) -> list[LayeredNetwork]:
        """Each block with drawn weights, and the layers up to the next one, as a network.

        Layers in front of the first block belong to its stage.
        """
        cuts = dict.fromkeys(block.layer for block in self.blocks if block.drawn)
        return self._cut([0, *list(cuts)[1:]])

    def _cut(self, cuts: list[int]) -> list[LayeredNetwork]:
        return [
            LayeredNetwork(
                self.layers[first:last], self.shapes[first], self.initialisation, self.first + first
            ).on(self.hardware)
            for first, last in pairwise([*cuts, len(self.layers)])
        ]

    def chunk_size(self, batch_size: int) -> int:
        # what comes before is shared
        widest = max(prod(shape) for shape in self.shapes[self.blocks[0].layer + 1 :])
        # input and output of a layer
        size = 2 * self.hardware.itemsize * widest * batch_size
        return max(1, self.hardware.chunk_bytes // size)

    @property
    def example_bytes(self) -> int:
        return self.hardware.itemsize * (prod(self.shapes[0]) + self._kept)

    def dead_fraction(self, tape: Tape) -> list[float | Tensor]:
        fractions = super().dead_fraction(tape)
        depth, counts = 0, Counter(block.layer for block in self.blocks)
        for index, (layer, cache) in enumerate(zip(self.layers, tape.caches, strict=True)):
            depth += counts[index]
            off = layer.off(cache)
            if off is not None and depth:
                fractions[depth - 1] = off.all(-1).flatten(1).float().mean(-1)
        return fractions
