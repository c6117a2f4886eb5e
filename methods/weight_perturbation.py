"""Weight perturbation: SPSA (Spall, 1992), and MeZO with normal directions (Malladi et al., 2023).

All weights are shaken at once along a random direction, and back; the difference of the two losses
says how far to go along it. Nothing but the loss is asked, so any network that can be run can be
trained.

    v_k ~ {-1, +1}^n (rademacher), or N(0, I) (normal)                      k = 1 .. n_directions
    g   = mean_k v_k (L(w + c v_k) - L(w - c v_k)) / (2 c)   for the optimizer; c = perturbation_std

Both directions have E[v v^T] = I, so g is on average the gradient, up to an error of order c^2. It
is spread over all n weights: for normal directions its cosine with the gradient is sqrt(K / (K + n
+ 1)), K = n_directions.

Departures: c and the learning rate stay constant where SPSA has them fall as k^-0.101 and k^-0.602;
any optimizer; MeZO draws its direction twice from one seed to save memory, here it is kept; dropout
is off.
Needs: global loss.
Cost: 2 forward passes of the batch for each direction.
Check: the mean over all sign vectors, by enumeration, is the gradient of a quadratic loss
(tests/methods/test_weight_perturbation.py).
Source: IEEE Transactions on Automatic Control 37, 332-341, doi:10.1109/9.119632; MeZO:
arXiv:2305.17333; the cosine: arXiv:2410.17764.
"""

from typing import Annotated, ClassVar

from torch import Tensor

from beyond.contracts import Batch, Signal
from beyond.kits.descent import Descent, State
from beyond.kits.directions import Distribution, mean_along, mirrored_losses, random_directions
from beyond.kits.optimizers import Adam, Optimizer
from beyond.problem import Problem
from beyond.replicas import each
from beyond.search import Choice, LogUniform
from beyond.settings import BatchSize, OneOrEach, Positive, PositiveInt, settings
from beyond.streams import Stream


@settings
class WeightPerturbation(Descent):
    """Follow the slopes of the loss along random directions in weight space.

    Parameters
    ----------
    n_directions : int, >= 1
        Directions per step, all on one batch.
    perturbation : {"rademacher", "normal"}
        Distribution of a direction: fair signs (SPSA), or normal (MeZO).
    perturbation_std : float, > 0
        Length of a step along a direction, for each weight.
    """

    signal: ClassVar[Signal] = Signal.LOSS
    UNBIASED: ClassVar[bool] = True

    optimizer: Optimizer = Adam(learning_rate=0.01)
    batch_size: BatchSize = 64
    n_directions: Annotated[PositiveInt, Choice(4, 8, 16, 32, 64)] = 16
    perturbation: Annotated[Distribution, Choice()] = "rademacher"
    perturbation_std: Annotated[OneOrEach[Positive], LogUniform(0.001, 0.1)] = 0.01

    def direction(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> Tensor:
        # (R, K, n)
        directions = random_directions(self.perturbation, rng, self.n_directions, problem.n_weights)
        steps = each(self.perturbation_std, directions) * directions
        losses = mirrored_losses(problem, state["params"], steps, batch)
        forth, back = losses.chunk(2, 1)  # (R, K) each
        slopes = (forth - back) / (2 * each(self.perturbation_std, forth))
        return mean_along(slopes, directions)
