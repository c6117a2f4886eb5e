"""Prototypical networks (Snell, Swersky & Zemel, 2017).

A class is the mean of its examples. With f the network up to its last layer with weights, which is
not used, and S_c the support of class c in an episode,

    p_c    = mean over S_c of f(x)                 prototypes
    z_c(x) = -|f(x) - p_c|^2                       the outputs for a query x
    g      = the chain rule, applied to the queries' cross-entropy, through queries and prototypes
                                                   handed to the optimizer; the last layer stays

Departures: the network's hidden layers instead of four convolutions; as many classes in
training as in the test.
Needs: weight transport, global loss, stored activations, backward locking.
Cost: 1 forward and 1 backward pass of support and queries, the last layer left out, and three
products of queries and prototypes.
Check: prototypes and outputs equal their definition, the gradient automatic differentiation of it
(tests/methods/test_prototypes.py).
Source: NeurIPS 2017, arXiv:1703.05175.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from beyond.contracts import Batch, Signal, TargetKind
from beyond.errors import UnsupportedError
from beyond.kits.adaptation import by_episode, by_replica, require_episodes
from beyond.kits.descent import Descent, State
from beyond.kits.optimizers import Adam, Optimizer
from beyond.kits.passes import back, forward, row_numbers
from beyond.problem import Problem
from beyond.search import LogUniform
from beyond.settings import BatchSize, settings
from beyond.streams import Stream


@settings
class Prototypes(Descent):
    """Learn features in which a class is near its mean.

    Parameters
    ----------
    batch_size : int, >= 1, optional
        Episodes per step; None takes the whole training set. So does any larger number.
    """

    signal: ClassVar[Signal] = Signal.GRADIENT

    optimizer: Optimizer = Adam(learning_rate=0.001)
    batch_size: Annotated[BatchSize, LogUniform(4, 64)] = 16

    def require(self, problem: Problem) -> None:
        require_episodes(problem.spec)
        if problem.spec.target_kind is not TargetKind.CLASSES:
            raise UnsupportedError(
                "a prototype is the mean of a class, and this task has values instead of classes"
            )
        if len(problem.stages) < 2:
            raise UnsupportedError(
                "prototypes are means of hidden features, and this network has no hidden layer"
            )

    def trained(self, problem: Problem) -> tuple[int, int]:
        return 0, problem.stages[-1].start

    def direction(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> Tensor:
        support, stages = batch.support, problem.stages[:-1]
        assert support is not None
        inputs = torch.cat([support.inputs, batch.inputs], 1)
        (*_, features), tapes = forward(stages, state["params"], inputs, rng)
        shown, asked = features.tensor_split([support.inputs.shape[1]], 1)
        compared = compare(shown, asked, support.targets, problem)
        error = compared.back(problem.error(compared.outputs, batch.targets)).view(features.shape)
        return back(stages, tapes, error)

    def predict(self, state: State, problem: Problem, batch: Batch) -> Tensor:
        if batch.support is None:
            raise UnsupportedError("prototypes need the support of an episode")
        (*_, shown), _ = forward(problem.stages[:-1], state["params"], batch.support.inputs)
        (*_, asked), _ = forward(problem.stages[:-1], state["params"], batch.inputs)
        return compare(shown, asked, batch.support.targets, problem).outputs


@dataclass(frozen=True)
class Comparison:
    """Queries beside prototypes, with d features each, one row per episode.

    Attributes
    ----------
    queries : Tensor of shape (R * E, n_query, d)
    prototypes : Tensor of shape (R * E, n_classes, d)
    classes : Tensor of shape (R * E, n_support)
        Of the support.
    sizes : Tensor of shape (R * E, n_classes, 1)
        How many of the support are in each class.
    lanes : Problem
        One lane per episode.
    outputs : Tensor of shape (R, E * n_query, n_classes)
        Minus the squared distances.
    """

    queries: Tensor
    prototypes: Tensor
    classes: Tensor
    sizes: Tensor
    lanes: Problem
    outputs: Tensor

    def back(self, error: Tensor) -> Tensor:
        """From the error at the outputs to that at the features, (R, E * (support + query), d)."""
        queries, prototypes, lanes, n_replicas = (
            self.queries,
            self.prototypes,
            self.lanes,
            len(error),
        )
        error = by_episode(error, queries.shape[1])
        for_queries = 2 * (lanes.matmul(error, prototypes) - queries * error.sum(2, keepdim=True))
        for_prototypes = 2 * (
            lanes.matmul(error.mT, queries) - prototypes * error.sum(1).unsqueeze(2)
        )
        for_support = (for_prototypes / self.sizes)[row_numbers(queries), self.classes]
        return torch.cat([by_replica(part, n_replicas) for part in (for_support, for_queries)], 1)


def compare(shown: Tensor, asked: Tensor, targets: Tensor, problem: Problem) -> Comparison:
    """Hold the queries' features (R, E * n_query, ...) against class means of the support."""
    episode, n_replicas = require_episodes(problem.spec), len(asked)
    support, queries = (
        by_episode(shown.flatten(2), episode.n_support),
        by_episode(asked.flatten(2), episode.n_query),
    )
    classes, rows = by_episode(targets, episode.n_support), row_numbers(support)
    n_classes = problem.spec.n_outputs
    sizes = (
        torch.nn.functional.one_hot(classes, n_classes)
        .sum(1)
        .clamp(min=1)
        .unsqueeze(2)
        .to(support.dtype)
    )
    sums = support.new_zeros(len(support), n_classes, support.shape[2])
    prototypes = sums.index_put((rows, classes), support, accumulate=True) / sizes
    lanes = problem.lanes(len(queries) // n_replicas)
    nearness = 2 * lanes.matmul(queries, prototypes.mT) - prototypes.square().sum(2).unsqueeze(1)
    nearness = nearness - queries.square().sum(2, keepdim=True)
    return Comparison(queries, prototypes, classes, sizes, lanes, by_replica(nearness, n_replicas))
