"""Difference target propagation (Lee, Zhang, Fischer & Bengio, 2015).

Every layer is told what it should have said instead of how the loss changes with it. Targets travel
down through learned approximate inverses g_l of the stages, corrected by what the inverse gets
wrong without a target. For each example, with h_l = stage_l(h_{l-1}) and h_0 the input,

    t_L     = h_L - target_rate d loss / d h_L
    t_{l-1} = h_{l-1} + g_l(t_l) - g_l(h_l)               l = L .. 2
    g_l(h)  = f(V_l h + c_l)                              f the activation of stage l-1
    theta_l : gradient of |stage_l(h_{l-1}) - t_l|^2 / 2  t_l, h_{l-1} held; theta_L: of the loss
    V_l, c_l: gradient of |g_l(stage_l(n)) - n|^2 / 2     n = h_{l-1} + noise_std N(0, I)

Means over the batch are handed to the optimizer, for stages and inverses alike.

Departures: the first target is set at the outputs and goes through an inverse too, where the source
takes a gradient step at the last hidden layer (there W_L^T is needed); the noise has one strength
in all layers; any optimizer.
Needs: global loss, stored activations, separate phases, backward locking.
Cost: 1 forward pass, the gradients' half of 1 backward pass, and for stages 2 .. L one more forward
pass, three passes through the inverse (as many operations each, for fully connected layers) and the
gradient of the inverse.
Check: with exact inverses of linear layers the targets are those of Gauss and Newton; both local
gradients equal automatic differentiation (tests/methods/test_target_propagation.py).
Source: ECML PKDD 2015, arXiv:1412.7525.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Annotated, ClassVar

from torch import Tensor

from beyond.contracts import Batch, Signal
from beyond.kits.descent import Descent, State
from beyond.kits.passes import end_to_end, forward
from beyond.network.initialisations import INITIALISATIONS
from beyond.network.layered import LayeredNetwork
from beyond.network.layers import TRANSPARENT, Role
from beyond.network.vector_layers import Linear
from beyond.problem import Problem
from beyond.replicas import each
from beyond.search import LogUniform
from beyond.settings import NonNegative, OneOrEach, Positive, settings
from beyond.streams import Stream


@settings
class TargetPropagation(Descent):
    """Give each stage a target through learned inverses.

    Parameters
    ----------
    target_rate : float, > 0
        How far the outputs' target lies down the loss.
    noise_std : float, >= 0
        Standard deviation of the noise that the inverses see around the activities.
    """

    signal: ClassVar[Signal] = Signal.TARGETS

    target_rate: Annotated[OneOrEach[Positive], LogUniform(0.01, 1.0)] = 0.1
    noise_std: Annotated[OneOrEach[NonNegative], LogUniform(0.03, 1.0)] = 0.3

    def require(self, problem: Problem) -> None:
        problem.require_roles(
            "target_propagation",
            TRANSPARENT,
            "an inverse needs the activation behind it, of one example",
        )

    def remembered(self, problem: Problem, params: Tensor, rng: Stream) -> Mapping[str, Tensor]:
        drawn = [network.init(rng).to(params.dtype) for network in inverse_networks(problem)]
        return {"extras": end_to_end([params[:, :0], *drawn])}  # V_l and c_l, l = 2 .. L

    def direction(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> Tensor:
        params, inverses = state["params"], state["extras"]
        # products of the inverses are charged
        stages, backs = problem.stages, problem.segments_of(inverse_networks(problem))
        n_examples = batch.inputs.shape[1]
        activities, tapes = forward(stages, params, batch.inputs, rng)  # h_0 .. h_L, (R, B, ...)

        error = problem.error(activities[-1], batch.targets)
        target = activities[-1] - each(self.target_rate, error) * n_examples * error
        gradients, inverse_gradients = [stages[-1].gradient(tapes[-1], error)], []
        # stages[i] takes `below` to `above`, its inverse the way back
        for i in range(len(stages) - 1, 0, -1):
            above, below, back = activities[i + 1], activities[i], backs[i - 1]
            corrupted = below + each(self.noise_std, below) * rng.normal(*below.shape[1:])
            code, _ = stages[i].forward(params, corrupted)
            reconstruction, tape = back.forward(inverses, code.flatten(2))
            inverse_gradients.insert(
                0, back.gradient(tape, (reconstruction - corrupted.flatten(2)) / n_examples)
            )

            wanted, _ = back.forward(inverses, target.flatten(2))
            found, _ = back.forward(inverses, above.flatten(2))
            target = below + (wanted - found).view(below.shape)
            gradients.insert(0, stages[i - 1].gradient(tapes[i - 1], (below - target) / n_examples))
        return end_to_end([*gradients, *inverse_gradients])


def inverse_networks(problem: Problem) -> list[LayeredNetwork]:
    """One affine map and an activation back through each stage but the first, flattened."""
    networks = []
    for below, stage in zip(problem.stages, problem.stages[1:], strict=False):
        activation = [layer for layer in below.layers if layer.role is Role.ACTIVATION]
        layers = [Linear(prod(stage.input_shape)), *activation]
        networks.append(
            LayeredNetwork(layers, (prod(stage.output_shape),), INITIALISATIONS["lecun"])
        )
    return networks
