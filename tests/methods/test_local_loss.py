"""Oracles: the source's losses, differentiated by torch; and similarity matching by hand."""

import pytest
import torch
import torch.nn.functional as F

from beyond.architectures.cnn import CNN
from beyond.architectures.cnn1d import CNN1d
from beyond.architectures.mlp import MLP
from beyond.kits.passes import end_to_end
from methods.local_loss import LocalLoss, _match_error, _target_similarity, map_networks

FAULTS = [
    # Similarity matching would count each pair of examples once, the derivative twice.
    ("methods/local_loss.py", "d_rows = 4 / z.shape[1] ** 2", "d_rows = 2 / z.shape[1] ** 2"),
    # The mean over the batch instead of the units.
    (
        "methods/local_loss.py",
        "z = z - z.mean(-1, keepdim=True)",
        "z = z - z.mean(1, keepdim=True)",
    ),
    # The standard deviation of three channels; of the places' squares about nothing; a root less.
    ("methods/local_loss.py", "seen.shape[2] > N_FEW and", "seen.shape[2] >= N_FEW and"),
    ("methods/local_loss.py", "places - places.mean(3, keepdim=True)", "places"),
    ("methods/local_loss.py", "(error / rows).unsqueeze(3)", "error.unsqueeze(3)"),
]


def start(make_problem, task="image/digits", network=None, similarity_weight=0.6):
    """A problem and a state whose classifiers are drawn: at zero their half of the error is."""
    method = LocalLoss(similarity_weight=similarity_weight)
    given = make_problem(method, task, network=network)
    state = method.init(given.problem, given.params, given.rng)
    classifiers, maps = method.read_outs(state, given.problem)
    assert all(not classifier.any() for classifier in classifiers)
    drawn = [given.rng.normal(*one.shape[1:]) / 3 for one in classifiers]
    return given, method, {**state, "extras": end_to_end([*drawn, maps])}


def parts(given, method, params, extras):
    """What is learnt, or its directions, by name."""
    classifiers, maps = method.read_outs({"extras": extras}, given.problem)
    sizes = [network.n_weights for network in map_networks(given.problem)]
    return {"params": params, "classifiers": classifiers, "maps": list(maps.split(sizes, 1))}


def mapped(x, weights):
    """What is compared of a layer's values (B, ...), by torch's layers and its own words."""
    n = x.shape[1]
    if x.dim() == 2:
        return x @ weights.view(n, n).T
    kernel, bias = weights[:-n].view(n, n, *[3] * (x.dim() - 2)), weights[-n:]
    z = (F.conv1d if x.dim() == 3 else F.conv2d)(x, kernel, bias, padding=1)
    return z.flatten(2).std(2) if n > 3 and z[0, 0].numel() > 1 else z.flatten(1)


def directions(given, method, state):
    whole = method.direction(state, given.sealed, given.problem, given.rng)
    return parts(given, method, *whole.tensor_split([given.problem.n_weights], 1))


def cosines(rows, centre):
    rows = rows - rows.mean(-1, keepdim=True) if centre else rows
    return F.cosine_similarity(rows.unsqueeze(1), rows.unsqueeze(0), dim=-1)


def local_losses(given, state, beta):
    """Loss of every layer, replica by replica, whole graph attached: nothing cut between layers."""
    classes = given.batch.targets.dim() == 2
    h, losses = given.batch.inputs, []
    for index, stage in enumerate(given.problem.stages):
        h, _ = stage.forward(state["params"], h)
        total = torch.zeros(())
        for r, y in enumerate(given.batch.targets):
            rows = h[r].flatten(1)
            last = index == len(state["maps"])
            answer = rows if last else rows @ state["classifiers"][index][r].T
            # one output
            predict = F.cross_entropy(answer, y) if classes else F.mse_loss(answer, y) / 2
            if last:
                total = total + predict
                continue
            if classes:
                wanted = cosines(F.one_hot(y, answer.shape[1]).float(), centre=True)
            else:
                wanted = cosines(y, centre=False)
            seen = mapped(h[r], state["maps"][index][r])
            match = F.mse_loss(cosines(seen, centre=True), wanted)
            total = total + (1 - beta) * predict + beta * match
        losses.append(total)
    return losses


