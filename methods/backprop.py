"""Backpropagation (Rumelhart, Hinton & Williams, 1986).

The error at the outputs travels back through the transposed weights, layer by layer.

    delta_L = d loss / d outputs
    delta_l = (W_{l+1}^T delta_{l+1}) * f'(z_l)        l = L-1 .. 1
    g_l     = delta_l h_{l-1}^T                        handed to the optimizer

    n_layers = k        only the last k layers are trained; no error goes to the others, g_l = 0
    gradient_noise = s  g + s |g| / sqrt(n) e, e ~ N(0, I): its cosine with g is 1 / sqrt(1 + s^2)

`last_layer` is the read-out of frozen random features (Rahimi & Recht, 2008): what a method must
beat to claim that its hidden layers learn anything. `fine_tuning` learns a related task first
(Yosinski, Clune, Bengio & Lipson, 2014).

Departures: cross-entropy for classes instead of squared error; any optimizer instead of momentum;
noise, off by default, degrades the gradient to what other methods' estimates are worth. Fine-tuning
is of fully connected networks on small tasks instead of ImageNet's halves.
Needs: weight transport, global loss, stored activations, backward locking.
Cost: 1 forward and 1 backward pass of the batch, back through the trained layers only.
Check: the chain rule equals automatic differentiation; on the last layer alone it is softmax
regression on the frozen features (tests/methods/test_backprop.py).
Source: Nature 323, 533-536, doi:10.1038/323533a0; random features: Advances in Neural Information
Processing Systems 21; fine-tuning: ibid. 27, arXiv:1411.1792.
"""

from math import sqrt
from typing import ClassVar, Literal

from torch import Tensor

from beyond.contracts import Batch, Signal
from beyond.errors import require
from beyond.kits.descent import Descent, State
from beyond.problem import Problem
from beyond.replicas import each
from beyond.settings import NonNegative, OneOrEach, PositiveInt, settings
from beyond.streams import Stream


@settings
class Backprop(Descent):
    """Follow the exact gradient of the loss on each batch.

    Parameters
    ----------
    engine : {"chain_rule", "autograd"}
        Who computes the gradient: the layers' backward passes, or torch. The result is the
        same.
    n_layers : int, >= 1, optional
        Layers to train, counted from the output: 1 is the last alone; None trains all.
    gradient_noise : float, >= 0
        Norm of the normal noise that is added to a step's gradient, in units of the gradient's.
    """

    signal: ClassVar[Signal] = Signal.GRADIENT
    UNBIASED: ClassVar[bool] = True

    engine: Literal["chain_rule", "autograd"] = "chain_rule"
    n_layers: PositiveInt | None = None
    gradient_noise: OneOrEach[NonNegative] = 0.0

    def trained(self, problem: Problem) -> tuple[int, int]:
        if self.n_layers is None:
            return 0, problem.n_weights
        n_blocks = len(problem.blocks)
        allowed = f"at most {n_blocks} for this network"
        require("n_layers", allowed, self.n_layers, self.n_layers <= n_blocks)
        return problem.suffix(self.n_layers), problem.n_weights

    def direction(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> Tensor:
        start, _ = self.trained(problem)
        if self.engine == "autograd":
            gradient = problem.gradient(state["params"], batch, rng)[:, start:]
        else:
            outputs, tape = problem.forward(state["params"], batch.inputs, rng)
            gradient = problem.backward(tape, problem.error(outputs, batch.targets), start=start)
        if self.gradient_noise:
            n_weights = gradient.shape[1]
            # (R, 1)
            size = each(self.gradient_noise, gradient) / sqrt(n_weights)
            size = size * gradient.norm(dim=1, keepdim=True)
            gradient = gradient + size * rng.normal(n_weights)
        return gradient


CHOICES = {
    "last_layer": (
        Backprop(n_layers=1),
        "Train the last layer, leave the others as they were drawn: the control for hidden layers.",
    ),
    "fine_tuning": (
        Backprop(),
        "Learn the task's source first, then adapt all layers, or the last `n_layers`.",
        {"start": "related"},
    ),
}
