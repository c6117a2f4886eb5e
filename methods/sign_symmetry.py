"""Sign-concordant feedback (Liao, Leibo & Poggio, 2016; Xiao et al., 2018; Moskovitz, Litwin-Kumar & Abbott, 2018).

The error travels back through matrices that share nothing with the forward weights but their signs.

    B_l     = M_l * sign(W_l)
    delta_l = (B_{l+1}^T delta_{l+1}) * f'(z_l)        l = L-1 .. 1
    g_l     = delta_l h_{l-1}^T                        handed to the optimizer

    magnitude  uniform (uSF):   M_l = the root mean square of the layer's initial distribution, for every weight
               batchwise (brSF): M_l = |V_l|, V_l drawn anew for each batch as the initial weights are
               fixed (frSF):     M_l = |V_l|, V_l drawn once

Departures: cross-entropy for classes; magnitudes follow the initial distribution of this network, whatever it is; no
batch normalisation and no rescaling of the gradient.
Needs: weight transport, global loss, stored activations, backward locking.
Cost: 1 forward and 1 backward pass of the batch.
Check: with M_l = |W_l| it is backpropagation, convolutions included; every carried sign follows the weights' as they
change, and magnitudes are as named (tests/methods/test_sign_symmetry.py).
Source: AAAI 2016, arXiv:1510.05067; arXiv:1811.03567; arXiv:1812.06488.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, TypedDict

import torch
from torch import Tensor

from beyond.contracts import Batch, Method, Signal
from beyond.kits.optimizers import Adam, Optimizer
from beyond.network.layers import ONE_MATRIX
from beyond.problem import Problem
from beyond.settings import PositiveInt, settings
from beyond.streams import Stream


class State(TypedDict):
    """Weights, what the optimizer remembers, and the magnitudes, laid out as the forward weights."""

    params: Tensor  # (R, n)
    optimizer: dict[str, Any]
    magnitudes: Tensor  # (R, n)


@settings
class SignSymmetry(Method[State]):
    """Carry the error back through the signs of the weights.

    Parameters
    ----------
    optimizer : Optimizer
        Turns the direction into a change of the weights.
    batch_size : int, >= 1
        Examples a step; a training set that is smaller is taken whole.
    magnitude : {"uniform", "batchwise", "fixed"}
        How large the feedback weights are.
    """

    signal: ClassVar[Signal] = Signal.ERROR

    optimizer: Optimizer = Adam(learning_rate=0.003)
    batch_size: PositiveInt = 32
    magnitude: Literal["uniform", "batchwise", "fixed"] = "uniform"

    def init(self, problem: Problem, params: Tensor, rng: Stream) -> State:
        problem.require_roles("sign_symmetry", ONE_MATRIX, "errors go back in time through its weights")
        magnitudes = problem.fresh_weights(rng).abs()
        if self.magnitude == "uniform":
            magnitudes = root_mean_squares(problem, magnitudes)
        return {"params": params, "optimizer": self.optimizer.init(params), "magnitudes": magnitudes}

    def step(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> State:
        if self.magnitude == "batchwise":
            state = {**state, "magnitudes": problem.fresh_weights(rng).abs()}
        outputs, tape = problem.forward(state["params"], batch.inputs, rng)
        error = problem.error(outputs, batch.targets)
        gradient = problem.backward(tape, error, self.transport(state, problem))
        params, optimizer = self.optimizer.update(gradient, state["optimizer"], state["params"])
        return {"params": params, "optimizer": optimizer, "magnitudes": state["magnitudes"]}

    def params(self, state: State) -> Tensor:
        return state["params"]

    def transport(self, state: State, problem: Problem) -> Mapping[int, Tensor]:
        carriers = problem.carriers(state["magnitudes"] * state["params"].sign())
        return {depth: own for depth, own in carriers.items() if depth > 1}  # nothing is carried below the first


def root_mean_squares(problem: Problem, drawn: Tensor) -> Tensor:
    """Replace drawn weights (R, n) by their root mean square over the replica's matrix."""
    uniform = torch.zeros_like(drawn)
    levels = problem.carriers(drawn)
    for depth, own in problem.carriers(uniform).items():  # views
        own.copy_(levels[depth].flatten(1).square().mean(1).sqrt().view(-1, *(1 for _ in own.shape[1:])).expand_as(own))
    return uniform
