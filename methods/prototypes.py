"""Prototypical networks (Snell, Swersky & Zemel, 2017).

A class is the mean of its examples. With f the network up to its last layer with weights, which is not used, and S_c
the support of class c in an episode,

    p_c    = mean over S_c of f(x)                     prototypes
    z_c(x) = -|f(x) - p_c|^2                           the outputs for a query x
    g      = the chain rule, applied to the queries' cross-entropy, through queries and prototypes alike
                                                       handed to the optimizer; zero for the last layer

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
from beyond.episodes import by_episode, end_to_end, require_episodes
from beyond.errors import UnsupportedError
from beyond.optimizers import Adam, Optimizer
from beyond.problem import Problem
from beyond.segments import Segment
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
        return {"params": params, "optimizer": self.optimizer.init(params)}

    def step(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> State:
        assert batch.support is not None
        gradient = self.gradient(state["params"], batch, batch.support, problem, rng)
        params, optimizer = self.optimizer.update(gradient, state["optimizer"], state["params"])
        return {"params": params, "optimizer": optimizer}

    def gradient(
        self, params: Tensor, queries: Batch, support: Batch, problem: Problem, rng: Stream | None = None
    ) -> Tensor:
        """Derivative (R, n) of the queries' loss."""
        x, tapes, n_support = torch.cat([support.inputs, queries.inputs], 1), [], support.inputs.shape[1]
        stages = _embedding(problem)
        for stage in stages:
            x, tape = stage.forward(params, x, rng)
            tapes.append(tape)
        with torch.enable_grad():
            features = x.detach().requires_grad_()  # (R, E * (n_support + n_query), ...)
            outputs = _outputs(features[:, :n_support], features[:, n_support:], support.targets, problem)
            loss = problem.example_losses(outputs, queries).mean(1).sum()  # replicas do not mix
        error = torch.autograd.grad(loss, features)[0]
        problem.charge(2 * _product_flops(features[:, n_support:], problem))
        gradient = torch.zeros_like(params)
        for stage, tape in zip(reversed(stages), reversed(tapes), strict=True):
            gradient[:, stage.start : stage.stop] = stage.gradient(tape, error)
            error = stage.carry(tape, error) if stage.start else error
        return gradient

    def params(self, state: State) -> Tensor:
        return state["params"]

    def predict(self, state: State, problem: Problem, inputs: Tensor, support: Batch | None = None) -> Tensor:
        if support is None:
            raise UnsupportedError("prototypes need the support of an episode")
        shown, asked = support.inputs, inputs
        for stage in _embedding(problem):
            (shown, _), (asked, _) = stage.forward(state["params"], shown), stage.forward(state["params"], asked)
        return _outputs(shown, asked, support.targets, problem)


def _embedding(problem: Problem) -> Sequence[Segment]:
    return problem.stages[:-1]


def _outputs(shown: Tensor, asked: Tensor, labels: Tensor, problem: Problem) -> Tensor:
    """Minus the squared distance to each prototype, (R, E * n_query, n_classes).

    Parameters
    ----------
    shown, asked : Tensor of shape (R, E * n_support, ...) and (R, E * n_query, ...)
        Features of support and queries.
    labels : Tensor of shape (R, E * n_support)
        Classes of the support.
    """
    episode = require_episodes(problem.spec)
    support, queries = (
        by_episode(values.flatten(2), size) for values, size in ((shown, episode.n_support), (asked, episode.n_query))
    )
    classes = by_episode(labels, episode.n_support)  # (R * E, n_support)
    members = torch.nn.functional.one_hot(classes, problem.spec.n_outputs).to(support.dtype)
    sums = support.new_zeros(len(support), problem.spec.n_outputs, support.shape[2])
    sums = sums.index_put((torch.arange(len(support)).unsqueeze(1), classes), support, accumulate=True)
    prototypes = sums / members.sum(1).clamp(min=1).unsqueeze(2)  # (R * E, n_classes, d)
    problem.charge(_product_flops(asked, problem))
    nearness = 2 * queries @ prototypes.mT - prototypes.square().sum(2).unsqueeze(1)
    return end_to_end(nearness - queries.square().sum(2, keepdim=True), len(asked))


def _product_flops(asked: Tensor, problem: Problem) -> int:
    """Operations of a replica's product of query features (R, E * n_query, ...) and prototypes."""
    return 2 * asked[0].numel() * problem.spec.n_outputs
