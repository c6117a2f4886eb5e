"""Skeleton (who, when): the rule in one line.

Two or three sentences that say what the rule does and what it is told. Then each formula, in the
symbols of the source:

    delta_L = d loss / d outputs
    delta_l = (W_{l+1}^T delta_{l+1}) * f'(z_l)        l = L-1 .. 1
    g_l     = scale delta_l h_{l-1}^T                  handed to the optimizer

Departures: none. (What differs from the source, and why.)
Needs: weight transport, global loss, stored activations, backward locking.
Cost: 1 forward and 1 backward pass of the batch.
Check: beyond-check method=skeleton, which compares it with finite differences.
Source: where the rule was published.
"""

from typing import ClassVar

from torch import Tensor

from beyond.contracts import Batch, Signal
from beyond.kits.descent import Descent, State
from beyond.problem import Problem
from beyond.settings import Positive, settings
from beyond.streams import Stream


@settings
class Skeleton(Descent):
    """Follow the gradient of the loss on each batch.

    Parameters
    ----------
    scale : float, > 0
        Length of the direction, in units of the gradient's.
    """

    signal: ClassVar[Signal] = Signal.GRADIENT  # what the rule is told; see beyond.contracts
    UNBIASED: ClassVar[bool] = True  # the direction is the gradient: checked where it is True

    scale: Positive = 1.0

    def direction(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> Tensor:
        # weights are (R, n): R replicas, a flat vector each
        outputs, tape = problem.forward(state["params"], batch.inputs, rng)
        error = problem.error(outputs, batch.targets)  # (R, B, n_outputs)
        return self.scale * problem.backward(tape, error)  # (R, n)
