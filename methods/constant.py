"""The same answer for every input: the most frequent class, or the mean (control arm).

Any method that learns must beat it. It counts the targets of one batch, by default the whole
training set, and is done.

    outputs = log(count_c + 1)     classes: the largest wins
    outputs = mean of targets      values, and the log-variance where distributions are predicted

Departures: none.
Needs: none of these.
Cost: nothing.
Check: scores the share of the majority class, and an R2 of 0 on its data
(tests/methods/test_constant.py).
Source: the zero rule; there is no paper.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from beyond.contracts import Batch, Method, Signal, TargetKind
from beyond.problem import Problem
from beyond.settings import PositiveInt, settings
from beyond.streams import Stream

State = dict[str, Any]
SMALLEST = 1e-12  # variance of targets that do not vary


@settings
class Constant(Method[State]):
    """Answer without looking at the input.

    Parameters
    ----------
    batch_size : int, >= 1, optional
        Examples that are counted; None takes the whole training set. So does any larger number.
    """

    signal: ClassVar[Signal] = Signal.TARGETS

    batch_size: PositiveInt | None = None

    def init(self, problem: Problem, params: Tensor, rng: Stream) -> State:
        outputs = params.new_zeros(len(params), problem.spec.n_outputs)
        # the weights are never used to predict
        return {"params": params, "outputs": outputs, "is_found": False}

    def step(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> State:
        if problem.spec.target_kind is TargetKind.CLASSES:
            counts = F.one_hot(batch.targets, problem.spec.n_outputs).sum(1)
            outputs = counts.to(state["outputs"].dtype).add(1).log()
        else:
            outputs = batch.targets.mean(1)
        if problem.spec.target_kind is TargetKind.DISTRIBUTIONS:
            variance = batch.targets.var(1, correction=0)
            outputs = torch.cat([outputs, variance.clamp(min=SMALLEST).log()], 1)
        return {**state, "outputs": outputs, "is_found": True}

    def params(self, state: State) -> Tensor:
        return state["params"]

    def left_alone(self, problem: Problem) -> Sequence[str]:
        return [block.name for block in problem.blocks]

    def predict(self, state: State, problem: Problem, batch: Batch) -> Tensor:
        return state["outputs"].unsqueeze(1).expand(-1, batch.inputs.shape[1], -1)

    def done(self, state: State) -> bool:
        return state["is_found"]
