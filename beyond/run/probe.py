"""One yardstick for every method: the true gradient on a fixed batch that nothing is trained on,
and beside it that on as many training examples.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from beyond.contracts import Batch, Splits, TaskSpec
from beyond.network.layered import LayeredNetwork
from beyond.network.trainable import NO_BUFFERS, Buffers, Network, Tape
from beyond.problem import Problem
from beyond.streams import Stream

PROBE_SIZE = 256
COPIES = 4  # in float64, of what is measured
GROUP = 1 << 24  # weights measured at once, which bounds the memory of their copies in float64
SIGNALS = ("activation_norm", "first_activation_norm", "error_norm", "first_error_norm")
JACOBIAN = ("jacobian_largest", "jacobian_median", "jacobian_smallest")


class Probe:
    """Measures network and layers on fixed batches, one for each replica.

    `batch` has `PROBE_SIZE` validation examples, or all if they are fewer; `train_batch` as many
    training examples, without augmentation. Both are drawn by the seed alone. What is not said to
    be on training examples is measured on `batch`.

    Parameters
    ----------
    splits : Splits
    spec : TaskSpec
        Of the task.
    network : Network
    seeds : list of int
        One a replica.
    """

    def __init__(self, splits: Splits, spec: TaskSpec, network: Network, seeds: list[int]) -> None:
        stream = Stream("probe", seeds)
        device = network.hardware.place
        indices = stream.permutation(splits.size("validation"))[:, :PROBE_SIZE].to(device)
        self.batch: Batch = splits.batch("validation", indices)
        self.train_batch: Batch = splits.batch(
            "train", stream.permutation(splits.size("train"))[:, : indices.shape[1]].to(device)
        )
        self.problem = Problem(network, spec)
        self._network, self._world = network, spec.world
        # None: a wrapped module
        self._layered = network if isinstance(network, LayeredNetwork) else None
        self._segments = self.problem.layers if self._layered else ()

    def measure(
        self,
        params: Tensor,
        before: Tensor | None,
        carriers: Mapping[int, Tensor] | None = None,
        batch: Batch | None = None,
        buffers: Buffers = NO_BUFFERS,
    ) -> list[dict[str, Any]]:
        """For the network and each block, norms (R,) at `params`, and of the update since `before`.

        The whole network comes first, as the layer "network" of depth 0; what only a block has is
        NaN there, and what only the network has for a block.

        `gradient_norm` is that of the gradient of the loss on validation examples,
        `train_gradient_norm` on training examples: the second may vanish where the first does not.

        `update_cosine` is the cosine between the update and the negative true gradient at `before`;
        it and `update_norm` are NaN without an update. `batch_cosine` is that with the negative
        gradient on the batch that the update was made from: 1 for gradient descent. `batch_loss` is
        the loss of `params` on that batch: of a candidate that was chosen for it, its fitness, less
        than on fresh examples by the winner's curse.
        `transport_cosine` is that between the block's weights and the tensor that carries the error
        back in their place; NaN without one.

        `activation_norm` is that of what the block hands on, with the layers behind it that have no
        weights: the root mean square over examples of an example's norm; `first_activation_norm` is
        that of the first example alone, whose spread over replicas is due to the weights.
        `error_norm` is the root mean square over examples of the norm of the derivative of an
        example's loss by the same values; `first_error_norm` is the first example's. NaN for a
        network without access to its layers.

        `jacobian_largest`, `_median` and `_smallest` are singular values of the derivative of the
        whole network's outputs by its inputs at the first example: how much a small change of the
        inputs grows or fades on its way.

        No pass is in training: dropout is off, and the network's `buffers` normalise.
        """
        n_weights, network = params.shape[1], self._network
        examples = self.batch.inputs.shape[1] * network.example_bytes
        group = network.hardware.at_once(GROUP // n_weights, COPIES * 8 * n_weights + examples)
        size = max(1, group)
        parts = []
        for first in range(0, len(params), size):
            some = slice(first, first + size)
            carried = {depth: carrier[some] for depth, carrier in (carriers or {}).items()}
            seen = None if batch is None else _replicas(batch, some)
            old = None if before is None else before[some]
            fixed = _replicas(self.batch, some), _replicas(self.train_batch, some)
            held = {name: values[some] for name, values in buffers.items()}
            problem = self.problem.holding(held)
            parts.append(self._measure(problem, params[some], old, carried, seen, *fixed))
        return [
            {
                name: torch.cat(found) if isinstance(found[0], Tensor) else found[0]
                for name, found in columns.items()
            }
            for columns in (
                {name: [row[name] for row in rows] for name in rows[0]}
                for rows in zip(*parts, strict=True)
            )
        ]

    def _measure(
        self,
        problem: Problem,
        params: Tensor,
        before: Tensor | None,
        carriers: Mapping[int, Tensor],
        batch: Batch | None,
        probe: Batch,
        train: Batch,
    ) -> list[dict[str, Any]]:
        """Measure some of the replicas, on their part of the fixed batches."""
        gradient, tape = self._gradient(problem, params, probe)
        train_gradient, _ = self._gradient(problem, params, train)
        unknown = params.new_full((len(params),), float("nan"))
        none = torch.full_like(params, float("nan"))
        update = none if before is None else params - before
        descent = none if before is None else self._gradient(problem, before, probe)[0].neg_()
        seen = none
        if before is not None and batch is not None:
            seen = self._gradient(problem, before, batch)[0].neg_()
        vectors = (gradient, train_gradient, params, update, descent, seen)
        forward = self.problem.carriers(params) if carriers else {}
        aligned = {
            depth: cosine(forward[depth].flatten(1), b.flatten(1)) for depth, b in carriers.items()
        }
        signals = self._signals(params, probe)
        rows: list[dict[str, Any]] = [
            {
                "layer": "network",
                "depth": 0,
                **_directions(*vectors),
                **dict.fromkeys(("transport_cosine", "dead_fraction", *SIGNALS), unknown),
                "batch_loss": self._loss(problem, params, batch),
                **self._jacobian(params, probe),
            }
        ]
        for block, dead_fraction in zip(
            self._network.blocks, self._network.dead_fraction(tape), strict=True
        ):
            rows.append(
                {
                    "layer": block.name,
                    "depth": block.depth,
                    **_directions(*(vector[:, block.start : block.stop] for vector in vectors)),
                    "transport_cosine": aligned.get(block.depth, unknown),
                    "dead_fraction": unknown if isinstance(dead_fraction, float) else dead_fraction,
                    **{name: values[block.depth - 1] for name, values in signals.items()},
                    **dict.fromkeys(("batch_loss", *JACOBIAN), unknown),
                }
            )
        return rows

    def _signals(self, params: Tensor, batch: Batch) -> dict[str, list[Tensor]]:
        """What travels through the network, by block: norms (R,) of activations and errors."""
        network = self._network
        layers = self._segments
        unknown = [params.new_full((len(params),), float("nan"))] * len(network.blocks)
        signals = {name: list(unknown) for name in SIGNALS}
        if not layers:
            return signals
        # what a layer of several hands on is its last block's
        last = {block.layer: block.depth for block in network.blocks}
        ends = [place - 1 for place in list(last)[1:]] + [len(layers) - 1]
        values, tapes, norms = batch.inputs, [], []
        for index, layer in enumerate(layers):
            values, tape = layer.forward(params, values)
            tapes.append(tape)
            if index in ends:
                norms.append(_example_norms(values))
        # of one example, not of the mean
        error = self._error(self.problem, values, batch) * batch.inputs.shape[1]
        errors: list[Tensor] = []
        for index in range(len(layers) - 1, ends[0] - 1, -1):
            if index in ends:
                errors.append(_example_norms(error))
            if index > ends[0]:
                error = layers[index].carry(tapes[index], error)
        columns = [
            [of(one) for one in found]
            for found in (norms, errors[::-1])
            for of in (_root_mean_square, _first)
        ]
        for name, values in zip(SIGNALS, columns, strict=True):
            for depth, value in zip(last.values(), values, strict=True):
                signals[name][depth - 1] = value
        return signals

    def _gradient(self, problem: Problem, params: Tensor, batch: Batch) -> tuple[Tensor, Tape]:
        outputs, tape = problem.forward(params, batch.inputs)
        return problem.backward(tape, self._error(problem, outputs, batch)), tape

    def _error(self, problem: Problem, outputs: Tensor, batch: Batch) -> Tensor:
        """Derivative of the loss at the outputs; NaN where a task is to act, which has none."""
        if self._world is not None:
            return torch.full_like(outputs, float("nan"))
        return problem.error(outputs, batch.targets)

    def _loss(self, problem: Problem, params: Tensor, batch: Batch | None) -> Tensor:
        """Mean loss (R,) on a batch; NaN without one, or where a task is to act."""
        if batch is None or self._world is not None:
            return params.new_full((len(params),), float("nan"))
        return problem.loss(params, batch)

    def _jacobian(self, params: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Singular values (R,) of the derivative of the outputs by the inputs at the first example.

        In float64: in a deep network they span more than float32 can tell apart. NaN where that
        derivative is not finite, where inputs are symbols, and for a network without access to its
        layers.
        """
        network, spec = self._layered, self.problem.spec
        found = params.new_full((len(params), len(JACOBIAN)), float("nan"))
        if network and not spec.n_symbols:
            n_outputs = spec.n_outputs
            # one for each output
            copies = batch.inputs[:, :1].double().expand(-1, n_outputs, *spec.input_shape)
            _, tape = network.forward(params.double(), copies)
            errors = torch.eye(n_outputs, dtype=torch.float64, device=params.device)
            errors = errors.expand(len(params), -1, -1)
            jacobian = network.carry(tape, errors).flatten(2)  # (R, n_outputs, n_inputs)
            finite = jacobian.isfinite().flatten(1).all(1, keepdim=True)  # (R, 1)
            values = torch.linalg.svdvals(jacobian.where(finite.unsqueeze(2), 0.0))
            quantiles = torch.stack(
                [values[:, 0], values.quantile(0.5, 1), values[:, -1]], 1
            ).float()
            found = found.where(~finite, quantiles)
        return dict(zip(JACOBIAN, found.unbind(1), strict=True))


