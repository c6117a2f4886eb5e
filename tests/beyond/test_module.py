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
from beyond.architectures.mlp import MLP
from beyond.architectures.module import Module
from beyond.errors import InputError, UnsupportedError
from beyond.network.layers import Role
from beyond.network.wrapped import ModuleNetwork
from beyond.problem import Problem
from beyond.streams import Stream

FAULTS = [
    # in training a candidate sees another replica's inputs
    (
        "beyond/network/wrapped.py",
        "inputs[row // n_copies]",
        "inputs[row % len(inputs)]",
    ),
]

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
    close(
        twins.wrapped.outputs(twins.params, twins.inputs),
        twins.stacked.outputs(twins.params, twins.inputs),
    )
    for block in twins.stacked.blocks:
        close(
            gradient(twins.wrapped, twins, block.start), gradient(twins.stacked, twins, block.start)
        )


def test_outputs_are_those_of_the_module(twins, close):
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
    close(
        twins.wrapped.outputs(population, twins.inputs),
        twins.stacked.outputs(population, twins.inputs),
    )


def test_blocks_and_flops_are_the_stacked_networks(twins):
    wrapped, stacked = twins.wrapped, twins.stacked
    assert [(block.start, block.stop, block.depth) for block in wrapped.blocks] == [
        (block.start, block.stop, block.depth) for block in stacked.blocks
    ]
    assert [block.name for block in wrapped.blocks] == ["0", "2", "4"]
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
        lambda: nn.Sequential(nn.Embedding(7, 2), nn.Flatten(), nn.Linear(8, 3)),
        make_spec((4,), n_symbols=7),
    )
    rng = Stream("test", SEEDS)
    outputs, tape = network.forward(network.init(rng), rng.integers(7, 5, 4))
    assert outputs.shape == (3, 5, 3)
    assert network.backward(tape, outputs).shape == (3, network.n_weights)


def frozen():
    module = sequential()
    module[2].requires_grad_(False)
    return module


class Tied(nn.Module):
    """Two layers that share a weight."""

    def __init__(self):
        super().__init__()
        self.below, self.above, self.out = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.above.weight = self.below.weight

    def forward(self, x):
        return self.out(self.above(self.below(x).tanh()).tanh())


class Gated(nn.Module):
    """A recurrence that torch's kernels run in one piece."""

    def __init__(self):
        super().__init__()
        self.gru, self.out = nn.GRU(1, 4, batch_first=True), nn.Linear(24, 3)

    def forward(self, x):
        return self.out(self.gru(x.unsqueeze(2))[0].flatten(1))


