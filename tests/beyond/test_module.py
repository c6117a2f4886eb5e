"""A wrapped torch module against the stacked network of the same layers."""

import math
import random
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from beyond import losses
from beyond.errors import InputError, UnsupportedError
from beyond.module import Module, ModuleNetwork
from beyond.network import MLP
from beyond.streams import Stream

SEEDS = [0, 1, 2]


def sequential():
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))


@pytest.fixture
def twins(make_spec):
    """The same architecture wrapped and stacked, with the same weights."""
    spec, rng = make_spec(), Stream("test", SEEDS)
    wrapped, stacked = ModuleNetwork(sequential, spec), MLP((5, 4)).build(spec)
    return SimpleNamespace(
        wrapped=wrapped,
        stacked=stacked,
        params=wrapped.init(rng),
        inputs=rng.normal(4, 6),
        targets=rng.integers(3, 4),
    )


def gradient(network, twins, start=0):
    outputs, tape = network.forward(twins.params, twins.inputs)
    return network.backward(tape, losses.cross_entropy_error(outputs, twins.targets), start=start)


def test_outputs_and_gradients_are_the_stacked_networks(twins, close):
    close(twins.wrapped.outputs(twins.params, twins.inputs), twins.stacked.outputs(twins.params, twins.inputs))
    for block in twins.stacked.blocks:
        close(gradient(twins.wrapped, twins, block.start), gradient(twins.stacked, twins, block.start))


def test_outputs_are_the_modules_own(twins, close):
    for params, inputs, outputs in zip(
        twins.params, twins.inputs, twins.wrapped.outputs(twins.params, twins.inputs), strict=True
    ):
        module = sequential()
        nn.utils.vector_to_parameters(params, module.parameters())
        close(outputs, module(inputs))


def test_automatic_differentiation_goes_through(twins, close):
    weights = twins.params.clone().requires_grad_()
    outputs, _ = twins.wrapped.forward(weights, twins.inputs)
    losses.cross_entropy(outputs, twins.targets).sum().backward()
    close(weights.grad, gradient(twins.stacked, twins))


def test_a_population_shares_its_replicas_inputs(twins, close):
    population = twins.params.repeat_interleave(2, 0) * torch.linspace(0.5, 1.5, 6).unsqueeze(1)
    close(twins.wrapped.outputs(population, twins.inputs), twins.stacked.outputs(population, twins.inputs))


def test_blocks_and_flops_are_the_stacked_networks(twins):
    wrapped, stacked = twins.wrapped, twins.stacked
    assert [(own.start, own.stop, own.depth) for own in wrapped.blocks] == [
        (own.start, own.stop, own.depth) for own in stacked.blocks
    ]
    assert [own.name for own in wrapped.blocks] == ["0", "2", "4"]
    assert wrapped.n_weights == stacked.n_weights
    assert wrapped.suffix(1) == stacked.suffix(1)
    assert wrapped.forward_flops == stacked.forward_flops
    assert wrapped.backward_flops() == stacked.backward_flops()


def test_flops_are_those_torch_counts_in_the_stacked_passes(twins):
    with FlopCounterMode(display=False) as forward:
        outputs, tape = twins.wrapped.forward(twins.params, twins.inputs)
    with FlopCounterMode(display=False) as backward:
        twins.wrapped.backward(tape, outputs)
    assert forward.get_total_flops() == 3 * 4 * twins.wrapped.forward_flops
    assert backward.get_total_flops() == 3 * 4 * twins.wrapped.backward_flops()


def test_weights_depend_on_the_seed_alone(twins):
    stacked = twins.wrapped.init(Stream("init", SEEDS), 2).unflatten(0, (3, 2))
    for replica, seed in enumerate(SEEDS):
        assert torch.equal(twins.wrapped.init(Stream("init", [seed]), 2), stacked[replica])
    assert len(stacked.flatten(0, 1).unique(dim=0)) == 6


def test_it_leaves_the_global_generators_alone(make_spec):
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002
    network = ModuleNetwork(sequential, make_spec())
    network.init(Stream("init", SEEDS))
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002
    assert after == before


def test_symbols_reach_the_module_as_integers(make_spec):
    network = ModuleNetwork(
        lambda: nn.Sequential(nn.Embedding(7, 2), nn.Flatten(), nn.Linear(8, 3)), make_spec((4,), n_symbols=7)
    )
    rng = Stream("test", SEEDS)
    outputs, tape = network.forward(network.init(rng), rng.integers(7, 5, 4))
    assert outputs.shape == (3, 5, 3)
    assert network.backward(tape, outputs).shape == (3, network.n_weights)


def test_buffers_are_refused(make_spec):
    with pytest.raises(InputError, match=r"^factory must be a module without buffers, got 'Sequential'$"):
        ModuleNetwork(lambda: nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3)), make_spec())


def test_what_needs_layers_is_unsupported_or_unknown(twins):
    outputs, tape = twins.wrapped.forward(twins.params, twins.inputs)
    with pytest.raises(UnsupportedError, match="gives no access to its layers"):
        twins.wrapped.backward(tape, outputs, transport={1: torch.zeros(3, 5, 6)})
    assert all(math.isnan(fraction) for fraction in twins.wrapped.dead_fraction(tape))


def test_a_factory_is_found_by_its_name(make_spec, monkeypatch):
    def tiny(input_shape, n_outputs):
        return nn.Linear(*input_shape, n_outputs)

    monkeypatch.setitem(sys.modules, "toy_networks", SimpleNamespace(tiny=tiny))
    architecture = Module("toy_networks:tiny")
    network = architecture.build(make_spec((6,), 2))
    assert architecture.name == "tiny"
    assert [block.name for block in network.blocks] == ["module"]
    assert network.n_weights == 6 * 2 + 2
