"""Backpropagation on the last layer alone: a read-out of frozen random features (control arm).

What a method must beat to claim that its hidden layers learn anything.

    g_L = delta_L h_{L-1}^T        handed to the optimizer; g_l = 0 for l < L

Departures: none.
Needs: stored activations.
Cost: 1 forward pass and the last layer of a backward pass.
Check: equals softmax regression on the frozen features (tests/methods/test_last_layer.py).
Source: Rahimi & Recht, 2008, Advances in Neural Information Processing Systems 21 (random features
with a trained read-out).
"""

from typing import ClassVar

from torch import Tensor

from beyond.contracts import Batch, Signal
from beyond.kits.descent import Descent, State
from beyond.problem import Problem
from beyond.settings import settings
from beyond.streams import Stream


@settings
class LastLayer(Descent):
    """Train the last layer, leave the others as they were drawn."""

    signal: ClassVar[Signal] = Signal.GRADIENT

    def trained(self, problem: Problem) -> tuple[int, int]:
        return problem.suffix(1), problem.n_weights

    def direction(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> Tensor:
        outputs, tape = problem.forward(state["params"], batch.inputs, rng)
        return problem.backward(
            tape, problem.error(outputs, batch.targets), start=problem.suffix(1)
        )
