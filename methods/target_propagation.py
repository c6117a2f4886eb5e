"""Difference target propagation (Lee, Zhang, Fischer & Bengio, 2015).

Every layer is told what it should have said instead of how the loss changes with it. Targets travel down through
learned approximate inverses g_l of the stages, corrected by what the inverse gets wrong without a target. For each
example, with h_l = stage_l(h_{l-1}) and h_0 the input,

    t_L     = h_L - target_rate d loss / d h_L
    t_{l-1} = h_{l-1} + g_l(t_l) - g_l(h_l)                    l = L .. 2
    g_l(h)  = f(V_l h + c_l)                                   f the activation of stage l-1
    theta_l : gradient of |stage_l(h_{l-1}) - t_l|^2 / 2       t_l and h_{l-1} held;  theta_L: of the loss itself
    V_l, c_l: gradient of |g_l(stage_l(n)) - n|^2 / 2          n = h_{l-1} + noise_std N(0, I), stage_l held

Means over the batch are handed to the optimizer, for stages and inverses alike.

Departures: the first target is set at the outputs and goes through an inverse too, where the source takes a gradient
step at the last hidden layer (there W_L^T is needed); the noise has one strength in all layers; any optimizer.
Needs: global loss, stored activations, separate phases, backward locking.
Cost: 1 forward pass, the gradients' half of 1 backward pass, and for stages 2 .. L one more forward pass, three
passes through the inverse (as many operations each, for fully connected layers) and the gradient of the inverse.
Check: with exact inverses of linear layers the targets are those of Gauss and Newton; both local gradients equal
automatic differentiation (tests/methods/test_target_propagation.py).
Source: ECML PKDD 2015, arXiv:1412.7525.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, ClassVar, TypedDict

import torch
from torch import Tensor

from beyond.contracts import Batch, Method, Signal
from beyond.kits.optimizers import Adam, Optimizer
from beyond.network.initialisations import INITIALISATIONS
from beyond.network.layered import LayeredNetwork
from beyond.network.layers import SUMS, WEIGHTLESS, Linear, Role
from beyond.network.segments import Segment
from beyond.problem import Problem
from beyond.settings import NonNegative, Positive, PositiveInt, settings
from beyond.streams import Stream


class State(TypedDict):
    """Weights of the network and of the inverses, and what the optimizer remembers of each."""

    params: Tensor  # (R, n)
    optimizer: dict[str, Any]
    inverses: Tensor  # (R, m), V_l and c_l end to end, l = 2 .. L
    inverse_optimizer: dict[str, Any]


@settings
class TargetPropagation(Method[State]):
    """Give each stage a target through learned inverses.

    Parameters
    ----------
    optimizer : Optimizer
        Turns gradients into changes of the weights, and likewise of the inverses.
    batch_size : int, >= 1
        Examples a step; a training set that is smaller is taken whole.
    target_rate : float, > 0
        How far the outputs' target lies down the loss.
    noise_std : float, >= 0
        Standard deviation of the noise that the inverses see around the activities.
    """

    signal: ClassVar[Signal] = Signal.LOCAL

    optimizer: Optimizer = Adam(learning_rate=0.003)
    batch_size: PositiveInt = 32
    target_rate: Positive = 0.1
    noise_std: NonNegative = 0.3

    def init(self, problem: Problem, params: Tensor, rng: Stream) -> State:
        lack = "an inverse needs the activation behind it"
        problem.require_roles("target_propagation", SUMS | WEIGHTLESS | {Role.NORMALISATION}, lack)
        drawn = [network.init(rng).to(params.dtype) for network in inverse_networks(problem)]
        inverses = torch.cat([params[:, :0], *drawn], 1)
        return {
            "params": params,
            "optimizer": self.optimizer.init(params),
            "inverses": inverses,
            "inverse_optimizer": self.optimizer.init(inverses),
        }

    def step(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> State:
        params, inverses = state["params"], state["inverses"]
        stages, backs = problem.stages, inverse_segments(problem)
        n_examples = batch.inputs.shape[1]
        activities, tapes = [batch.inputs], []
        for stage in stages:
            activity, tape = stage.forward(params, activities[-1], rng)
            activities.append(activity)  # h_l, (R, B, ...)
            tapes.append(tape)

        error = problem.error(activities[-1], batch.targets)
        target = activities[-1] - self.target_rate * n_examples * error
        gradients = [stages[-1].gradient(tapes[-1], error)]
        inverse_gradients: list[Tensor] = [inverses[:, :0]]
        for i in range(len(stages) - 1, 0, -1):  # stages[i] takes `below` to `above`, its inverse the way back
            above, below, back = activities[i + 1], activities[i], backs[i - 1]
            corrupted = below + self.noise_std * rng.normal(*below.shape[1:])
            code, _ = stages[i].forward(params, corrupted)
            reconstruction, tape = back.forward(inverses, code.flatten(2))
            inverse_gradients.insert(1, back.gradient(tape, (reconstruction - corrupted.flatten(2)) / n_examples))

            wanted, _ = back.forward(inverses, target.flatten(2))
            found, _ = back.forward(inverses, above.flatten(2))
            target = below + (wanted - found).view(below.shape)
            gradients.insert(0, stages[i - 1].gradient(tapes[i - 1], (below - target) / n_examples))

        params, optimizer = self.optimizer.update(torch.cat(gradients, 1), state["optimizer"], params)
        inverses, inverse_optimizer = self.optimizer.update(
            torch.cat(inverse_gradients, 1), state["inverse_optimizer"], inverses
        )
        return {
            "params": params,
            "optimizer": optimizer,
            "inverses": inverses,
            "inverse_optimizer": inverse_optimizer,
        }

    def params(self, state: State) -> Tensor:
        return state["params"]


def inverse_networks(problem: Problem) -> list[LayeredNetwork]:
    """One affine map and an activation back through each stage but the first, between flattened activities."""
    networks = []
    for below, stage in zip(problem.stages, problem.stages[1:], strict=False):
        activation = [layer for layer in below.layers if layer.role is Role.ACTIVATION]
        layers = [Linear(prod(stage.input_shape)), *activation]
        networks.append(LayeredNetwork(layers, (prod(stage.output_shape),), INITIALISATIONS["lecun"]))
    return networks


def inverse_segments(problem: Problem) -> Sequence[Segment]:
    """Return the inverses as parts of one flat vector of weights; what they multiply is charged."""
    return problem.own_segments(inverse_networks(problem))
