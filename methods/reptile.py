"""Reptile (Nichol, Achiam & Schulman, 2018).

Train on one episode for a while, then move the starting weights a part of the way to where that
led. For each episode, whose labelled examples are its support and its queries alike,

    w_0     = w
    w_{k+1} = U(w_k, gradient of the loss on a minibatch of the episode)  k < K; U: inner optimizer
    w       <- w + outer_rate (mean over episodes of w_K - w)

Minibatches are cut in turn from the episode's examples in random order, a new order once they are
used up. A prediction takes `n_adaptation_steps` such steps on the episode's whole support first.
Support and queries play no different parts in training, and nothing is differentiated twice.

Departures: the outer rate is constant, not annealed; the inner optimizer starts anew with each
episode, and its first moment decays by Adam's usual 0.9 where the authors' code has 0. Dropout is
off.
Needs: weight transport, global loss, stored activations, backward locking.
Cost: for each inner step a forward and a backward pass of a minibatch.
Check: with one inner step on all examples and outer rate 1 a step is SGD's on the joint loss; with
several it is the average of the weights that episodes end at, trained one by one
(tests/methods/test_reptile.py).
Source: arXiv:1803.02999.
"""

from typing import Annotated, ClassVar

import torch
from torch import Tensor

from beyond.contracts import Batch, Signal
from beyond.kits.adaptation import Adaptive, gathered, in_lanes, require_episodes, spread
from beyond.kits.descent import stepped
from beyond.kits.optimizers import Adam, Optimizer
from beyond.kits.passes import row_numbers
from beyond.problem import Problem
from beyond.replicas import each
from beyond.search import Choice, LogUniform
from beyond.settings import BatchSize, NonNegativeInt, OneOrEach, PositiveInt, UpToOne, settings
from beyond.streams import Stream

State = dict[str, Tensor]  # params: the weights (R, n) that episodes start from


@settings
class Reptile(Adaptive):
    """Move towards the weights that each episode leads to.

    Parameters
    ----------
    optimizer : Optimizer
        Takes the inner steps.
    batch_size : int, >= 1, optional
        Episodes per step; None takes the whole training set. So does any larger number.
    outer_rate : float in (0, 1]
        Part of the way that the starting weights move.
    n_inner_steps : int, >= 1
        In training.
    inner_batch_size : int, >= 1
        Examples of an inner step; an episode that has fewer is used in full.
    """

    signal: ClassVar[Signal] = Signal.GRADIENT

    optimizer: Optimizer = Adam(learning_rate=0.005)
    batch_size: Annotated[BatchSize, LogUniform(2, 32)] = 5
    outer_rate: Annotated[OneOrEach[UpToOne], LogUniform(0.01, 1.0)] = 0.1
    n_inner_steps: Annotated[PositiveInt, LogUniform(2, 32)] = 10
    inner_batch_size: Annotated[PositiveInt, Choice(5, 10, 20)] = 10
    n_adaptation_steps: NonNegativeInt = 10

    def init(self, problem: Problem, params: Tensor, rng: Stream) -> State:
        require_episodes(problem.spec)
        return {"params": params}

    def step(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> State:
        queries, support, lanes = in_lanes(batch, problem)
        params, n_replicas = state["params"], len(state["params"])
        inputs = torch.cat([support.inputs, queries.inputs], 1)
        targets = torch.cat([support.targets, queries.targets], 1)
        # (R * E, K, inner_batch_size)
        rows = self._minibatches(targets.shape[1], len(inputs) // n_replicas, rng)
        lane = row_numbers(rows)
        minibatches = [Batch(inputs[lane, drawn], targets[lane, drawn]) for drawn in rows.unbind(1)]
        ends = gathered(self._train(spread(params, support), minibatches, lanes), n_replicas)
        return {"params": torch.lerp(params, ends, each(self.outer_rate, params))}

    def params(self, state: State) -> Tensor:
        return state["params"]

    def adapted(self, state: State, support: Batch, lanes: Problem) -> Tensor:
        return self._train(
            spread(state["params"], support), [support] * self.n_adaptation_steps, lanes
        )

    def _train(self, params: Tensor, minibatches: list[Batch], lanes: Problem) -> Tensor:
        """Weights (R * E, n) after a step of the inner optimizer on each minibatch."""
        memory = self.optimizer.init(params, lanes.matrices)
        for minibatch in minibatches:
            outputs, tape = lanes.forward(params, minibatch.inputs)
            gradient = lanes.backward(tape, lanes.error(outputs, minibatch.targets))
            params, memory = stepped(self.optimizer, gradient, memory, params, lanes)
        return params

    def _minibatches(self, n_examples: int, n_episodes: int, rng: Stream) -> Tensor:
        """Rows of an episode's examples for each inner step, (R * E, K, inner_batch_size)."""
        size = min(self.inner_batch_size, n_examples)
        n_passes = -(-self.n_inner_steps * size // n_examples)
        # every example once a pass
        orders = rng.uniform(n_episodes, n_passes, n_examples).argsort(-1).flatten(2)
        return orders[..., : self.n_inner_steps * size].unflatten(2, (-1, size)).flatten(0, 1)
