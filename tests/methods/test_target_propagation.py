"""Oracles: Gauss-Newton targets for exact inverses; both local losses differentiated."""

from types import SimpleNamespace

import pytest
import torch

from beyond import losses
from beyond.architectures.cnn import CNN
from beyond.architectures.mlp import MLP
from beyond.kits.optimizers import SGD
from beyond.network.initialisations import orthogonal
from beyond.network.layered import LayeredNetwork
from beyond.network.vector_layers import Linear
from methods.target_propagation import TargetPropagation

FAULTS = [
    # Targets on the wrong side of the activities.
    (
        "methods/target_propagation.py",
        "target = below + (wanted - found)",
        "target = below - (wanted - found)",
    ),
    # The inverse learns nothing of the neighbourhood.
    (
        "methods/target_propagation.py",
        "code, _ = stages[i].forward(params, corrupted)",
        "code, _ = stages[i].forward(params, below)",
    ),
    ("methods/target_propagation.py", 'INITIALISATIONS["lecun"]', 'INITIALISATIONS["he"]'),
]


def directions(given, state, **settings):
    """Where a step goes: for the weights, and for the inverses."""
    whole = TargetPropagation(**settings).direction(state, given.batch, given.problem, given.rng)
    return whole.tensor_split([given.problem.n_weights], 1)


def test_with_exact_inverses_targets_are_those_of_gauss_and_newton(make_problem, close):
    """The stack from stage l+1 up is J; a target lies at h_l - rate J^-1 d loss / d outputs."""
    network = SimpleNamespace(
        build=lambda spec: LayeredNetwork([Linear(10)] * 3, spec.input_shape, orthogonal)
    )
    given = make_problem(task="regression/diabetes", network=network)
    generator = torch.Generator().manual_seed(0)
    given.params = given.params + 0.05 * torch.randn(given.params.shape, generator=generator)
    targets = torch.randn(2, 16, 10, generator=generator)
    given.batch = type(given.batch)(given.batch.inputs, targets)

    first, second, third = given.network.unflatten(given.params)
    inverses = []
    for layer in (second, third):  # V = W^-1, c = -W^-1 b
        inverse = torch.linalg.inv(layer["weight"])
        inverses += [inverse.flatten(1), -(inverse @ layer["bias"].unsqueeze(-1)).squeeze(-1)]
    state = {"params": given.params, "extras": torch.cat(inverses, 1)}
    direction, of_inverses = directions(given, state, target_rate=0.7, noise_std=0.2)

    h1 = torch.einsum("roi,rbi->rbo", first["weight"], given.batch.inputs)
    h1 = h1 + first["bias"].unsqueeze(1)
    outputs = given.problem.outputs(given.params, given.batch.inputs)
    for below, jacobian, index in [
        (given.batch.inputs, third["weight"] @ second["weight"], 0),
        (h1, third["weight"], 1),
    ]:
        # h_l - t_l, an example a row
        delta = 0.7 * torch.linalg.solve(jacobian, (outputs - targets).mT).mT
        expected = torch.einsum("rbo,rbi->roi", delta, below) / 16
        update = given.network.unflatten(direction)[index]
        close(update["weight"], expected, rtol=1e-3, atol=1e-5)
        close(update["bias"], delta.mean(1), rtol=1e-3, atol=1e-5)
    # nothing is left to learn
    close(of_inverses, torch.zeros_like(of_inverses), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("task", "network"),
    [
        ("image/digits", MLP(hidden=(12, 9), activation="tanh")),
        ("image/digits", CNN(channels=(3, 4))),
        ("text/languages", MLP(hidden=(12, 9))),
    ],
)
def test_both_local_gradients_equal_automatic_differentiation(task, network, make_problem, close):
    given, again = (make_problem(task=task, network=network) for _ in range(2))
    method = TargetPropagation()
    before = method.init(given.problem, given.params, given.rng)
    direction, of_inverses = directions(given, before, target_rate=0.6, noise_std=0.4)
    # the same draws, so that the noise is the same
    state = method.init(again.problem, again.params, again.rng)
    close(state["extras"], before["extras"])

    stages = again.problem.stages
    weights = again.params.clone().requires_grad_()
    inverses = state["extras"].clone().requires_grad_()
    pairs, start = [], 0  # V and c of each inverse, from the second stage on
    for stage in stages[1:]:
        n_in = stage.output_shape[0]
        n_out = torch.Size(stage.input_shape).numel()
        v = inverses[:, start : start + n_in * n_out].view(2, n_out, n_in)
        start += n_in * n_out
        pairs.append((v, inverses[:, start : start + n_out].unsqueeze(1)))
        start += n_out
    assert start == inverses.shape[1]

    def back(i, activity):
        """The inverse of stages[i]."""
        v, c = pairs[i - 1]
        z = torch.einsum("roi,rbi->rbo", v, activity.flatten(2)) + c
        if task == "text/languages" and i == 1:
            return z  # what an embedding hands on is linear
        return z.tanh() if network.activation == "tanh" else z.relu()

    activities = [again.batch.inputs]
    for stage in stages:
        activities.append(stage.forward(weights, activities[-1].detach())[0])
    top = losses.loss(again.problem.spec.target_kind, activities[-1], again.batch.targets).sum()
    (error,) = torch.autograd.grad(top, activities[-1], retain_graph=True)
    target = activities[-1].detach() - 0.6 * 16 * error
    local, reconstruction = top, torch.zeros(())
    for i in range(len(stages) - 1, 0, -1):
        below = activities[i]
        noisy = below.detach() + 0.4 * again.rng.normal(*below.shape[1:])
        code = stages[i].forward(weights, noisy)[0].detach()
        reconstruction = (
            reconstruction + 0.5 * (back(i, code) - noisy.flatten(2)).square().sum() / 16
        )
        shift = (back(i, target) - back(i, activities[i + 1])).detach()
        target = below.detach() + shift.view(below.shape)
        local = local + 0.5 * (below - target).square().sum() / 16
    close(direction, torch.autograd.grad(local, weights)[0], rtol=1e-3, atol=1e-5)
    expected = torch.autograd.grad(reconstruction, inverses)[0]
    close(of_inverses, expected, rtol=1e-3, atol=1e-4)


