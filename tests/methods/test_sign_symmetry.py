"""Oracles: backpropagation, where magnitudes are the weights'; the definition of each kind."""

from math import prod

import pytest
import torch

from beyond.architectures.cnn import CNN
from beyond.architectures.mlp import MLP
from beyond.kits.optimizers import SGD
from beyond.streams import Stream
from methods.backprop import Backprop
from methods.sign_symmetry import SignSymmetry

FAULTS = [
    # the error is carried back upside down
    ("methods/sign_symmetry.py", 'state["params"].sign()', 'state["params"].sign().neg()'),
    # the mean absolute value instead of the root mean square
    ("methods/sign_symmetry.py", ".square().mean(1).sqrt()", ".mean(1)"),
    # drawn once, as if magnitude were fixed
    (
        "methods/sign_symmetry.py",
        'if self.magnitude == "batchwise":',
        'if self.magnitude == "batch":',
    ),
]
PLAIN = SGD(learning_rate=0.5)
KINDS = ["uniform", "batchwise", "fixed"]


@pytest.mark.parametrize(
    "network", [MLP((12, 9), activation="tanh"), MLP((12,), layer_norm=True), CNN((3, 4))]
)
def test_with_the_weights_own_magnitudes_it_is_backpropagation(network, make_problem, close):
    ends = []
    for method in (Backprop(PLAIN), SignSymmetry(PLAIN, magnitude="fixed")):
        given = make_problem(method, network=network)
        state = method.init(given.problem, given.params, given.rng)
        for _ in range(3):
            if "magnitudes" in state:
                state["magnitudes"] = state["params"].abs()
            state = method.step(state, given.sealed, given.problem, given.rng)
        ends.append(method.params(state))
    close(*ends, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("magnitude", KINDS)
def test_signs_follow_the_weights_and_magnitudes_are_as_named(
    magnitude, make_problem, deep_network
):
    method = SignSymmetry(PLAIN, magnitude=magnitude)
    given = make_problem(method, network=deep_network)
    before = method.init(given.problem, given.params, given.rng)
    after = before
    for _ in range(20):
        after = method.step(after, given.sealed, given.problem, given.rng)
    flipped = before["params"].sign() != after["params"].sign()
    assert flipped.any()
    weights = given.network.carriers(after["params"])
    first, last = (method.carriers(state, given.problem) for state in (before, after))
    assert set(last) == {2, 3}
    for depth, carrier in last.items():
        assert torch.equal(carrier.sign(), weights[depth].sign())
        assert torch.equal(carrier.abs(), first[depth].abs()) == (magnitude != "batchwise")
        spread = carrier.abs().flatten(1).std(1)
        assert (spread < 1e-7).all() if magnitude == "uniform" else (spread > 1e-3).all()
        assert carrier.square().mean().sqrt() == pytest.approx(
            float(weights_std(given, depth)), rel=0.2
        )


def test_the_uniform_magnitude_is_the_root_mean_square_of_a_layers_draws(
    make_problem, deep_network, close
):
    method = SignSymmetry(PLAIN)
    given = make_problem(method, network=deep_network)
    carried = method.carriers(method.init(given.problem, given.params, given.rng), given.problem)
    drawn = given.network.init(Stream("step", given.seeds))
    for block in given.network.blocks[1:]:
        weight = drawn[:, block.start : block.start + prod(block.shapes["weight"])]
        level = weight.square().mean(1).sqrt()
        close(
            carried[block.depth].abs(),
            level[:, None, None].expand_as(carried[block.depth]),
            rtol=1e-5,
        )


def weights_std(given, depth):
    return given.network.carriers(given.params)[depth].square().mean().sqrt()


def test_a_step_by_hand(make_problem, close):
    method = SignSymmetry(PLAIN)
    given = make_problem(method, network=MLP((12,), activation="tanh"))
    state = method.init(given.problem, given.params, given.rng)
    w1, w2 = (layer["weight"] for layer in given.network.unflatten(given.params) if layer)
    m2 = [layer["weight"] for layer in given.network.unflatten(state["magnitudes"]) if layer][1]
    x = given.batch.inputs.flatten(2)
    h = torch.tanh(x @ w1.mT)
    e = given.problem.error(h @ w2.mT, given.batch.targets)
    expected = ((e @ (m2 * w2.sign())) * (1 - h**2)).mT @ x
    direction, _ = method.direction(state, given.sealed, given.problem, given.rng)
    found = next(layer["weight"] for layer in given.network.unflatten(direction) if layer)
    close(found, expected, rtol=1e-3, atol=1e-6)
