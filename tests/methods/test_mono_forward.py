"""Oracles: automatic differentiation of each layer's loss, on torch's modules."""

import pytest
import torch
import torch.nn.functional as F

from beyond.architectures.cnn import CNN
from beyond.architectures.mlp import MLP
from beyond.kits.passes import end_to_end
from methods.mono_forward import MonoForward

# Each layer would climb its loss through its projection.
FAULTS = [
    (
        "methods/mono_forward.py",
        "matmul(error, projection).view(h.shape)",
        "matmul(-error, projection).view(h.shape)",
    ),
    ("methods/mono_forward.py", "/ width**0.5", "/ width"),
    ("methods/mono_forward.py", "[*answers, outputs]).mean(0)", "[*answers, outputs]).sum(0)"),
]


def start(make_problem, task="image/digits", network=None, **settings):
    """What is given, the method, its state and the projections in it."""
    method = MonoForward(**settings)
    given = make_problem(method, task, network=network)
    state = method.init(given.problem, given.params, given.rng)
    return given, method, state, method.projections(state, given.problem)


def directions(given, method, state):
    """Where a step goes: for the weights, and for each projection."""
    both = method.direction(state, given.sealed, given.problem, given.rng).tensor_split(
        [given.problem.n_weights], 1
    )
    return both[0], method.projections({"extras": both[1]}, given.problem)


def local_losses(given, params, projections):
    """Loss of every layer, summed over replicas; nothing in the graph is cut between layers."""
    # one output
    criterion = (
        F.cross_entropy if given.batch.targets.dim() == 2 else lambda z, y: F.mse_loss(z, y) / 2
    )
    h, losses = given.batch.inputs, []
    for index, stage in enumerate(given.problem.stages):
        h, _ = stage.forward(params, h)
        answers = h
        if index < len(projections):
            answers = torch.einsum("rbf,rcf->rbc", h.flatten(2), projections[index])
        losses.append(
            sum(criterion(z, y) for z, y in zip(answers, given.batch.targets, strict=True))
        )
    return losses


@pytest.mark.parametrize(
    ("task", "network"),
    [
        ("image/digits", MLP(hidden=(12, 9), activation="tanh")),
        ("image/digits", CNN(channels=(3, 4))),
        ("text/languages", None),
        ("regression/diabetes", MLP(hidden=(6, 5))),
    ],
)
def test_each_layer_follows_the_gradient_of_its_own_loss_alone(task, network, make_problem, close):
    given, method, state, drawn = start(make_problem, task, network)
    direction, of_projections = directions(given, method, state)
    params = state["params"].clone().requires_grad_()
    projections = [projection.clone().requires_grad_() for projection in drawn]
    assert len(projections) == len(given.problem.stages) - 1 > 0
    for index, (stage, loss) in enumerate(
        zip(given.problem.stages, local_losses(given, params, projections), strict=True)
    ):
        part = slice(stage.start, stage.stop)
        asked = [params, *projections[index : index + 1]]
        gradients = torch.autograd.grad(loss, asked, retain_graph=True)
        close(direction[:, part], gradients[0][:, part], rtol=1e-4, atol=1e-6)
        for gradient in gradients[1:]:
            close(of_projections[index], gradient, rtol=1e-4, atol=1e-6)


def test_a_layer_does_not_hear_of_what_lies_behind_it(make_problem):
    """Other weights, and other projections, behind a layer leave its direction as it was."""
    given, method, state, projections = start(make_problem, network=MLP(hidden=(12, 9)))
    first = given.problem.stages[0]
    params = state["params"].clone()
    params[:, first.stop :] += 1
    changed = {"params": params, "extras": end_to_end([projections[0], projections[1] + 1])}
    (before, before_projections), (after, after_projections) = (
        directions(given, method, one) for one in (state, changed)
    )
    assert torch.equal(before[:, : first.stop], after[:, : first.stop])
    assert torch.equal(before_projections[0], after_projections[0])
    assert not torch.equal(before_projections[1], after_projections[1])


def test_projections_keep_the_variance_of_activities(make_problem):
    _, _, _, projections = start(make_problem, network=MLP(hidden=(400, 100)))
    assert [float(projection.var()) for projection in projections] == pytest.approx(
        [1 / 400, 1 / 100], rel=0.1
    )


@pytest.mark.parametrize("prediction", ["last", "sum"])
def test_prediction(prediction, make_problem, close):
    given, method, state, projections = start(
        make_problem, network=MLP(hidden=(12, 9)), prediction=prediction
    )
    first, second, output = given.problem.stages
    h1, _ = first.forward(state["params"], given.batch.inputs)
    h2, _ = second.forward(state["params"], h1)
    answer, _ = output.forward(state["params"], h2)
    if prediction == "sum":
        goodness = [h @ projection.mT for h, projection in zip((h1, h2), projections, strict=True)]
        answer = (answer + sum(goodness)) / 3
    close(method.predict(state, given.problem, given.batch), answer)
