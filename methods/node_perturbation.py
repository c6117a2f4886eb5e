"""Node perturbation (Widrow & Lehr, 1990; Werfel, Xie & Seung, 2005).

Noise is added to the input of every unit, for each example apart; where an example's loss fell, units should have
received more of their noise. A unit needs the noise, its inputs and the change of the loss, which is the same number
for all units.

    z_l  = W_l h_{l-1} + b_l,  h_l = f(z_l)                        clean pass: loss L of each example
    z'_l = W_l h'_{l-1} + b_l + s xi_l,  xi_l ~ N(0, I)            noisy pass: loss L' of each example; s = noise_std
    dz_l = mean over draws of (L' - L) xi_l / s
    g_l  = mean over examples of dz_l h_{l-1}^T                    handed to the optimizer

The mean of dz_l is dL/dz_l, but for an error of order s^2. Directions are drawn among units, not among weights, and for
each example apart, so g is far less noisy than that of weight perturbation for as many passes.

Departures: all layers with weights are perturbed at once, the output too: an embedding at each feature of each symbol,
a convolution at each pixel of each channel; activities h are the clean pass's, so that draws share one product; dropout
is off; any optimizer.
Needs: global loss, stored activations, separate phases.
Cost: 1 + n_draws forward passes of the batch, and the half of a backward pass that multiplies by activities.
Check: the mean over all sign patterns of the noise, by enumeration, is the gradient of a linear network's squared error
(tests/methods/test_node_perturbation.py).
Source: Neural Computation 17, 2699-2718, doi:10.1162/089976605774320539; Proceedings of the IEEE 78, 1415-1442,
doi:10.1109/5.58323.
"""

from typing import Any, ClassVar, TypedDict

import torch
from torch import Tensor

from beyond.contracts import Batch, Method, Signal
from beyond.kits.optimizers import Adam, Optimizer
from beyond.network.layers import SUMS, WEIGHTLESS, Role
from beyond.problem import Problem
from beyond.settings import Positive, PositiveInt, settings
from beyond.streams import Stream


class State(TypedDict):
    """Weights, and what the optimizer remembers."""

    params: Tensor  # (R, n)
    optimizer: dict[str, Any]


@settings
class NodePerturbation(Method[State]):
    """Reward units for noise after which the loss fell.

    Parameters
    ----------
    optimizer : Optimizer
        Turns the estimate of the gradient into a change of the weights.
    batch_size : int, >= 1
        Examples a step; a training set that is smaller is taken whole.
    n_draws : int, >= 1
        Noisy passes of each example.
    noise_std : float, > 0
        Standard deviation of the noise.
    """

    signal: ClassVar[Signal] = Signal.LOSS

    optimizer: Optimizer = Adam(learning_rate=0.01)
    batch_size: PositiveInt = 32
    n_draws: PositiveInt = 4
    noise_std: Positive = 0.01

    def init(self, problem: Problem, params: Tensor, rng: Stream) -> State:
        known = SUMS | WEIGHTLESS | {Role.NORMALISATION}
        problem.require_roles("node_perturbation", known, "the noise must reach its units before they answer")
        return {"params": params, "optimizer": self.optimizer.init(params)}

    def step(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> State:
        n_examples = batch.inputs.shape[1]
        clean, noisy = batch.inputs, torch.cat([batch.inputs] * self.n_draws, 1)  # (R, B, ...), (R, D * B, ...)
        perturbed = []
        for layer in problem.layers:
            clean, tape = layer.forward(state["params"], clean)
            noisy, _ = layer.forward(state["params"], noisy)
            if layer.start < layer.stop:
                noise = rng.normal(*noisy.shape[1:])
                noisy = noisy + self.noise_std * noise
                perturbed.append((layer, tape, noise.unflatten(1, (self.n_draws, n_examples))))
        draws = noisy.unflatten(1, (self.n_draws, n_examples)).flatten(0, 1)  # as candidates, who share their targets
        losses = problem.example_losses(draws, batch).unflatten(0, (-1, self.n_draws))  # (R, D, B)
        changes = losses - problem.example_losses(clean, batch).unsqueeze(1)
        slopes = changes / (self.noise_std * n_examples)  # the loss is a mean over examples
        gradients = [layer.gradient(tape, mean_over_draws(slopes, noise)) for layer, tape, noise in perturbed]
        gradient = torch.cat(gradients, 1)
        params, optimizer = self.optimizer.update(gradient, state["optimizer"], state["params"])
        return {"params": params, "optimizer": optimizer}

    def params(self, state: State) -> Tensor:
        return state["params"]


def mean_over_draws(slopes: Tensor, noise: Tensor) -> Tensor:
    """Mean over D draws of slopes (R, D, B) times noise (R, D, B, *shape): the estimated error (R, B, *shape)."""
    return (slopes.reshape(*slopes.shape, *[1] * (noise.dim() - 3)) * noise).mean(1)
