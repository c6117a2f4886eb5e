"""A rule on a network with buffers, such as the running statistics of batch normalisation.

They are part of the state, beside the rule's, which never sees them: it changes weights, and its
passes in training change the buffers of the weights they are made with, as in torch. A rule that
makes no such pass in a step, since it only tries candidates, leaves that to us: one pass, charged,
at the weights that the step began with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypedDict

from torch import Tensor

from beyond.contracts import Batch, Method
from beyond.errors import UnsupportedError
from beyond.network.trainable import NO_BUFFERS, Buffers, Network
from beyond.problem import Problem
from beyond.run.setup import Setup
from beyond.streams import Stream


class State(TypedDict):
    """The rule's, and the buffers (R, ...) by name."""

    rule: Any
    buffers: Buffers


class Buffered(Method[State]):
    """A rule, and the buffers of the network that it trains.

    A batch with fewer than the `fewest` examples that the network takes in training is refused.
    """

    def __init__(self, rule: Method[Any], fewest: int = 1) -> None:
        self.rule = rule
        self.fewest = fewest
        self.signal = rule.signal  # pyright: ignore[reportAttributeAccessIssue]
        self.batch_size = rule.batch_size

    def init(self, problem: Problem, params: Tensor, rng: Stream) -> State:
        """Start with the problem's buffers, or with those that the network starts with.

        `UnsupportedError` for batches that the network cannot take in training.
        """
        if self.batch_size is not None and self.batch_size < self.fewest:
            raise UnsupportedError(
                f"the network cannot be trained on fewer than {self.fewest} examples at a time, as "
                f"where a batch is normalised: method.batch_size is {self.batch_size}"
            )
        buffers = problem.buffers or problem.fresh_buffers(len(params))
        return {"rule": self.rule.init(problem.holding(buffers), params, rng), "buffers": buffers}

    def step(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> State:
        door = problem.holding(state["buffers"])
        rule = self.rule.step(state["rule"], batch, door, rng)
        if door.buffers is state["buffers"]:
            door.forward(self.params(state), batch.inputs, rng)
        return {"rule": rule, "buffers": door.buffers}

    def params(self, state: State) -> Tensor:
        return self.rule.params(state["rule"])

    def predict(self, state: State, problem: Problem, batch: Batch) -> Tensor:
        return self.rule.predict(state["rule"], problem.holding(state["buffers"]), batch)

    def carriers(self, state: State, problem: Problem) -> Mapping[int, Tensor] | None:
        return self.rule.carriers(state["rule"], problem)

    def left_alone(self, problem: Problem) -> Sequence[str]:
        return self.rule.left_alone(problem)

    def done(self, state: State) -> bool:
        return self.rule.done(state["rule"])


def buffered(rule: Method[Any], network: Network) -> Method[Any]:
    """Return a rule that keeps the network's buffers, if it has any."""
    return Buffered(rule, network.fewest) if network.fresh_buffers(1) else rule


def buffers_of(state: Any, network: Network) -> Buffers:
    """Return the buffers (R, ...) in the state of a rule on a network; empty without any."""
    return state["buffers"] if network.fresh_buffers(1) else NO_BUFFERS


def with_buffers(setup: Setup) -> Setup:
    """Return a setup whose rules keep the network's buffers, if it has any."""
    also = {name: buffered(other, setup.network) for name, other in setup.also.items()}
    return replace(setup, method=buffered(setup.method, setup.network), also=also)
