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
from beyond.contracts import Batch
from beyond.errors import InputError, UnsupportedError
from beyond.network.layers import Role
from beyond.network.wrapped import ModuleNetwork
from beyond.problem import Problem
from beyond.run.arm import differences, same
from beyond.streams import Stream

FAULTS = [
    # what torch runs in one piece costs nothing, and has no derivative in forward mode
    ("beyond/network/wrapped.py", "with mkldnn.flags(enabled=False), sdpa", "with sdpa"),
    ("beyond/network/wrapped.py", ", sdpa_kernel(SDPBackend.MATH)", ""),
    ("beyond/network/wrapped.py", "return _plain_kernels() if self._fused else", "return"),
    # in training a candidate sees another replica's inputs; every copy drops the same units
    (
        "beyond/network/wrapped.py",
        "inputs[row // n_copies]",
        "inputs[row % len(inputs)]",
    ),
    (
        "beyond/network/wrapped.py",
        "with global_generators(seeds[row])",
        "with global_generators(0)",
    ),
    # arguments that are given do not arrive; no label tells two arms apart
    ("beyond/architectures/module.py", "**(self.settings or {})}", "}"),
    ("beyond/run/arm.py", "if key not in usually or not same(value, usually[key])", "if False"),
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
    assert wrapped.forward_touched == stacked.forward_touched
    assert wrapped.backward_touched() == stacked.backward_touched()


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


class Recurrent(nn.Module):
    """A recurrence that torch's kernels run in one piece."""

    def __init__(self, kind, **settings):
        super().__init__()
        self.cells, self.out = kind(1, 4, batch_first=True, **settings), nn.Linear(24, 3)

    def forward(self, x):
        return self.out(self.cells(x.unsqueeze(2))[0].flatten(1))


class Attentive(nn.Module):
    """Attention, a kernel whose operations torch does not count."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.enter, self.out = nn.Linear(1, 4), nn.Linear(24, 3)

    def forward(self, x):
        h = self.enter(x.unsqueeze(2))
        return self.out(self.attention(h, h, h, need_weights=False)[0].flatten(1))


class Drawn(nn.Module):
    """Features that are drawn and not learnt."""

    def __init__(self):
        super().__init__()
        self.register_buffer("directions", torch.randn(6, 6))
        self.out = nn.Linear(6, 3)

    def forward(self, x):
        return self.out(x @ self.directions)


class Masked(nn.Module):
    """A constant in a buffer."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mask", torch.tensor([1.0, 0, 1, 0, 1, 0]))
        self.out = nn.Linear(6, 3)

    def forward(self, x):
        return self.out(x * self.mask)


