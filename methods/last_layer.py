"""Backpropagation on the last layer alone: a read-out of frozen random features (control arm).

What a method must beat to claim that its hidden layers learn anything.

    g_L = delta_L h_{L-1}^T        handed to the optimizer; g_l = 0 for l < L

Departures: none.
Needs: stored activations.
Cost: 1 forward pass and the last layer of a backward pass.
Check: equals softmax regression on the frozen features (tests/methods/test_last_layer.py).
Source: Rahimi & Recht, 2008, Advances in Neural Information Processing Systems 21 (random features with a trained
read-out).
"""

from collections.abc import Sequence
from typing import Any, ClassVar, TypedDict

import torch
from torch import Tensor

from beyond.contracts import Batch, Method, Signal
from beyond.optimizers import Adam, Optimizer
from beyond.problem import Problem
from beyond.settings import PositiveInt, settings
from beyond.streams import Stream


class State(TypedDict):
    """Weights, and what the optimizer remembers."""

    params: Tensor  # (R, n)
    optimizer: dict[str, Any]


@settings
class LastLayer(Method[State]):
    """Train the last layer, leave the others as they were drawn.

    Parameters
    ----------
    optimizer : Optimizer
        Turns the gradient into a change of the last layer's weights.
    batch_size : int, >= 1
        Examples a step; a training set that is smaller is taken whole.
    """

    signal: ClassVar[Signal] = Signal.GRADIENT

    optimizer: Optimizer = Adam(learning_rate=0.003)
    batch_size: PositiveInt = 32

    def init(self, problem: Problem, params: Tensor, rng: Stream) -> State:
        return {"params": params, "optimizer": self.optimizer.init(params[:, problem.suffix(1) :])}

    def step(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> State:
        frozen, trained = state["params"].tensor_split([problem.suffix(1)], 1)
        outputs, tape = problem.forward(state["params"], batch.inputs, rng)
        gradient = problem.backward(tape, problem.error(outputs, batch.targets), start=frozen.shape[1])
        trained, optimizer = self.optimizer.update(gradient, state["optimizer"], trained)
        return {"params": torch.cat([frozen, trained], 1), "optimizer": optimizer}

    def params(self, state: State) -> Tensor:
        return state["params"]

    def left_alone(self, problem: Problem) -> Sequence[str]:
        return [block.name for block in problem.blocks[:-1]]