def _replicas(batch: Batch, some: slice) -> Batch:
    """Inputs and targets of some replicas."""
    return Batch(batch.inputs[some], batch.targets[some])


def _directions(
    gradient: Tensor,
    train_gradient: Tensor,
    weights: Tensor,
    update: Tensor,
    descent: Tensor,
    seen: Tensor,
) -> dict[str, int | Tensor]:
    """Size, norms and cosines (R,) of vectors (R, d): all weights, or a block's."""
    return {
        "n_weights": weights.shape[1],
        "gradient_norm": gradient.norm(dim=1),
        "train_gradient_norm": train_gradient.norm(dim=1),
        "weight_norm": weights.norm(dim=1),
        "update_norm": update.norm(dim=1),
        "update_cosine": cosine(update, descent),
        "batch_cosine": cosine(update, seen),
    }


def _example_norms(values: Tensor) -> Tensor:
    """Norm (R, B) of each example of (R, B, ...)."""
    return values.flatten(2).norm(dim=2)


def _first(norms: Tensor) -> Tensor:
    """Norm (R,) of the first example of (R, B)."""
    return norms[:, 0]


def _root_mean_square(norms: Tensor) -> Tensor:
    """Root mean square (R,) of norms (R, B)."""
    return norms.square().mean(1).sqrt()


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine (R,) of the rows of two (R, d), in float64 for tiny updates; NaN where one is 0."""
    a, b = a.double(), b.double()
    return ((a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))).float()
