"""The loss over weights: parabolas, Hessians, filters and permutations that are known."""

from itertools import pairwise, permutations

import numpy as np
import pytest
import torch

from beyond.architectures.cnn import CNN
from beyond.architectures.mlp import MLP
from beyond.contracts import Batch, TargetKind, TaskSpec
from beyond.hardware import Hardware
from beyond.run.landscape import (
    Surface,
    excess,
    filter_normalised,
    has_like_units,
    largest_eigenvalue,
    matched,
    rise,
)
from beyond.streams import Stream

FAULTS = [
    ("beyond/run/landscape.py", "some[0].unsqueeze(1) + places", "some[0].unsqueeze(1) - places"),
    ("beyond/run/landscape.py", "origins.split(n_at_once), axes", "origins.split(1), axes"),
    ("beyond/run/landscape.py", "shift = (-found).clamp(min=0)", "shift = torch.zeros_like(found)"),
    ("beyond/run/landscape.py", "return found - shift, vectors", "return found, vectors"),
    ("beyond/run/landscape.py", "torch.lerp(values[:, :1], values[:, -1:], places)", "values[:, :1]"),
    ("beyond/run/landscape.py", "values.cummin(1).values", "values[:, :1]"),
    ("beyond/run/landscape.py", "if len(shape) > 1:", "if shape:"),
    ("beyond/run/landscape.py", "rows = weights[:, start:stop].unflatten(1, (shape[0], -1))", "rows = weights[:, start:stop].unflatten(1, (1, -1))"),
    # units of the next layer, or those that come before, keep their places
    ("beyond/run/landscape.py", "columns = [inputs, *orders[:-1]]", "columns = [inputs, *orders[1:]]"),
    ("beyond/run/landscape.py", "alike += ours[layer + 1][:, :-1].T @ above", "alike += 0"),
    ("beyond/run/landscape.py", "orders[layer], changes = best, True", "orders[layer], changes = best, False"),
]  # fmt: skip
EXACT = Hardware(precision="float64")


def made(architecture, shape=(3,), kind=TargetKind.VALUES, n_outputs=2, n_points=4, n_examples=9):
    """A network in double precision, its surface on random examples, and random weights."""
    spec = TaskSpec("made", shape, n_outputs, kind, architecture, "r2_score", (0.1, 0.2, 0.3))
    network = architecture.build(spec).on(EXACT)
    draws = Stream("test", [0], EXACT)
    inputs = draws.normal(n_examples, *shape)
    values = draws.normal(n_examples, n_outputs)
    targets = values if kind is TargetKind.VALUES else values.argmax(2)
    weights = draws.normal(n_points, network.n_weights)[0]
    return network, Surface(network, spec, Batch(inputs, targets)), weights


def hessian(surface, point):
    """Of the loss, by automatic differentiation through the network."""
    return torch.autograd.functional.hessian(
        lambda weights: surface._problem.population_loss(weights[None, None], surface.batch).sum(),
        point,
    )


def test_the_loss_of_a_linear_network_is_a_parabola_along_a_line_and_a_paraboloid_on_a_plane():
    _, surface, (a, b, c, _) = made(MLP(()))
    places = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.3, -0.7]], dtype=torch.float64)
    axes = torch.stack([b - a, c - a])
    found = surface.over(torch.stack([a, b]), axes.expand(2, -1, -1), places)
    x, y = surface.batch.inputs[0].numpy(), surface.batch.targets[0].numpy()

    def loss(weights):
        matrix, bias = weights[:6].reshape(2, 3), weights[6:]
        return 0.5 * ((x @ matrix.T + bias - y) ** 2).sum(1).mean()

    points = np.array([[(o + at @ axes).numpy() for at in places] for o in (a, b)])
    expected = [[loss(point) for point in row] for row in points]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)
    line = torch.linspace(0, 1, 5, dtype=torch.float64)
    (along,) = surface.over(a[None], (b - a)[None, None], line[:, None])
    curvature = (b - a) @ hessian(surface, a) @ (b - a)
    slope = torch.autograd.functional.jacobian(
        lambda w: surface._problem.population_loss(w[None, None], surface.batch).sum(), a
    ) @ (b - a)
    parabola = along[0] + slope * line + curvature / 2 * line**2
    np.testing.assert_allclose(along.numpy(), parabola.numpy(), rtol=1e-12)
    # and so is what it exceeds its chord by: at the middle by an eighth of the curvature
    np.testing.assert_allclose(excess(along[None], line)[0, 2], -curvature / 8, rtol=1e-12)


