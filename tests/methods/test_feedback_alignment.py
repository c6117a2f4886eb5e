"""Oracles: backpropagation, where feedback weights are the forward ones; and the alignment."""

import sys
from types import SimpleNamespace

import pytest
import torch

from beyond.architectures.cnn import CNN
from beyond.architectures.mlp import MLP
from beyond.architectures.module import Module
from beyond.contracts import Batch, TargetKind, TaskSpec
from beyond.errors import UnsupportedError
from beyond.kits.optimizers import SGD
from beyond.network.initialisations import gaussian
from beyond.network.layered import LayeredNetwork
from beyond.network.vector_layers import Linear
from beyond.problem import Problem
from beyond.run.probe import Probe, cosine
from beyond.streams import Stream
from methods.backprop import Backprop
from methods.feedback_alignment import FeedbackAlignment

FAULTS = [
    # The error is carried through the forward weights after all.
    (
        "methods/feedback_alignment.py",
        "            self.carriers(state, problem),\n",
        "            None,\n",
    ),
    ("methods/feedback_alignment.py", "sqrt(fan_in / fan_out)", "fan_in / fan_out"),
]
PLAIN = SGD(learning_rate=0.5)
NETWORKS = [MLP((12, 9), activation="tanh"), MLP((12,), layer_norm=True), CNN((3, 4)), MLP(())]


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_with_the_forward_weights_as_feedback_it_is_backpropagation(network, make_problem, close):
    ends = []
    for method in (Backprop(PLAIN), FeedbackAlignment(PLAIN)):
        given = make_problem(method, network=network)
        state = method.init(given.problem, given.params, given.rng)
        for _ in range(3):
            if "feedback" in state:
                state["feedback"] = state["params"]
            state = method.step(state, given.sealed, given.problem, given.rng)
        ends.append(method.params(state))
    close(*ends, rtol=1e-4, atol=1e-6)


def test_a_step_by_hand(make_problem, close):
    """Two hidden layers, written out: each error goes through B, each activation through W."""
    method = FeedbackAlignment(PLAIN, feedback_scale=2.0)
    given = make_problem(method, network=MLP((12, 9), activation="tanh"))
    state = method.init(given.problem, given.params, given.rng)
    w1, w2, w3 = (layer["weight"] for layer in given.network.unflatten(given.params) if layer)
    _, b2, b3 = (layer["weight"] for layer in given.network.unflatten(state["feedback"]) if layer)
    x = given.batch.inputs.flatten(2)
    h1 = torch.tanh(x @ w1.mT)
    h2 = torch.tanh(h1 @ w2.mT)
    e3 = given.problem.error(h2 @ w3.mT, given.batch.targets)
    e2 = (e3 @ b3) * (1 - h2**2)
    e1 = (e2 @ b2) * (1 - h1**2)
    end = method.params(method.step(state, given.sealed, given.problem, given.rng))
    found = [
        layer["weight"] for layer in given.network.unflatten((given.params - end) / 0.5) if layer
    ]
    for weight, expected in zip(found, (e1.mT @ x, e2.mT @ h1, e3.mT @ h2), strict=True):
        close(weight, expected, rtol=1e-3, atol=1e-6)


def test_feedback_is_drawn_as_weights_are_apart_from_them_and_never_changes(make_problem):
    method = FeedbackAlignment(PLAIN, feedback_scale=3.0)
    given = make_problem(method, network=MLP((40, 50)))
    state = method.init(given.problem, given.params, given.rng)
    after = method.step(state, given.sealed, given.problem, given.rng)
    assert torch.equal(after["feedback"], state["feedback"])
    carriers = given.network.carriers(given.params)
    # below the first layer nothing is carried
    assert set(method.carriers(state, given.problem)) == {2, 3}
    for depth, carrier in method.carriers(state, given.problem).items():
        assert carrier.std() / carriers[depth].std() == pytest.approx(3, rel=0.1)
        assert cosine(carrier.flatten(1), carriers[depth].flatten(1)).abs().max() < 0.15


def test_feedback_may_be_scaled_by_the_units_that_it_is_fed_with(make_problem):
    stds = {}
    for fan in ("in", "out"):
        method = FeedbackAlignment(PLAIN, feedback_fan=fan)
        given = make_problem(method, network=MLP((40, 90)))
        carriers = method.carriers(
            method.init(given.problem, given.params, given.rng), given.problem
        )
        stds[fan] = {depth: carrier.std() for depth, carrier in carriers.items()}
    assert stds["out"][2] / stds["in"][2] == pytest.approx((40 / 90) ** 0.5)
    assert stds["out"][3] / stds["in"][3] == pytest.approx((90 / 10) ** 0.5)


def test_in_a_linear_network_the_hidden_update_comes_to_point_along_the_gradients():
    """The source's 30-20-10 network learns a linear map: from about 90 degrees to below 45."""
    rng = Stream("linear", range(8))
    spec = TaskSpec("test/linear", (30,), 10, TargetKind.VALUES, MLP(), "r2_score", (0, 0, 0))
    problem = Problem(LayeredNetwork([Linear(20), Linear(10)], (30,), gaussian(0.01)), spec)
    teacher = 2 * rng.uniform(10, 30) - 1
    # standard deviation 0.29
    method = FeedbackAlignment(SGD(learning_rate=0.005), feedback_scale=29)
    state = method.init(problem, problem.fresh_weights(rng), rng)
    hidden = slice(0, problem.stages[0].stop)
    angles = []
    for _ in range(2000):
        inputs = rng.normal(1, 30)
        batch = Batch(inputs, inputs @ teacher.mT)
        before = state["params"]
        state = method.step(state, batch, problem, rng)
        descent = -problem.gradient(before, batch)[:, hidden]
        angles.append(
            torch.rad2deg(torch.acos(cosine((state["params"] - before)[:, hidden], descent)))
        )
    assert torch.stack(angles[:10]).mean() == pytest.approx(90, abs=10)
    assert torch.stack(angles[-100:]).mean(0).max() < 45


def test_the_probe_logs_how_far_weights_and_feedback_are_aligned(make_problem):
    method = FeedbackAlignment(SGD(learning_rate=0.2))
    given = make_problem(method, batch_size=64)
    probe = Probe(given.task.at(given.seeds), given.task.spec, given.network, given.seeds)
    state = method.init(given.problem, given.params, given.rng)
    start = probe.measure(given.params, None, method.carriers(state, given.problem))
    for _ in range(300):
        state = method.step(state, given.sealed, given.problem, given.rng)
    end = probe.measure(state["params"], given.params, method.carriers(state, given.problem))
    assert start[1]["transport_cosine"].isnan().all()
    assert start[2]["transport_cosine"].abs().max() < 0.2
    assert (end[2]["transport_cosine"] > start[2]["transport_cosine"] + 0.1).all()


def test_a_network_without_layers_is_refused(make_problem, monkeypatch):
    class Tiny(torch.nn.Linear):  # no stack of layers
        def forward(self, x):
            return super().forward(x.flatten(1))

    def tiny(input_shape, n_outputs):
        return Tiny(64, n_outputs)

    monkeypatch.setitem(sys.modules, "toy_networks", SimpleNamespace(tiny=tiny))
    monkeypatch.setenv("BEYOND_PLUGINS", f"toy_networks, {__name__.partition('.')[0]}")
    method = FeedbackAlignment(PLAIN)
    given = make_problem(method, network=Module("toy_networks:tiny"))
    with pytest.raises(UnsupportedError, match="no access to its layers"):
        method.init(given.problem, given.params, given.rng)
