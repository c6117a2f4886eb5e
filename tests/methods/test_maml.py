"""Oracles: finite differences in float64, adaptation by automatic differentiation, backprop."""

from dataclasses import replace

import pytest
import torch
from torch.func import grad
from torch.utils.flop_counter import FlopCounterMode

from beyond import losses
from beyond.architectures.mlp import MLP
from beyond.contracts import Batch
from beyond.data.sampler import Sampler
from beyond.errors import UnsupportedError
from beyond.kits.optimizers import SGD, Adam
from beyond.ledger import Ledger
from beyond.streams import Stream
from methods.maml import MAML

FAULTS = [
    # The queries' gradient is taken where adaptation starts instead of where it ends.
    (
        "beyond/kits/adaptation.py",
        "problem.gradient(adapted, queries)",
        "problem.gradient(params, queries)",
    ),
    # Adapted as in training, whatever is asked for.
    ("methods/maml.py", "self._inner(self.n_adaptation_steps)", "self._inner(self.n_inner_steps)"),
    ("beyond/kits/adaptation.py", "backward * 4 + forward * -2", "backward * 4"),
]

TINY = {
    "regression/sinusoids": (MLP((4, 3), activation="tanh"), {"shots": 3, "n_query": 4}),
    "image/glyphs": (MLP((4, 3), activation="tanh"), {"ways": 3, "queries": 2}),
}


def gradient(method, given):
    return method.direction({"params": given.params}, given.batch, given.problem, given.rng)


@pytest.fixture
def make_episodes(make_problem):
    """Return what makes a small float64 problem, three episodes for each of two replicas."""

    def make(method, task):
        network, settings = TINY[task]
        given = make_problem(method, task, batch_size=3, network=network, **settings)
        given.batch = in_double(given.batch)
        given.params = given.params.double()
        return given

    return make


def in_double(batch):
    targets = batch.targets.double() if batch.targets.is_floating_point() else batch.targets
    return Batch(batch.inputs.double(), targets, batch.support and in_double(batch.support))


def episodes(given):
    """Replica, support and queries of every episode."""
    episode, batch = given.task.spec.episode, given.batch
    for replica in range(2):
        for index in range(3):
            support, queries = (
                (
                    part.inputs[[replica], index * n : (index + 1) * n],
                    part.targets[[replica], index * n : (index + 1) * n],
                )
                for part, n in ((batch.support, episode.n_support), (batch, episode.n_query))
            )
            yield replica, support, queries


def loss(given, weights, examples):
    outputs = given.network.outputs(weights.unsqueeze(0), examples[0])
    return losses.loss(given.task.spec.target_kind, outputs, examples[1])[0]


def adapted(given, weights, support, rate, n_steps, start=0):
    for _ in range(n_steps):
        change = grad(lambda at: loss(given, at, support))(weights)
        change[:start] = 0
        weights = weights - rate * change
    return weights


def objective(given, params, *inner):
    total = torch.zeros(2, dtype=torch.float64)
    for replica, support, queries in episodes(given):
        total[replica] += loss(given, adapted(given, params[replica], support, *inner), queries) / 3
    return total


