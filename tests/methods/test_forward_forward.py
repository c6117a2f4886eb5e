"""Oracles: automatic differentiation of each layer's loss; a prediction, label by label."""

import pytest
import torch
import torch.nn.functional as F

from beyond.architectures.cnn import CNN
from beyond.architectures.mlp import MLP
from beyond.contracts import Batch
from beyond.errors import UnsupportedError
from beyond.ledger import Ledger
from methods.forward_forward import ForwardForward

FAULTS = [
    # A layer would be asked to be quiet for the true label and active for a wrong one.
    ("methods/forward_forward.py", "sign[n_examples:] = -1", "sign[:n_examples] = -1"),
    # The next layer hears how active this one was.
    (
        "methods/forward_forward.py",
        "        h = h * stretch((_goodness(h) + SMALLEST).rsqrt(), h)\n",
        "",
    ),
    # A label is told inside the border, or along two of its edges.
    (
        "methods/forward_forward.py",
        "places[..., 1:-1, 1:-1] = False",
        "places[..., 1:, 1:] = False",
    ),
    ("methods/forward_forward.py", 'if self.label_place == "border":', "if False:"),
]
NETWORKS = [MLP(hidden=(12, 9)), MLP(hidden=(8,), activation="tanh"), CNN(channels=(3, 4))]


class Told(ForwardForward):
    """Takes the label after the true one for the wrong one, so that a test knows which it is."""

    def _wrong_labels(self, state, batch, problem, rng):
        return (batch.targets + 1) % problem.spec.n_outputs


def start(make_problem, network, made=Told, **settings):
    method = made(**settings)
    given = make_problem(method, network=network)
    return given, method, method.init(given.problem, given.params, given.rng)


def with_labels(state, inputs, labels, scale):
    """Inputs (R, B, ...) and the patterns of their labels (R, B), example by example."""
    shown = []
    for patterns, images, named in zip(state["labels"], inputs, labels, strict=True):
        pairs = zip(images, named, strict=True)
        shown.append(torch.stack([x + scale * patterns[label].view(x.shape) for x, label in pairs]))
    return torch.stack(shown)


def goodness_of_layers(given, params, images):
    """Goodness (B,) of each hidden layer; images (R, B, 1, 8, 8). Nothing is cut between layers."""
    h, layers = images, []
    for stage in given.problem.stages[:-1]:
        h, _ = stage.forward(params, h)
        layers.append((h**2).flatten(2).mean(2))
        h = h / (layers[-1] + 1e-6).sqrt().view(*h.shape[:2], *[1] * (h.dim() - 2))
    return layers


@pytest.mark.parametrize("network", NETWORKS)
def test_each_layer_follows_the_gradient_of_its_own_loss_alone(network, make_problem, close):
    given, method, before = start(make_problem, network, threshold=0.7, label_scale=3.0)
    direction = method.direction(before, given.sealed, given.problem, given.rng)
    targets = given.batch.targets
    shown = [
        with_labels(before, given.batch.inputs, labels, 3.0)
        for labels in (targets, (targets + 1) % 10)
    ]
    params = before["params"].clone().requires_grad_()
    hidden = given.problem.stages[:-1]
    for stage, right, wrong in zip(
        hidden, *(goodness_of_layers(given, params, one) for one in shown), strict=True
    ):
        loss = (F.softplus(0.7 - right) + F.softplus(wrong - 0.7)).mean(1).sum()
        gradient = torch.autograd.grad(loss, params, retain_graph=True)[0]
        part = slice(stage.start, stage.stop)
        assert gradient[:, part].any()
        close(direction[:, part], gradient[:, part], rtol=1e-4, atol=1e-6)
    output = given.problem.stages[-1]
    after = method.step(before, given.sealed, given.problem, given.rng)
    assert torch.equal(before["params"][:, output.start :], after["params"][:, output.start :])


def test_a_layer_does_not_hear_of_what_lies_behind_it(make_problem):
    given, method, state = start(make_problem, MLP(hidden=(12, 9)))
    first = given.problem.stages[0]
    directions = []
    for shift in (0, 1):
        params = state["params"].clone()
        params[:, first.stop :] += shift
        directions.append(
            method.direction({**state, "params": params}, given.sealed, given.problem, given.rng)
        )
    assert torch.equal(directions[0][:, : first.stop], directions[1][:, : first.stop])
    assert not torch.allclose(directions[0][:, first.stop :], directions[1][:, first.stop :])


def test_a_layer_does_not_hear_how_strong_the_one_before_it_is(make_problem, close):
    """Twice the first layer's weights leave later layers' goodness: directions are passed on."""
    given, _, state = start(make_problem, MLP(hidden=(12, 9)))
    first = given.problem.stages[0]
    twice = state["params"].clone()
    twice[:, : first.stop] *= 2
    method = ForwardForward()
    plain, louder = (
        method.predict({**state, "params": params}, given.problem, given.batch)
        - first_layer_alone(given, state, params)
        for params in (state["params"], twice)
    )
    close(plain, louder, rtol=1e-3, atol=1e-4)


