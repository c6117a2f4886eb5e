"""Fine-tuning: learn a related task first, then adapt (Yosinski, Clune, Bengio & Lipson, 2014).

    pre-train   w <- backpropagation on the source task, `source_epochs` passes
    transfer    the last layer goes back to its shared initial weights, unless `keep_head`
    adapt       backpropagation on the task, of the last `n_layers` layers; the others stay frozen

With the task's `shots` it is few-shot fine-tuning: every method then sees the same few examples a class.
Pre-training is charged to a column of its own.

Departures: fully connected networks and small tasks instead of ImageNet's halves.
Needs: weight transport, global loss, stored activations, backward locking, separate phases.
Cost: 1 forward and 1 backward pass of the batch, through the adapted layers only; pre-training is counted apart.
Check: with zero source epochs it equals backpropagation, step by step (tests/methods/test_fine_tuning.py).
Source: Advances in Neural Information Processing Systems 27, arXiv:1411.1792.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, TypedDict

import torch
from torch import Tensor

from beyond.contracts import Batch, Method, Signal
from beyond.errors import UnsupportedError, require
from beyond.kits.optimizers import Adam, Optimizer
from beyond.problem import Problem
from beyond.settings import NonNegativeInt, PositiveInt, settings
from beyond.streams import Stream


class State(TypedDict):
    """Weights, and what the optimizer remembers."""

    params: Tensor  # (R, n)
    optimizer: dict[str, Any]


@settings
class FineTuning(Method[State]):
    """Pre-train on the task's source, then adapt all layers, the head, or the last few.

    Parameters
    ----------
    optimizer : Optimizer
        For both phases; each starts with a fresh state.
    batch_size : int, >= 1
        Examples a step; a training set that is smaller is taken whole.
    source_epochs : int, >= 0
        Passes over the source task's training set.
    n_layers : int, >= 1, optional
        Layers to adapt, counted from the output: 1 is the head only; None adapts all.
    keep_head : bool
        Whether the last layer's pre-trained weights are kept: for a source with the same labels.
    """

    signal: ClassVar[Signal] = Signal.GRADIENT

    optimizer: Optimizer = Adam(learning_rate=0.003)
    batch_size: PositiveInt = 32
    source_epochs: NonNegativeInt = 20
    n_layers: PositiveInt | None = None
    keep_head: bool = False

    def init(self, problem: Problem, params: Tensor, rng: Stream) -> State:
        if problem.source is None:
            raise UnsupportedError(f"{problem.spec.name} has no source task to learn from first")
        n_blocks = len(problem.blocks)
        require("n_layers", f"at most {n_blocks} for this network", self.n_layers, (self.n_layers or 1) <= n_blocks)
        pretrained: State = {"params": params, "optimizer": self.optimizer.init(params)}
        for batch in problem.source.batches(self.source_epochs, self.batch_size):
            pretrained = self._descend(pretrained, batch, problem.source, rng, start=0)
        head = problem.suffix(1)
        start = pretrained["params"]
        if not self.keep_head:
            start = torch.cat([start[:, :head], params[:, head:]], 1)
        return {"params": start, "optimizer": self.optimizer.init(start[:, self._first_weight(problem) :])}

    def step(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> State:
        return self._descend(state, batch, problem, rng, self._first_weight(problem))

    def params(self, state: State) -> Tensor:
        return state["params"]

    def left_alone(self, problem: Problem) -> Sequence[str]:
        return [block.name for block in problem.blocks if block.start < self._first_weight(problem)]

    def _descend(self, state: State, batch: Batch, problem: Problem, rng: Stream, start: int) -> State:
        """One step of backpropagation on weights[start:]."""
        outputs, tape = problem.forward(state["params"], batch.inputs, rng)
        gradient = problem.backward(tape, problem.error(outputs, batch.targets), start=start)
        frozen, trained = state["params"].tensor_split([start], 1)
        trained, optimizer = self.optimizer.update(gradient, state["optimizer"], trained)
        return {"params": torch.cat([frozen, trained], 1), "optimizer": optimizer}

    def _first_weight(self, problem: Problem) -> int:
        return 0 if self.n_layers is None else problem.suffix(self.n_layers)
