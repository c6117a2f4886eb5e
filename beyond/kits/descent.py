"""Rules that end in "handed to the optimizer": each says the direction, the rest is here."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from beyond.contracts import Batch, Method
from beyond.kits.optimizers import Adam, Optimizer, OptimizerState
from beyond.problem import Problem
from beyond.settings import BatchSize, settings
from beyond.streams import Stream

State = dict[str, Any]
Direction = Tensor | tuple[Tensor, Mapping[str, Any]]


@settings
class Descent(Method[State]):
    """A rule that finds a direction for each batch, and leaves the step along it to an optimizer.

    The state holds `params`, the weights (R, n); `optimizer`, the optimizer state; and what the
    rule itself remembers, see `remembered`. An entry `extras`, (R, m), holds what is learnt in
    addition to the network's weights, end to end, and is handed to the optimizer behind them.

    Parameters
    ----------
    optimizer : Optimizer
        Turns the direction into a change of the weights.
    batch_size : int, >= 1, optional
        Examples per step; None takes the whole training set. So does any larger number.

    Attributes
    ----------
    UNBIASED : bool
        Whether the direction is, on average over what the rule draws, the gradient of the loss by
        the weights that are trained, or a multiple of it: `beyond-check` compares it with finite
        differences.
    """

    UNBIASED: ClassVar[bool] = False

    optimizer: Optimizer = Adam(learning_rate=0.003)
    batch_size: BatchSize = 32

    @abstractmethod
    def direction(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> Direction:
        """Return what the optimizer descends, and the entries of the state that change.

        It is (R, m) for the weights that are trained, see `trained`, followed by the extras: a
        gradient, or whatever stands in its place.
        """

    def require(self, problem: Problem) -> None:
        """Raise `UnsupportedError` for what the rule cannot serve; by default it serves all."""

    def remembered(self, problem: Problem, params: Tensor, rng: Stream) -> Mapping[str, Any]:
        """Return the entries that the rule adds to the first state; by default none."""
        return {}

    def trained(self, problem: Problem) -> tuple[int, int]:
        """Where in the flat vector the trained weights begin and end, by default all."""
        return 0, problem.n_weights

    def init(self, problem: Problem, params: Tensor, rng: Stream) -> State:
        self.require(problem)
        remembered = self.remembered(problem, params, rng)
        first, last = self.trained(problem)
        matrices = [
            (start - first, n_rows, n_columns)
            for start, n_rows, n_columns in problem.matrices
            if first <= start < last
        ]
        learnt = _learnt(params[:, first:last], remembered)
        return {
            "params": params,
            "optimizer": self.optimizer.init(learnt, matrices),
            **remembered,
        }

    def step(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> State:
        found = self.direction(state, batch, problem, rng)
        direction, changed = (found, {}) if isinstance(found, Tensor) else found
        return self.descend({**state, **changed}, direction, problem)

    def descend(self, state: State, direction: Tensor, problem: Problem) -> State:
        """Let the optimizer step along a direction for what is trained."""
        params, (first, last) = state["params"], self.trained(problem)
        before = _learnt(params[:, first:last], state)
        learnt, optimizer = stepped(self.optimizer, direction, state["optimizer"], before, problem)
        state = {**state, "optimizer": optimizer}
        if "extras" in state:
            learnt, state["extras"] = learnt.tensor_split([last - first], 1)
        if learnt.shape != params.shape:
            learnt = torch.cat([params[:, :first], learnt, params[:, last:]], 1)
        return {**state, "params": learnt}

    def params(self, state: State) -> Tensor:
        return state["params"]

    def left_alone(self, problem: Problem) -> Sequence[str]:
        first, last = self.trained(problem)
        return [block.name for block in problem.blocks if not first <= block.start < last]


def stepped(
    optimizer: Optimizer, gradient: Tensor, memory: OptimizerState, params: Tensor, problem: Problem
) -> tuple[Tensor, OptimizerState]:
    """Let an optimizer step, and charge its products: new weights and what it remembers."""
    problem.charge(optimizer.work(memory))
    return optimizer.update(gradient, memory, params)


def _learnt(weights: Tensor, state: Mapping[str, Any]) -> Tensor:
    """Put the extras behind the trained weights."""
    return torch.cat([weights, state["extras"]], 1) if "extras" in state else weights
