"""Oracles: the definition, by class and query, and automatic differentiation of it."""

import pytest
import torch
from torch.func import grad

from beyond.architectures.cnn import CNN
from beyond.architectures.mlp import MLP
from beyond.errors import UnsupportedError
from beyond.kits.optimizers import SGD
from methods.prototypes import Prototypes

# Distances in the other direction: the furthest class wins.
FAULTS = [
    (
        "methods/prototypes.py",
        "nearness = 2 * lanes.matmul(queries, prototypes.mT) - prototypes.square()",
        "nearness = -2 * lanes.matmul(queries, prototypes.mT) + prototypes.square()",
    ),
    # The prototype of one example would be half of it.
    ("methods/prototypes.py", ".clamp(min=1)", ".clamp(min=2)"),
]

NETWORKS = {"mlp": MLP((6, 4), activation="tanh"), "cnn": CNN((3,))}
SETTINGS = {"ways": 3, "shots": 2, "queries": 4}


@pytest.fixture
def make_episodes(make_problem):
    def make(network, **settings):
        return make_problem(
            Prototypes(SGD()),
            "image/glyphs",
            batch_size=2,
            network=network,
            **(SETTINGS | settings),
        )

    return make


def features(given, params, inputs):
    """Of the layers up to the last with weights, (B, d)."""
    for stage in given.problem.stages[:-1]:
        inputs, _ = stage.forward(params.unsqueeze(0), inputs)
    return inputs[0].flatten(1)


def definition(given, params, replica):
    """Outputs (E * n_query, n_classes), one query and one class at a time."""
    episode, batch, rows = given.task.spec.episode, given.batch, []
    for index in range(2):
        shown = slice(index * episode.n_support, (index + 1) * episode.n_support)
        asked = slice(index * episode.n_query, (index + 1) * episode.n_query)
        support = features(given, params, batch.support.inputs[[replica], shown])
        labels = batch.support.targets[replica, shown]
        prototypes = [
            torch.stack([f for f, y in zip(support, labels, strict=True) if y == c]).mean(0)
            for c in range(3)
        ]
        for query in features(given, params, batch.inputs[[replica], asked]):
            rows.append(
                torch.stack([-((query - prototype) ** 2).sum() for prototype in prototypes])
            )
    return torch.stack(rows)


@pytest.mark.parametrize("shots", [1, 2])
@pytest.mark.parametrize("network", NETWORKS)
def test_outputs_are_minus_squared_distances_to_class_means(network, shots, make_episodes, close):
    given = make_episodes(NETWORKS[network], shots=shots)
    method = Prototypes(SGD())
    state = method.init(given.problem, given.params, given.rng)
    outputs = method.predict(state, given.problem, given.batch)
    expected = torch.stack(
        [definition(given, given.params[replica], replica) for replica in range(2)]
    )
    close(outputs, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("network", NETWORKS)
def test_the_gradient_equals_automatic_differentiation(network, make_episodes, close):
    given = make_episodes(NETWORKS[network])
    gradient = Prototypes(SGD()).direction(
        {"params": given.params}, given.batch, given.problem, given.rng
    )
    for replica in range(2):

        def loss(params, at=replica):
            return torch.nn.functional.cross_entropy(
                definition(given, params, at), given.batch.targets[at]
            )

        expected = grad(loss)(given.params[replica])
        n_used = given.problem.stages[-1].start
        close(gradient[replica], expected[:n_used], rtol=1e-3, atol=1e-5)
        assert (expected[n_used:] == 0).all()


def test_what_it_cannot_serve_is_refused(make_problem):
    method = Prototypes(SGD())
    for task, network, message in (
        ("image/digits", None, "image/digits does not come in episodes"),
        ("regression/sinusoids", None, "values instead of classes"),
        ("image/glyphs", MLP(()), "no hidden layer"),
    ):
        given = make_problem(method, task, network=network)
        with pytest.raises(UnsupportedError, match=message):
            method.init(given.problem, given.params, given.rng)
