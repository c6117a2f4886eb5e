"""Sign-concordant feedback (Liao, Leibo & Poggio, 2016; Xiao et al., 2018; Moskovitz, Litwin-Kumar
& Abbott, 2018).

The error travels back through matrices that share nothing with the forward weights but their signs.

    B_l     = M_l * sign(W_l)
    delta_l = (B_{l+1}^T delta_{l+1}) * f'(z_l)        l = L-1 .. 1
    g_l     = delta_l h_{l-1}^T                        handed to the optimizer

    magnitude  uniform (uSF):    M_l = the root mean square of the layer's initial distribution
               batchwise (brSF): M_l = |V_l|, V_l drawn anew for each batch as initial weights are
               fixed (frSF):     M_l = |V_l|, V_l drawn once

Departures: cross-entropy for classes; magnitudes follow the initial distribution of this network,
whatever it is; batch normalisation where the network has it, and no rescaling of the gradient; in
recurrent layers, of which the sources have none, the error goes back in time through such a matrix
as well.
Needs: weight transport, global loss, stored activations, backward locking.
Cost: 1 forward and 1 backward pass of the batch.
Check: with M_l = |W_l| it is backpropagation, convolutions and recurrence included; every carried
sign follows the weights' as they change, and magnitudes are as named
(tests/methods/test_sign_symmetry.py).
Source: AAAI 2016, arXiv:1510.05067; arXiv:1811.03567; arXiv:1812.06488.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor

from beyond.contracts import Batch, Signal
from beyond.kits.descent import Descent, Direction, State
from beyond.kits.passes import stretch
from beyond.network.layers import REPLACEABLE
from beyond.problem import Problem
from beyond.search import Choice
from beyond.settings import settings
from beyond.streams import Stream


@settings
class SignSymmetry(Descent):
    """Carry the error back through the signs of the weights.

    Parameters
    ----------
    magnitude : {"uniform", "batchwise", "fixed"}
        How large the feedback weights are.
    """

    signal: ClassVar[Signal] = Signal.ERROR

    magnitude: Annotated[Literal["uniform", "batchwise", "fixed"], Choice()] = "uniform"

    def require(self, problem: Problem) -> None:
        problem.require_roles(
            "sign_symmetry", REPLACEABLE, "errors go back by what is no matrix of weights"
        )

    def remembered(self, problem: Problem, params: Tensor, rng: Stream) -> Mapping[str, Any]:
        magnitudes = problem.fresh_weights(rng).abs()
        if self.magnitude == "uniform":
            magnitudes = root_mean_squares(problem, magnitudes)
        return {"magnitudes": magnitudes}  # M, (R, n), laid out as the weights

    def direction(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> Direction:
        changed = {}
        if self.magnitude == "batchwise":
            changed = {"magnitudes": problem.fresh_weights(rng).abs()}
        outputs, tape = problem.forward(state["params"], batch.inputs, rng)
        feedback = _feedback({**state, **changed})
        error = problem.error(outputs, batch.targets)
        carriers, loops = problem.carriers(feedback), problem.loops(feedback)
        return problem.backward(tape, error, carriers, loops=loops), changed

    def carriers(self, state: State, problem: Problem) -> Mapping[int, Tensor]:
        return problem.carriers(_feedback(state))


def _feedback(state: State) -> Tensor:
    """B, (R, n), laid out as the weights."""
    return state["magnitudes"] * state["params"].sign()


def root_mean_squares(problem: Problem, drawn: Tensor) -> Tensor:
    """Replace drawn weights (R, n) by their root mean square over the replica's matrix."""
    uniform = torch.zeros_like(drawn)
    for views in (problem.carriers, problem.loops):
        levels = views(drawn)
        for depth, carrier in views(uniform).items():
            carrier.copy_(stretch(levels[depth].flatten(1).square().mean(1).sqrt(), carrier))
    return uniform
