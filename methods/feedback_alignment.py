"""Feedback alignment (Lillicrap, Cownden, Tweed & Akerman, 2016).

The error travels back through fixed random matrices B_l instead of the transposed forward weights, which come to align
with them.

    delta_L = d loss / d outputs
    delta_l = (B_{l+1}^T delta_{l+1}) * f'(z_l)        l = L-1 .. 1
    g_l     = delta_l h_{l-1}^T                        handed to the optimizer

Departures: cross-entropy for classes instead of squared error; B_l comes from the distribution of the initial weights
(times `feedback_scale`, and scaled by the units that it is fed with where `feedback_fan` is "out"); any optimizer
instead of a plain step.
Needs: global loss, stored activations, backward locking.
Cost: 1 forward and 1 backward pass of the batch.
Check: with B_l = W_l it is backpropagation, convolutions included; in a linear 30-20-10 network the angle between the
hidden layer's update and the gradient falls from about 90 to below 45 degrees
(tests/methods/test_feedback_alignment.py).
Source: Nature Communications 7, 13276, doi:10.1038/ncomms13276.
"""

from collections.abc import Mapping
from math import sqrt
from typing import Any, ClassVar, Literal, TypedDict

from torch import Tensor

from beyond.contracts import Batch, Method, Signal
from beyond.layers import ONE_MATRIX
from beyond.optimizers import Adam, Optimizer
from beyond.problem import Problem
from beyond.settings import Positive, PositiveInt, settings
from beyond.streams import Stream


class State(TypedDict):
    """Weights, what the optimizer remembers, and the feedback weights, laid out as the forward ones."""

    params: Tensor  # (R, n)
    optimizer: dict[str, Any]
    feedback: Tensor  # (R, n); never changed


@settings
class FeedbackAlignment(Method[State]):
    """Carry the error back through fixed random weights.

    Parameters
    ----------
    optimizer : Optimizer
        Turns the direction into a change of the weights.
    batch_size : int, >= 1
        Examples a step; a training set that is smaller is taken whole.
    feedback_scale : float, > 0
        Standard deviation of the feedback weights, in units of that of the initial weights.
    feedback_fan : {"in", "out"}
        What the feedback weights of a layer are scaled by: its inputs, as its weights are, or its outputs, as weights
        that lead the same way as the error would be.
    """

    signal: ClassVar[Signal] = Signal.ERROR

    optimizer: Optimizer = Adam(learning_rate=0.003)
    batch_size: PositiveInt = 32
    feedback_scale: Positive = 1.0
    feedback_fan: Literal["in", "out"] = "in"

    def init(self, problem: Problem, params: Tensor, rng: Stream) -> State:
        problem.require_roles("feedback_alignment", ONE_MATRIX, "errors go back in time through its weights")
        feedback = self.feedback_scale * problem.fresh_weights(rng)
        if self.feedback_fan == "out":
            fans = {block.depth: block.fans for block in problem.blocks}
            for depth, carrier in problem.carriers(feedback).items():  # views
                fan_in, fan_out = fans[depth]
                carrier *= sqrt(fan_in / fan_out)
        return {"params": params, "optimizer": self.optimizer.init(params), "feedback": feedback}

    def step(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> State:
        outputs, tape = problem.forward(state["params"], batch.inputs, rng)
        error = problem.error(outputs, batch.targets)
        gradient = problem.backward(tape, error, self.transport(state, problem))
        params, optimizer = self.optimizer.update(gradient, state["optimizer"], state["params"])
        return {"params": params, "optimizer": optimizer, "feedback": state["feedback"]}

    def params(self, state: State) -> Tensor:
        return state["params"]

    def transport(self, state: State, problem: Problem) -> Mapping[int, Tensor]:
        carriers = problem.carriers(state["feedback"])
        return {depth: own for depth, own in carriers.items() if depth > 1}  # nothing is carried below the first
