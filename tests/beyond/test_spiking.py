"""Oracles: steps by hand, snnTorch's neuron, automatic differentiation in time, frequencies."""

from types import SimpleNamespace

import pytest
import snntorch
import torch

from beyond import catalog
from beyond.architectures.cnn import CNN
from beyond.architectures.mlp import MLP
from beyond.errors import InputError, UnsupportedError
from beyond.kits.spiking import (
    Neurons,
    check,
    count,
    encode,
    escape_noise,
    evenly_spread,
    n_spikes,
    simulate,
    trace,
)
from beyond.ledger import Ledger
from beyond.problem import Problem
from beyond.streams import Stream

SEEDS = [0, 1]


@pytest.fixture
def make():
    def given(network=None, task="image/digits", batch_size=6):
        spec = catalog.load("task", task)
        built = (network or spec.spec.network).build(spec.spec)
        return SimpleNamespace(
            problem=Problem(built, spec.spec, Ledger()),
            params=built.init(Stream("init", SEEDS)),
            inputs=spec.at(SEEDS)
            .batch("train", Stream("data", SEEDS).integers(1257, batch_size))
            .inputs,
        )

    return given


def as_train(numbers):
    """One neuron, one example: (1, T, 1)."""
    return torch.tensor(numbers).view(1, -1, 1)


@pytest.mark.parametrize(
    ("reset", "potentials", "spikes"),
    [
        ("soft", [0.75, 1.125, 0.3125, 0.90625, 3.203125, 0.6015625], [0, 1, 0, 0, 1, 0]),
        ("hard", [0.75, 1.125, 0.75, 1.125, 2.75, 0.0], [0, 1, 0, 1, 1, 0]),
    ],
)
def test_a_few_steps_by_hand(reset, potentials, spikes):
    neurons = Neurons(n_steps=6, decay=0.5, threshold=1.0, reset=reset)
    got = neurons.run(as_train([0.75, 0.75, 0.75, 0.75, 2.75, 0.0]))
    torch.testing.assert_close(
        got, (as_train([float(spike) for spike in spikes]), as_train(potentials))
    )


@pytest.mark.parametrize("reset", ["soft", "hard"])
def test_the_neuron_is_that_of_snntorch(reset):
    currents = 0.5 + Stream("currents", SEEDS).normal(20, 3, 7)
    theirs = snntorch.Leaky(
        beta=0.8, threshold=0.9, reset_mechanism={"soft": "subtract", "hard": "zero"}[reset]
    )
    memory, spikes, potentials = theirs.init_leaky(), [], []
    for current in currents.unbind(1):
        spike, memory = theirs(current, memory)
        spikes.append(spike)
        potentials.append(memory)
    got = Neurons(20, 0.8, 0.9, reset).run(currents)
    torch.testing.assert_close(got, (torch.stack(spikes, 1), torch.stack(potentials, 1)))
    assert 0.1 < got[0].mean() < 0.9


def test_a_constant_current_is_the_same_current_in_every_step():
    currents = Stream("currents", SEEDS).normal(1, 3, 7)
    neurons = Neurons(5, 0.8, 1.0, "soft")
    torch.testing.assert_close(
        neurons.run(currents), neurons.run(currents.expand(-1, 5, -1, -1)), rtol=0, atol=0
    )


@pytest.mark.parametrize("reset", ["soft", "hard"])
def test_errors_travel_back_in_time_as_by_automatic_differentiation(reset):
    rng = Stream("back", SEEDS)
    currents, errors = rng.normal(6, 3, 4).requires_grad_(), rng.normal(6, 3, 4)
    neurons = Neurons(6, 0.7, 0.3, reset)
    # a comparison has no derivative: spikes are held fixed
    spikes, potentials = neurons.run(currents)
    (expected,) = torch.autograd.grad(potentials, currents, errors)
    torch.testing.assert_close(neurons.back(spikes, errors), expected)


def test_traces_by_hand():
    torch.testing.assert_close(
        trace(as_train([1.0, 0.0, 1.0, 0.0]), 0.5), as_train([1.0, 0.5, 1.25, 0.625])
    )


def test_escape_noise_fires_with_the_sigmoid_of_the_potential():
    neurons = Neurons(1, 0.9, 1.0, "soft")
    currents = torch.tensor([0.0, 0.5, 1.0, 2.0]).expand(1, 1, 20_000, -1)
    expected = ((currents[0, 0, 0] - 1) / 0.5).sigmoid()
    spikes, _ = neurons.run(currents, escape_noise(0.5, Stream("noise", [0]))(1, 20_000, 4))
    # four standard deviations
    torch.testing.assert_close(spikes.mean((0, 1, 2)), expected, rtol=0, atol=0.015)
    spikes, _ = Neurons(1000, 0.0, 1.0, "hard").run(
        currents[:, :, :1], escape_noise(0.5)(1000, 1, 4)
    )
    torch.testing.assert_close(spikes.mean((0, 1, 2)), expected, rtol=0, atol=0.005)


def test_numbers_are_evenly_spread_over_time_and_over_cells():
    numbers = evenly_spread(64, 3, 20)
    assert numbers.shape == (1, 64, 1, 3, 20)
    for level in (0.1, 0.5, 0.8):
        torch.testing.assert_close(
            (numbers < level).float().mean(1), torch.full((1, 1, 3, 20), level), rtol=0, atol=0.05
        )
        torch.testing.assert_close(
            (numbers < level).float().mean((3, 4)), torch.full((1, 64, 1), level), rtol=0, atol=0.07
        )


