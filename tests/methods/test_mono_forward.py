"""Oracles: automatic differentiation of each layer's own loss, on torch's own modules."""

import pytest
import torch
import torch.nn.functional as F

from beyond.architectures.cnn import CNN
from beyond.architectures.mlp import MLP
from beyond.kits.optimizers import SGD
from methods.mono_forward import MonoForward

# Each layer would climb its own loss through its projection.
FAULTS = [
    ("methods/mono_forward.py", "matmul(error, projection).view(h.shape)", "matmul(-error, projection).view(h.shape)"),
    ("methods/mono_forward.py", "/ width**0.5", "/ width"),
    ("methods/mono_forward.py", "torch.stack(answers).mean(0)", "torch.stack(answers).sum(0)"),
]
PLAIN = SGD(learning_rate=1.0)  # the change of the weights is minus the gradient


def stepped(make_problem, task="image/digits", network=None, **settings):
    """One step; returns what was given, the state before and the one after."""
    method = MonoForward(PLAIN, **settings)
    given = make_problem(method, task, network=network)
    before = method.init(given.problem, given.params, given.rng)
    return given, method, before, method.step(before, given.sealed, given.problem, given.rng)


def local_losses(given, params, projections):
    """Loss of every layer (summed over replicas), whole graph attached: nothing is cut between the layers."""
    criterion = F.cross_entropy if given.batch.targets.dim() == 2 else lambda z, y: F.mse_loss(z, y) / 2  # one output
    h, losses = given.batch.inputs, []
    for index, stage in enumerate(given.problem.stages):
        h, _ = stage.forward(params, h)
        answers = h if index == len(projections) else torch.einsum("rbf,rcf->rbc", h.flatten(2), projections[index])
        losses.append(sum(criterion(z, y) for z, y in zip(answers, given.batch.targets, strict=True)))
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
    given, _, before, after = stepped(make_problem, task, network)
    params = before["params"].clone().requires_grad_()
    projections = [projection.clone().requires_grad_() for projection in before["projections"]]
    assert len(projections) == len(given.problem.stages) - 1 > 0
    for index, (stage, loss) in enumerate(
        zip(given.problem.stages, local_losses(given, params, projections), strict=True)
    ):
        own = slice(stage.start, stage.stop)
        asked = [params, *projections[index : index + 1]]
        gradients = torch.autograd.grad(loss, asked, retain_graph=True)
        close((before["params"] - after["params"])[:, own], gradients[0][:, own], rtol=1e-4, atol=1e-6)
        for gradient in gradients[1:]:
            close(before["projections"][index] - after["projections"][index], gradient, rtol=1e-4, atol=1e-6)


def test_a_layer_does_not_hear_of_what_lies_behind_it(make_problem):
    """Other weights, and other projections, behind a layer leave its own change as it was."""
    _, _, before, after = stepped(make_problem, network=MLP(hidden=(12, 9)))
    method = MonoForward(PLAIN)
    given = make_problem(method, network=MLP(hidden=(12, 9)))
    first = given.problem.stages[0]
    params = before["params"].clone()
    params[:, first.stop :] += 1
    others = [before["projections"][0], before["projections"][1] + 1]
    changed = method.step({**before, "params": params, "projections": others}, given.sealed, given.problem, given.rng)
    assert torch.equal(changed["params"][:, : first.stop], after["params"][:, : first.stop])
    assert torch.equal(changed["projections"][0], after["projections"][0])
    assert not torch.equal(changed["projections"][1] - 1, after["projections"][1])


def test_projections_keep_the_variance_of_activities(make_problem):
    _, _, before, _ = stepped(make_problem, network=MLP(hidden=(400, 100)))
    assert [float(own.var()) for own in before["projections"]] == pytest.approx([1 / 400, 1 / 100], rel=0.1)


@pytest.mark.parametrize("prediction", ["last", "sum"])
def test_prediction(prediction, make_problem, close):
    given, method, _, state = stepped(make_problem, network=MLP(hidden=(12, 9)), prediction=prediction)
    first, second, output = given.problem.stages
    h1, _ = first.forward(state["params"], given.batch.inputs)
    h2, _ = second.forward(state["params"], h1)
    answer, _ = output.forward(state["params"], h2)
    if prediction == "sum":
        goodness = [h @ projection.mT for h, projection in zip((h1, h2), state["projections"], strict=True)]
        answer = (answer + sum(goodness)) / 3
    close(method.predict(state, given.problem, given.batch.inputs), answer)
