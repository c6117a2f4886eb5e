"""What methods for episodes share: episodes in lanes, adaptation, and the way back through it.

A lane is a row of the weights with an episode for itself: R replicas with E episodes each have R *
E of them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from beyond.contracts import Batch, Episode, Method, TaskSpec
from beyond.errors import UnsupportedError
from beyond.kits.passes import back, forward
from beyond.problem import Problem


def require_episodes(spec: TaskSpec) -> Episode:
    """Return the task's episode; raise `UnsupportedError` where it has none."""
    if spec.episode is None:
        raise UnsupportedError(
            f"{spec.name} does not come in episodes, so there is nothing to adapt to"
        )
    return spec.episode


def by_episode(values: Tensor, n_examples: int) -> Tensor:
    """Cut (R, E * n_examples, ...) into one row per episode, (R * E, n_examples, ...)."""
    return values.unflatten(1, (-1, n_examples)).flatten(0, 1)


def by_replica(values: Tensor, n_replicas: int) -> Tensor:
    """Undo `by_episode`: (R * E, n_examples, ...) to (R, E * n_examples, ...)."""
    return values.unflatten(0, (n_replicas, -1)).flatten(1, 2)


def rows_of(batch: Batch, n_examples: int) -> Batch:
    """Return a batch with one row per episode; its support, if any, stays behind."""
    return Batch(by_episode(batch.inputs, n_examples), by_episode(batch.targets, n_examples))


def in_lanes(batch: Batch, problem: Problem) -> tuple[Batch, Batch, Problem]:
    """Return queries and support with one row (lane) per episode, and the problem of the lanes."""
    episode = require_episodes(problem.spec)
    assert batch.support is not None
    queries, support = rows_of(batch, episode.n_query), rows_of(batch.support, episode.n_support)
    return queries, support, problem.lanes(len(queries.inputs) // len(batch.inputs))


def spread(weights: Tensor, support: Batch) -> Tensor:
    """Weights (R, n) for each of the lanes (R * E, n) whose support this is."""
    return weights.repeat_interleave(len(support.inputs) // len(weights), 0)


def gathered(values: Tensor, n_replicas: int) -> Tensor:
    """Mean over a replica's lanes: (R * E, n) to (R, n)."""
    return values.unflatten(0, (n_replicas, -1)).mean(1)


class Adaptive(Method[Any]):
    """A method that adapts to the support of each episode before it answers the queries.

    Parameters
    ----------
    n_adaptation_steps : int, >= 0
        Before a prediction.
    """

    PREDICTION: ClassVar[tuple[str, ...]] = ("n_adaptation_steps",)

    n_adaptation_steps: int

    @abstractmethod
    def adapted(self, state: Any, support: Batch, lanes: Problem) -> Tensor:
        """Weights (R * E, n) after `n_adaptation_steps` steps on the support of each lane."""

    def predict(self, state: Any, problem: Problem, batch: Batch) -> Tensor:
        """Outputs (R, E * n_query, n_outputs) after adaptation; without a support unadapted."""
        if batch.support is None:
            return problem.outputs(state["params"], batch.inputs)
        episode, n_replicas = require_episodes(problem.spec), len(state["params"])
        asked, shown = (
            by_episode(batch.inputs, episode.n_query),
            rows_of(batch.support, episode.n_support),
        )
        lanes = problem.lanes(len(asked) // n_replicas)
        return by_replica(lanes.outputs(self.adapted(state, shown, lanes), asked), n_replicas)


@dataclass(frozen=True)
class InnerLoop:
    """Gradient descent on each episode's support, a row (lane) of weights each, and the way back.

        w_0 = w,    w_{k+1} = w_k - rate * gradient of the support's loss at w_k

    Parameters
    ----------
    n_steps : int, >= 0
    last_layer : bool
        Adapt the last layer with weights alone: the features below it are computed once.
    """

    n_steps: int
    last_layer: bool = False

    def adapt(
        self, params: Tensor, rate: Tensor | float, support: Batch, problem: Problem
    ) -> Tensor:
        """Adapted weights (L, n) of L lanes; differentiable if enabled and `params` wants it.

        Parameters
        ----------
        params : Tensor of shape (L, n)
        rate : float, or Tensor of shape (L, n)
        support : Batch
            Rows (L, n_support, ...), see `rows_of`.
        problem : Problem
            Of the lanes, see `Problem.lanes`.
        """
        if not self.n_steps:
            return params
        stages = problem.stages
        n_fixed = len(stages) - 1 if self.last_layer else 0
        fixed, adapting = stages[:n_fixed], stages[n_fixed:]
        (*_, features), _ = forward(fixed, params, support.inputs)
        start = adapting[0].start
        for _ in range(self.n_steps):
            (*_, outputs), tapes = forward(adapting, params, features)
            gradient = back(adapting, tapes, _error(problem, outputs, support))
            step = rate[:, start:] if isinstance(rate, Tensor) else rate
            moved = params[:, start:] - step * gradient
            params = torch.cat([params[:, :start], moved], 1) if start else moved
        return params

    def pull_back(
        self,
        gradient: Tensor,
        adapted: Tensor,
        origins: Sequence[Tensor],
        support: Batch,
        problem: Problem,
    ) -> tuple[Tensor, ...]:
        """Derivatives for the `origins` (L, n), from the `gradient` (L, n) at the `adapted`.

        Differentiating z = W x, dx = W^T dz and dW = dz x^T costs two products each, of as many
        operations as z, but for the first layer, whose inputs want no derivative: two instead of
        six. In passes, forward F (one product a layer) and backward B (two, but one for the first
        layer), that is 4 B - 2 F for every step. Where only the last layer adapts it is four
        products of that layer per step, and one backward pass through the layers below.
        """
        if not self.n_steps:
            return (gradient, *(torch.zeros_like(origin) for origin in origins[1:]))
        stages = problem.stages
        n_support = support.inputs.shape[1]
        forward, backward = problem.pass_work(n_support)
        work = (backward * 4 + forward * -2) * self.n_steps
        if self.last_layer and len(stages) > 1:
            _, head = problem.pass_work(n_support, stages[-1].start)  # one product
            work = head * (4 * self.n_steps - 2) + backward
        problem.charge(work)
        return torch.autograd.grad(adapted, origins, gradient)

    def gradients(
        self, params: Tensor, rate: Tensor | float, queries: Batch, support: Batch, problem: Problem
    ) -> tuple[Tensor, ...]:
        """Derivatives (L, n) of the queries' adapted loss: for `params`, and a tensor `rate`."""
        origins = [
            origin.requires_grad_() for origin in (params, rate) if isinstance(origin, Tensor)
        ]
        with torch.enable_grad():
            adapted = self.adapt(params, rate, support, problem)
        return self.pull_back(
            problem.gradient(adapted, queries), adapted, origins, support, problem
        )


def _error(problem: Problem, outputs: Tensor, batch: Batch) -> Tensor:
    """Derivative of each row's mean loss at the outputs, differentiable again."""
    with torch.enable_grad():
        at = outputs if outputs.requires_grad else outputs.detach().requires_grad_()
        # rows do not mix: a sum keeps them apart
        total = problem.example_losses(at, batch).mean(1).sum()
        return torch.autograd.grad(total, at, create_graph=outputs.requires_grad)[0]
