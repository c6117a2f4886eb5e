"""Predictive coding (Whittington & Bogacz, 2017), and with fixed predictions (Millidge, Tschantz &
Buckley, 2020).

Every stage of the network predicts the activity of the next. With the target clamped on top, the
hidden activities move to where they fit the prediction from below and predict well what is above;
then each stage learns from its prediction error. For each example, with v_0 the input and v_l
the value of stage l = 1 .. L-1, at first as predicted:

    mu_l  = stage_l(v_{l-1})
    eps_l = v_l - mu_l                                          l < L
    eps_L = - d loss / d mu_L                                   target - mu_L for squared error
    v_l  <- v_l - inference_rate (eps_l - J_{l+1}^T eps_{l+1})  n_inference times; J_l: Jacobian
    g_l   = - (d mu_l / d theta_l)^T eps_l                      batch mean, handed to the optimizer

The first rule descends F = sum_l |eps_l|^2 / 2 + loss in the values, the last one in the weights.
Free predictions compute mu and J anew after every move; fixed ones hold them as they were in the
forward pass, and the values settle where g is the gradient of backpropagation: with
inference_rate 1 after L-1 moves.

Departures: a value is what its stage hands on (behind the activation), as in Millidge et al.; unit
variances; values start at the forward pass; any loss on top (there likewise); any optimizer instead
of a plain step.
Needs: weight transport, global loss, separate phases.
Cost: 1 forward pass, the gradients' half of 1 backward pass, and for each move a carry through
stages 2 .. L, with free predictions a forward pass through them as well. Fixed ones store
the activations of the forward pass.
Check: with fixed predictions the converged update equals backpropagation's; free, the equilibrium
of a linear network equals its closed form (tests/methods/test_predictive_coding.py).
Source: Neural Computation 29, 1229-1262, doi:10.1162/NECO_a_00949; arXiv:2006.04182; convergence in
L-1 moves: Song, Lukasiewicz, Xu & Bogacz, NeurIPS 2020.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from torch import Tensor

from beyond.contracts import Batch, Signal
from beyond.kits.descent import Descent, State
from beyond.kits.passes import forward, gradients
from beyond.network.layers import Role
from beyond.problem import Problem
from beyond.replicas import each
from beyond.search import Choice, LogUniform
from beyond.settings import OneOrEach, PositiveInt, UpToOne, settings
from beyond.streams import Stream


@settings
class PredictiveCoding(Descent):
    """Let the activities settle, then reduce what is left of each prediction error.

    Parameters
    ----------
    predictions : {"free", "fixed"}
        Whether they follow the values, or stay those of the forward pass.
    n_inference : int, >= 1
        Moves of the values before the weights change. Each takes the errors one stage further down:
        stages that are not reached learn nothing.
    inference_rate : float in (0, 1]
        Size of a move.
    """

    signal: ClassVar[Signal] = Signal.TARGETS

    predictions: Annotated[Literal["free", "fixed"], Choice()] = "free"
    n_inference: Annotated[PositiveInt, Choice(2, 4, 8, 16, 32)] = 4
    inference_rate: Annotated[OneOrEach[UpToOne], LogUniform(0.01, 1.0)] = 0.1

    def require(self, problem: Problem) -> None:
        anew = {Role.NOISE, Role.BATCH} if self.predictions == "free" else set[Role]()
        problem.require_roles(
            "predictive_coding",
            set(Role) - anew,
            "predictions that follow the values cannot draw, or take a batch's mean, at each move",
        )

    def left_alone(self, problem: Problem) -> Sequence[str]:
        stages = problem.stages
        return problem.names_of(stages[: max(0, len(stages) - 1 - self.n_inference)])

    def direction(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> Tensor:
        stages, params = problem.stages, state["params"]
        n_examples = batch.inputs.shape[1]
        (_, *predictions), tapes = forward(stages, params, batch.inputs, rng)  # mu_l, (R, B, ...)
        values = predictions[:-1]

        def surprise() -> list[Tensor]:
            """Return eps_l; on top that of each example's loss, whose mean is the batch's."""
            top = -problem.error(predictions[-1], batch.targets) * n_examples
            return [*(value - mu for value, mu in zip(values, predictions, strict=False)), top]

        errors = surprise()
        for _ in range(self.n_inference):
            # J_{l+1}^T eps_{l+1}
            carried = [stages[i].carry(tapes[i], errors[i]) for i in range(1, len(stages))]
            moving = zip(values, errors, carried, strict=False)
            values = [
                value - each(self.inference_rate, value) * (error - pull)
                for value, error, pull in moving
            ]
            if self.predictions == "free":
                for i, value in enumerate(values, start=1):  # the first stage's input is clamped
                    predictions[i], tapes[i] = stages[i].forward(params, value)
            errors = surprise()
        return gradients(stages, tapes, [-eps / n_examples for eps in errors])
