"""Mono-Forward (Gong, Li & Abdulla, 2025).

Every hidden layer names the class by itself, through a learned projection of its own activities, and learns from its
own mistakes: one forward pass, and nothing is passed from one layer back to another.

    G_l = a_l M_l^T                                    goodness of each class at hidden layer l; a_l its activities
    E_l = d loss(G_l, targets) / d G_l                 cross-entropy for classes
    m_l = E_l^T a_l                                    handed to the optimizer for M_l
    g_l = (E_l M_l) * f'(z_l)  times  a_{l-1}^T        handed to the optimizer for W_l; a_{l-1} is a constant
    g_L = d loss(outputs, targets) / d W_L             the output layer, on its own input

Departures: the output layer keeps its bias and learns beside the last hidden layer's projection, where the source has
the projection alone (with it as the output layer, one hidden layer would be backpropagation); half the squared error
where the task asks for values; all layers learn at once, not one after another; M_l is drawn N(0, 1/features).
Needs: weight transport.
Cost: 1 forward pass and the weights' half of a backward pass, and three products with each M_l.
Check: each layer's gradient equals automatic differentiation of its own loss, whose gradient for every other layer is
zero (tests/methods/test_mono_forward.py).
Source: arXiv:2501.09238.
"""

from math import prod
from typing import Any, ClassVar, Literal, TypedDict

import torch
from torch import Tensor

from beyond.contracts import Batch, Method, Signal
from beyond.kits.optimizers import Adam, Optimizer
from beyond.problem import Problem
from beyond.settings import PositiveInt, settings
from beyond.streams import Stream


class State(TypedDict):
    """Weights, each hidden layer's projection, and what the optimizer remembers of both."""

    params: Tensor  # (R, n)
    projections: list[Tensor]  # of each hidden layer, (R, n_outputs, features)
    optimizer: dict[str, Any]


@settings
class MonoForward(Method[State]):
    """Train each layer by a read-out of its own.

    Parameters
    ----------
    optimizer : Optimizer
        Turns the local gradients into a change of weights and projections.
    batch_size : int, >= 1
        Examples a step; a training set that is smaller is taken whole.
    prediction : {"last", "sum"}
        The output layer's answer alone, or added to the goodness of every hidden layer (for values: their mean).
    """

    signal: ClassVar[Signal] = Signal.LOCAL

    optimizer: Optimizer = Adam(learning_rate=0.003)
    batch_size: PositiveInt = 32
    prediction: Literal["last", "sum"] = "last"

    def init(self, problem: Problem, params: Tensor, rng: Stream) -> State:
        widths = [prod(stage.output_shape) for stage in problem.stages[:-1]]
        projections = [rng.normal(problem.spec.n_outputs, width) / width**0.5 for width in widths]
        return {
            "params": params,
            "projections": projections,
            "optimizer": self.optimizer.init(_end_to_end(params, projections)),
        }

    def step(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> State:
        params, projections = state["params"], state["projections"]
        *hidden, output = problem.stages
        gradients, projection_gradients, h = [], [], batch.inputs
        for stage, projection in zip(hidden, projections, strict=True):
            h, tape = stage.forward(params, h, rng)
            a = h.flatten(2)  # (R, B, features)
            error = problem.error(problem.matmul(a, projection.mT), batch.targets)  # (R, B, n_outputs)
            projection_gradients.append(problem.matmul(error.mT, a))
            gradients.append(stage.gradient(tape, problem.matmul(error, projection).view(h.shape)))
        outputs, tape = output.forward(params, h, rng)
        gradients.append(output.gradient(tape, problem.error(outputs, batch.targets)))

        weights, optimizer = self.optimizer.update(
            _end_to_end(torch.cat(gradients, 1), projection_gradients),
            state["optimizer"],
            _end_to_end(params, projections),
        )
        params, *parts = weights.split([params.shape[1], *(one[0].numel() for one in projections)], 1)
        projections = [part.view(one.shape) for part, one in zip(parts, projections, strict=True)]
        return {"params": params, "projections": projections, "optimizer": optimizer}

    def params(self, state: State) -> Tensor:
        return state["params"]

    def predict(self, state: State, problem: Problem, inputs: Tensor, support: Batch | None = None) -> Tensor:
        if self.prediction == "last":
            return problem.outputs(state["params"], inputs)
        *hidden, output = problem.stages
        answers, h = [], inputs
        for stage, projection in zip(hidden, state["projections"], strict=True):
            h, _ = stage.forward(state["params"], h)
            answers.append(problem.matmul(h.flatten(2), projection.mT))
        answers.append(output.forward(state["params"], h)[0])
        # The mean ranks classes as the sum does, and is an answer in the right units where values are asked for.
        return torch.stack(answers).mean(0)


def _end_to_end(params: Tensor, projections: list[Tensor]) -> Tensor:
    """Weights and projections as one tensor (R, n + m), for an optimizer that treats each number by itself."""
    return torch.cat([params, *(projection.flatten(1) for projection in projections)], 1)
