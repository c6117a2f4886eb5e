"""Reptile (Nichol, Achiam & Schulman, 2018).

Train on one episode for a while, then move the starting weights a part of the way to where that led. For each episode,
whose labelled examples are its support and its queries alike,

    w_0     = w
    w_{k+1} = U(w_k, gradient of the loss on a minibatch of the episode)       k = 0 .. K-1; U the inner optimizer
    w       <- w + outer_rate (mean over episodes of w_K - w)

Minibatches are cut in turn from the episode's examples in random order, a new order once they are used up. A prediction
takes `n_adaptation_steps` such steps on the episode's whole support first. Support and queries play no different parts
in training, and nothing is differentiated twice.

Departures: the outer rate is constant, not annealed; the inner optimizer starts anew with each episode,
and its first moment decays by Adam's usual 0.9 where the authors' code has 0. Dropout is off.
Needs: weight transport, global loss, stored activations, backward locking.
Cost: for each inner step a forward and a backward pass of a minibatch.
Check: with one inner step on all examples and outer rate 1 a step is SGD's on the joint loss; with several it is the
average of the weights that episodes end at, trained one by one (tests/methods/test_reptile.py).
Source: arXiv:1803.02999.
"""

from collections.abc import Mapping
from typing import ClassVar, TypedDict

import torch
from torch import Tensor

from beyond.contracts import Batch, Method, Signal
from beyond.data.episodes import adaptation_variants, by_episode, end_to_end, in_lanes, require_episodes, rows_of
from beyond.kits.optimizers import Adam, Optimizer
from beyond.problem import Problem
from beyond.settings import NonNegativeInt, PositiveInt, UpToOne, settings
from beyond.streams import Stream


class State(TypedDict):
    """The weights that episodes start from."""

    params: Tensor  # (R, n)


@settings
class Reptile(Method[State]):
    """Move towards the weights that each episode leads to.

    Parameters
    ----------
    optimizer : Optimizer
        Takes the inner steps.
    batch_size : int, >= 1
        Episodes a step.
    outer_rate : float in (0, 1]
        Part of the way that the starting weights move.
    n_inner_steps : int, >= 1
        In training.
    inner_batch_size : int, >= 1
        Examples of an inner step; an episode that has fewer is taken whole.
    n_adaptation_steps : int, >= 0
        Before a prediction.
    also_after : tuple of int, each >= 0
        Further numbers of such steps, after each of which the test split is scored at the end as well.
    """

    signal: ClassVar[Signal] = Signal.GRADIENT

    optimizer: Optimizer = Adam(learning_rate=0.005)
    batch_size: PositiveInt = 5
    outer_rate: UpToOne = 0.1
    n_inner_steps: PositiveInt = 10
    inner_batch_size: PositiveInt = 10
    n_adaptation_steps: NonNegativeInt = 10
    also_after: tuple[NonNegativeInt, ...] = ()

    def init(self, problem: Problem, params: Tensor, rng: Stream) -> State:
        require_episodes(problem.spec)
        return {"params": params}

    def step(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> State:
        queries, support, lanes, n_episodes = in_lanes(batch, problem)
        examples = Batch(
            torch.cat([support.inputs, queries.inputs], 1), torch.cat([support.targets, queries.targets], 1)
        )
        rows = self._minibatches(examples.targets.shape[1], n_episodes, rng)  # (R * E, K, inner_batch_size)
        own = torch.arange(len(rows)).unsqueeze(1)
        minibatches = [Batch(examples.inputs[own, drawn], examples.targets[own, drawn]) for drawn in rows.unbind(1)]
        ends = self._train(state["params"].repeat_interleave(n_episodes, 0), minibatches, lanes)
        return {"params": torch.lerp(state["params"], ends.unflatten(0, (-1, n_episodes)).mean(1), self.outer_rate)}

    def params(self, state: State) -> Tensor:
        return state["params"]

    def variants(self) -> Mapping[str, Method[State]]:
        return adaptation_variants(self)

    def predict(self, state: State, problem: Problem, inputs: Tensor, support: Batch | None = None) -> Tensor:
        if support is None:
            return problem.outputs(state["params"], inputs)
        episode, n_replicas = require_episodes(problem.spec), len(state["params"])
        asked, shown = by_episode(inputs, episode.n_query), rows_of(support, episode.n_support)
        n_episodes = len(asked) // n_replicas
        lanes = problem.lanes(n_episodes)
        start = state["params"].repeat_interleave(n_episodes, 0)
        adapted = self._train(start, [shown] * self.n_adaptation_steps, lanes)
        return end_to_end(lanes.outputs(adapted, asked), n_replicas)

    def _train(self, params: Tensor, minibatches: list[Batch], lanes: Problem) -> Tensor:
        """Weights (R * E, n) after a step of the inner optimizer on each minibatch."""
        memory = self.optimizer.init(params)
        for minibatch in minibatches:
            outputs, tape = lanes.forward(params, minibatch.inputs)
            gradient = lanes.backward(tape, lanes.error(outputs, minibatch.targets))
            params, memory = self.optimizer.update(gradient, memory, params)
        return params

    def _minibatches(self, n_examples: int, n_episodes: int, rng: Stream) -> Tensor:
        """Rows of an episode's examples for each inner step, (R * E, K, inner_batch_size)."""
        size = min(self.inner_batch_size, n_examples)
        n_passes = -(-self.n_inner_steps * size // n_examples)
        orders = rng.uniform(n_episodes, n_passes, n_examples).argsort(-1).flatten(2)  # every example once a pass
        return orders[..., : self.n_inner_steps * size].unflatten(2, (-1, size)).flatten(0, 1)
