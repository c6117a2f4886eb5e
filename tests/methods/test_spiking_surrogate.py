"""Oracles: automatic differentiation with the surrogate put in by hand, step by step."""

import pytest
import snntorch
import torch
import torch.nn.functional as F
from snntorch import surrogate

from beyond import catalog
from beyond.architectures.cnn import CNN
from beyond.architectures.mlp import MLP
from beyond.errors import UnsupportedError
from beyond.kits.optimizers import SGD
from beyond.kits.spiking import Neurons
from beyond.ledger import Budget, Ledger
from beyond.problem import Problem
from beyond.run.loop import train
from beyond.run.setup import Setup
from methods.spiking_surrogate import SpikingSurrogate

FAULTS = [
    # The derivative of the fast sigmoid x / (1 + slope |x|) is 1 / (1 + slope |x|)^2: without the
    # square it is none.
    (
        "methods/spiking_surrogate.py",
        "(1 + self.surrogate_slope * distance).square()",
        "(1 + self.surrogate_slope * distance)",
    ),
    # A constant input learns from the mean over time.
    (
        "methods/spiking_surrogate.py",
        "error = error.sum(1, keepdim=True)",
        "error = error.mean(1, keepdim=True)",
    ),
]


class Spike(torch.autograd.Function):
    """A step on the way forward, a fast sigmoid on the way back."""

    @staticmethod
    def forward(ctx, potential, threshold, slope):
        ctx.save_for_backward(potential)
        ctx.threshold, ctx.slope = threshold, slope
        return (potential > threshold).float()

    @staticmethod
    def backward(ctx, error):
        (potential,) = ctx.saved_tensors
        return error / (ctx.slope * (potential - ctx.threshold).abs() + 1) ** 2, None, None


def apply(layer, weights, x):
    """One layer of torch's, on examples first."""
    name = type(layer).__name__
    if name == "Linear":
        return F.linear(x, weights["weight"], weights["bias"])
    if name == "Conv2d":
        return F.conv2d(x, weights["weight"], weights["bias"], padding=layer.padding)
    if name == "MaxPool2d":
        return F.max_pool2d(x, layer.size)
    if name == "Embedding":
        return F.embedding(x, weights["weight"]).flatten(1)
    assert name == "Flatten"
    return x.flatten(1)


def reference_gradient(method, given, replica):
    """Gradient (n,) of one replica's loss by unrolling the network in time."""
    params = given.params[replica].clone().requires_grad_()
    weights = [
        {key: value[0] for key, value in layer.items()}
        for layer in given.network.unflatten(params[None])
    ]
    inputs, targets = given.batch.inputs[replica], given.batch.targets[replica]
    if method.code == "latency":
        first = ((1 - inputs.abs().tanh()) * method.neurons.n_steps).floor()
        trains = [inputs.sign() * (first == step) for step in range(method.neurons.n_steps)]
    else:
        trains = [inputs] * method.neurons.n_steps
    potentials, fired, out, peak, cost = {}, {}, [], 0.0, 0.0
    for x in trains:
        for index, (layer, layer_weights) in enumerate(
            zip(given.network.layers, weights, strict=True)
        ):
            if type(layer).__name__ not in ("ReLU", "Tanh", "Sigmoid"):
                x = apply(layer, layer_weights, x)
                continue
            before, spike = (
                potentials.get(index, torch.zeros_like(x)),
                fired.get(index, torch.zeros_like(x)),
            )
            if method.neurons.reset == "soft":
                potentials[index] = (
                    method.neurons.decay * before - method.neurons.threshold * spike + x
                )
            else:
                potentials[index] = method.neurons.decay * before * (1 - spike) + x
            x = Spike.apply(potentials[index], method.neurons.threshold, method.surrogate_slope)
            fired[index] = x.detach()  # the reset is held fixed
            cost = cost + method.spike_cost * x.flatten(1).mean(1).mean()
        if method.readout == "max":
            peak = method.neurons.decay * peak + x
            x = peak
        out.append(x)
    outputs = (
        torch.stack(out).mean(0) if method.readout == "mean" else torch.stack(out).max(0).values
    )
    if targets.dtype == torch.int64:
        loss = F.cross_entropy(outputs, targets)
    else:
        loss = 0.5 * (outputs - targets).square().sum(1).mean()
    return torch.autograd.grad(loss + cost, params)[0]


def gradient(method, given):
    state = method.init(given.problem, given.params, given.rng)
    return method.direction(state, given.sealed, given.problem, given.rng)


