"""Batch normalisation among our layers, against torch's: passes, statistics, and whole trainings."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from beyond.architectures.cnn import CNN
from beyond.architectures.resnet import ResNet
from beyond.catalog import load
from beyond.contracts import Batch
from beyond.errors import InputError, UnsupportedError
from beyond.ledger import Budget, Ledger
from beyond.network.normalisation_layers import BatchNorm
from beyond.network.parts import trial
from beyond.problem import Problem
from beyond.run.buffered import buffered
from beyond.run.loop import train
from beyond.run.setup import Setup
from beyond.run.trained import kept
from beyond.streams import Stream

FAULTS = [
    # the variance that is remembered is that of these values; statistics that never move
    ("beyond/network/normalisation_layers.py", "(n_values / max(1, n_values - 1))", "1.0"),
    ("beyond/network/normalisation_layers.py", "of.lerp(new, self.momentum)", "of"),
    # an answer depends on who else is asked about; in training it does not
    ("beyond/network/normalisation_layers.py", "rng is not None, 0.0,", "True, 0.0,"),
    # what goes back is not multiplied by the gain
    ("beyond/network/normalisation_layers.py", "gains = None if gain is None else single(gain).flatten()", "gains = None"),
    # each candidate has the statistics of another replica
    ("beyond/network/normalisation_layers.py", "values.repeat_interleave(n_copies, 0) if", "values.repeat(n_copies, *[1] * (values.dim() - 1)) if"),
    # a part of the network has another part's statistics; those of parts replace all
    ("beyond/network/layered.py", "f\"{self.first + index}.{name}\"", "f\"{index}.{name}\""),
    ("beyond/problem.py", "{**self.buffers, **tape.buffers}", "tape.buffers"),
    # a layer within has its neighbour's
    ("beyond/network/composite_layers.py", "f\"{index}.{name}\": value\n        for index, found", "f\"0.{name}\": value\n        for index, found"),
    # biases that the mean takes off again
    ("beyond/network/parts.py", "bias=norm != \"batch\"", "bias=True"),
    # what is kept has no statistics; a batch of one
    ("beyond/network/trainable.py", "(learnt | held)", "learnt"),
    ("beyond/network/layered.py", "max(layer.fewest for layer in self.layers)", "1"),
]  # fmt: skip
SEEDS = [0, 1]
STEPS = 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(3,), (3, 5), (3, 4, 2)])
def test_passes_and_statistics_are_torchs(shape, dtype, close):
    layer = BatchNorm(momentum=0.3, epsilon=0.01)
    kind = {1: nn.BatchNorm1d, 2: nn.BatchNorm1d, 3: nn.BatchNorm2d}[len(shape)]
    modules = [kind(3, eps=0.01, momentum=0.3, dtype=dtype) for _ in SEEDS]
    weights, held = layer.parameters(shape), layer.buffers(shape)
    drawn = Stream("weights", SEEDS)
    weights = {name: drawn.normal(*size).to(dtype) for name, size in weights.items()}
    held = {name: values.expand(len(SEEDS), -1).to(dtype) for name, values in held.items()}
    for row, module in enumerate(modules):
        module.load_state_dict({name: of[row] for name, of in weights.items()}, strict=False)
    rng = Stream("data", SEEDS)
    for step in range(STEPS + 1):
        training = step < STEPS
        x = (rng.normal(*shape, 6) * 2 + step).to(dtype)
        y, cache = layer.forward({**weights, **held}, x, rng if training else None)
        dy = rng.normal(*y.shape[1:]).to(dtype)
        dx, gradients = layer.backward(weights, cache, dy)
        held |= layer.changed(cache)
        for row, module in enumerate(modules):
            module.train(training).zero_grad()
            inputs = x[row].movedim(-1, 0).clone().requires_grad_()
            found = module(inputs)
            found.backward(dy[row].movedim(-1, 0))
            close(y[row].movedim(-1, 0), found, rtol=1e-5, atol=1e-5)
            close(dx[row].movedim(-1, 0), inputs.grad, rtol=1e-5, atol=1e-5)
            close(gradients["weight"][row], module.weight.grad, rtol=1e-5, atol=1e-5)
            close(gradients["bias"][row], module.bias.grad, rtol=1e-5, atol=1e-5)
            close(held["running_mean"][row], module.running_mean, rtol=1e-5, atol=1e-5)
            close(held["running_var"][row], module.running_var, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_copies_share_inputs_and_statistics_of_their_replica(training, close):
    layer, rng = BatchNorm(), Stream("step", [0, 1, 2])
    x, weights = rng.normal(3, 4, 5), {"weight": rng.normal(2, 3), "bias": rng.normal(2, 3)}
    weights = {name: values.flatten(0, 1) for name, values in weights.items()}
    held = {"running_mean": rng.normal(3), "running_var": rng.uniform(3) + 0.5}
    y, _ = layer.forward({**weights, **held}, x, rng if training else None)
    for copy in range(6):
        row = slice(copy // 2, copy // 2 + 1)
        alone = {name: values[copy : copy + 1] for name, values in weights.items()}
        alone |= {name: values[row] for name, values in held.items()}
        expected, _ = layer.forward(alone, x[row], rng if training else None)
        close(y[copy : copy + 1], expected)


def convolution(below, width, stride=1, kernel=3):
    padding = kernel // 2
    return nn.Sequential(
        nn.Conv2d(below, width, kernel, stride, padding, bias=False), nn.BatchNorm2d(width)
    )


class Block(nn.Module):
    def __init__(self, below, width, stride):
        super().__init__()
        self.first, self.second = convolution(below, width, stride), convolution(width, width)
        self.shortcut = convolution(below, width, stride, 1) if stride > 1 else nn.Identity()

    def forward(self, x):
        return F.relu(self.second(F.relu(self.first(x))) + self.shortcut(x))


def small_cnn():
    return nn.Sequential(
        *(convolution(1, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(27, 4))
    )


def small_resnet():
    blocks = Block(2, 2, 1), Block(2, 3, 2)
    pooled = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4)
    return nn.Sequential(convolution(1, 2), nn.ReLU(), *blocks, *pooled)


NETWORKS = {
    "cnn": (CNN((3,), norm="batch"), small_cnn),
    "resnet": (ResNet((2, 3), norm="batch"), small_resnet),
}


def started(network, rule, seeds=SEEDS):
    """A rule that keeps the network's statistics, its problem, its first state, and a stream."""
    spec = trial(network, (1, 6, 6))
    made, rng = network.build(spec), Stream("step", seeds)
    method, problem = buffered(rule, made), Problem(made, spec, Ledger(), rule.signal)
    return method, problem, method.init(problem, made.init(Stream("init", seeds)), rng), rng