def test_many_points_are_measured_in_parts_as_one_is(monkeypatch):
    _, surface, weights = made(MLP((4,)))
    axes, places = weights.flip(0)[:, None], torch.linspace(-1, 1, 7, dtype=torch.float64)[:, None]
    whole = surface.over(weights, axes, places)
    monkeypatch.setattr("beyond.run.landscape.GROUP", 7 * weights.shape[1] * 3)
    torch.testing.assert_close(surface.over(weights, axes, places), whole, rtol=1e-14, atol=0)


def test_the_sharpness_of_a_linear_network_is_the_largest_eigenvalue_of_its_inputs():
    network, surface, weights = made(MLP(()), n_examples=50)
    inputs = surface.batch.inputs[0].numpy()
    columns = np.c_[inputs, np.ones(len(inputs))]
    expected = np.linalg.eigvalsh(columns.T @ columns / len(inputs))[-1]
    found = surface.sharpness(weights, weights.flip(0))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)
    assert network.n_weights == 2 * columns.shape[1]


@pytest.mark.parametrize(
    ("architecture", "shape"),
    [(MLP((4, 3), activation="tanh"), (3,)), (MLP((5,)), (3,)), (CNN((2,)), (1, 6, 6))],
    ids=["tanh", "relu", "cnn"],
)
def test_the_sharpness_is_the_largest_eigenvalue_of_the_whole_hessian(architecture, shape):
    _, surface, weights = made(architecture, shape, TargetKind.CLASSES, n_outputs=3)
    product = surface.hessian(weights)
    found = surface.sharpness(weights, torch.ones_like(weights))
    for row, point in enumerate(weights):
        whole = hessian(surface, point)
        vectors = weights.flip(0)
        np.testing.assert_allclose(product(vectors)[row], whole @ vectors[row], atol=1e-12)
        np.testing.assert_allclose(found[row], np.linalg.eigvalsh(whole.numpy())[-1], rtol=1e-3)


def test_the_largest_eigenvalue_is_found_beside_a_negative_one_of_larger_size():
    values = torch.tensor([[3.0, 1.0, -7.0], [3.0, 1.0, -2.0], [-4.0, -5.0, -6.0]]).double()
    found = largest_eigenvalue(lambda vectors: values * vectors, torch.ones(3, 3).double())
    np.testing.assert_allclose(found, [3, 3, -4], rtol=1e-4)


def test_the_rise_is_what_a_line_climbs_from_the_lowest_point_so_far():
    values = torch.tensor([[5.0, 3.0, 4.0, 2.0, 2.5], [5.0, 4.0, 3.0, 2.0, 1.0]])
    assert rise(values).tolist() == [[0, 0, 1, 0, 0.5], [0, 0, 0, 0, 0]]
    assert excess(values, torch.linspace(0, 1, 5)).tolist() == [
        [0, -1.375, 0.25, -1.125, 0],
        [0, 0, 0, 0, 0],
    ]


@pytest.mark.parametrize(
    ("architecture", "shape"), [(MLP((4, 3), layer_norm=True), (3,)), (CNN((2,)), (1, 6, 6))]
)
def test_each_filter_of_a_direction_is_as_long_as_that_of_the_weights(architecture, shape):
    network, _, weights = made(architecture, shape)
    draws = Stream("draws", [0], EXACT).normal(*weights.shape)[0]
    directions = filter_normalised(network, weights, draws)
    views = zip(*(network.unflatten(one) for one in (weights, directions, draws)), strict=True)
    for layer, direction, drawn in views:
        for name, values in layer.items():
            if values.ndim == 2:  # biases and gains, one a unit
                assert not direction[name].any()
                continue
            lengths = direction[name].flatten(2).norm(dim=2)
            torch.testing.assert_close(lengths, values.flatten(2).norm(dim=2))
            cosine = torch.cosine_similarity(direction[name].flatten(2), drawn[name].flatten(2), 2)
            torch.testing.assert_close(cosine, torch.ones_like(cosine))


