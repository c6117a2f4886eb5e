"""What every method promises, on every kind of layer and with every choice (`beyond.run.matrix`).

One test a method and a kind of network, by what `beyond.testing.methods` tries.
"""

from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
import torch

from beyond.architectures.mlp import MLP
from beyond.catalog import load, modules
from beyond.errors import UnsupportedError
from beyond.network.activation_layers import ReLU
from beyond.network.initialisations import he
from beyond.network.layered import LayeredNetwork
from beyond.network.layers import Layer, Role
from beyond.network.vector_layers import Linear
from beyond.problem import Problem
from beyond.run.describe import describe
from beyond.run.matrix import SPECS, Combination, combinations, networks, small, verdict
from beyond.streams import Stream
from beyond.testing import methods, steps
from beyond.testing.checks import of
from beyond.testing.trial import Trial

SEEDS = [0, 1]


@pytest.mark.parametrize("kind", SPECS)
@pytest.mark.parametrize("method", modules("method"))
def test_it_trains_what_it_says_or_is_refused(method, kind):
    with suppress(UnsupportedError):
        of(steps.trains_what_it_says, Trial(load("method", method), method), kind)()


@pytest.mark.parametrize(
    "network", [name for name in networks() if not modules("network")[name].TRIALS]
)
def test_an_architecture_without_trials_is_trained_as_the_page_says(network):
    spec = networks()[network]
    for method in modules("method"):
        rule = small(load("method", method))
        combination = Combination(method, "", network, rule, spec)
        told = verdict(combination)
        if told.refusal:
            continue
        start = combination.start([0])
        state = start.state
        for batch in start.batches:
            state = start.rule.step(state, batch, start.problem, start.rng)
        moved = start.rule.params(state) != start.params
        still = [
            block.name
            for block in start.problem.blocks
            if not moved[:, block.start : block.stop].any()
        ]
        assert set(still) == set(told.left_alone), method


@pytest.mark.parametrize("kind", steps.ELSEWHERE)
@pytest.mark.parametrize(
    "check", [steps.steps_elsewhere, steps.steps_in_double, steps.steps_in_bfloat16]
)
@pytest.mark.parametrize("method", modules("method"))
def test_it_steps_elsewhere_as_usual(method, check, kind):
    with suppress(UnsupportedError):
        of(check, Trial(load("method", method), method), kind)()


@pytest.mark.parametrize("method", modules("method"))
def test_dropout_is_on_in_a_step_or_the_file_says_that_it_is_off(method, monkeypatch):
    every = combinations(load("method", method), method)
    combination = next(each for each in every if each.kind == "dropout")

    def stepped():
        start = combination.start(SEEDS)
        if len(combination.rule.left_alone(start.problem)) == len(start.problem.blocks):
            pytest.skip("it leaves every layer alone")
        return start.rule.params(
            start.rule.step(start.state, start.batches[0], start.problem, start.rng)
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


@pytest.mark.parametrize("path", sorted(Path("methods").glob("*.py")), ids=lambda path: path.stem)
def test_a_method_multiplies_through_the_door_and_asks_no_layer_for_its_class(path):
    """A product that is not `problem.matmul` would be charged by nobody, or by hand."""
    text = path.read_text()
    methods.goes_through_the_door(text, str(path))
    assert "isinstance(" not in text


def test_every_layer_says_what_it_is():
    places = [path.stem for path in Path("beyond/network").glob("*layers.py")]
    assert len(places) > 8
    for place in places:
        for layer in vars(import_module(f"beyond.network.{place}")).values():
            if isinstance(layer, type) and issubclass(layer, Layer) and layer is not Layer:
                assert layer.role is not Role.UNKNOWN, layer


def test_a_layer_that_does_not_say_is_refused_by_every_rule_that_asks(make_unknown):
    for name in RULES_THAT_ASK:
        rule = load("method", name)
        problem = make_unknown(rule.signal)
        with pytest.raises(
            UnsupportedError, match=rf"^{name} has no rule for strange_1 \(unknown\): [^\n]+$"
        ):
            rule.init(problem, problem.fresh_weights(Stream("init", [0])), Stream("step", [0]))
