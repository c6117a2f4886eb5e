"""Oracle: softmax regression on the frozen features, written by hand."""

import torch
from torch.nn.functional import cross_entropy

from beyond.architectures.mlp import MLP
from beyond.kits.optimizers import SGD
from beyond.ledger import Ledger
from methods.last_layer import LastLayer

FAULTS = [
    # the whole way back is made, and charged
    (
        "methods/last_layer.py",
        "problem.error(outputs, batch.targets), start=problem.suffix(1)\n        )",
        "problem.error(outputs, batch.targets)\n        )[:, problem.suffix(1) :]",
    ),
    # uphill
    ("methods/last_layer.py", "return problem.backward(", "return -problem.backward("),
]


def test_equals_softmax_regression_on_the_frozen_features(make_problem, close):
    method = LastLayer(SGD(learning_rate=0.3))
    given = make_problem(method, network=MLP(hidden=(12, 9)))
    state = method.init(given.problem, given.params, given.rng)
    for _ in range(4):
        state = method.step(state, given.sealed, given.problem, given.rng)
    final = method.params(state)
    head = given.network.suffix(1)
    close(final[:, :head], given.params[:, :head], rtol=0, atol=0)
    for replica in range(2):
        first, second, last = (
            {name: own[replica] for name, own in layer.items()}
            for layer in given.network.unflatten(given.params)
            if layer
        )
        h = given.batch.inputs[replica].flatten(1)
        for layer in (first, second):
            h = torch.relu(h @ layer["weight"].T + layer["bias"])
        weight, bias = (
            last["weight"].clone().requires_grad_(),
            last["bias"].clone().requires_grad_(),
        )
        for _ in range(4):
            loss = cross_entropy(h @ weight.T + bias, given.batch.targets[replica])
            gradients = torch.autograd.grad(loss, (weight, bias))
            with torch.no_grad():
                weight -= 0.3 * gradients[0]
                bias -= 0.3 * gradients[1]
        close(final[replica, head:], torch.cat([weight.flatten(), bias]).detach())


def test_a_step_costs_a_forward_pass_and_the_last_layers_gradient(make_problem):
    method = LastLayer(SGD(learning_rate=0.3))
    given = make_problem(method, batch_size=16, network=MLP(hidden=(12, 9)))
    given.problem.ledger = Ledger()
    method.step(
        method.init(given.problem, given.params, given.rng), given.sealed, given.problem, given.rng
    )
    assert given.problem.ledger.flops == 16 * 2 * (64 * 12 + 12 * 9 + 2 * 9 * 10)