def broken():
    raise RuntimeError("no such file:\n  weights.pt")


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (Drawn, "a module that draws no buffer, got 'Drawn with directions'"),
        (
            lambda: nn.Sequential(nn.Linear(6, 3), nn.BatchNorm2d(3)),
            r"a module for inputs of shape \(6,\), got ValueError: expected 4D input .*",
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
        (lambda: nn.Bilinear(6, 6, 3), r"a module for inputs of shape \(6,\), got TypeError: .*"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_line(factory, message, make_spec):
    with pytest.raises(InputError, match=f"^factory must be {message}$") as error:
        ModuleNetwork(factory, make_spec())
    assert "\n" not in str(error.value)


RECURRENCES = {
    "rnn": lambda: Recurrent(nn.RNN),
    "gru": lambda: Recurrent(nn.GRU),
    "lstm": lambda: Recurrent(nn.LSTM),
    "attention": Attentive,
}


@pytest.mark.parametrize("name", RECURRENCES)
def test_what_torch_runs_in_one_piece_is_differentiated_as_by_torch(name, make_spec, close):
    factory, spec, rng = RECURRENCES[name], make_spec(), Stream("test", SEEDS)
    network = ModuleNetwork(factory, spec)
    params, inputs, targets = network.init(rng), rng.normal(4, 6), rng.integers(3, 4)
    tangents = rng.normal(2, network.n_weights)
    problem = Problem(network, spec)
    outputs, tape = network.forward(params, inputs)
    passed = network.backward(tape, problem.error(outputs, targets))
    gradient = problem.gradient(params, Batch(inputs, targets))
    slopes = problem.directional_derivative(params, tangents, Batch(inputs, targets))
    twice = network.outputs(params.repeat_interleave(2, 0), inputs)
    for row, weights in enumerate(params):
        module = factory()
        nn.utils.vector_to_parameters(weights, module.parameters())
        found = module(inputs[row])
        close(outputs[row], found)
        close(twice[2 * row], found)
        nn.functional.cross_entropy(found, targets[row]).backward()
        true = torch.cat([weight.grad.flatten() for weight in module.parameters()])
        close(gradient[row], true)
        close(passed[row], true)
        close(slopes[row], tangents[row] @ true, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "n_gates"), [("rnn", 1), ("gru", 3), ("lstm", 4)])
def test_a_recurrences_operations_are_its_products(name, n_gates, make_spec):
    network = ModuleNetwork(RECURRENCES[name], make_spec())
    inside, outside = 2 * n_gates * 4 * (1 + 4), 2 * 24 * 3  # of one step; of the last layer
    assert network.forward_flops == 6 * inside + outside
    # an error goes on to neither the inputs nor the state before the first step
    ends = 2 * n_gates * 4 * (6 + 4)
    assert network.backward_flops() == 2 * network.forward_flops - ends


def test_attentions_operations_are_its_products(make_spec):
    network = ModuleNetwork(Attentive, make_spec())
    projections, products = 6 * 2 * 4 * (1 + 3 * 4 + 4), 2 * 2 * 6 * 6 * 4
    assert network.forward_flops == projections + products + 2 * 24 * 3


def test_each_replica_drops_other_units_of_a_recurrence(make_spec):
    network = ModuleNetwork(lambda: Recurrent(nn.GRU, num_layers=2, dropout=0.5), make_spec())
    params = network.init(Stream("init", [0])).expand(2, -1)
    inputs = Stream("data", [0]).normal(4, 6).expand(2, -1, -1)
    first, again = (network.forward(params, inputs, Stream("step", [0, 1]))[0] for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.allclose(first[0], first[1])


def test_a_buffer_that_no_pass_changes_is_a_constant(make_spec, close):
    network, rng = ModuleNetwork(Masked, make_spec()), Stream("test", SEEDS)
    assert not network.fresh_buffers(3)
    params, inputs = network.init(rng), rng.normal(4, 6)
    blind = inputs.clone()
    blind[..., 1::2] = 7
    close(network.outputs(params, inputs), network.outputs(params, blind))


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


def tiny(input_shape, n_outputs):
    return nn.Linear(*input_shape, n_outputs)


def wide(input_shape, n_outputs, width: int = 8, activation="relu"):
    activations = {"relu": nn.ReLU, "tanh": nn.Tanh}
    first = nn.Linear(*input_shape, width)
    return nn.Sequential(first, activations[activation](), nn.Linear(width, n_outputs))


class Reading(nn.Module):
    """A class is a factory too, and may ask for the number of symbols."""

    def __init__(self, input_shape, n_outputs, n_symbols, n_features=2):
        super().__init__()
        self.embedding = nn.Embedding(n_symbols, n_features)
        self.out = nn.Linear(input_shape[0] * n_features, n_outputs)

    def forward(self, x):
        return self.out(self.embedding(x).flatten(1))


@pytest.fixture
def declared(monkeypatch):
    """The functions of this file, as a package that is declared."""
    monkeypatch.setenv("BEYOND_PLUGINS", f"toy_networks, {__name__.partition('.')[0]}")
    mine = SimpleNamespace(tiny=tiny, wide=wide, Reading=Reading, n_layers=3)
    mine.short = lambda inputs: nn.Linear(inputs, 3)
    monkeypatch.setitem(sys.modules, "toy_networks", mine)


@pytest.mark.usefixtures("declared")
def test_a_factory_is_found_by_its_name(make_spec):
    architecture = Module("toy_networks:tiny")
    network = architecture.build(make_spec((6,), 2))
    assert architecture.name == "tiny"
    assert [block.name for block in network.blocks] == ["module"]
    assert network.n_weights == 6 * 2 + 2


@pytest.mark.usefixtures("declared")
def test_its_further_arguments_are_settings(make_spec):
    network = Module("toy_networks:wide", {"width": 4}).build(make_spec((6,), 2))
    assert network.n_weights == 6 * 4 + 4 + 4 * 2 + 2
    reading = Module("toy_networks:Reading", {"n_features": 3})
    assert reading.build(make_spec((4,), 2, n_symbols=7)).n_weights == 7 * 3 + 12 * 2 + 2


@pytest.mark.usefixtures("declared")
def test_settings_are_in_the_label_and_the_identity(make_spec):
    two, four, usual = (
        Module("toy_networks:wide", given) for given in ({"width": 2}, {"width": 4}, None)
    )
    assert differences(four, two, "network.") == ["network.settings.width=4"]
    assert differences(four, usual, "network.") == ["network.settings.width=4"]
    assert differences(Module("toy_networks:wide", {"width": 4}), four) == []
    assert not same(two, four)


@pytest.mark.usefixtures("declared")
@pytest.mark.parametrize(
    ("factory", "given", "message"),
    [
        (
            "wide",
            {"widht": 4},
            r"factory must take input_shape, n_outputs and network.settings {'widht': 4}, got "
            r"toy_networks:wide\(input_shape, n_outputs, width: int = 8, activation='relu'\): "
            "got an unexpected keyword argument 'widht'",
        ),
        ("wide", {"width": 4.5}, "network.settings.width must be an integer, got 4.5"),
        (
            "wide",
            {"activation": "rleu"},
            r"factory must be a function of \(input_shape, n_outputs, width: int = 8, "
            r"activation='relu'\) that makes a module, got KeyError: 'rleu'",
        ),
        ("short", None, r"factory must take .*: too many positional arguments"),
        ("n_layers", None, "factory must be in .*, got 'toy_networks:n_layers'"),
    ],
)
def test_a_factory_that_cannot_be_called_is_refused_in_one_line(factory, given, message, make_spec):
    with pytest.raises(InputError, match=f"^{message}$"):
        Module(f"toy_networks:{factory}", given).build(make_spec())
