"""Oracles: automatic differentiation, and gradient descent written by hand on a module of torch's;
on the last layer alone, softmax regression on the frozen features.
"""

import pytest
import torch
from torch.nn.functional import cross_entropy

from beyond.architectures.mlp import MLP
from beyond.errors import InputError
from beyond.kits.optimizers import SGD, Adam
from beyond.ledger import Ledger
from methods.backprop import Backprop

FAULTS = [
    # uphill
    ("methods/backprop.py", "gradient = problem.backward(", "gradient = -problem.backward("),
    # the whole way back is made, and charged
    (
        "methods/backprop.py",
        "problem.error(outputs, batch.targets), start=start)",
        "problem.error(outputs, batch.targets))[:, start:]",
    ),
    # the first layers, not the last
    (
        "methods/backprop.py",
        "return problem.suffix(self.n_layers), problem.n_weights",
        "return 0, problem.suffix(self.n_layers)",
    ),
    # by automatic differentiation all layers are trained
    ("methods/backprop.py", "batch, rng)[:, start:]", "batch, rng)"),
    # The noise of a replica follows the gradients of all.
    ("methods/backprop.py", "gradient.norm(dim=1, keepdim=True)", "gradient.norm()"),
]


@pytest.mark.parametrize("task", ["image/digits", "text/languages", "regression/diabetes"])
def test_the_chain_rule_equals_automatic_differentiation(task, make_problem, close):
    ends = []
    for engine in ("chain_rule", "autograd"):
        method = Backprop(Adam(learning_rate=0.01), engine=engine)
        given = make_problem(method, task)
        state = method.init(given.problem, given.params, given.rng)
        for _ in range(5):
            state = method.step(state, given.sealed, given.problem, given.rng)
        ends.append(method.params(state))
    close(*ends, rtol=1e-4, atol=1e-6)


def test_a_step_equals_torch(make_problem, close):
    method = Backprop(SGD(learning_rate=0.5))
    given = make_problem(method, "image/digits", seeds=[3])
    state = method.init(given.problem, given.params, given.rng)
    state = method.step(state, given.sealed, given.problem, given.rng)

    module = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10)
    )
    torch.nn.utils.vector_to_parameters(given.params[0], module.parameters())
    optimizer = torch.optim.SGD(module.parameters(), lr=0.5)
    torch.nn.functional.cross_entropy(
        module(given.batch.inputs[0]), given.batch.targets[0]
    ).backward()
    optimizer.step()
    close(
        method.params(state)[0], torch.nn.utils.parameters_to_vector(module.parameters()).detach()
    )


def test_a_step_costs_one_forward_and_one_backward_pass(make_problem):
    method = Backprop(SGD(learning_rate=0.5))
    given = make_problem(method, batch_size=16)
    given.problem.ledger = Ledger()
    method.step(
        method.init(given.problem, given.params, given.rng), given.sealed, given.problem, given.rng
    )
    assert (given.problem.ledger.forward, given.problem.ledger.backward) == (16, 16)
    assert given.problem.ledger.flops == 16 * (2 * (2 * 64 * 32 + 2 * 32 * 10) + 2 * 32 * 10)


def test_noise_lowers_the_cosine_with_the_gradient_and_keeps_its_mean(make_problem):
    noise, seeds = 3.0, range(40)
    updates = {}
    for size in (0.0, noise):
        method = Backprop(SGD(learning_rate=1.0), gradient_noise=size)
        given = make_problem(method, seeds=seeds)
        state = method.step(
            method.init(given.problem, given.params, given.rng),
            given.sealed,
            given.problem,
            given.rng,
        )
        updates[size] = method.params(state) - given.params
    exact, noisy = updates[0.0], updates[noise]
    cosines = torch.cosine_similarity(exact, noisy, 1)
    assert cosines.mean().item() == pytest.approx((1 + noise**2) ** -0.5, rel=0.05)
    along = (noisy * exact).sum(1) / exact.square().sum(1)
    assert along.mean().item() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("engine", ["chain_rule", "autograd"])
def test_the_last_layer_alone_is_softmax_regression_on_the_frozen_features(
    engine, make_problem, close
):
    method = Backprop(SGD(learning_rate=0.3), engine=engine, n_layers=1)
    given = make_problem(method, network=MLP(hidden=(12, 9)))
    state = method.init(given.problem, given.params, given.rng)
    for _ in range(4):
        state = method.step(state, given.sealed, given.problem, given.rng)
    final = method.params(state)
    head = given.network.suffix(1)
    close(final[:, :head], given.params[:, :head], rtol=0, atol=0)
    for replica in range(2):
        first, second, last = (
            {name: tensor[replica] for name, tensor in layer.items()}
            for layer in given.network.unflatten(given.params)
            if layer
        )
        h = given.batch.inputs[replica].flatten(1)
        for layer in (first, second):
            h = torch.relu(h @ layer["weight"].T + layer["bias"])
        weight, bias = (last[name].clone().requires_grad_() for name in ("weight", "bias"))
        for _ in range(4):
            loss = cross_entropy(h @ weight.T + bias, given.batch.targets[replica])
            gradients = torch.autograd.grad(loss, (weight, bias))
            with torch.no_grad():
                weight -= 0.3 * gradients[0]
                bias -= 0.3 * gradients[1]
        close(final[replica, head:], torch.cat([weight.flatten(), bias]).detach())


def test_frozen_layers_stay_and_the_others_move(make_problem, close):
    method = Backprop(SGD(learning_rate=0.1), n_layers=2)
    given = make_problem(method, network=MLP(hidden=(12, 9)))
    state = method.init(given.problem, given.params, given.rng)
    after = method.params(method.step(state, given.sealed, given.problem, given.rng))
    head = given.network.suffix(2)
    close(after[:, :head], given.params[:, :head], rtol=0, atol=0)
    assert not torch.equal(after[:, head:], given.params[:, head:])
    assert list(method.left_alone(given.problem)) == [given.network.blocks[0].name]


def test_the_last_layer_costs_a_forward_pass_and_its_gradient(make_problem):
    method = Backprop(SGD(learning_rate=0.3), n_layers=1)
    given = make_problem(method, batch_size=16, network=MLP(hidden=(12, 9)))
    given.problem.ledger = Ledger()
    method.step(
        method.init(given.problem, given.params, given.rng), given.sealed, given.problem, given.rng
    )
    assert given.problem.ledger.flops == 16 * 2 * (64 * 12 + 12 * 9 + 2 * 9 * 10)


def test_more_layers_than_there_are_is_refused(make_problem):
    method = Backprop(Adam(learning_rate=0.01), n_layers=3)
    given = make_problem(method)
    with pytest.raises(InputError, match=r"^n_layers must be at most 2 for this network, got 3$"):
        method.init(given.problem, given.params, given.rng)
