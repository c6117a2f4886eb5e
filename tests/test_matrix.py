"""What every method promises, on every kind of layer and with every choice (`beyond.run.matrix`).

One test a method and a kind of network. Every layer with weights changes within two
steps or is named as left alone, or the method is refused in one line before the first; the ledger
is what torch counts, the state it was given is left alone, a replica is the same seed alone, and a
step from a saved state is the step from the state itself.
"""

import ast
import io
from dataclasses import replace
from math import prod
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import beyond.network.image_layers
import beyond.network.layers
import beyond.network.sequence_layers
from beyond.architectures.mlp import MLP
from beyond.catalog import load, modules
from beyond.errors import UnsupportedError
from beyond.network.initialisations import he
from beyond.network.layered import LayeredNetwork
from beyond.network.layers import Layer, Linear, ReLU, Role
from beyond.problem import Problem
from beyond.run.describe import describe
from beyond.run.matrix import SPECS, combinations
from beyond.streams import Stream

SEEDS = [0, 1]
# Torch, differentiating a convolution's backward pass, multiplies in the first layer for a
# derivative nobody asked for.
WASTEFUL = {("maml", "", "cnn"), ("meta_sgd", "", "cnn")}
PATIENCE = 8  # steps: a population may keep its best, and a search what it has


def convolution_backward(
    dy, x, weight, bias, stride, padding, dilation, transposed, out_padding, groups, mask, **_
):
    """Operations of a convolution's backward pass; torch's formula ignores groups."""
    return 2 * prod(dy) * prod(weight[1:]) * (mask[0] + mask[1])


COUNTED = {torch.ops.aten.convolution_backward: convolution_backward}