def first_layer_alone(given, state, params):
    labels = [torch.full((2, 16), label) for label in range(10)]
    labelled = [with_labels(state, given.batch.inputs, shown, 4.0) for shown in labels]
    return torch.stack([goodness_of_layers(given, params, one)[0] for one in labelled], -1)


@pytest.mark.parametrize(
    ("task", "n_classes", "n_features"), [("tabular/moons", 2, 2), ("image/mnist1d", 10, 40)]
)
def test_a_label_takes_no_input_away(task, n_classes, n_features, make_problem, close):
    """Labels lie at right angles in the space of inputs, and inputs stay as far apart."""
    method = ForwardForward()
    given = make_problem(method, task)
    state = method.init(given.problem, given.params, given.rng)
    assert state["labels"].shape == (2, n_classes, n_features)
    close(
        state["labels"] @ state["labels"].mT,
        torch.eye(n_classes).expand(2, -1, -1),
        rtol=0,
        atol=1e-5,
    )
    labels = torch.ones_like(given.batch.targets)
    shown = method._with_labels(given.batch.inputs, labels, state)
    close(
        shown[:, 1:] - shown[:, :-1],
        given.batch.inputs[:, 1:] - given.batch.inputs[:, :-1],
        rtol=0,
        atol=1e-5,
    )


def test_a_label_on_the_border_leaves_the_image_inside_as_it_is(make_problem, close):
    given, method, state = start(make_problem, None, label_place="border", label_scale=3.0)
    inside = given.batch.inputs[..., 1:-1, 1:-1]
    labels = (given.batch.targets + 1) % 10
    shown = method._with_labels(given.batch.inputs, labels, state)
    assert torch.equal(shown[..., 1:-1, 1:-1], inside)
    told = (shown - given.batch.inputs).flatten(2)
    assert told.any(1).sum(1).tolist() == [64 - 36] * 2  # every pixel of the border takes part
    same = (labels.unsqueeze(2) == labels.unsqueeze(1)).float()
    close(told @ told.mT, 9 * same, rtol=0, atol=1e-4)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_prediction_tries_every_label(network, make_problem, close):
    given, method, state = start(make_problem, network, label_scale=1.5)
    outputs = method.predict(state, given.problem, given.batch)
    assert outputs.shape == (2, 16, 10)
    for label in range(10):
        shown = with_labels(state, given.batch.inputs, torch.full((2, 16), label), 1.5)
        close(outputs[..., label], sum(goodness_of_layers(given, state["params"], shown)))


def test_a_prediction_is_charged_a_pass_for_every_label(make_problem):
    given, method, state = start(make_problem, None)
    given.problem.ledger = Ledger()
    method.predict(state, given.problem, given.batch)
    assert given.problem.ledger.flops == 10 * 16 * 2 * 64 * 32  # the output layer is not asked


@pytest.mark.parametrize("negatives", ["uniform", "hard"])
def test_wrong_labels_are_wrong_and_drawn_as_said(negatives, make_problem, close):
    given, method, state = start(make_problem, None, ForwardForward, negatives=negatives)
    n_draws = 4000  # of one example, as a batch of copies
    copies = Batch(
        given.batch.inputs[:, :1].repeat(1, n_draws, 1, 1, 1),
        given.batch.targets[:, :1].repeat(1, n_draws),
    )
    draws = method._wrong_labels(state, copies, given.problem, given.rng)
    assert not (draws == copies.targets).any()
    first = Batch(copies.inputs[:, 0:1], None)
    goodness = torch.zeros(2, 1, 10)
    if negatives == "hard":
        goodness = method.predict(state, given.problem, first)
    wanted = goodness.scatter(2, copies.targets[:, :1, None], -torch.inf).softmax(2).squeeze(1)
    close(F.one_hot(draws, 10).float().mean(1), wanted, rtol=0, atol=4 / (2 * n_draws**0.5))


@pytest.mark.parametrize(
    ("task", "network", "settings", "reason"),
    [
        ("regression/diabetes", None, {}, "asks for values"),
        ("text/languages", None, {}, "real-valued inputs"),
        ("image/digits", MLP(hidden=()), {}, "this network has none"),
        ("image/mnist1d", None, {"label_place": "border"}, "a border on images alone"),
    ],
)
def test_what_it_cannot_serve(task, network, settings, reason, make_problem):
    method = ForwardForward(**settings)
    given = make_problem(method, task, network=network)
    with pytest.raises(UnsupportedError, match=reason):
        method.init(given.problem, given.params, given.rng)