@pytest.mark.parametrize("n_steps", [1, 3])
@pytest.mark.parametrize("scope", ["all", "last_layer"])
@pytest.mark.parametrize("task", TINY)
def test_the_gradient_equals_finite_differences(task, scope, n_steps, make_episodes, close):
    method = MAML(SGD(), inner_rate=0.1, n_inner_steps=n_steps, scope=scope)
    given = make_episodes(method, task)
    found = gradient(method, given)
    assert found.dtype == torch.float64
    start = given.network.suffix(1) if scope == "last_layer" else 0
    for _ in range(4):
        direction = torch.nn.functional.normalize(given.rng.normal(given.params.shape[1]).double())
        ends = [
            objective(given, given.params + step * direction, 0.1, n_steps, start)
            for step in (1e-5, -1e-5)
        ]
        close((found * direction).sum(1), (ends[0] - ends[1]) / 2e-5, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("task", TINY)
def test_first_order_is_the_gradient_at_the_adapted_weights(task, make_episodes, close):
    method = MAML(SGD(), inner_rate=0.1, n_inner_steps=2, order="first")
    given = make_episodes(method, task)
    expected = torch.zeros_like(given.params)
    for replica, support, queries in episodes(given):
        end = adapted(given, given.params[replica], support, 0.1, 2)
        expected[replica] += grad(lambda at, shown=queries: loss(given, at, shown))(end) / 3
    close(gradient(method, given), expected, rtol=1e-9)
    second = gradient(replace(method, order="second"), given)
    assert (second - expected).norm() > 0.01 * expected.norm()


@pytest.mark.parametrize("order", ["first", "second"])
@pytest.mark.parametrize("task", TINY)
def test_without_inner_steps_it_is_backpropagation_on_the_queries(
    task, order, make_episodes, close
):
    method = MAML(SGD(learning_rate=0.3), n_inner_steps=0, order=order)
    given = make_episodes(method, task)
    state = method.step(
        method.init(given.problem, given.params, given.rng), given.batch, given.problem, given.rng
    )
    expected = given.params - 0.3 * given.problem.gradient(given.params, given.batch)
    close(method.params(state), expected, rtol=1e-9)


@pytest.mark.parametrize("scope", ["all", "last_layer"])
@pytest.mark.parametrize("task", TINY)
def test_a_prediction_adapts_to_each_episode_by_itself(task, scope, make_episodes, close):
    method = MAML(SGD(), inner_rate=0.1, n_adaptation_steps=3, scope=scope)
    given = make_episodes(method, task)
    state = method.init(given.problem, given.params, given.rng)
    outputs = method.predict(state, given.problem, given.batch)
    assert outputs.shape == (*given.batch.inputs.shape[:2], given.task.spec.n_outputs)
    start = given.network.suffix(1) if scope == "last_layer" else 0
    ends = [
        given.network.outputs(
            adapted(given, given.params[r], support, 0.1, 3, start).unsqueeze(0), queries[0]
        )
        for r, support, queries in episodes(given)
    ]
    close(outputs, torch.stack([torch.cat(ends[:3], 1)[0], torch.cat(ends[3:], 1)[0]]), rtol=1e-9)


@pytest.mark.parametrize("hidden", [(), (4, 3)])
@pytest.mark.parametrize("order", ["first", "second"])
@pytest.mark.parametrize("scope", ["all", "last_layer"])
@pytest.mark.parametrize("n_steps", [0, 1, 3])
def test_every_product_is_charged(n_steps, scope, order, hidden, make_problem):
    method = MAML(SGD(), n_inner_steps=n_steps, scope=scope, order=order)
    given = make_problem(method, "image/glyphs", batch_size=3, network=MLP(hidden))
    given.problem.ledger = Ledger()
    with FlopCounterMode(display=False) as counter:
        gradient(method, given)
    assert given.problem.ledger.flops == counter.get_total_flops() / 2


def test_tasks_without_episodes_are_refused(make_problem):
    given = make_problem(MAML(SGD()), "image/digits")
    with pytest.raises(UnsupportedError, match="image/digits does not come in episodes"):
        MAML(SGD()).init(given.problem, given.params, given.rng)


@pytest.mark.slow
def test_sinusoids_are_learnt_from_ten_points(make_problem):
    """The paper's figure 3: one step takes the squared error from 3.2 below 1, further ones on."""
    method = MAML(Adam(learning_rate=0.001))
    given = make_problem(method, "regression/sinusoids", seeds=[0])
    state, fresh = method.init(given.problem, given.params, given.rng), Stream("augment", [0])
    sampler = Sampler(1000, method.batch_size, Stream("data", [0]))
    orders = torch.stack([sampler.next() for _ in range(4000)])
    for batch in given.task.at([0]).training(orders, fresh):
        state = method.step(state, batch, given.problem, given.rng)
    test, errors = given.task.at([0]).batch("test", torch.arange(600).unsqueeze(0)), []
    for n_steps in (0, 1, 10):
        outputs = replace(method, n_adaptation_steps=n_steps).predict(state, given.problem, test)
        errors.append(given.task.score(outputs, test.targets)["mean_squared_error"].item())
    assert errors[0] == pytest.approx(3.2, abs=0.3)
    assert errors[1] < 1.2
    assert errors[2] < 0.75 * errors[1]