@pytest.mark.parametrize(
    ("task", "network", "neurons", "settings"),
    [
        ("image/digits", None, {}, {}),
        ("image/digits", None, {}, {"readout": "max", "spike_cost": 0.3}),
        ("image/digits", None, {"reset": "hard", "threshold": 0.4}, {"code": "latency"}),
        ("image/digits", None, {"n_steps": 1, "threshold": 0.1}, {}),
        (
            "image/digits",
            MLP(hidden=(12, 9), activation="tanh"),
            {"reset": "hard"},
            {"readout": "max"},
        ),
        ("image/digits", CNN(channels=(3, 4)), {"threshold": 0.5}, {}),
        ("text/languages", None, {"threshold": 0.5}, {"spike_cost": 0.1}),
        ("regression/diabetes", None, {"threshold": 0.2}, {"surrogate_slope": 0.0}),
    ],
)
def test_a_step_follows_the_gradient_by_automatic_differentiation(
    task, network, neurons, settings, make_problem, close
):
    neurons = Neurons(**{"n_steps": 5, "decay": 0.8, **neurons})
    method = SpikingSurrogate(neurons=neurons, **settings)
    given = make_problem(method, task, network=network, batch_size=7)
    expected = torch.stack([reference_gradient(method, given, replica) for replica in range(2)])
    close(gradient(method, given), expected, rtol=1e-4, atol=1e-6)
    for block in given.network.blocks:
        assert expected[:, block.start : block.stop].abs().max() > 1e-4


@pytest.mark.parametrize("reset", ["soft", "hard"])
def test_a_step_follows_the_gradient_of_snntorch(reset, make_problem, close):
    method = SpikingSurrogate(neurons=Neurons(reset=reset), readout="max")
    given = make_problem(method, seeds=[3])
    module = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(64, 32), torch.nn.Linear(32, 10)
    )
    torch.nn.utils.vector_to_parameters(given.params[0], module.parameters())
    settings = {
        "beta": method.neurons.decay,
        "spike_grad": surrogate.fast_sigmoid(slope=method.surrogate_slope),
    }
    neurons = snntorch.Leaky(
        **settings, reset_mechanism={"soft": "subtract", "hard": "zero"}[reset]
    )
    reader = snntorch.Leaky(**settings, reset_mechanism="none")
    hidden, potential, potentials = neurons.init_leaky(), reader.init_leaky(), []
    for _ in range(method.neurons.n_steps):
        spikes, hidden = neurons(module[1](module[0](given.batch.inputs[0])), hidden)
        _, potential = reader(module[2](spikes), potential)
        potentials.append(potential)
    F.cross_entropy(torch.stack(potentials).max(0).values, given.batch.targets[0]).backward()
    expected = torch.cat([parameter.grad.flatten() for parameter in module.parameters()])
    close(gradient(method, given)[0], expected, rtol=1e-4, atol=1e-6)


def test_with_the_true_derivative_hidden_weights_never_move(make_problem):
    method = SpikingSurrogate(surrogate_slope=1e30)
    given = make_problem(method)
    last = given.network.suffix(1)
    change = gradient(method, given)
    assert (change[:, :last] == 0).all()
    assert change[:, last:].abs().max() > 1e-3


def test_a_step_costs_as_many_passes_as_steps_behind_the_first_neurons(make_problem):
    method = SpikingSurrogate(neurons=Neurons(n_steps=5))
    given = make_problem(method, batch_size=16)
    given.problem.ledger = Ledger()
    gradient(method, given)
    assert given.problem.ledger.flops == 16 * (2 * 2 * 64 * 32 + 5 * 3 * 2 * 32 * 10)


def test_predictions_draw_nothing_and_count_their_spikes(make_problem, close):
    method = SpikingSurrogate(code="rate", neurons=Neurons(n_steps=20))
    given = make_problem(method)
    state = method.init(given.problem, given.params, given.rng)
    meters = [Problem(given.network, given.task.spec) for _ in range(2)]
    first, second = (method.predict(state, meter, given.batch) for meter in meters)
    close(first, second, rtol=0, atol=0)
    assert (meters[0].activity["spikes"] > 0).all()
    # 32 an input spike, else 10
    assert (meters[0].activity["accumulates"] > 10 * meters[0].activity["spikes"]).all()


def test_a_cost_makes_spikes_rarer(make_problem):
    counts = []
    for cost in (0.0, 1.0):
        method = SpikingSurrogate(SGD(learning_rate=0.3), spike_cost=cost)
        given = make_problem(method)
        state = method.init(given.problem, given.params, given.rng)
        for _ in range(20):
            state = method.step(state, given.sealed, given.problem, given.rng)
        method.predict(state, given.problem, given.batch)
        counts.append(given.problem.activity["spikes"])
    assert (counts[1] < 0.5 * counts[0]).all()


def test_a_network_without_activations_is_refused(make_problem):
    method = SpikingSurrogate()
    given = make_problem(method, network=MLP(hidden=()))
    with pytest.raises(UnsupportedError, match="no place for neurons"):
        method.init(given.problem, given.params, given.rng)


@pytest.mark.slow
def test_it_comes_near_backpropagation_on_digits():
    task = catalog.load("task", "image/digits")
    setup = Setup(
        catalog.load("method", "spiking_surrogate"),
        task,
        task.spec.network.build(task.spec),
        [0, 1, 2],
        Budget("epochs", 1000),
    )
    rows = [row for progress in train(setup) for row in progress.curves]
    scores = [
        row["value"] for row in rows if row["split"] == "test" and row["metric"] == "accuracy_score"
    ]
    assert min(scores) > 0.94
