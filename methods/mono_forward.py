"""Mono-Forward (Gong, Li & Abdulla, 2025).

Every hidden layer names the class by itself, through a learned projection of its activities,
and learns from its mistakes: one forward pass, and nothing is passed from one layer back to
another.

    G_l = a_l M_l^T                              goodness of classes at layer l with activities a_l
    E_l = d loss(G_l, targets) / d G_l           cross-entropy for classes
    m_l = E_l^T a_l                              handed to the optimizer for M_l
    g_l = (E_l M_l) * f'(z_l)  times  a_{l-1}^T  handed to the optimizer for W_l; a_{l-1} constant
    g_L = d loss(outputs, targets) / d W_L       the output layer, on its input

Departures: the output layer keeps its bias and learns beside the last hidden layer's projection,
where the source has the projection alone (with it as the output layer, one hidden layer would be
backpropagation); half the squared error where the task asks for values; all layers learn at once,
not one after another; M_l is drawn N(0, 1/features).
Needs: weight transport.
Cost: 1 forward pass and the weights' half of a backward pass, and three products with each M_l.
Check: each layer's gradient equals automatic differentiation of its loss, whose gradient for
every other layer is zero (tests/methods/test_mono_forward.py).
Source: arXiv:2501.09238.
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from beyond.contracts import Batch, Signal
from beyond.kits.descent import Descent, State
from beyond.kits.passes import apart, end_to_end, forward, gradients, widths
from beyond.problem import Problem
from beyond.search import Choice
from beyond.settings import settings
from beyond.streams import Stream


@settings
class MonoForward(Descent):
    """Train each layer by a separate read-out.

    Parameters
    ----------
    prediction : {"last", "sum"}
        The output layer's answer alone, or added to the goodness of every hidden layer (for values:
        their mean).
    """

    signal: ClassVar[Signal] = Signal.TARGETS
    PREDICTION: ClassVar[tuple[str, ...]] = ("prediction",)

    prediction: Annotated[Literal["last", "sum"], Choice()] = "last"

    def remembered(self, problem: Problem, params: Tensor, rng: Stream) -> Mapping[str, Tensor]:
        n_outputs = problem.spec.n_outputs
        drawn = [rng.normal(n_outputs, width) / width**0.5 for width in widths(problem.stages[:-1])]
        return {"extras": end_to_end([params[:, :0], *drawn])}  # M_l

    def projections(self, state: State, problem: Problem) -> list[Tensor]:
        """Each hidden layer's M_l, (R, n_outputs, features)."""
        shapes = [(problem.spec.n_outputs, width) for width in widths(problem.stages[:-1])]
        return apart(state["extras"], shapes)

    def direction(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> Tensor:
        (_, *hidden, outputs), tapes = forward(problem.stages, state["params"], batch.inputs, rng)
        errors, projection_gradients = [], []
        for h, projection in zip(hidden, self.projections(state, problem), strict=True):
            a = h.flatten(2)  # (R, B, features)
            # (R, B, n_outputs)
            error = problem.error(problem.matmul(a, projection.mT), batch.targets)
            projection_gradients.append(problem.matmul(error.mT, a))
            errors.append(problem.matmul(error, projection).view(h.shape))
        errors.append(problem.error(outputs, batch.targets))
        return end_to_end([gradients(problem.stages, tapes, errors), *projection_gradients])

    def predict(self, state: State, problem: Problem, batch: Batch) -> Tensor:
        if self.prediction == "last":
            return problem.outputs(state["params"], batch.inputs)
        (_, *hidden, outputs), _ = forward(problem.stages, state["params"], batch.inputs)
        projections = self.projections(state, problem)
        answers = [
            problem.matmul(h.flatten(2), projection.mT)
            for h, projection in zip(hidden, projections, strict=True)
        ]
        # The mean ranks classes as the sum does, and is an answer in the right units where values
        # are asked for.
        return torch.stack([*answers, outputs]).mean(0)
