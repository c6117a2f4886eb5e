"""Oracles: principal components by singular values, rules summed by example, the delta rule."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from beyond.architectures.mlp import MLP
from beyond.errors import InputError
from beyond.kits.optimizers import SGD
from beyond.network.activation_layers import ReLU
from beyond.network.image_layers import Conv2d
from beyond.network.initialisations import lecun
from beyond.network.layered import LayeredNetwork
from beyond.network.vector_layers import Flatten, Linear
from methods.hebbian import Hebbian

FAULTS = [
    # Without the lower triangle every unit sees what all units leave: a subspace, but not its axes.
    ("methods/hebbian.py", "correlations.tril(), weight", "correlations, weight"),
    # The variance of a sample instead of the batch's.
    ("methods/hebbian.py", "correction=0", "correction=1"),
]


def stacked(*layers):
    return SimpleNamespace(build=lambda spec: LayeredNetwork(layers, spec.input_shape, lecun))


def learn(given, n_steps, **settings):
    method = Hebbian(SGD(learning_rate=0.01), **settings)
    state = method.init(given.problem, given.params, given.rng)
    for _ in range(n_steps):
        state = method.step(state, given.batch, given.problem, given.rng)
    return given.network.unflatten(method.params(state))


def degrees(vectors, axes):
    """Angles between the rows of two matrices, whatever their signs."""
    return torch.rad2deg(torch.cosine_similarity(vectors, axes).abs().clamp(max=1).acos())


@pytest.mark.parametrize("n_units", [1, 4])
def test_units_find_the_principal_components_in_order(n_units, make_problem, close):
    given = make_problem(
        task="regression/diabetes",
        network=stacked(Linear(n_units), ReLU(), Linear(1)),
        batch_size=200,
    )
    hidden = learn(given, 1500, rule="oja", hebbian_rate=0.3)[0]
    for r in range(2):
        x = given.batch.inputs[r]
        axes = torch.linalg.svd(x - x.mean(0), full_matrices=False).Vh[:n_units]
        assert degrees(hidden["weight"][r], axes).max() < 3
        close(hidden["weight"][r].norm(dim=1), torch.ones(n_units), rtol=1e-2)
        close(hidden["bias"][r], -hidden["weight"][r] @ x.mean(0), rtol=1e-2, atol=1e-2)


def test_a_convolution_finds_those_of_its_patches(make_problem):
    given = make_problem(
        network=stacked(Conv2d(2, 3), ReLU(), Flatten(), Linear(10)), batch_size=64
    )
    weight = learn(given, 600, rule="oja", hebbian_rate=0.5)[0]["weight"]
    for r in range(2):
        patches = F.unfold(given.batch.inputs[r], 3).mT.flatten(0, 1)
        axes = torch.linalg.svd(patches - patches.mean(0), full_matrices=False).Vh[:2]
        assert degrees(weight[r].flatten(1), axes).max() < 3


@pytest.mark.parametrize("rule", ["oja", "competitive"])
def test_a_step_is_the_rule_summed_example_by_example(rule, make_problem, close):
    given = make_problem(task="text/languages", network=MLP(hidden=(5, 4)))
    given.params = given.params + 0.1 * torch.randn(
        given.params.shape, generator=torch.Generator().manual_seed(0)
    )
    embedding, first, _, second, *_ = learn(given, 1, rule=rule, hebbian_rate=0.1, temperature=0.7)
    before = given.network.unflatten(given.params)
    close(embedding["weight"], before[0]["weight"], rtol=0, atol=0)
    for r in range(2):
        x = before[0]["weight"][r][given.batch.inputs[r]].flatten(1)  # (B, n_in)
        for index, after in ((1, first), (3, second)):
            w, b = before[index]["weight"][r], before[index]["bias"][r]
            z = x @ w.T + b
            power = (x - x.mean(0)).square().sum(1).mean()
            change = torch.zeros_like(w)
            for k in range(len(w)):
                for n in range(16):
                    if rule == "oja":
                        y, centred = z[n] - z.mean(0), x[n] - x.mean(0)
                        change[k] += (
                            y[k] * (centred - sum(y[j] * w[j] for j in range(k + 1))) / power / 16
                        )
                    else:
                        p = torch.softmax((z - z.mean(0)) / (0.7 * power.sqrt()), 1)
                        share = p[n, k] / p[:, k].sum()
                        change[k] += (
                            share * (x[n] - x.mean(0) - (z - z.mean(0))[n, k] * w[k]) / power.sqrt()
                        )
            close(after["weight"][r], w + 0.1 * change, rtol=1e-4, atol=1e-5)
            close(after["bias"][r], b - 0.1 * z.mean(0), rtol=1e-4, atol=1e-5)
            x = z.relu()


def test_the_output_layer_follows_the_gradient_and_nothing_else_hears_of_it(make_problem, close):
    given = make_problem()
    method = Hebbian(SGD(learning_rate=0.5), hebbian_rate=0.1)
    state = method.init(given.problem, given.params, given.rng)
    after = method.params(method.step(state, given.batch, given.problem, given.rng))
    start = given.problem.layers[-1].start
    gradient = given.problem.gradient(given.params, given.batch)
    close(after[:, start:], given.params[:, start:] - 0.5 * gradient[:, start:])

    other = type(given.batch)(given.batch.inputs, (given.batch.targets + 1) % 10)
    relabelled = method.params(method.step(state, other, given.problem, given.rng))
    close(relabelled[:, :start], after[:, :start], rtol=0, atol=0)
    assert not torch.equal(relabelled, after)


def test_one_example_has_no_correlation():
    with pytest.raises(InputError, match="batch_size must be an integer >= 2, or null, got 1"):
        Hebbian(SGD(), batch_size=1)


@pytest.mark.parametrize("rule", ["oja", "competitive"])
def test_weights_stay_bounded_where_inputs_hardly_vary(rule, make_problem):
    """Sums of deep sigmoids have means far above their variation until the biases have settled."""
    given = make_problem(network=MLP(hidden=(8, 8, 8, 8), activation="sigmoid"))
    for layer in learn(given, 100, rule=rule, hebbian_rate=0.05)[:-1]:
        assert not layer or layer["weight"].flatten(2).norm(dim=2).max() < 5