def test_inverses_learn_to_reconstruct(make_problem):
    """The distance of noisy activities and their images falls well below that at first."""
    given = make_problem(network=MLP(hidden=(6, 12), activation="tanh"), batch_size=64)
    method = TargetPropagation(SGD(learning_rate=0.05), noise_std=0.1)
    state = method.init(given.problem, given.params, given.rng)

    def distance(inverses):
        first, second = given.problem.stages[:2]
        h1, _ = first.forward(given.params, given.batch.inputs)
        h2, _ = second.forward(given.params, h1)
        v, c = inverses[:, : 6 * 12].view(2, 6, 12), inverses[:, 6 * 12 : 6 * 12 + 6].unsqueeze(1)
        return float((torch.einsum("roi,rbi->rbo", v, h2).add(c).tanh() - h1).square().mean())

    fresh = distance(state["extras"])
    for _ in range(300):
        after = method.step(state, given.batch, given.problem, given.rng)
        state = {**after, "params": given.params}  # stages held
    assert distance(state["extras"]) < 0.2 * fresh


def test_inverses_start_with_a_variance_of_one_over_their_inputs(make_problem):
    given = make_problem(network=MLP((60, 50)))
    method = TargetPropagation()
    whole = method.init(given.problem, given.params, given.rng)["extras"]
    first = whole[:, : 60 * 50]  # from the 50 units of the second layer to the 60 of the first
    assert abs(first.std() * 50**0.5 - 1) < 4 / (2 * first.numel()) ** 0.5
