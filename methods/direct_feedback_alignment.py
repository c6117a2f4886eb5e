"""Direct feedback alignment (Nokland, 2016).

The error at the outputs reaches every hidden layer at once, through a fixed random matrix of that layer's own.

    e       = d loss / d outputs
    delta_l = (B_l^T e) * f'(z_l)                      l = 1 .. L-1, B_l (outputs, units of layer l);  delta_L = e
    g_l     = delta_l h_{l-1}^T                        handed to the optimizer

Departures: cross-entropy for classes also where the source has squared error; B_l comes from the distribution that a
weight matrix from these units to the outputs would start from (times `feedback_scale`), or one from the outputs to
these units where `feedback_fan` is "out"; any optimizer.
Needs: global loss, stored activations.
Cost: 1 forward pass, the gradients' half of a backward pass, and one product of B_l and e a hidden layer.
Check: with one hidden layer it is feedback alignment; in a linear network, with the product of the
weights above as B_l, it is backpropagation (tests/methods/test_direct_feedback_alignment.py).
Source: Advances in Neural Information Processing Systems 29, arXiv:1609.01596.
"""

from math import prod
from typing import Any, ClassVar, Literal, TypedDict

import torch
from torch import Tensor

from beyond.contracts import Batch, Method, Signal
from beyond.kits.optimizers import Adam, Optimizer
from beyond.network.layers import ONE_MATRIX
from beyond.problem import Problem
from beyond.settings import Positive, PositiveInt, settings
from beyond.streams import Stream


class State(TypedDict):
    """Weights, what the optimizer remembers, and a feedback matrix for each hidden layer."""

    params: Tensor  # (R, n)
    optimizer: dict[str, Any]
    feedback: list[Tensor]  # (R, n_outputs, units) for each stage but the last; never changed


@settings
class DirectFeedbackAlignment(Method[State]):
    """Send the error from the outputs straight to every hidden layer.

    Parameters
    ----------
    optimizer : Optimizer
        Turns the direction into a change of the weights.
    batch_size : int, >= 1
        Examples a step; a training set that is smaller is taken whole.
    feedback_scale : float, > 0
        Standard deviation of the feedback weights, in units of that of the weights a read-out of the layer would have.
    feedback_fan : {"in", "out"}
        What they are scaled by: the units of the layer, as a read-out is, or the outputs, as weights that lead the same
        way as the error would be.
    """

    signal: ClassVar[Signal] = Signal.ERROR

    optimizer: Optimizer = Adam(learning_rate=0.003)
    batch_size: PositiveInt = 32
    feedback_scale: Positive = 1.0
    feedback_fan: Literal["in", "out"] = "in"

    def init(self, problem: Problem, params: Tensor, rng: Stream) -> State:
        problem.require_roles("direct_feedback_alignment", ONE_MATRIX, "errors go back in time through its weights")
        n_outputs = problem.spec.n_outputs
        sizes = [prod(stage.output_shape) for stage in problem.stages[:-1]]
        fans = [(units, n_outputs) if self.feedback_fan == "in" else (n_outputs, units) for units in sizes]
        feedback = [
            self.feedback_scale * problem.fresh_matrices(rng, (n_outputs, units), own)
            for units, own in zip(sizes, fans, strict=True)
        ]
        return {"params": params, "optimizer": self.optimizer.init(params), "feedback": feedback}

    def step(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> State:
        h, tapes = batch.inputs, []
        for stage in problem.stages:
            h, tape = stage.forward(state["params"], h, rng)
            tapes.append(tape)
        error = problem.error(h, batch.targets)  # (R, B, n_outputs)
        errors = [problem.matmul(error, matrix) for matrix in state["feedback"]]  # (R, B, units)
        gradient = torch.cat(
            [
                stage.gradient(tape, own.unflatten(2, stage.output_shape))
                for stage, tape, own in zip(problem.stages, tapes, [*errors, error], strict=True)
            ],
            1,
        )
        params, optimizer = self.optimizer.update(gradient, state["optimizer"], state["params"])
        return {"params": params, "optimizer": optimizer, "feedback": state["feedback"]}

    def params(self, state: State) -> Tensor:
        return state["params"]
