"""Backpropagation (Rumelhart, Hinton & Williams, 1986).

The error at the outputs travels back through the transposed weights, layer by layer.

    delta_L = d loss / d outputs
    delta_l = (W_{l+1}^T delta_{l+1}) * f'(z_l)        l = L-1 .. 1
    g_l     = delta_l h_{l-1}^T                        handed to the optimizer

    gradient_noise = s     g + s |g| / sqrt(n) e, e ~ N(0, I), instead of g: a cosine of 1 / sqrt(1 + s^2) with it

Departures: cross-entropy for classes instead of squared error; any optimizer instead of momentum;
noise, off by default, degrades the gradient to what other methods' estimates are worth.
Needs: weight transport, global loss, stored activations, backward locking.
Cost: 1 forward and 1 backward pass of the batch.
Check: the chain rule equals automatic differentiation (tests/methods/test_backprop.py).
Source: Nature 323, 533-536, doi:10.1038/323533a0.
"""

from math import sqrt
from typing import ClassVar, Literal

from torch import Tensor

from beyond.contracts import Batch, Signal
from beyond.kits.descent import Descent, State
from beyond.problem import Problem
from beyond.settings import NonNegative, settings
from beyond.streams import Stream


@settings
class Backprop(Descent):
    """Follow the exact gradient of the loss on each batch.

    Parameters
    ----------
    engine : {"chain_rule", "autograd"}
        Who computes the gradient: the layers' own backward passes, or torch. The result is the
        same.
    gradient_noise : float, >= 0
        Norm of the normal noise that is added to a step's gradient, in units of the gradient's own.
    """

    signal: ClassVar[Signal] = Signal.GRADIENT

    engine: Literal["chain_rule", "autograd"] = "chain_rule"
    gradient_noise: NonNegative = 0.0

    def direction(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> Tensor:
        if self.engine == "autograd":
            gradient = problem.gradient(state["params"], batch, rng)
        else:
            outputs, tape = problem.forward(state["params"], batch.inputs, rng)
            gradient = problem.backward(tape, problem.error(outputs, batch.targets))
        if self.gradient_noise:
            n_weights = gradient.shape[1]
            # (R, 1)
            size = self.gradient_noise / sqrt(n_weights) * gradient.norm(dim=1, keepdim=True)
            gradient = gradient + size * rng.normal(n_weights)
        return gradient
