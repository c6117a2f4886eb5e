"""What a method is handed: the only door to the network. Every question it asks is charged to the
ledger, and so is every product of matrices that a method makes by itself: `matmul` knows its cost
from the shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from copy import copy
from math import prod
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.func import jvp, vmap

from beyond import losses
from beyond.contracts import Batch, SealedTargets, Signal, TaskSpec
from beyond.errors import UnsupportedError
from beyond.hardware import within_memory
from beyond.ledger import Ledger, Work
from beyond.network.layered import LayeredNetwork
from beyond.network.layers import Role
from beyond.network.segments import Charge, Segment
from beyond.network.trainable import Block, Buffers, Network, Tape
from beyond.streams import Stream

if TYPE_CHECKING:
    from beyond.control import Lived

SEALED = frozenset({Signal.LOSS, Signal.REWARD})  # signals whose methods never see targets
TOLD_DERIVATIVE = frozenset(Signal) - SEALED
TOLD_LOSS = frozenset(Signal) - {Signal.REWARD}
TOLD_REWARD = frozenset(Signal) - {Signal.LOSS}  # which is one number for a batch


class Problem:
    """Network, loss and ledger of one task.

    Parameters
    ----------
    network : Network
        What is trained.
    spec : TaskSpec
        The task's: shapes, kind of targets, number of outputs.
    ledger : Ledger, optional
        Charged for every pass; None charges nobody (evaluation and probes).
    signal : Signal
        The method's: it decides which questions are answered.
    """

    def __init__(
        self,
        network: Network,
        spec: TaskSpec,
        ledger: Ledger | None = None,
        signal: Signal = Signal.GRADIENT,
    ) -> None:
        self._network = network
        self.spec = spec
        self.ledger = ledger
        self.signal = Signal(signal)  # as a rule may write it, "targets"
        self.activity: dict[str, Tensor] = {}
        self._n_lanes = 1

    def outputs(self, params: Tensor, inputs: Tensor) -> Tensor:
        """Outputs (R, B, n_outputs) for weights (R, n), or (R * P, n): a forward pass for each."""
        self._charge_forward(inputs.shape[1], len(params) // len(inputs))
        return self._network.outputs(params, inputs)

    def forward(
        self, params: Tensor, inputs: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, Tape]:
        """Outputs and the tape to go back on; with an `rng` in training, see `Network.forward`."""
        self._charge_forward(inputs.shape[1], len(params) // len(inputs))
        return self._run(self._network, params, inputs, rng)

    def error(self, outputs: Tensor, targets: Tensor | SealedTargets) -> Tensor:
        """Derivative (R, B, n_outputs) of the loss, the mean over the batch, at the outputs."""
        seen = self._unseal(targets, TOLD_DERIVATIVE, "the derivative of the loss")
        return losses.error(self.spec.target_kind, outputs, seen)

    def backward(
        self,
        tape: Tape,
        error: Tensor,
        carriers: Mapping[int, Tensor] | None = None,
        start: int = 0,
        loops: Mapping[int, Tensor] | None = None,
    ) -> Tensor:
        """Gradient of weights[start:] from the error at the outputs, by the chain rule.

        `carriers` maps a block's depth to the tensor that replaces its weights on the way back, and
        `loops` to the one that does so on the way back in time: see there.
        """
        if self.signal is Signal.TARGETS:
            raise PermissionError(
                "a method whose signal is targets may not ask for the error behind the outputs"
            )
        self._charge_backward(error.shape[1], start)
        if carriers or loops:
            return self._layered.backward(tape, error, start=start, carriers=carriers, loops=loops)
        return self._network.backward(tape, error, start=start)

    def gradient(self, params: Tensor, batch: Batch, rng: Stream | None = None) -> Tensor:
        """Gradient (R, n) of the loss by automatic differentiation: one pass forward, one back."""
        targets = self._unseal(batch.targets, {Signal.GRADIENT}, "the gradient of the loss")
        with torch.enable_grad():
            weights = params.detach().requires_grad_()
            outputs, _ = self.forward(weights, batch.inputs, rng)
            # replicas do not mix in a sum
            total = losses.loss(self.spec.target_kind, outputs, targets).sum()
        self._charge_backward(batch.inputs.shape[1], 0)
        return torch.autograd.grad(total, weights)[0]

    def directional_derivative(self, params: Tensor, tangents: Tensor, batch: Batch) -> Tensor:
        """Derivative (R, K) of the loss along K tangents (R, K, n), exact, in forward mode.

        One forward pass, and for each tangent one pass forward that multiplies by weights and
        tangent alike: as many operations as a backward pass, and charged as one.
        """
        targets = self._unseal(
            batch.targets, {Signal.GRADIENT}, "the derivative of the loss along a direction"
        )

        def loss(weights: Tensor) -> Tensor:
            return losses.loss(
                self.spec.target_kind, self._network.outputs(weights, batch.inputs), targets
            )

        batch_size, network = batch.inputs.shape[1], self._network
        self._charge_forward(batch_size, 1)
        self._charge_backward(batch_size, 0, tangents.shape[1])
        # Torch multiplies the first weights by the inputs' tangent too, which is zero: once for all
        # tangents.
        self.charge(Work(batch_size * (2 * network.forward_flops - network.backward_flops())))
        with network.forward_mode():
            return vmap(lambda tangent: jvp(loss, (params,), (tangent,))[1], 1, 1)(tangents)

    def loss(self, params: Tensor, batch: Batch) -> Tensor:
        """Mean loss over the batch, shape (R,)."""
        return self.population_loss(params.unsqueeze(1), batch).squeeze(1)

    def population_loss(self, population: Tensor, batch: Batch) -> Tensor:
        """Mean loss (R, P) on the replica's batch of every candidate of a population (R, P, n).

        Each candidate is charged a forward pass. Candidates are evaluated in chunks whose
        activations fit the cache. Dropout is off, as wherever a loss is the answer: candidates must
        differ by their weights, not by masks.
        """
        targets = self._unseal(batch.targets, TOLD_LOSS, "the loss")
        n_candidates, batch_size = population.shape[1], batch.inputs.shape[1]
        self._charge_forward(batch_size, n_candidates)
        return within_memory(
            min(self._network.chunk_size(batch_size), len(population) * n_candidates),
            lambda size: self._population_loss(population, batch.inputs, targets, size),
        )

    def _population_loss(
        self, population: Tensor, inputs: Tensor, targets: Tensor, size: int
    ) -> Tensor:
        """Evaluate so many candidates at once."""
        n_replicas, n_candidates, n_weights = population.shape
        replicas = max(1, size // n_candidates)  # small populations: several replicas in one chunk
        result = population.new_empty(n_replicas, n_candidates)
        for row in range(0, n_replicas, replicas):
            rows = slice(row, row + replicas)
            network = self._network.holding(
                {name: values[rows] for name, values in self.buffers.items()}
            )
            for first in range(0, n_candidates, size):
                columns = slice(first, first + size)
                candidates = population[rows, columns].reshape(-1, n_weights)
                outputs = network.outputs(candidates, inputs[rows])
                loss = losses.loss(self.spec.target_kind, outputs, targets[rows])
                result[rows, columns] = loss.view(len(inputs[rows]), -1)
        return result

    def example_losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Loss of each example, (G, B), at outputs (G, B, n_outputs) already paid for."""
        targets = self._unseal(batch.targets, TOLD_LOSS, "the loss")
        return losses.example_losses(self.spec.target_kind, outputs, targets)

    def reward(self, actions: Tensor, batch: Batch) -> Tensor:
        """Reward (R, B, K) of K actions per input (`losses.reward`), from the task: no FLOPs."""
        if self.ledger is not None:
            self.ledger.charge(rewards=actions.shape[1] * actions.shape[2])
        targets = self._unseal(batch.targets, TOLD_REWARD, "the reward")
        rewards = losses.reward(self.spec.target_kind, actions, targets)
        return rewards.to(self._network.hardware.dtype)

    def situations(
        self, params: Tensor, batch: Batch, choose: Callable[[Tensor], Tensor], n_tries: int
    ) -> Batch:
        """What is to be acted in: the batch, each of whose inputs is a situation by itself.

        Where the task is to act in an environment, `n_tries` episodes from each start are played by
        what is chosen from outputs (R, N, n_outputs), actions (R, N, 1, ...); inputs are then all
        situations that were met, and targets say what came of them (`beyond.control.Lived`).
        """
        return batch

    def lived(self, met: Batch) -> Lived | None:
        """What came of the situations, where episodes were played; None for a batch of data."""
        return None

    @property
    def buffers(self) -> Buffers:
        """The network's, (R, ...), as the last pass in training left them; empty without any."""
        return self._network.buffers

    def fresh_buffers(self, n_replicas: int) -> Buffers:
        """Return the buffers that the network starts with, (R, ...); empty without any."""
        return self._network.fresh_buffers(n_replicas)

    def holding(self, buffers: Buffers) -> Problem:
        """Return the same problem for a network with these buffers: it alone changes them."""
        twin = copy(self)
        twin._network = self._network.holding(buffers)
        return twin

    @property
    def n_weights(self) -> int:
        """Weights of one network."""
        return self._network.n_weights

    @property
    def blocks(self) -> Sequence[Block]:
        """Each layer's weights from the input on: place in the flat vector, names, shapes."""
        return self._network.blocks

    @property
    def matrices(self) -> list[tuple[int, int, int]]:
        """Weights that are maps into hidden layers: start in the flat vector, rows, columns.

        A row is what one unit makes of its inputs, of a convolution those of a window.
        """
        found, hidden = [], [block for block in self.blocks if block.drawn][:-1]
        for block in hidden:
            start = block.start
            for shape in block.shapes.values():
                if block.maps and len(shape) > 1:
                    found.append((start, shape[0], prod(shape[1:])))
                start += prod(shape)
        return found

    def names_of(self, segments: Iterable[Segment]) -> list[str]:
        """Names of the blocks whose weights are in these parts of the network."""
        spans = [(segment.start, segment.stop) for segment in segments]
        return [block.name for block in self.blocks if any(a <= block.start < b for a, b in spans)]

    def suffix(self, n_blocks: int) -> int:
        """Where the weights of the last `n_blocks` layers begin in the flat vector."""
        return self._network.suffix(n_blocks)

    def fresh_weights(self, rng: Stream) -> Tensor:
        """Draw weights (R, n) from the distribution that the initial weights come from."""
        return self._network.init(rng)

    def fresh_population(self, rng: Stream, n_candidates: int) -> Tensor:
        """Draw candidates (R, P, n) from the distribution that the initial weights come from."""
        return self._network.init(rng, n_candidates).unflatten(0, (-1, n_candidates))

    def fresh_matrices(self, rng: Stream, shape: tuple[int, int], fans: tuple[int, int]) -> Tensor:
        """Draw matrices (R, *shape) as the network draws weights of units with these fans."""
        return self._layered.initialisation(rng.normal(*shape), *fans)

    def carriers(self, params: Tensor) -> dict[int, Tensor]:
        """By depth, views of drawn weights that carry the error back: not of the first block."""
        return self._layered.carriers(params)

    def loops(self, params: Tensor) -> dict[int, Tensor]:
        """By depth, views of the weights that carry the error back in time, of recurrent blocks."""
        return self._layered.loops(params)

    @property
    def layers(self) -> Sequence[Segment]:
        """Each layer by itself, from the input on; their weights end to end are the network's."""
        return self._segments(self._layered.single_layers, self._charge_part)

    @property
    def stages(self) -> Sequence[Segment]:
        """Each layer with drawn weights, together with the layers up to the next such one."""
        return self._segments(self._layered.stages, self._charge_part)

    def segments_of(self, networks: Sequence[LayeredNetwork]) -> Sequence[Segment]:
        """Networks that a method makes for itself, whose weights are end to end in one vector."""
        there = [network.on(self._network.hardware) for network in networks]
        return self._segments(there, lambda work, _: self.charge(work))

    def require_roles(
        self, rule: str, known: Collection[Role], lack: str, n_layers: int | None = None
    ) -> None:
        """Refuse, for a rule, one of the first `n_layers` layers whose role it has no answer to.

        `lack` says what the rule would need.
        """
        for index, layer in enumerate(self._layered.layers[:n_layers]):
            unknown = sorted(layer.roles.difference(known))
            if unknown:
                name = next(
                    (block.name for block in self.blocks if block.layer == index),
                    type(layer).__name__.lower(),
                )
                raise UnsupportedError(f"{rule} has no rule for {name} ({unknown[0]}): {lack}")

    def matmul(self, a: Tensor, b: Tensor) -> Tensor:
        """Product of a method's matrices, (R, ..., m, k) and (R, ..., k, n), each 2 m k n."""
        hardware = self._network.hardware
        product = hardware.widened(hardware.narrowed(a) @ hardware.narrowed(b))
        numbers = a[0].numel() + b[0].numel() + product[0].numel()
        self.charge(Work(2 * a.shape[-1] * product[0].numel(), numbers * hardware.itemsize))
        return product

    def charge(self, work: Work) -> None:
        """Charge products that torch makes out of sight; all others go through `matmul`.

        The one such place is automatic differentiation through an inner loop.
        """
        if self.ledger is not None:
            self.ledger.charge(**vars(work * self._n_lanes))

    def pass_work(self, n_examples: int, start: int = 0) -> tuple[Work, Work]:
        """Cost of passing examples forward, and of passing them back to the block at `start`."""
        network = self._network
        return network.forward_work(n_examples), network.backward_work(n_examples, start)

    def count(self, **activity: Tensor) -> None:
        """Add to a prediction's measures, (R,): `spikes`, `accumulates` (additions they cause)."""
        for name, amount in activity.items():
            self.activity[name] = self.activity.get(name, 0) + amount

    def lanes(self, n_lanes: int) -> Problem:
        """The same problem for weights (R * n_lanes, n), each row with inputs: an episode."""
        twin = self.holding(
            {name: values.repeat_interleave(n_lanes, 0) for name, values in self.buffers.items()}
        )
        twin._n_lanes = self._n_lanes * n_lanes
        return twin

    @property
    def _layered(self) -> LayeredNetwork:
        """The network, where its layers can be asked for."""
        if not isinstance(self._network, LayeredNetwork):
            raise UnsupportedError("a wrapped torch module gives no access to its layers")
        return self._network

    def _segments(self, networks: Sequence[LayeredNetwork], charge: Charge) -> list[Segment]:
        segments: list[Segment] = []
        for network in networks:
            start = segments[-1].stop if segments else 0
            segments.append(Segment(network, start, charge, self._run))
        return segments

    def _run(
        self, network: Network, params: Tensor, inputs: Tensor, rng: Stream | None
    ) -> tuple[Tensor, Tape]:
        """Pass the network, or a part of it, with the buffers that there are, and keep them."""
        network.require_room(inputs.shape[1] * len(params))
        outputs, tape = network.holding(self.buffers).forward(params, inputs, rng)
        if tape.buffers:
            self._network = self._network.holding({**self.buffers, **tape.buffers})
        return outputs, tape

    def _charge_part(self, work: Work, direction: str) -> None:
        """Charge part of a network: examples count by its share in a whole pass's operations."""
        if self.ledger is None:
            return
        work *= self._n_lanes
        if direction == "forward":
            share = {"forward": work.flops / self._network.forward_flops}
        else:
            share = {"backward": work.flops / self._network.backward_flops()}
        self.ledger.charge(**share, **vars(work))

    def _charge_forward(self, n_examples: int, n_copies: int) -> None:
        """Charge a pass of so many examples through each of so many copies of the weights."""
        if self.ledger is not None:
            copies = n_copies * self._n_lanes
            work = self._network.forward_work(n_examples * copies, copies)
            self.ledger.charge(forward=n_examples * copies, **vars(work))

    def _charge_backward(self, n_examples: int, start: int, n_copies: int = 1) -> None:
        if self.ledger is not None:
            copies = n_copies * self._n_lanes
            work = self._network.backward_work(n_examples * copies, start, copies)
            self.ledger.charge(backward=n_examples * copies, **vars(work))

    def _unseal(
        self, targets: Tensor | SealedTargets, allowed: Set[Signal], question: str
    ) -> Tensor:
        if self.signal not in allowed:
            raise PermissionError(
                f"a method whose signal is {self.signal} may not ask for {question}"
            )
        return targets._targets if isinstance(targets, SealedTargets) else targets


def seal(batch: Batch, signal: Signal) -> Batch:
    """Hide the targets of a batch from a method whose signal does not include them."""
    if signal not in SEALED:
        return batch
    support = None if batch.support is None else seal(batch.support, signal)
    return Batch(batch.inputs, SealedTargets(batch.targets), support)