def permuted(network, weights, seed=0):
    """The same network with its hidden units in another order."""
    maps = [
        {name: one[0] for name, one in layer.items()}
        for layer in network.unflatten(weights[None])
        if layer
    ]
    draws = np.random.default_rng(seed)
    for below, above in pairwise(maps):
        order = draws.permutation(len(below["bias"]))
        below["weight"], below["bias"] = below["weight"][order], below["bias"][order]
        above["weight"] = above["weight"][:, order]
    return torch.cat([one[name].flatten() for one in maps for name in ("weight", "bias")])


@pytest.mark.parametrize("hidden", [(8,), (6, 5, 7)])
def test_a_copy_with_permuted_units_is_beyond_a_barrier_that_matching_takes_away(hidden):
    network, surface, (a, *_) = made(MLP(hidden), kind=TargetKind.CLASSES, n_outputs=3)
    inputs = surface.batch.inputs
    surface.batch = Batch(inputs, network.outputs(a[None], inputs).argmax(2))  # a is right
    places = torch.linspace(0, 1, 11, dtype=torch.float64)

    def along(a, b):
        return surface.over(a[None], (b - a)[None, None], places[:, None])

    b = permuted(network, a)
    between = along(a, b)
    torch.testing.assert_close(between[0, 0], between[0, -1], rtol=1e-12, atol=0)
    assert excess(between, places).max() > 0.001
    found = matched(network, a, b)
    assert torch.equal(found, a)
    assert (excess(along(a, found), places) == 0).all()


def test_matching_keeps_the_function_and_brings_different_solutions_nearer():
    network, surface, (a, b, *_) = made(MLP((6, 5), activation="tanh"))
    found = matched(network, a, b)
    outputs = [network.outputs(one[None], surface.batch.inputs) for one in (b, found)]
    torch.testing.assert_close(*outputs, rtol=1e-12, atol=1e-12)
    assert (found - a).norm() < (b - a).norm()
    assert torch.equal(found.sort().values, b.sort().values)
    assert torch.equal(matched(network, a, found), found)


@pytest.mark.parametrize("pair", [(0, 1), (1, 2), (2, 3), (3, 0)])
def test_the_order_of_one_hidden_layer_is_the_best_of_all(pair):
    network, _, weights = made(MLP((4,)))
    (below, above), (first, second) = (
        [one for one in network.unflatten(weights[[place]]) if one] for place in pair
    )

    def alike(order):
        kept, o = (below["weight"], below["bias"], above["weight"]), list(order)
        theirs = (first["weight"][0, o], first["bias"][0, o], second["weight"][0][:, o])
        return sum((one[0] * other).sum() for one, other in zip(kept, theirs, strict=True))

    best = list(max(permutations(range(4)), key=alike))
    found = network.unflatten(matched(network, *weights[list(pair)])[None])
    assert torch.equal(next(one for one in found if one)["weight"][0], first["weight"][0, best])


def test_hidden_units_change_places_in_dense_layers_alone():
    alike = {
        "mlp": MLP((4, 3)),
        "dropout": MLP((4,), dropout=0.1),
        "linear": MLP(()),
        "norm": MLP((4,), layer_norm=True),
        "residual": MLP((4, 4), residual=True),
    }
    found = {name: has_like_units(made(one)[0]) for name, one in alike.items()}
    assert found == {
        "mlp": True,
        "dropout": True,
        "linear": False,
        "norm": False,
        "residual": False,
    }
    assert not has_like_units(made(CNN((2,)), (1, 6, 6))[0])
