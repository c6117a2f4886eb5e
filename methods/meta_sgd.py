"""Meta-SGD (Li, Zhou, Chen & Li, 2017).

Learn where to start from and, for every weight, how fast and which way to go from there. For each
episode e, with S the loss on its support and Q that on its queries,

    w_0     = w
    w_{k+1} = w_k - r * dS/dw(w_k)                    k = 0 .. K-1; r (n,), a rate per weight
    v       = dQ/dw(w_K)                              at the adapted weights
    g       = mean over episodes of v^T dw_K/d(w, r)  handed to the optimizer, for w and r alike

A prediction takes `n_adaptation_steps` such steps on the episode's support first.

Departures: all rates start equal instead of drawn from U[0.005, 0.1]; any optimizer. Dropout is
off.
Needs: weight transport, global loss, stored activations, separate phases, backward locking.
Cost: a forward and a backward pass of the queries; for each inner step the same of the support, and
about two and a half more to differentiate it (4 backward less 2 forward passes).
Check: the gradients for weights and rates equal finite differences in float64; one rate for all
weights gives MAML's step (tests/methods/test_meta_sgd.py).
Source: arXiv:1707.09835.
"""

from typing import Annotated, ClassVar

import torch
from torch import Tensor

from beyond.contracts import Batch, Signal
from beyond.kits.adaptation import Adaptive, InnerLoop, gathered, in_lanes, require_episodes, spread
from beyond.kits.descent import Descent, State
from beyond.kits.optimizers import Adam, Optimizer
from beyond.network.layers import ONE_MATRIX
from beyond.problem import Problem
from beyond.replicas import each
from beyond.search import Choice, LogUniform
from beyond.settings import BatchSize, NonNegative, NonNegativeInt, OneOrEach, PositiveInt, settings
from beyond.streams import Stream


@settings
class MetaSGD(Adaptive, Descent):
    """Learn where to start from, and every weight's learning rate.

    Parameters
    ----------
    batch_size : int, >= 1, optional
        Episodes per step; None takes the whole training set. So does any larger number.
    initial_rate : float, >= 0
        What every rate starts at.
    n_inner_steps : int, >= 1
        In training.
    """

    signal: ClassVar[Signal] = Signal.GRADIENT

    optimizer: Optimizer = Adam(learning_rate=0.001)
    batch_size: Annotated[BatchSize, LogUniform(4, 64)] = 25
    initial_rate: Annotated[OneOrEach[NonNegative], LogUniform(0.001, 1.0)] = 0.01
    n_inner_steps: Annotated[PositiveInt, Choice(1, 2, 4)] = 1
    n_adaptation_steps: NonNegativeInt = 1

    def require(self, problem: Problem) -> None:
        require_episodes(problem.spec)
        problem.require_roles(
            "meta_sgd", ONE_MATRIX, "steps through time are not differentiated twice"
        )

    def remembered(self, problem: Problem, params: Tensor, rng: Stream) -> dict[str, Tensor]:
        return {"extras": each(self.initial_rate, params) * torch.ones_like(params)}  # the rates

    def direction(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> Tensor:
        queries, support, lanes = in_lanes(batch, problem)
        start, rates = (spread(state[name], support) for name in ("params", "extras"))
        gradients = InnerLoop(self.n_inner_steps).gradients(start, rates, queries, support, lanes)
        return torch.cat([gathered(gradient, len(state["params"])) for gradient in gradients], 1)

    def adapted(self, state: State, support: Batch, lanes: Problem) -> Tensor:
        start, rates = (spread(state[name], support) for name in ("params", "extras"))
        return InnerLoop(self.n_adaptation_steps).adapt(start, rates, support, lanes)
