"""Prototypical networks (Snell, Swersky & Zemel, 2017).

A class is the mean of its examples. With f the network up to its last layer with weights, which is not used, and S_c
the support of class c in an episode,

    p_c    = mean over S_c of f(x)                     prototypes
    z_c(x) = -|f(x) - p_c|^2                           the outputs for a query x
    g      = the chain rule, applied to the queries' cross-entropy, through queries and prototypes alike
                                                       handed to the optimizer; the last layer stays

Departures: the network's own hidden layers instead of four convolutions; as many classes in training as in the test.
Needs: weight transport, global loss, stored activations, backward locking.
Cost: 1 forward and 1 backward pass of support and queries, the last layer left out, and three products of queries and
prototypes.
Check: prototypes and outputs equal their definition, the gradient automatic differentiation of it
(tests/methods/test_prototypes.py).
Source: NeurIPS 2017, arXiv:1703.05175.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, TypedDict

import torch
from torch import Tensor

from beyond.contracts import Batch, Method, Signal, TargetKind
from beyond.data.episodes import by_episode, end_to_end, require_episodes
from beyond.errors import UnsupportedError
from beyond.kits.optimizers import Adam, Optimizer
from beyond.network.segments import Segment
from beyond.problem import Problem
from beyond.settings import PositiveInt, settings
from beyond.streams import Stream


class State(TypedDict):
    """Weights, and what the optimizer remembers."""

    params: Tensor  # (R, n)
    optimizer: dict[str, Any]


@settings
class Prototypes(Method[State]):
    """Learn features in which a class is near its mean.

    Parameters
    ----------
    optimizer : Optimizer
        Turns the gradient into a change of the weights.
    batch_size : int, >= 1
        Episodes a step.
    """

    signal: ClassVar[Signal] = Signal.GRADIENT

    optimizer: Optimizer = Adam(learning_rate=0.001)
    batch_size: PositiveInt = 16

    def init(self, problem: Problem, params: Tensor, rng: Stream) -> State:
        require_episodes(problem.spec)
        if problem.spec.target is not TargetKind.CLASSES:
            raise UnsupportedError("a prototype is the mean of a class, and this task has values instead of classes")
        if len(problem.stages) < 2:
            raise UnsupportedError("prototypes are means of hidden features, and this network has no hidden layer")
        return {"params": params, "optimizer": self.optimizer.init(params[:, : problem.stages[-1].start])}

    def step(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> State:
        assert batch.support is not None
        trained, unused = state["params"].tensor_split([problem.stages[-1].start], 1)
        gradient = self.gradient(state["params"], batch, batch.support, problem, rng)
        trained, optimizer = self.optimizer.update(gradient, state["optimizer"], trained)
        return {"params": torch.cat([trained, unused], 1), "optimizer": optimizer}

    def gradient(
        self, params: Tensor, queries: Batch, support: Batch, problem: Problem, rng: Stream | None = None
    ) -> Tensor:
        """Derivative of the queries' loss for the weights of all layers but the last, (R, m)."""
        x, tapes = torch.cat([support.inputs, queries.inputs], 1), []
        stages = _embedding(problem)
        for stage in stages:
            x, tape = stage.forward(params, x, rng)
            tapes.append(tape)
        episode, n_shown = require_episodes(problem.spec), support.inputs.shape[1]
        shown, asked = _cut(x[:, :n_shown], episode.n_support), _cut(x[:, n_shown:], episode.n_query)
        classes = by_episode(support.targets, episode.n_support)
        lanes = problem.lanes(len(asked) // len(x))
        prototypes, sizes = _prototypes(shown, classes, problem.spec.n_outputs)
        outputs = end_to_end(_nearness(asked, prototypes, lanes), len(x))
        error = by_episode(problem.error(outputs, queries.targets), episode.n_query)  # (R * E, n_query, n_classes)

        for_asked = 2 * (lanes.matmul(error, prototypes) - asked * error.sum(2, keepdim=True))
        for_prototypes = 2 * (lanes.matmul(error.mT, asked) - prototypes * error.sum(1).unsqueeze(2))
        for_shown = (for_prototypes / sizes)[torch.arange(len(classes)).unsqueeze(1), classes]
        error = torch.cat([end_to_end(part, len(x)) for part in (for_shown, for_asked)], 1).view(x.shape)
        gradients: list[Tensor] = []
        for stage, tape in zip(reversed(stages), reversed(tapes), strict=True):
            gradients.insert(0, stage.gradient(tape, error))
            error = stage.carry(tape, error) if stage.start else error
        return torch.cat(gradients, 1)

    def params(self, state: State) -> Tensor:
        return state["params"]

    def left_alone(self, problem: Problem) -> Sequence[str]:
        return problem.names_of(problem.stages[-1:])

    def predict(self, state: State, problem: Problem, inputs: Tensor, support: Batch | None = None) -> Tensor:
        if support is None:
            raise UnsupportedError("prototypes need the support of an episode")
        shown, asked = support.inputs, inputs
        for stage in _embedding(problem):
            (shown, _), (asked, _) = stage.forward(state["params"], shown), stage.forward(state["params"], asked)
        episode = require_episodes(problem.spec)
        classes = by_episode(support.targets, episode.n_support)
        prototypes, _ = _prototypes(_cut(shown, episode.n_support), classes, problem.spec.n_outputs)
        queries = _cut(asked, episode.n_query)
        lanes = problem.lanes(len(queries) // len(asked))
        return end_to_end(_nearness(queries, prototypes, lanes), len(asked))


def _embedding(problem: Problem) -> Sequence[Segment]:
    return problem.stages[:-1]


def _cut(features: Tensor, n_examples: int) -> Tensor:
    """Features (R, E * n_examples, ...) as a row an episode, (R * E, n_examples, d)."""
    return by_episode(features.flatten(2), n_examples)


def _prototypes(support: Tensor, classes: Tensor, n_classes: int) -> tuple[Tensor, Tensor]:
    """Means (R * E, n_classes, d) of each class's support, and how many examples each has, (R * E, n_classes, 1)."""
    sizes = torch.nn.functional.one_hot(classes, n_classes).sum(1).clamp(min=1).unsqueeze(2).to(support.dtype)
    sums = support.new_zeros(len(support), n_classes, support.shape[2])
    rows = torch.arange(len(support)).unsqueeze(1)
    return sums.index_put((rows, classes), support, accumulate=True) / sizes, sizes


def _nearness(queries: Tensor, prototypes: Tensor, lanes: Problem) -> Tensor:
    """Minus the squared distances (R * E, n_query, n_classes)."""
    nearness = 2 * lanes.matmul(queries, prototypes.mT) - prototypes.square().sum(2).unsqueeze(1)
    return nearness - queries.square().sum(2, keepdim=True)