def test_the_rate_code_fires_as_often_as_the_input_is_strong():
    inputs = torch.linspace(-2, 2, 9).view(1, 1, 9).expand(2, 3, 9)
    drawn = encode(inputs, 4000, "rate", Stream("code", SEEDS)).unflatten(1, (4000, 3))
    torch.testing.assert_close(drawn.mean(1), inputs.tanh(), rtol=0, atol=0.035)
    spread = encode(inputs, 50, "rate").unflatten(1, (50, 3))
    torch.testing.assert_close(spread.mean(1), inputs.tanh(), rtol=0, atol=0.04)
    assert set(drawn.unique().tolist()) == {-1.0, 0.0, 1.0}


def test_the_latency_code_fires_once_and_the_stronger_the_earlier():
    inputs = torch.tensor([0.95, -0.95, 0.5, -0.1, 0.0]).atanh().view(1, 1, 5)
    # (T, 5): steps floor(4 * 0.05), floor(4 * 0.5), floor(4 * 0.9)
    got = encode(inputs, 4, "latency")[0]
    expected = torch.zeros(4, 5)
    expected[0, 0], expected[0, 1], expected[2, 2], expected[3, 3] = 1, -1, 1, -1
    torch.testing.assert_close(got, expected)


def test_the_direct_code_is_the_input_itself():
    inputs = Stream("inputs", SEEDS).normal(3, 4)
    assert encode(inputs, 7, "direct") is inputs


@pytest.mark.parametrize("network", [MLP(hidden=(12, 9), activation="tanh"), CNN(channels=(3, 4))])
@pytest.mark.parametrize("code", ["direct", "latency"])
def test_time_folded_into_the_batch_is_time_step_by_step(network, code, make):
    given, neurons = make(network), Neurons(5, 0.8, 0.5, "soft")
    currents, passages = simulate(given.problem, given.params, given.inputs, neurons, code)

    coded = (
        encode(given.inputs, 5, code).unflatten(1, (-1, 6)).expand(-1, 5, *given.inputs.shape[1:])
    )
    kept: dict[int, torch.Tensor] = {}
    for step in range(5):
        x = coded[:, step]
        for index, segment in enumerate(given.problem.layers):
            if passages[index].spikes is None:
                x, _ = segment.forward(given.params, x)
            else:
                potential = 0.8 * kept.get(index, torch.zeros_like(x)) + x
                x = (potential > 0.5).float()
                # what decays to the potential less the threshold
                kept[index] = potential - 0.5 * x / 0.8
        torch.testing.assert_close(currents[:, step], x, rtol=1e-4, atol=1e-5)
    assert all(passage.spikes.mean() > 0.02 for passage in passages if passage.spikes is not None)


def test_layers_are_charged_once_a_step_and_constant_ones_once(make):
    given, neurons = make(), Neurons(5, 0.8, 1.0, "soft")
    for code, first in (("direct", 1), ("latency", 5)):
        given.problem.ledger = Ledger()
        simulate(given.problem, given.params, given.inputs, neurons, code)
        assert given.problem.ledger.flops == 6 * (first * 2 * 64 * 32 + 5 * 2 * 32 * 10)


@pytest.mark.parametrize("code", ["direct", "latency"])
def test_activity_of_a_dense_network(code, make):
    given, neurons = make(), Neurons(5, 0.8, 1.0, "soft")
    _, passages = simulate(given.problem, given.params, given.inputs, neurons, code)
    count(given.problem, passages, code)
    hidden = passages[2].spikes.sum((1, 2, 3))
    # every input but zero fires once
    sent = (given.inputs != 0).sum((1, 2, 3, 4)) if code == "latency" else 0
    torch.testing.assert_close(given.problem.activity["spikes"], (hidden + sent).float())
    torch.testing.assert_close(
        given.problem.activity["accumulates"], (10 * hidden + 32 * sent).float()
    )
    assert hidden.min() > 0


def test_activity_of_a_convolution(make):
    given, neurons = make(CNN(channels=(3, 4))), Neurons(5, 0.8, 0.5, "soft")
    _, passages = simulate(given.problem, given.params, given.inputs, neurons, "direct")
    count(given.problem, passages, "direct")
    first, second = (n_spikes(passage.spikes) for passage in passages if passage.spikes is not None)
    # A spike of the first layer meets a 3 x 3 kernel of each of 4 channels; one of the second is
    # flattened and read.
    torch.testing.assert_close(given.problem.activity["accumulates"], first * 4 * 9 + second * 10)


def test_symbols_have_no_strength(make):
    given = make(task="text/languages")
    check(given.problem, "spiking", "direct")
    with pytest.raises(UnsupportedError, match="symbols have no strength"):
        check(given.problem, "spiking", "rate")


@pytest.mark.parametrize(
    ("key", "bad"), [("n_steps", 0), ("decay", 1.5), ("threshold", 0.0), ("reset", "none")]
)
def test_bad_settings_are_refused(key, bad):
    settings = {"n_steps": 5, "decay": 0.9, "threshold": 1.0, "reset": "soft", key: bad}
    with pytest.raises(InputError, match=rf"^{key} must be"):
        Neurons(**settings)
