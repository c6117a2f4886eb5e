"""Node perturbation (Widrow & Lehr, 1990; Werfel, Xie & Seung, 2005).

Noise is added to the input of every unit, for each example apart; where an example's loss fell,
units should have received more of their noise. A unit needs the noise, its inputs and the change of
the loss, which is the same number for all units.

    z_l  = W_l h_{l-1} + b_l,  h_l = f(z_l)              clean pass: loss L of each example
    z'_l = W_l h'_{l-1} + b_l + s xi_l,  xi_l ~ N(0, I)  noisy pass: loss L'; s = noise_std
    dz_l = mean over draws of (L' - L) xi_l / s
    g_l  = mean over examples of dz_l h_{l-1}^T          handed to the optimizer

The mean of dz_l is dL/dz_l, up to an error of order s^2. Directions are drawn among units, not
among weights, and for each example apart, so g is far less noisy than that of weight perturbation
for as many passes.

Departures: all layers with weights are perturbed at once, the output too: an embedding at each
feature of each symbol, a convolution at each pixel of each channel; activities h are the clean
pass's, so that draws share one product; dropout is off; any optimizer.
Needs: global loss, stored activations, separate phases.
Cost: 1 + n_draws forward passes of the batch, and the half of a backward pass that multiplies by
activities.
Check: the mean over all sign patterns of the noise, by enumeration, is the gradient of a linear
network's squared error (tests/methods/test_node_perturbation.py).
Source: Neural Computation 17, 2699-2718, doi:10.1162/089976605774320539; Proceedings of the IEEE
78, 1415-1442, doi:10.1109/5.58323.
"""

from typing import Annotated, ClassVar

import torch
from torch import Tensor

from beyond.contracts import Batch, Signal
from beyond.kits.descent import Descent, State
from beyond.kits.directions import mean_along
from beyond.kits.optimizers import Adam, Optimizer
from beyond.kits.passes import gradients
from beyond.network.layers import TRANSPARENT, Role
from beyond.problem import Problem
from beyond.replicas import each
from beyond.search import Choice, LogUniform
from beyond.settings import OneOrEach, Positive, PositiveInt, settings
from beyond.streams import Stream


@settings
class NodePerturbation(Descent):
    """Reward units for noise after which the loss fell.

    Parameters
    ----------
    n_draws : int, >= 1
        Noisy passes of each example.
    noise_std : float, > 0
        Standard deviation of the noise.
    """

    signal: ClassVar[Signal] = Signal.LOSS
    UNBIASED: ClassVar[bool] = True

    optimizer: Optimizer = Adam(learning_rate=0.01)
    n_draws: Annotated[PositiveInt, Choice(1, 2, 4, 8, 16)] = 4
    noise_std: Annotated[OneOrEach[Positive], LogUniform(0.001, 0.3)] = 0.01

    def require(self, problem: Problem) -> None:
        known = TRANSPARENT | {Role.BATCH}  # whose statistics no noise changes
        problem.require_roles(
            "node_perturbation", known, "the noise must reach its units before they answer"
        )

    def direction(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> Tensor:
        n_examples = batch.inputs.shape[1]
        # (R, B, ...), (R, D * B, ...)
        clean, noisy = batch.inputs, torch.cat([batch.inputs] * self.n_draws, 1)
        layers, tapes, noises = [], [], []  # of those with weights
        for layer in problem.layers:
            clean, tape = layer.forward(state["params"], clean)
            noisy, _ = layer.forward(state["params"], noisy)
            if layer.start < layer.stop:
                noise = rng.normal(*noisy.shape[1:])
                noisy = noisy + each(self.noise_std, noise) * noise
                layers.append(layer)
                tapes.append(tape)
                noises.append(noise.unflatten(1, (self.n_draws, n_examples)))
        # as candidates, who share their targets
        draws = noisy.unflatten(1, (self.n_draws, n_examples)).flatten(0, 1)
        losses = problem.example_losses(draws, batch).unflatten(0, (-1, self.n_draws))  # (R, D, B)
        changes = losses - problem.example_losses(clean, batch).unsqueeze(1)
        # the loss is a mean over examples
        slopes = changes / (each(self.noise_std, changes) * n_examples)
        return gradients(layers, tapes, [mean_along(slopes, noise) for noise in noises])
