"""Oracle: automatic differentiation through the settling, in float64, and the error's order."""

import numpy as np
import pytest
import torch

from beyond import losses
from beyond.architectures.cnn import CNN
from beyond.architectures.mlp import MLP
from beyond.contracts import Batch, TargetKind
from beyond.errors import UnsupportedError
from methods.equilibrium_propagation import EquilibriumPropagation

FAULTS = [
    # Uphill instead of downhill.
    (
        "methods/equilibrium_propagation.py",
        "scale = -1 / (span * n_examples)",
        "scale = 1 / (span * n_examples)",
    ),
    # The second nudged phase starts where the first one ended.
    (
        "methods/equilibrium_propagation.py",
        "nudged_from(free, -self.beta)",
        "nudged_from(nudged, -self.beta)",
    ),
    ("methods/equilibrium_propagation.py", "2 * self.beta", "self.beta"),
    (
        "methods/equilibrium_propagation.py",
        "lambda _: 0.0, self.n_free",
        "lambda _: 0.0, self.n_nudged",
    ),
]

SETTLED = {"n_free": 150, "n_nudged": 150, "step_size": 0.5}


def precise(given):
    """The problem in float64, with weaker weights, so that the circuit settles within rounding."""
    parts = (given.batch.inputs, given.batch.targets)
    given.batch = Batch(*(part.double() if part.is_floating_point() else part for part in parts))
    given.params = 0.3 * given.params.double()
    return given


def direction(given, **settings):
    """The gradient that the optimizer is handed."""
    method = EquilibriumPropagation(**(SETTLED | settings))
    state = method.init(given.problem, given.params, given.rng)
    return method.direction(state, given.batch, given.problem, given.rng)


def gradient_at_equilibrium(given, rho, n_moves=300) -> torch.Tensor:
    """Derivative of the loss through the last 300 moves of the free circuit, written by hand."""
    weights = given.params.clone().requires_grad_()
    named = [layer for layer in given.network.unflatten(weights) if layer]
    x = given.batch.inputs
    if not x.is_floating_point():
        table = named.pop(0)["weight"]  # (R, n_symbols, n_features)
        x = torch.stack([rows[symbols] for rows, symbols in zip(table, x, strict=True)])
    x = x.flatten(2)
    *hidden, out = [(layer["weight"], layer["bias"].unsqueeze(1)) for layer in named]

    def affine(pair, s):
        return torch.einsum("roi,rbi->rbo", pair[0], s) + pair[1]

    states = [torch.zeros(*x.shape[:2], pair[0].shape[1], dtype=x.dtype) for pair in hidden]
    for move in range(300):
        if move == 300 - n_moves:
            states = [state.detach() for state in states]
        moved = []
        for i in range(len(hidden)):
            total = affine(hidden[i], states[i - 1] if i else x)
            if i + 1 < len(hidden):
                total = total + torch.einsum("roi,rbo->rbi", hidden[i + 1][0], states[i + 1])
            moved.append(0.5 * states[i] + 0.5 * rho(total))
        states = moved
    loss = losses.loss(
        given.problem.spec.target_kind, affine(out, states[-1]), given.batch.targets
    ).sum()
    return torch.autograd.grad(loss, weights)[0]


@pytest.mark.parametrize("task", ["image/digits", "text/languages", "regression/diabetes"])
@pytest.mark.parametrize(("nudging", "order"), [("one_sided", 1), ("symmetric", 2)])
def test_the_update_tends_to_the_gradient_at_the_free_equilibrium(
    task, nudging, order, make_problem, deep_network
):
    given = precise(make_problem(task=task, network=deep_network))
    exact = gradient_at_equilibrium(given, torch.tanh)
    betas = np.array([0.2, 0.1, 0.05, 0.025])
    errors = []
    for beta in betas:
        update = direction(given, nudging=nudging, beta=float(beta))
        errors.append(float((update - exact).norm() / exact.norm()))
    slope = np.polyfit(np.log(betas), np.log(errors), 1)[0]
    assert slope == pytest.approx(order, abs=0.1)
    assert errors[-1] < 0.02