def copy(value):
    if isinstance(value, torch.Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {key: copy(item) for key, item in value.items()}
    return type(value)(copy(item) for item in value) if isinstance(value, list | tuple) else value


def saved(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def check(combination):
    rule, start = combination.rule, combination.start(SEEDS)
    problem, (batch, other) = start.problem, start.batches
    given, charged = copy(start.state), problem.ledger.flops
    with FlopCounterMode(display=False, custom_mapping=COUNTED) as counter:
        first = rule.step(start.state, batch, problem, start.rng)
    spent, counted = problem.ledger.flops - charged, counter.get_total_flops() / len(SEEDS)
    if (combination.method, combination.choice, combination.kind) in WASTEFUL:
        assert 0 < counted - spent < spent / 5
    else:
        assert spent == counted, "the ledger is not torch's count"
    assert_equal(start.state, given, "the state it was given")

    draws = start.rng.state()
    second = rule.step(first, other, problem, start.rng)
    after = start.rng.state()
    start.rng.restore(draws)
    assert_equal(
        rule.step(saved(first), other, problem, start.rng), second, "a step from a saved state"
    )
    start.rng.restore(after)

    alone = combination.start(SEEDS[1:])
    single = rule.params(rule.step(alone.state, alone.batches[0], alone.problem, alone.rng))
    torch.testing.assert_close(
        rule.params(first)[1:], single, rtol=1e-4, atol=1e-5, msg="a replica is not the seed alone"
    )

    states = [start.state, first, second]
    while len(states) <= PATIENCE and still(problem, rule, states) - left_alone(problem, rule):
        states.append(rule.step(states[-1], batch, problem, start.rng))
    assert still(problem, rule, states) == left_alone(problem, rule)


def still(problem, rule, states):
    """Names of the blocks that are the same in all states, for some replica."""
    first, *others = map(rule.params, states)
    changed = torch.stack([(other != first) for other in others]).any(0)
    return {
        block.name
        for block in problem.blocks
        if not changed[:, block.start : block.stop].any(1).all()
    }


def left_alone(problem, rule):
    return set(rule.left_alone(problem))


def assert_equal(found, expected, what):
    torch.testing.assert_close(found, expected, rtol=0, atol=0, msg=lambda said: f"{what}: {said}")


@pytest.mark.parametrize("kind", SPECS)
@pytest.mark.parametrize("method", modules("method"))
def test_it_trains_what_it_says_or_is_refused(method, kind):
    for combination in combinations(method):
        if combination.kind != kind:
            continue
        try:
            combination.start(SEEDS[:1])
        except UnsupportedError as refusal:
            assert "\n" not in str(refusal)  # noqa: PT017
            continue
        try:
            check(combination)
        except Exception as error:
            raise AssertionError(f"{method} {combination.choice} on {kind}: {error}") from error


@pytest.mark.parametrize("method", modules("method"))
def test_dropout_is_on_in_a_step_or_the_file_says_that_it_is_off(method, monkeypatch):
    combination = next(each for each in combinations(method) if each.kind == "dropout")

    def stepped():
        start = combination.start(SEEDS)
        if len(left_alone(start.problem, combination.rule)) == len(start.problem.blocks):
            pytest.skip("it leaves every layer alone")
        return combination.rule.params(
            combination.rule.step(start.state, start.batches[0], start.problem, start.rng)
        )

    try:
        dropped = stepped()
    except UnsupportedError:
        pytest.skip("it refuses dropout")
    monkeypatch.setitem(SPECS, "dropout", replace(SPECS["dropout"], network=MLP((8, 8))))
    assert torch.equal(dropped, stepped()) == (
        "dropout is off" in describe(method).departures.lower()
    )


class Strange(Linear):
    """A layer that came later."""

    role = Role.UNKNOWN


RULES_THAT_ASK = (
    "direct_feedback_alignment",
    "equilibrium_propagation",
    "feedback_alignment",
    "hebbian",
    "meta_sgd",
    "node_perturbation",
    "pepita",
    "sign_symmetry",
    "spiking_stdp",
    "spiking_surrogate",
    "target_propagation",
)


@pytest.fixture
def make_unknown():
    """Return a function that makes a problem whose first layer does not say what it is."""

    def make(signal):
        network = LayeredNetwork([Strange(5), ReLU(), Linear(4)], (6,), he)
        return Problem(network, SPECS["mlp"], signal=signal)

    return make


PRODUCTS = {
    *("matmul", "mm", "bmm", "mv", "dot", "inner", "outer"),
    *("addmm", "baddbmm", "addbmm", "einsum", "tensordot"),
}


@pytest.mark.parametrize("path", sorted(Path("methods").glob("*.py")), ids=lambda path: path.stem)
def test_a_method_multiplies_through_the_door_and_asks_no_layer_for_its_class(path):
    """A product that is not `problem.matmul` would be charged by nobody, or by hand."""
    for node in ast.walk(ast.parse(path.read_text())):
        assert not isinstance(getattr(node, "op", None), ast.MatMult), (
            f"{path}:{node.lineno} multiplies with @"
        )
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            owner, _, name = called.rpartition(".")
            assert called != "isinstance", f"{path}:{node.lineno} asks for a class"
            assert name not in PRODUCTS or owner in ("problem", "lanes"), (
                f"{path}:{node.lineno} calls {called}"
            )
            assert name != "charge", f"{path}:{node.lineno} charges by hand"
        if isinstance(node, ast.Attribute):
            assert not (
                node.attr.startswith("_") and ast.unparse(node.value) in ("problem", "lanes")
            )


def test_every_layer_says_what_it_is():
    modules = [
        beyond.network.layers,
        beyond.network.image_layers,
        beyond.network.sequence_layers,
    ]
    layers = [
        value for module in modules for value in vars(module).values() if isinstance(value, type)
    ]
    for layer in layers:
        if issubclass(layer, Layer) and layer is not Layer:
            assert layer.role is not Role.UNKNOWN, layer


def test_a_layer_that_does_not_say_is_refused_by_every_rule_that_asks(make_unknown):
    for name in RULES_THAT_ASK:
        rule = load("method", name)
        problem = make_unknown(rule.signal)
        with pytest.raises(
            UnsupportedError, match=rf"^{name} has no rule for strange_1 \(unknown\): [^\n]+$"
        ):
            rule.init(problem, problem.fresh_weights(Stream("init", [0])), Stream("step", [0]))
