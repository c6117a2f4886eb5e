"""Meta-SGD (Li, Zhou, Chen & Li, 2017).

Learn where to start from and, for every weight, how fast and which way to go from there. For each episode e, with S the
loss on its support and Q that on its queries,

    w_0     = w
    w_{k+1} = w_k - r * dS/dw(w_k)                     k = 0 .. K-1; r (n,), one rate a weight, of any sign
    v       = dQ/dw(w_K)                               at the adapted weights
    g       = mean over episodes of v^T dw_K/d(w, r)   handed to the optimizer, for w and r alike

A prediction takes `n_adaptation_steps` such steps on the episode's support first.

Departures: all rates start equal instead of drawn from U[0.005, 0.1]; any optimizer. Dropout is off.
Needs: weight transport, global loss, stored activations, separate phases, backward locking.
Cost: a forward and a backward pass of the queries; for each inner step the same of the support, and about two and a
half more to differentiate it (4 backward less 2 forward passes).
Check: the gradients for weights and rates equal finite differences in float64; one rate for all weights gives MAML's
step (tests/methods/test_meta_sgd.py).
Source: arXiv:1707.09835.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, TypedDict

import torch
from torch import Tensor

from beyond.contracts import Batch, Method, Signal
from beyond.data.episodes import InnerLoop, adaptation_variants, in_lanes, require_episodes
from beyond.kits.optimizers import Adam, Optimizer
from beyond.network.layers import ONE_MATRIX
from beyond.problem import Problem
from beyond.settings import NonNegative, NonNegativeInt, PositiveInt, settings
from beyond.streams import Stream


class State(TypedDict):
    """The weights that episodes start from, the rates of the inner steps, and what the optimizer remembers of both."""

    params: Tensor  # (R, n)
    rates: Tensor  # (R, n)
    optimizer: dict[str, Any]


@settings
class MetaSGD(Method[State]):
    """Learn where to start from, and every weight's learning rate.

    Parameters
    ----------
    optimizer : Optimizer
        Turns the gradient through the inner steps into a change of weights and rates.
    batch_size : int, >= 1
        Episodes a step.
    initial_rate : float, >= 0
        What every rate starts at.
    n_inner_steps : int, >= 1
        In training.
    n_adaptation_steps : int, >= 0
        Before a prediction.
    also_after : tuple of int, each >= 0
        Further numbers of such steps, after each of which the test split is scored at the end as well.
    """

    signal: ClassVar[Signal] = Signal.GRADIENT

    optimizer: Optimizer = Adam(learning_rate=0.001)
    batch_size: PositiveInt = 25
    initial_rate: NonNegative = 0.01
    n_inner_steps: PositiveInt = 1
    n_adaptation_steps: NonNegativeInt = 1
    also_after: tuple[NonNegativeInt, ...] = ()

    def init(self, problem: Problem, params: Tensor, rng: Stream) -> State:
        require_episodes(problem.spec)
        problem.require_roles("meta_sgd", ONE_MATRIX, "steps through time are not differentiated twice")
        rates = torch.full_like(params, self.initial_rate)
        return {"params": params, "rates": rates, "optimizer": self.optimizer.init(torch.cat([params, rates], 1))}

    def step(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> State:
        both = torch.cat([state["params"], state["rates"]], 1)  # (R, 2n)
        gradient = torch.cat(self.gradient(state["params"], state["rates"], batch, problem), 1)
        both, optimizer = self.optimizer.update(gradient, state["optimizer"], both)
        params, rates = both.chunk(2, 1)
        return {"params": params, "rates": rates, "optimizer": optimizer}

    def gradient(self, params: Tensor, rates: Tensor, batch: Batch, problem: Problem) -> tuple[Tensor, Tensor]:
        """Derivatives (R, n) of the queries' loss after adaptation for weights and rates, averaged over episodes."""
        queries, support, lanes, n_episodes = in_lanes(batch, problem)
        inner = InnerLoop(self.n_inner_steps)
        start, rate = (values.repeat_interleave(n_episodes, 0).requires_grad_() for values in (params, rates))
        with torch.enable_grad():
            adapted = inner.adapt(start, rate, support, lanes)
        gradient = lanes.gradient(adapted, queries)
        for_start, for_rate = inner.pull_back(gradient, adapted, [start, rate], support, lanes)
        shape = len(params), n_episodes
        return for_start.unflatten(0, shape).mean(1), for_rate.unflatten(0, shape).mean(1)

    def params(self, state: State) -> Tensor:
        return state["params"]

    def variants(self) -> Mapping[str, Method[State]]:
        return adaptation_variants(self)

    def predict(self, state: State, problem: Problem, inputs: Tensor, support: Batch | None = None) -> Tensor:
        if support is None:
            return problem.outputs(state["params"], inputs)
        inner = InnerLoop(self.n_adaptation_steps)
        return inner.outputs(state["params"], state["rates"], inputs, support, problem)