def batches(seeds=SEEDS):
    rng = Stream("batches", seeds)
    return [Batch(rng.normal(6, 1, 6, 6) * 2 + 1, rng.integers(4, 6)) for _ in range(STEPS)]


def statistics(module):
    """Its running statistics, in the order of its layers."""
    return [values for name, values in module.named_buffers() if "running" in name]


@pytest.mark.parametrize("engine", ["chain_rule", "autograd"])
@pytest.mark.parametrize("kind", NETWORKS)
def test_training_is_torchs(kind, engine, close):
    network, factory = NETWORKS[kind]
    sgd = load("optimizer", "sgd", learning_rate=0.1)
    rule = load("method", "backprop", optimizer=sgd)
    if engine == "autograd":
        rule = replace(rule, engine="autograd")
    method, problem, state, rng = started(network, rule)
    modules = [factory().train() for _ in SEEDS]
    for row, module in enumerate(modules):
        nn.utils.vector_to_parameters(method.params(state)[row].clone(), module.parameters())
    optimizers = [torch.optim.SGD(module.parameters(), 0.1) for module in modules]
    for batch in batches():
        state = method.step(state, batch, problem, rng)
        for row, (module, optimizer) in enumerate(zip(modules, optimizers, strict=True)):
            optimizer.zero_grad()
            F.cross_entropy(module(batch.inputs[row]), batch.targets[row]).backward()
            optimizer.step()
    batch = batches()[-1]
    outputs = method.predict(state, problem, batch)
    alone = method.predict(state, problem, Batch(batch.inputs[:, :1], None))
    close(outputs[:, :1], alone, rtol=1e-5, atol=1e-6)
    for row, module in enumerate(modules):
        weights = nn.utils.parameters_to_vector(module.parameters())
        close(method.params(state)[row], weights, rtol=1e-4, atol=1e-5)
        for values, expected in zip(state["buffers"].values(), statistics(module), strict=True):
            close(values[row], expected, rtol=1e-4, atol=1e-5)
        close(outputs[row], module.eval()(batch.inputs[row]), rtol=1e-4, atol=1e-4)
    single, problem, of_one, rng = started(network, rule, [1])
    for batch in batches():
        row = Batch(batch.inputs[1:], batch.targets[1:])
        of_one = single.step(of_one, row, problem, rng)
    close(single.params(of_one), method.params(state)[1:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", NETWORKS)
def test_part_by_part_statistics_are_those_of_a_whole_pass(kind, close):
    """A rule that works stage by stage leaves what one pass of the whole network leaves."""
    network, (batch, *_) = NETWORKS[kind][0], batches()
    method, problem, state, rng = started(network, load("method", "mono_forward"))
    after = method.step(state, batch, problem, rng)
    whole = problem.holding(state["buffers"])
    whole.forward(method.params(state), batch.inputs, rng)
    assert whole.buffers.keys() == after["buffers"].keys() == state["buffers"].keys()
    for name, values in whole.buffers.items():
        assert (values != state["buffers"][name]).any()
        close(after["buffers"][name], values)
    outputs = whole.outputs(method.params(state), batch.inputs)
    x = batch.inputs
    for stage in whole.stages:
        x, _ = stage.forward(method.params(state), x)
    close(x, outputs)


def test_candidates_have_the_statistics_of_their_replica(close):
    network, factory = NETWORKS["resnet"]
    method, problem, state, rng = started(network, load("method", "backprop"))
    for batch in batches():
        state = method.step(state, batch, problem, rng)
    batch, door = batches()[-1], problem.holding(state["buffers"])
    population = method.params(state).unsqueeze(1) * torch.tensor([1.0, 0.5, 2.0]).view(1, 3, 1)
    losses = door.population_loss(population, batch)
    for row in range(len(SEEDS)):
        for column in range(3):
            module = factory().eval()
            nn.utils.vector_to_parameters(population[row, column].clone(), module.parameters())
            held = state["buffers"].values()
            for values, ours in zip(statistics(module), held, strict=True):
                values.copy_(ours[row])
            found = F.cross_entropy(module(batch.inputs[row]), batch.targets[row])
            close(losses[row, column], found, rtol=1e-4, atol=1e-5)


def test_who_asks_of_one_example_at_a_time_is_refused():
    for network, _ in NETWORKS.values():
        with pytest.raises(UnsupportedError, match=r"fewer than 2 examples .*batch_size is 1$"):
            started(network, load("method", "backprop", batch_size=1))
    layer, x = BatchNorm(), torch.ones(1, 3, 1)
    weights = {"weight": torch.ones(1, 3), "bias": torch.zeros(1, 3)}
    held = {name: values.unsqueeze(0) for name, values in layer.buffers((3,)).items()}
    y, cache = layer.forward({**weights, **held}, x, Stream("step", [0]))
    assert all(values.isfinite().all() for values in (y, *cache.running.values()))
    with pytest.raises(InputError, match=r"momentum must be in \(0, 1\], got 0"):
        BatchNorm(momentum=0)


@pytest.mark.parametrize("rule", ["pepita", "spiking_surrogate", "target_propagation"])
def test_rules_for_single_examples_refuse_it(rule):
    with pytest.raises(UnsupportedError, match=rf"{rule} .*batchnorm_2 \(batch normalisation\)"):
        started(NETWORKS["cnn"][0], load("method", rule))


def test_weights_that_are_kept_have_their_statistics(close):
    task = load("task", "image/digits", train_size=100)
    network = CNN((2,), norm="batch").build(task.spec)
    setup = Setup(load("method", "backprop"), task, network, SEEDS, Budget("steps", 6.0))
    *_, last = train(setup)
    named = kept(setup.method, network, last.selected)[1]["weights"]
    assert named["1.running_var"].shape == (2,)
    assert (named["1.running_var"] != 1).all()
