"""Feedback alignment (Lillicrap, Cownden, Tweed & Akerman, 2016).

The error travels back through fixed random matrices B_l instead of the transposed forward weights,
which come to align with them.

    delta_L = d loss / d outputs
    delta_l = (B_{l+1}^T delta_{l+1}) * f'(z_l)        l = L-1 .. 1
    g_l     = delta_l h_{l-1}^T                        handed to the optimizer

Departures: cross-entropy for classes instead of squared error; B_l comes from the distribution of
the initial weights (times `feedback_scale`, and scaled by the units that it is fed with where
`feedback_fan` is "out"); any optimizer instead of a plain step; recurrent layers, of which the
source has none: the error goes back in time through a fixed random matrix as well.
Needs: global loss, stored activations, backward locking.
Cost: 1 forward and 1 backward pass of the batch.
Check: with B_l = W_l it is backpropagation, convolutions and recurrence included; in a linear
30-20-10 network the angle between the hidden layer's update and the gradient falls from about 90 to
below 45 degrees (tests/methods/test_feedback_alignment.py).
Source: Nature Communications 7, 13276, doi:10.1038/ncomms13276.
"""

from collections.abc import Mapping
from math import sqrt
from typing import Annotated, ClassVar, Literal

from torch import Tensor

from beyond.contracts import Batch, Signal
from beyond.kits.descent import Descent, State
from beyond.network.layers import REPLACEABLE
from beyond.problem import Problem
from beyond.replicas import each
from beyond.search import Choice, LogUniform
from beyond.settings import OneOrEach, Positive, settings
from beyond.streams import Stream


@settings
class FeedbackAlignment(Descent):
    """Carry the error back through fixed random weights.

    Parameters
    ----------
    feedback_scale : float, > 0
        Standard deviation of the feedback weights, in units of that of the initial weights.
    feedback_fan : {"in", "out"}
        What the feedback weights of a layer are scaled by: its inputs, as its weights are, or its
        outputs, as weights that lead the same way as the error would be.
    """

    signal: ClassVar[Signal] = Signal.ERROR

    feedback_scale: Annotated[OneOrEach[Positive], LogUniform(0.1, 10.0)] = 1.0
    feedback_fan: Annotated[Literal["in", "out"], Choice()] = "in"

    def require(self, problem: Problem) -> None:
        problem.require_roles(
            "feedback_alignment", REPLACEABLE, "errors go back by what is no matrix of weights"
        )

    def remembered(self, problem: Problem, params: Tensor, rng: Stream) -> Mapping[str, Tensor]:
        feedback = problem.fresh_weights(rng)
        feedback = each(self.feedback_scale, feedback) * feedback
        if self.feedback_fan == "out":
            fans = {block.depth: block.fans for block in problem.blocks}
            for depth, carrier in problem.carriers(feedback).items():  # views
                fan_in, fan_out = fans[depth]
                carrier *= sqrt(fan_in / fan_out)
        return {"feedback": feedback}  # (R, n), laid out as the weights; never changed

    def direction(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> Tensor:
        outputs, tape = problem.forward(state["params"], batch.inputs, rng)
        return problem.backward(
            tape,
            problem.error(outputs, batch.targets),
            self.carriers(state, problem),
            loops=problem.loops(state["feedback"]),
        )

    def carriers(self, state: State, problem: Problem) -> Mapping[int, Tensor]:
        return problem.carriers(state["feedback"])
