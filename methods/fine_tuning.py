"""Fine-tuning: learn a related task first, then adapt (Yosinski, Clune, Bengio & Lipson, 2014).

    pre-train   w <- backpropagation on the source task, `source_epochs` passes
    transfer    the last layer goes back to its shared initial weights, unless `keep_head`
    adapt       backpropagation on the task, of the last `n_layers` layers; the others stay frozen

With the task's `shots` it is few-shot fine-tuning: every method then sees the same few examples per
class. Pre-training is charged to a column of its own.

Departures: fully connected networks and small tasks instead of ImageNet's halves.
Needs: weight transport, global loss, stored activations, backward locking, separate phases.
Cost: 1 forward and 1 backward pass of the batch, through the adapted layers only; pre-training is
counted apart.
Check: with zero source epochs it equals backpropagation, step by step
(tests/methods/test_fine_tuning.py).
Source: Advances in Neural Information Processing Systems 27, arXiv:1411.1792.
"""

from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from beyond.contracts import Batch, Signal
from beyond.errors import UnsupportedError, require
from beyond.kits.descent import Descent, State
from beyond.problem import Problem
from beyond.settings import NonNegativeInt, PositiveInt, settings
from beyond.streams import Stream


@settings
class FineTuning(Descent):
    """Pre-train on the task's source, then adapt all layers, the head, or the last few.

    Parameters
    ----------
    optimizer : Optimizer
        For both phases; each starts with a fresh state.
    source_epochs : int, >= 0
        Passes over the source task's training set.
    n_layers : int, >= 1, optional
        Layers to adapt, counted from the output: 1 is the head only; None adapts all.
    keep_head : bool
        Whether the last layer's pre-trained weights are kept: for a source with the same labels.
    """

    signal: ClassVar[Signal] = Signal.GRADIENT

    source_epochs: NonNegativeInt = 20
    n_layers: PositiveInt | None = None
    keep_head: bool = False

    def init(self, problem: Problem, params: Tensor, rng: Stream) -> State:
        if problem.source is None:
            raise UnsupportedError(f"{problem.spec.name} has no source task to learn from first")
        n_blocks = len(problem.blocks)
        require(
            "n_layers",
            f"at most {n_blocks} for this network",
            self.n_layers,
            (self.n_layers or 1) <= n_blocks,
        )
        every = replace(self, n_layers=None)
        state = Descent.init(every, problem, params, rng)
        for batch in problem.source.batches(self.source_epochs, self.batch_size):
            state = every.step(state, batch, problem.source, rng)
        learnt, head = state["params"], problem.suffix(1)
        start = learnt if self.keep_head else torch.cat([learnt[:, :head], params[:, head:]], 1)
        return super().init(problem, start, rng)

    def trained(self, problem: Problem) -> tuple[int, int]:
        start = 0 if self.n_layers is None else problem.suffix(self.n_layers)
        return start, problem.n_weights

    def direction(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> Tensor:
        outputs, tape = problem.forward(state["params"], batch.inputs, rng)
        start, _ = self.trained(problem)
        return problem.backward(tape, problem.error(outputs, batch.targets), start=start)
