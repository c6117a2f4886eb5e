"""Bytes that passes read and write, by hand."""

import pytest
import torch

from beyond.architectures.mlp import MLP
from beyond.ledger import Ledger, Work
from beyond.network.activation_layers import ReLU, Tanh
from beyond.network.composite_layers import Chain, residual
from beyond.network.image_layers import Conv2d, MaxPool2d
from beyond.network.initialisations import he
from beyond.network.layered import LayeredNetwork
from beyond.network.vector_layers import Flatten, Linear
from beyond.problem import Problem
from beyond.streams import Stream

FAULTS = [
    # weights are read for each example; what only looks different is copied
    (
        "beyond/network/trainable.py",
        "n_copies * touched.weights",
        "n_examples * touched.weights",
    ),
    ("beyond/network/layers.py", "0 if self.role in UNMOVED else prod(shape)", "prod(shape)"),
    # the error goes on to the inputs of the network
    ("beyond/network/layers.py", "*touched[first + 1 :]", "*touched[first:]"),
    # a population reads one candidate; a product's result is not written
    (
        "beyond/problem.py",
        "self._network.forward_work(n_examples * copies, copies)",
        "self._network.forward_work(n_examples * copies)",
    ),
    ("beyond/problem.py", " + product[0].numel()\n", "\n"),
    # a layer made of layers is one
    (
        "beyond/network/composite_layers.py",
        "for one in layer.within(below)]",
        "for one in [(layer, below)]]",
    ),
]
B, P = 8, 3
# a 6-5-4-3 network: numbers at both ends of each layer, and weights with biases
DENSE = [(6 + 5, 35), (5 + 5, 0), (5 + 4, 24), (4 + 4, 0), (4 + 3, 15)]


@pytest.fixture
def mlp(make_spec):
    return MLP((5, 4)).build(make_spec((6,), 3))


def halves(layers, n_examples=B, n_copies=1):
    """Bytes of half a pass through layers: numbers at their ends, and their weights."""
    return 4 * sum(n_examples * ends + n_copies * weights for ends, weights in layers)


def learning(layers):
    return [layer for layer in layers if layer[1]]


def test_a_pass_forward_moves_weights_once_and_both_ends_of_each_layer(mlp):
    assert mlp.forward_work(B) == Work(B * mlp.forward_flops, halves(DENSE))


def test_a_pass_back_carries_errors_down_to_the_first_weights_and_makes_gradients(mlp):
    both = halves(DENSE[1:]) + halves(learning(DENSE))
    assert mlp.backward_work(B) == Work(B * mlp.backward_flops(), both)
    last = mlp.suffix(1)
    assert mlp.backward_work(B, last).bytes_moved == halves(DENSE[-1:])


def test_a_convolution_moves_its_images_and_kernels_and_a_new_shape_moves_nothing():
    layers = [Conv2d(3, 3, padding=1), ReLU(), MaxPool2d(), Flatten(), Linear(4)]
    network = LayeredNetwork(layers, (2, 6, 6), he)
    image, maps, pooled = 2 * 36, 3 * 36, 3 * 9
    conv, linear = (image + maps, 3 * 2 * 9 + 3), (pooled + 4, 4 * pooled + 4)
    ends = [conv, (2 * maps, 0), (maps + pooled, 0), linear]
    assert network.forward_work(B).bytes_moved == halves(ends)
    assert network.backward_work(B).bytes_moved == halves(ends[1:]) + halves([conv, linear])


def test_layers_within_layers_move_what_they_would_by_themselves():
    parts = Tanh(), Linear(5), Tanh(), Linear(4)
    apart = LayeredNetwork([*parts, Linear(3)], (6,), he)
    nested = LayeredNetwork([Chain(parts), Linear(3)], (6,), he)
    assert nested.forward_work(B) == apart.forward_work(B)
    assert nested.backward_work(B) == apart.backward_work(B)
    shortcut = LayeredNetwork([residual(Linear(6), Tanh()), Linear(3)], (6,), he)
    plain = LayeredNetwork([Linear(6), Tanh(), Linear(3)], (6,), he)
    assert shortcut.forward_work(B) == plain.forward_work(B)


def test_layers_one_by_one_cost_what_they_do_together(mlp, make_spec):
    ledger = Ledger()
    problem = Problem(mlp, make_spec((6,), 3), ledger)
    rng = Stream("test", [0, 1])
    params, x = mlp.init(rng), rng.normal(B, 6)
    tapes = []
    for layer in problem.layers:
        x, tape = layer.forward(params, x)
        tapes.append((layer, tape))
    assert ledger.bytes_moved == mlp.forward_work(B).bytes_moved
    before, error = ledger.bytes_moved, torch.zeros_like(x)
    for place, (layer, tape) in reversed(list(enumerate(tapes))):
        layer.gradient(tape, error)
        error = layer.carry(tape, error) if place else error
    assert ledger.bytes_moved - before == mlp.backward_work(B).bytes_moved


def test_each_candidate_is_read_and_each_lane_pays(mlp, make_spec):
    ledger = Ledger()
    problem = Problem(mlp, make_spec((6,), 3), ledger)
    rng = Stream("test", [0, 1])
    problem.outputs(mlp.init(rng, P), rng.normal(B, 6))
    assert ledger.bytes_moved == halves(DENSE, P * B, P)
    before = ledger.bytes_moved
    problem.lanes(2).outputs(mlp.init(rng, 2), rng.normal(B, 6).repeat_interleave(2, 0))
    assert ledger.bytes_moved - before == halves(DENSE, 2 * B, 2)


def test_a_product_reads_its_factors_and_is_written(mlp, make_spec):
    ledger = Ledger()
    problem = Problem(mlp, make_spec((6,), 3), ledger)
    problem.matmul(torch.ones(2, 3, 4), torch.ones(2, 4, 5))
    assert ledger == Ledger(flops=2 * 3 * 4 * 5, bytes_moved=4 * (12 + 20 + 15))
