"""Direct feedback alignment (Nokland, 2016).

The error at the outputs reaches every hidden layer at once, through a fixed random matrix for each.

    e       = d loss / d outputs
    delta_l = (B_l^T e) * f'(z_l)        l = 1 .. L-1, B_l (outputs, units of layer l);  delta_L = e
    g_l     = delta_l h_{l-1}^T          handed to the optimizer

Departures: cross-entropy for classes also where the source has squared error; B_l comes from the
distribution that a weight matrix from these units to the outputs would start from (times
`feedback_scale`), or one from the outputs to these units where `feedback_fan` is "out"; a layer
made of layers has its error at its end, and the chain rule within (Launay et al., 2020, call it
macro); in recurrent layers, as in Murray (2019), the error reaches what is read of the states, and
none goes back in time through weights: what gates and cells keep of a unit alone carries it; any
optimizer.
Needs: global loss, stored activations.
Cost: 1 forward pass, the gradients' half of a backward pass, and one product of B_l and e per
hidden layer.
Check: with one hidden layer it is feedback alignment; in a linear network, with the product of the
weights above as B_l, it is backpropagation (tests/methods/test_direct_feedback_alignment.py).
Source: Advances in Neural Information Processing Systems 29, arXiv:1609.01596; in time, Murray,
eLife 8:e43299, doi:10.7554/eLife.43299.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from torch import Tensor

from beyond.contracts import Batch, Signal
from beyond.kits.descent import Descent, State
from beyond.kits.passes import forward, gradients, widths
from beyond.network.layers import REPLACEABLE
from beyond.problem import Problem
from beyond.replicas import each
from beyond.search import Choice, LogUniform
from beyond.settings import OneOrEach, Positive, settings
from beyond.streams import Stream


@settings
class DirectFeedbackAlignment(Descent):
    """Send the error from the outputs straight to every hidden layer.

    Parameters
    ----------
    feedback_scale : float, > 0
        Standard deviation of the feedback weights, in units of that of the weights a read-out of
        the layer would have.
    feedback_fan : {"in", "out"}
        What they are scaled by: the units of the layer, as a read-out is, or the outputs, as
        weights that lead the same way as the error would be.
    """

    signal: ClassVar[Signal] = Signal.ERROR

    feedback_scale: Annotated[OneOrEach[Positive], LogUniform(0.1, 10.0)] = 1.0
    feedback_fan: Annotated[Literal["in", "out"], Choice()] = "in"

    def require(self, problem: Problem) -> None:
        problem.require_roles(
            "direct_feedback_alignment",
            REPLACEABLE,
            "errors go back by what is no matrix of weights",
        )

    def remembered(self, problem: Problem, params: Tensor, rng: Stream) -> Mapping[str, Any]:
        feedback, n_outputs = [], problem.spec.n_outputs
        for units in widths(problem.stages[:-1]):
            fans = (units, n_outputs) if self.feedback_fan == "in" else (n_outputs, units)
            matrices = problem.fresh_matrices(rng, (n_outputs, units), fans)
            feedback.append(each(self.feedback_scale, matrices) * matrices)
        return {"feedback": feedback}  # B_l, (R, n_outputs, units); never changed

    def direction(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> Tensor:
        stages = problem.stages
        (_, *hidden, outputs), tapes = forward(stages, state["params"], batch.inputs, rng)
        error = problem.error(outputs, batch.targets)  # (R, B, n_outputs)
        errors = [
            problem.matmul(error, matrix).view(h.shape)
            for matrix, h in zip(state["feedback"], hidden, strict=True)
        ]
        return gradients(stages, tapes, [*errors, error], in_time=False)
