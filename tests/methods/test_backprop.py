"""Oracles: automatic differentiation, and gradient descent written by hand on a module of torch's."""

import pytest
import torch

from beyond.kits.optimizers import SGD, Adam
from methods.backprop import Backprop

FAULTS = [
    # uphill
    ("methods/backprop.py", "gradient = problem.backward(", "gradient = -problem.backward("),
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
    from beyond.ledger import Ledger

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
