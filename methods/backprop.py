"""Backpropagation (Rumelhart, Hinton & Williams, 1986).

The error at the outputs travels back through the transposed weights, layer by layer.

    delta_L = d loss / d outputs
    delta_l = (W_{l+1}^T delta_{l+1}) * f'(z_l)        l = L-1 .. 1
    g_l     = delta_l h_{l-1}^T                        handed to the optimizer

Departures: cross-entropy for classes instead of squared error; any optimizer instead of momentum.
Needs: weight transport, global loss, stored activations, backward locking.
Cost: 1 forward and 1 backward pass of the batch.
Check: the chain rule equals automatic differentiation (tests/methods/test_backprop.py).
Source: Nature 323, 533-536, doi:10.1038/323533a0.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, TypedDict

from torch import Tensor

from beyond.contracts import Batch, Method, Signal
from beyond.errors import require, require_one_of
from beyond.optimizers import Optimizer
from beyond.problem import Problem
from beyond.streams import Stream


class State(TypedDict):
    """Weights, and what the optimizer remembers."""

    params: Tensor  # (R, n)
    optimizer: dict[str, Any]


@dataclass(frozen=True)
class Backprop(Method[State]):
    """Follow the exact gradient of the loss on each batch.

    Parameters
    ----------
    optimizer : Optimizer
        Turns the gradient into a change of the weights.
    batch_size : int, >= 1
        Examples a step; a training set that is smaller is taken whole.
    engine : {"chain_rule", "autograd"}
        Who computes the gradient: the layers' own backward passes, or torch. The result is the same.
    """

    signal: ClassVar[Signal] = Signal.GRADIENT

    optimizer: Optimizer
    batch_size: int = 32
    engine: str = "chain_rule"

    def __post_init__(self) -> None:
        require("batch_size", ">= 1", self.batch_size, self.batch_size >= 1)
        require_one_of("engine", ("chain_rule", "autograd"), self.engine)

    def init(self, problem: Problem, params: Tensor, rng: Stream) -> State:
        return {"params": params, "optimizer": self.optimizer.init(params)}

    def step(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> State:
        if self.engine == "autograd":
            gradient = problem.gradient(state["params"], batch, rng)
        else:
            outputs, tape = problem.forward(state["params"], batch.inputs, rng)
            gradient = problem.backward(tape, problem.error(outputs, batch.targets))
        params, optimizer = self.optimizer.update(gradient, state["optimizer"], state["params"])
        return {"params": params, "optimizer": optimizer}

    def params(self, state: State) -> Tensor:
        return state["params"]
