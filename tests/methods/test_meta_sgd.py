"""Oracles: finite differences in float64, for weights and rates; MAML, where rates are one."""

import pytest
import torch
from torch.func import grad
from torch.utils.flop_counter import FlopCounterMode

from beyond import losses
from beyond.architectures.mlp import MLP
from beyond.contracts import Batch
from beyond.errors import UnsupportedError
from beyond.kits.optimizers import SGD
from beyond.ledger import Ledger
from methods.maml import MAML
from methods.meta_sgd import MetaSGD

FAULTS = [
    # The derivatives for weights and rates change places.
    ("methods/meta_sgd.py", "for gradient in gradients]", "for gradient in gradients[::-1]]"),
    ("beyond/kits/adaptation.py", "(n_replicas, -1)).mean(1)", "(n_replicas, -1)).sum(1)"),
]

TINY = {
    "regression/sinusoids": (MLP((4, 3), activation="tanh"), {"shots": 3, "n_query": 4}),
    "image/glyphs": (MLP((4, 3), activation="tanh"), {"ways": 3, "queries": 2}),
}


@pytest.fixture
def make_episodes(make_problem):
    """Return what makes a small float64 problem, three episodes for each of two replicas."""

    def make(method, task):
        network, settings = TINY[task]
        given = make_problem(method, task, batch_size=3, network=network, **settings)
        support = Batch(*map(in_double, (given.batch.support.inputs, given.batch.support.targets)))
        given.batch = Batch(in_double(given.batch.inputs), in_double(given.batch.targets), support)
        given.params = given.params.double()
        given.rates = 0.1 + 0.05 * given.rng.normal(given.params.shape[1]).double()
        return given

    return make


def gradients_of(method, given, rates):
    """Derivatives (R, n) for weights and rates."""
    state = {"params": given.params, "extras": rates}
    return method.direction(state, given.batch, given.problem, given.rng).chunk(2, 1)


def in_double(values):
    return values.double() if values.is_floating_point() else values


def objective(given, params, rates, n_steps):
    """Mean loss (R,) of the queries after adaptation, one episode after the other."""
    episode, batch = given.task.spec.episode, given.batch
    total = torch.zeros(2, dtype=torch.float64)
    for replica in range(2):
        for index in range(3):
            support, queries = (
                (
                    part.inputs[[replica], index * n : (index + 1) * n],
                    part.targets[[replica], index * n : (index + 1) * n],
                )
                for part, n in ((batch.support, episode.n_support), (batch, episode.n_query))
            )

            def loss(weights, examples):
                outputs = given.network.outputs(weights.unsqueeze(0), examples[0])
                return losses.loss(given.task.spec.target_kind, outputs, examples[1])[0]

            weights = params[replica]
            for _ in range(n_steps):
                weights = weights - rates[replica] * grad(loss)(weights, support)
            total[replica] += loss(weights, queries) / 3
    return total


@pytest.mark.parametrize("n_steps", [1, 3])
@pytest.mark.parametrize("task", TINY)
def test_the_gradients_equal_finite_differences(task, n_steps, make_episodes, close):
    method = MetaSGD(SGD(), n_inner_steps=n_steps)
    given = make_episodes(method, task)
    gradients = gradients_of(method, given, given.rates)
    for which, gradient in enumerate(gradients):
        for _ in range(3):
            direction = torch.nn.functional.normalize(
                given.rng.normal(given.params.shape[1]).double()
            )
            ends = []
            for step in (1e-5, -1e-5):
                at = [given.params, given.rates]
                at[which] = at[which] + step * direction
                ends.append(objective(given, *at, n_steps))
            close((gradient * direction).sum(1), (ends[0] - ends[1]) / 2e-5, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("task", TINY)
def test_one_rate_for_all_weights_gives_mamls_step(task, make_episodes, close):
    """And the same predictions."""
    ends = []
    for method in (
        MetaSGD(SGD(learning_rate=0.3), initial_rate=0.1, n_inner_steps=2, n_adaptation_steps=3),
        MAML(SGD(learning_rate=0.3), inner_rate=0.1, n_inner_steps=2, n_adaptation_steps=3),
    ):
        given = make_episodes(method, task)
        state = method.init(given.problem, given.params, given.rng)
        outputs = method.predict(state, given.problem, given.batch)
        state = method.step(state, given.batch, given.problem, given.rng)
        ends.append((outputs, method.params(state)))
    for ours, theirs in zip(*ends, strict=True):
        close(ours, theirs, rtol=1e-9)


@pytest.mark.parametrize("task", TINY)
def test_a_step_descends_for_weights_and_rates_alike(task, make_episodes, close):
    method = MetaSGD(SGD(learning_rate=0.3))
    given = make_episodes(method, task)
    state = method.init(given.problem, given.params, given.rng)
    gradients = gradients_of(method, given, state["extras"])
    after = method.step(state, given.batch, given.problem, given.rng)
    for name, gradient in zip(("params", "extras"), gradients, strict=True):
        close(after[name], state[name] - 0.3 * gradient, rtol=1e-9)


@pytest.mark.parametrize("n_steps", [1, 3])
def test_every_product_is_charged(n_steps, make_problem):
    method = MetaSGD(SGD(), n_inner_steps=n_steps)
    given = make_problem(method, "image/glyphs", batch_size=3)
    given.problem.ledger = Ledger()
    state = method.init(given.problem, given.params, given.rng)
    with FlopCounterMode(display=False) as counter:
        method.step(state, given.batch, given.problem, given.rng)
    assert given.problem.ledger.flops == counter.get_total_flops() / 2


def test_tasks_without_episodes_are_refused(make_problem):
    given = make_problem(MetaSGD(SGD()), "image/digits")
    with pytest.raises(UnsupportedError, match="image/digits does not come in episodes"):
        MetaSGD(SGD()).init(given.problem, given.params, given.rng)
