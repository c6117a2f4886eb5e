"""Forward gradient (Baydin, Pearlmutter, Syme, Wood & Torr, 2022).

The derivative of the loss along a random direction is carried forward together with the
activations, exactly and without a backward pass; it says how far to go along that direction.

    v_k ~ N(0, I) (normal), or {-1, +1}^n (rademacher)                           k = 1 .. n_tangents
    g   = mean_k (grad L . v_k) v_k                                handed to the optimizer

Both tangents have E[v v^T] = I, so g is on average the gradient. It is spread over all n weights:
for normal tangents its cosine with the gradient is sqrt(K / (K + n + 1)), K = n_tangents.

Departures: any optimizer instead of plain descent with a decaying rate; several tangents a step as
a choice; dropout is off.
Needs: global loss.
Cost: 1 forward pass of the batch, and for each tangent a second one along it, which takes as many
operations as a backward pass and is counted as one.
Check: equals v (v . grad L) with the gradient that backpropagation computes
(tests/methods/test_forward_gradient.py).
Source: arXiv:2202.08587; the cosine: arXiv:2410.17764.
"""

from typing import Annotated, ClassVar

from torch import Tensor

from beyond.contracts import Batch, Signal
from beyond.kits.descent import Descent, State
from beyond.kits.directions import Distribution, mean_along, random_directions
from beyond.kits.optimizers import Adam, Optimizer
from beyond.problem import Problem
from beyond.search import Choice
from beyond.settings import BatchSize, PositiveInt, settings
from beyond.streams import Stream


@settings
class ForwardGradient(Descent):
    """Follow the exact derivatives of the loss along random directions in weight space.

    Parameters
    ----------
    n_tangents : int, >= 1
        Directions per step, all on one batch.
    tangent : {"normal", "rademacher"}
        Distribution of a direction; fair signs have the smallest variance.
    """

    signal: ClassVar[Signal] = Signal.GRADIENT
    UNBIASED: ClassVar[bool] = True

    optimizer: Optimizer = Adam(learning_rate=0.01)
    batch_size: BatchSize = 64
    n_tangents: Annotated[PositiveInt, Choice(4, 8, 16, 32, 64)] = 16
    tangent: Annotated[Distribution, Choice()] = "normal"

    def direction(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> Tensor:
        # (R, K, n)
        tangents = random_directions(self.tangent, rng, self.n_tangents, problem.n_weights)
        slopes = problem.directional_derivative(state["params"], tangents, batch)  # (R, K)
        return mean_along(slopes, tangents)
