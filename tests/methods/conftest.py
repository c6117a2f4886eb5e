"""A small real problem for every method's oracle."""

from types import SimpleNamespace

import pytest
import torch

from beyond import catalog
from beyond.architectures.mlp import MLP
from beyond.problem import Problem, seal
from beyond.streams import Stream


@pytest.fixture
def make_problem():
    """Return a function that makes a problem, its initial weights, a batch and a stream."""

    def make(
        method=None, task="image/digits", seeds=(0, 1), batch_size=16, network=None, **settings
    ):
        # tolerances are for these examples
        made = catalog.load("task", task, **{"split_seed": 0, **settings})
        built = (network or made.spec.network).build(made.spec)
        signal = {} if method is None else {"signal": method.signal}
        problem = Problem(built, made.spec, **signal)
        splits = made.at(seeds)
        batch = splits.batch(
            "train", Stream("data", seeds).integers(splits.size("train"), batch_size)
        )
        return SimpleNamespace(
            task=made,
            problem=problem,
            network=built,
            params=built.init(Stream("init", seeds)),
            batch=batch,
            sealed=batch if method is None else seal(batch, method.signal),
            rng=Stream("step", seeds),
            seeds=list(seeds),
        )

    return make


@pytest.fixture
def deep_network():
    return MLP(hidden=(12, 9), activation="tanh")


@pytest.fixture
def close():
    def check(a, b, rtol=1e-5, atol=1e-7):
        torch.testing.assert_close(a, b, rtol=rtol, atol=atol)

    return check