@pytest.mark.parametrize("beta", [0.0, 0.6, 1.0])
@pytest.mark.parametrize(
    ("task", "network"),
    [
        ("image/digits", MLP(hidden=(12, 9), activation="tanh")),
        ("image/digits", CNN(channels=(3, 4), activation="tanh")),
        ("image/digits", CNN(channels=(5, 4), activation="tanh")),
        ("text/languages", CNN1d(channels=(5, 4), kernels=(3, 3))),
        ("text/languages", None),
        ("regression/diabetes", MLP(hidden=(6, 5), activation="sigmoid")),
    ],
)
def test_each_layer_follows_the_gradient_of_its_own_losses_alone(
    task, network, beta, make_problem, close
):
    given, method, state = start(make_problem, task, network, beta)
    found = directions(given, method, state)
    whole = parts(given, method, state["params"], state["extras"])
    whole["params"] = whole["params"].clone().requires_grad_()
    for key in ("classifiers", "maps"):
        whole[key] = [one.clone().requires_grad_() for one in whole[key]]
    for index, (stage, loss) in enumerate(
        zip(given.problem.stages, local_losses(given, whole, beta), strict=True)
    ):
        part = slice(stage.start, stage.stop)
        gradient = torch.autograd.grad(loss, whole["params"], retain_graph=True)[0]
        close(found["params"][:, part], gradient[:, part], rtol=1e-3, atol=2e-6)
        for key in ("classifiers", "maps"):
            if index < len(whole[key]):
                gradient = torch.autograd.grad(loss, whole[key][index], retain_graph=True)[0]
                close(found[key][index], gradient, rtol=1e-3, atol=2e-6)


def test_a_layer_does_not_hear_of_what_lies_behind_it(make_problem):
    given, method, state = start(make_problem, network=MLP(hidden=(12, 9)))
    first = given.problem.stages[0]
    ends = []
    for shift in (0, 1):
        params = state["params"].clone()
        params[:, first.stop :] += shift
        learnt = parts(given, method, params, state["extras"])
        changed = [
            learnt["classifiers"][0],
            learnt["classifiers"][1] + shift,
            learnt["maps"][0],
            learnt["maps"][1] + shift,
        ]
        ends.append(directions(given, method, {"params": params, "extras": end_to_end(changed)}))
    assert torch.equal(ends[0]["params"][:, : first.stop], ends[1]["params"][:, : first.stop])
    assert torch.equal(ends[0]["maps"][0], ends[1]["maps"][0])
    assert not torch.allclose(ends[0]["maps"][1], ends[1]["maps"][1])


def test_classes_are_alike_as_the_corners_of_a_simplex(make_problem, close):
    """Same class: 1; another of C: -1 / (C - 1)."""
    given, _, _ = start(make_problem)
    targets = given.batch.targets
    wanted = torch.where(targets.unsqueeze(2) == targets.unsqueeze(1), 1.0, -1 / 9)
    close(_target_similarity(targets, given.problem), wanted)


def test_with_one_value_targets_are_alike_on_the_same_side_of_the_mean(make_problem, close):
    given, _, _ = start(make_problem, "regression/diabetes")
    signs = given.batch.targets.sign()
    close(_target_similarity(given.batch.targets, given.problem), signs @ signs.mT)


def test_two_examples_at_an_angle(make_problem, close):
    """Rows at angle t, wanted at -1: loss (cos t + 1)^2 / 2, slope -(cos t + 1) sin t / radius."""
    t, radius = torch.tensor(0.7), 3.0
    # centred
    across, along = torch.tensor([1.0, -1.0, 0.0]) / 2**0.5, torch.tensor([1.0, 1.0, -2.0]) / 6**0.5
    rows = torch.stack([radius * across, radius * (t.cos() * across + t.sin() * along)])[None]
    given, _, _ = start(make_problem, "regression/diabetes")
    error = _match_error(rows, torch.tensor([[[1.0, -1.0], [-1.0, 1.0]]]), given.problem)[0, 1]
    # the way in which the second row turns as t grows
    turning = -t.sin() * across + t.cos() * along
    close(error, -(t.cos() + 1) * t.sin() / radius * turning, rtol=1e-5, atol=1e-6)