@pytest.mark.parametrize("n_moves", [2, 3, 5])
def test_a_few_nudged_moves_give_the_gradient_through_as_many_moves(
    n_moves, make_problem, deep_network
):
    """As Ernoult et al. (2019) prove of each move: half settled, a phase starts from there."""
    given = precise(make_problem(network=deep_network))
    exact = gradient_at_equilibrium(given, torch.tanh, n_moves)
    update = direction(given, beta=0.001, n_nudged=n_moves)
    torch.testing.assert_close(update, exact, rtol=1e-3, atol=1e-7)
    whole = gradient_at_equilibrium(given, torch.tanh)
    assert (exact - whole).norm() > 0.01 * whole.norm()


def test_every_layer_counts(make_problem, deep_network):
    """The order alone could hide a layer whose gradient is small."""
    given = precise(make_problem(task="text/languages", network=deep_network))
    exact, update = gradient_at_equilibrium(given, torch.tanh), direction(given, beta=0.01)
    for block in given.network.blocks:
        part = slice(block.start, block.stop)
        torch.testing.assert_close(update[:, part], exact[:, part], rtol=1e-3, atol=1e-6)


def test_one_hidden_layer_of_relu_follows_backpropagation(make_problem):
    given = make_problem()
    exact = given.problem.gradient(given.params, given.batch)
    update = direction(given, beta=0.01)
    assert torch.cosine_similarity(update, exact).min() > 0.999


def test_predictions_are_the_read_out_of_the_free_equilibrium(make_problem, deep_network, close):
    given = precise(make_problem(network=deep_network))
    batch, kind = given.batch, TargetKind.CLASSES
    ends = []
    for n_free in (150, 151):
        method = EquilibriumPropagation(n_free=n_free)
        state = method.init(given.problem, given.params, given.rng)
        ends.append(method.predict(state, given.problem, batch))
    close(*ends, rtol=1e-10, atol=1e-12)
    # without feedback the outputs are others
    forward = given.problem.outputs(given.params, batch.inputs)
    assert (
        losses.loss(kind, forward, batch.targets) - losses.loss(kind, ends[0], batch.targets)
    ).abs().min() > 1e-4

    given = make_problem()  # one hidden layer: nothing feeds back
    method = EquilibriumPropagation()
    state = method.init(given.problem, given.params, given.rng)
    inputs = given.batch.inputs
    answer = method.predict(state, given.problem, Batch(inputs, None))
    close(answer, given.problem.outputs(given.params, inputs), atol=1e-5)


def test_one_free_move_by_hand(make_problem, deep_network, close):
    given = make_problem(network=deep_network)
    method = EquilibriumPropagation(n_free=1, step_size=1.0)
    (w1, b1), (w2, b2), (w3, b3) = (
        (layer["weight"], layer["bias"].unsqueeze(1))
        for layer in given.network.unflatten(given.params)
        if layer
    )
    x = given.batch.inputs.flatten(2)
    start = torch.tanh(x @ w1.mT + b1)
    # the second layer moves with the first, whose move it does not see yet
    top = torch.tanh(start @ w2.mT + b2)
    state = method.init(given.problem, given.params, given.rng)
    close(method.predict(state, given.problem, given.batch), top @ w3.mT + b3, atol=1e-6)
    twice = EquilibriumPropagation(n_free=2, step_size=1.0)
    moved = torch.tanh(x @ w1.mT + b1 + top @ w2)
    expected = torch.tanh(moved @ w2.mT + b2) @ w3.mT + b3
    close(twice.predict(state, given.problem, given.batch), expected, atol=1e-6)


@pytest.mark.parametrize(
    "network",
    [CNN(), MLP(hidden=()), MLP(layer_norm=True), MLP(dropout=0.1), MLP(hidden=(8, 8))],
)
def test_what_it_cannot_serve_it_refuses(network, make_problem):
    given = make_problem(network=network)
    with pytest.raises(UnsupportedError):
        EquilibriumPropagation().init(given.problem, given.params, given.rng)


def test_a_nudge_must_reach_the_first_layer(make_problem, deep_network):
    given = make_problem(network=deep_network)
    with pytest.raises(
        UnsupportedError, match="1 nudged moves do not reach down through 2 hidden layers"
    ):
        EquilibriumPropagation(n_nudged=1).init(given.problem, given.params, given.rng)
