"""Oracles: feedback alignment with one hidden layer, backpropagation if linear, the definition."""

import pytest
import torch

from beyond.architectures.cnn import CNN
from beyond.architectures.mlp import MLP
from beyond.kits.optimizers import SGD
from beyond.ledger import Ledger
from methods.backprop import Backprop
from methods.direct_feedback_alignment import DirectFeedbackAlignment
from methods.feedback_alignment import FeedbackAlignment

FAULTS = [
    # every hidden layer hears another one's error
    ("methods/direct_feedback_alignment.py", "[*errors, error]", "[*reversed(errors), error]"),
    # A setting is ignored.
    (
        "methods/direct_feedback_alignment.py",
        "each(self.feedback_scale, matrices) * matrices",
        "matrices",
    ),
]
PLAIN = SGD(learning_rate=0.5)


@pytest.mark.parametrize("network", [MLP((12,), activation="tanh"), CNN((3,))])
def test_with_one_hidden_layer_it_is_feedback_alignment(network, make_problem, close):
    ends = []
    for method in (FeedbackAlignment(PLAIN), DirectFeedbackAlignment(PLAIN)):
        given = make_problem(method, network=network)
        state = method.init(given.problem, given.params, given.rng)
        if isinstance(method, FeedbackAlignment):
            above = method.carriers(state, given.problem)[2]
        else:
            state["feedback"] = [above]
        for _ in range(3):
            state = method.step(state, given.sealed, given.problem, given.rng)
        ends.append(method.params(state))
    close(*ends, rtol=1e-4, atol=1e-6)


def test_a_step_by_hand(make_problem, close):
    method = DirectFeedbackAlignment(PLAIN, feedback_scale=2.0)
    # equal widths: only the order differs
    given = make_problem(method, network=MLP((9, 9), activation="tanh"))
    state = method.init(given.problem, given.params, given.rng)
    w1, w2, w3 = (layer["weight"] for layer in given.network.unflatten(given.params) if layer)
    b1, b2 = state["feedback"]
    x = given.batch.inputs.flatten(2)
    h1 = torch.tanh(x @ w1.mT)
    h2 = torch.tanh(h1 @ w2.mT)
    e = given.problem.error(h2 @ w3.mT, given.batch.targets)
    expected = (((e @ b1) * (1 - h1**2)).mT @ x, ((e @ b2) * (1 - h2**2)).mT @ h1, e.mT @ h2)
    direction = method.direction(state, given.sealed, given.problem, given.rng)
    found = [layer["weight"] for layer in given.network.unflatten(direction) if layer]
    for weight, by_hand in zip(found, expected, strict=True):
        close(weight, by_hand, rtol=1e-3, atol=1e-6)


def test_in_a_linear_network_the_product_of_the_weights_above_makes_it_backpropagation(
    make_problem, close
):
    directions = []
    for method in (Backprop(), DirectFeedbackAlignment()):
        # an embedding and a linear layer
        given = make_problem(method, "text/languages", network=MLP(()))
        state = method.init(given.problem, given.params, given.rng)
        if "feedback" in state:
            state["feedback"] = [given.network.carriers(given.params)[2]]
        directions.append(method.direction(state, given.sealed, given.problem, given.rng))
    close(*directions, rtol=1e-4, atol=1e-6)


def test_feedback_has_the_scale_of_a_readout_and_never_changes(make_problem):
    method = DirectFeedbackAlignment(PLAIN, feedback_scale=3.0)
    given = make_problem(method, network=MLP((400, 100)))
    state = method.init(given.problem, given.params, given.rng)
    after = method.step(state, given.sealed, given.problem, given.rng)
    assert all(map(torch.equal, state["feedback"], after["feedback"]))
    assert [matrix.shape for matrix in state["feedback"]] == [(2, 10, 400), (2, 10, 100)]
    assert float(state["feedback"][0].std()) == pytest.approx(3 * (2 / 400) ** 0.5, rel=0.1)  # He's
    wide = DirectFeedbackAlignment(PLAIN, feedback_scale=3.0, feedback_fan="out")
    state = wide.init(given.problem, given.params, given.rng)
    assert float(state["feedback"][0].std()) == pytest.approx(3 * (2 / 10) ** 0.5, rel=0.1)


def test_the_way_back_costs_the_gradients_and_one_product_a_hidden_layer(make_problem):
    method = DirectFeedbackAlignment(PLAIN)
    given = make_problem(method, batch_size=16, network=MLP((12, 9)))
    given.problem.ledger = Ledger()
    method.step(
        method.init(given.problem, given.params, given.rng), given.sealed, given.problem, given.rng
    )
    layers = 2 * (64 * 12 + 12 * 9 + 9 * 10)
    assert given.problem.ledger.flops == 16 * (2 * layers + 2 * 10 * (12 + 9))