def broken():
    raise RuntimeError("no such file:\n  weights.pt")


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (
            lambda: nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3)),
            "a module without buffers, got 'Sequential with 1.running_mean'",
        ),
        (
            lambda: nn.Sequential(nn.Linear(6, 3)).double(),
            "a module of float32, got 'Sequential with 0.weight of torch.float64'",
        ),
        (
            frozen,
            "a module that trains all its weights, got 'Sequential with 2.weight, 2.bias frozen'",
        ),
        (lambda: nn.Linear(6, 4), r"a module whose outputs have shape \(B, 3\), got \(1, 4\)"),
        (
            lambda: nn.Linear(5, 3),
            r"a module for inputs of shape \(6,\), got RuntimeError: mat1 and mat2 .*",
        ),
        (lambda: nn.Linear, "a function that returns a torch.nn.Module, got 'type'"),
        (lambda: nn.ReLU(), "a module with weights, got 'ReLU'"),
        (
            lambda: nn.Linear(6),
            "a function of input_shape and n_outputs that makes a module, got TypeError: .*",
        ),
        (
            broken,
            "a function of .* that makes a module, got RuntimeError: no such file: weights.pt",
        ),
        (Gated, "a module that runs under torch.func.vmap, got .*"),
        (lambda: nn.Bilinear(6, 6, 3), r"a module for inputs of shape \(6,\), got TypeError: .*"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_line(factory, message, make_spec):
    with pytest.raises(InputError, match=f"^factory must be {message}$") as error:
        ModuleNetwork(factory, make_spec())
    assert "\n" not in str(error.value)


def test_tied_weights_are_one_weight(make_spec, close):
    network, rng = ModuleNetwork(Tied, make_spec()), Stream("test", SEEDS)
    params, inputs = network.init(rng), rng.normal(4, 6)
    assert network.n_weights == 6 * 6 + 2 * 6 + 6 * 3 + 3
    outputs, tape = network.forward(params, inputs)
    gradient = network.backward(tape, torch.ones_like(outputs))
    for weights, x, y, g in zip(params, inputs, outputs, gradient, strict=True):
        module = Tied()
        nn.utils.vector_to_parameters(weights, module.parameters())
        found = module(x)
        close(y, found)
        close(
            g,
            torch.cat(
                [part.flatten() for part in torch.autograd.grad(found.sum(), module.parameters())]
            ),
        )


@pytest.mark.parametrize("drop", [nn.Dropout(0.5), nn.Dropout1d(0.5), nn.AlphaDropout(0.5)])
def test_what_draws_is_on_in_training_alone_and_each_replica_draws_its_own(drop, make_spec, close):
    network = ModuleNetwork(
        lambda: nn.Sequential(nn.Linear(6, 40), drop, nn.Linear(40, 3)), make_spec()
    )
    params, inputs = (
        network.init(Stream("init", SEEDS)),
        Stream("data", [0]).normal(5, 6).expand(3, -1, -1),
    )
    calm = network.outputs(params, inputs)
    assert torch.equal(network.forward(params, inputs)[0], calm)
    before = torch.get_rng_state()
    outputs, tape = network.forward(params, inputs, Stream("step", SEEDS))
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.allclose(outputs, calm)
    for row, seed in enumerate(SEEDS):
        row_alone = slice(row, row + 1)
        alone, tape_alone = network.forward(
            params[row_alone], inputs[row_alone], Stream("step", [seed])
        )
        close(outputs[row_alone], alone)
        error = torch.ones_like(alone)
        close(
            network.backward(tape, torch.ones_like(outputs))[row_alone],
            network.backward(tape_alone, error),
        )
    same = params[:1].expand(3, -1)
    drawn = network.forward(same, inputs, Stream("step", SEEDS))[0]
    assert not torch.allclose(drawn[0], drawn[1])


def test_a_population_in_training_shares_its_replicas_inputs_too(make_spec, close):
    network = ModuleNetwork(
        lambda: nn.Sequential(nn.Linear(6, 40), nn.Dropout(0.5), nn.Linear(40, 3)), make_spec()
    )
    params = network.init(Stream("init", SEEDS), 2)
    inputs = Stream("data", SEEDS).normal(5, 6)
    outputs, _ = network.forward(params, inputs, Stream("step", SEEDS))
    for row, seed in enumerate(SEEDS):
        copies = slice(2 * row, 2 * row + 2)
        alone, _ = network.forward(params[copies], inputs[row : row + 1], Stream("step", [seed]))
        close(outputs[copies], alone)


def test_dropout_halves_and_doubles_as_torch_does(make_spec, close):
    network = ModuleNetwork(
        lambda: nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 3, bias=False)), make_spec()
    )
    params = torch.ones(1, network.n_weights)
    sums = network.forward(params, torch.ones(1, 4000, 6), Stream("step", [0]))[0][0, :, 0] / 2
    counts = torch.bincount(sums.round().long(), minlength=7) / 4000
    close(counts, torch.tensor([math.comb(6, k) / 64 for k in range(7)]), rtol=0, atol=0.03)


def test_what_needs_layers_is_refused_by_the_door_or_unknown(twins, make_spec):
    problem = Problem(twins.wrapped, make_spec())
    outputs, tape = problem.forward(twins.params, twins.inputs)
    for question in (
        lambda: problem.layers,
        lambda: problem.stages,
        lambda: problem.carriers(twins.params),
        lambda: problem.fresh_matrices(Stream("step", SEEDS), (3, 5), (5, 3)),
        lambda: problem.backward(tape, outputs, {1: torch.zeros(3, 5, 6)}),
        lambda: problem.require_roles("a rule", set(Role), "nothing"),
    ):
        with pytest.raises(
            UnsupportedError, match=r"^a wrapped torch module gives no access to its layers$"
        ):
            question()
    assert all(math.isnan(fraction) for fraction in twins.wrapped.dead_fraction(tape))


def test_a_factory_is_found_by_its_name(make_spec, monkeypatch):
    def tiny(input_shape, n_outputs):
        return nn.Linear(*input_shape, n_outputs)

    monkeypatch.setenv("BEYOND_PLUGINS", f"toy_networks, {__name__.partition('.')[0]}")
    monkeypatch.setitem(sys.modules, "toy_networks", SimpleNamespace(tiny=tiny))
    architecture = Module("toy_networks:tiny")
    network = architecture.build(make_spec((6,), 2))
    assert architecture.name == "tiny"
    assert [block.name for block in network.blocks] == ["module"]
    assert network.n_weights == 6 * 2 + 2
