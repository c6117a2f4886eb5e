"""Rules that carry an error through other matrices, back in time: automatic differentiation.

Where a matrix B stands for U on the way back, U h is written as U sg(h) + B h - sg(B h), sg letting
no error through.
"""

import pytest
import torch

from beyond.architectures.gru import Recurrent
from beyond.architectures.lstm import LongShortTerm
from beyond.architectures.rnn import Elman
from beyond.contracts import Batch
from beyond.kits.optimizers import SGD
from beyond.losses import cross_entropy
from beyond.network.parts import trial
from beyond.problem import Problem
from beyond.streams import Stream
from methods.backprop import Backprop
from methods.direct_feedback_alignment import DirectFeedbackAlignment
from methods.feedback_alignment import FeedbackAlignment
from methods.sign_symmetry import SignSymmetry

FAULTS = [
    # errors come back in time by the weights of the forward pass
    (
        "beyond/network/recurrent_layers.py",
        "weight_hidden=weights[LOOP].reshape(cache.weight_hidden.shape)",
        "x=cache.x",
    ),
    ("methods/feedback_alignment.py", 'loops=problem.loops(state["feedback"])', "loops=None"),
    ("methods/sign_symmetry.py", "carriers, loops=loops)", "carriers)"),
    (
        "methods/sign_symmetry.py",
        "in (problem.carriers, problem.loops):",
        "in (problem.carriers,):",
    ),
    ("methods/direct_feedback_alignment.py", "in_time=False", "in_time=True"),
    (
        "beyond/network/layered.py",
        "for block in self.blocks if block.loop",
        "for block in self.blocks[1:] if block.loop",
    ),
]
SEEDS = [0, 1]
PLAIN = SGD(learning_rate=0.5)
NETWORKS = [
    Elman(3, readout="all"),
    Recurrent(3, bidirectional=False),
    LongShortTerm(3, bidirectional=False, readout="all"),
]
BOTH_WAYS = [Elman(3, bidirectional=True, readout="mean"), Recurrent(3), LongShortTerm(3)]


def problem_of(network, signal="gradient"):
    spec = trial(network, (6,))
    built = network.build(spec)
    rng = Stream("data", SEEDS)
    batch = Batch(rng.normal(5, 6), rng.integers(4, 5))
    problem = Problem(built, spec, signal=signal)
    return problem, built, built.init(Stream("init", SEEDS)), batch, Stream("step", SEEDS)


def product(forward, backward, h):
    through = backward @ h
    return forward @ h.detach() + through - through.detach()


def states(kind, weights, loop, x):
    """States (R, n_hidden, length, B) of inputs (R, 1, length, B); errors come back by `loop`."""
    w, u, b, c = (weights[name] for name in ("weight", "weight_hidden", "bias", "bias_hidden"))
    h = x.new_zeros(len(x), u.shape[2], x.shape[-1])
    cell, found = h, []
    for t in range(x.shape[2]):
        a = w @ x[:, :, t] + b.unsqueeze(-1)
        r = product(u, loop, h) + c.unsqueeze(-1)
        if kind == "rnn":
            h = torch.tanh(a + r)
        elif kind == "gru":
            (ar, az, an), (rr, rz, rn) = a.chunk(3, 1), r.chunk(3, 1)
            z = torch.sigmoid(az + rz)
            h = (1 - z) * torch.tanh(an + torch.sigmoid(ar + rr) * rn) + z * h
        else:
            i, f, g, o = (a + r).chunk(4, 1)
            cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
            h = o.sigmoid() * cell.tanh()
        found.append(h)
    return torch.stack(found, 2)


def by_autograd(network, built, params, batch, loop, read_out):
    """The direction with which `loop` carries in time, and `read_out` what the outputs say."""
    params = params.clone().requires_grad_()
    views = [view for view in built.unflatten(params) if view]
    x = batch.inputs.movedim(1, -1).unsqueeze(1)
    h = states(network.name.partition("-")[0], views[0], loop, x).flatten(1, 2)
    outputs = product(views[1]["weight"], read_out, h) + views[1]["bias"].unsqueeze(-1)
    loss = cross_entropy(outputs.mT, batch.targets).sum()
    return torch.autograd.grad(loss, params)[0]


def parts(built, vector):
    recurrent, read_out = [view for view in built.unflatten(vector) if view]
    return recurrent["weight_hidden"], read_out["weight"]


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_errors_come_back_in_time_through_fixed_random_matrices(network, close):
    problem, built, params, batch, rng = problem_of(network, "error")
    rule = FeedbackAlignment()
    state = rule.init(problem, params, rng)
    expected = by_autograd(network, built, params, batch, *parts(built, state["feedback"]))
    close(rule.direction(state, batch, problem, rng), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
@pytest.mark.parametrize("magnitude", ["uniform", "fixed"])
def test_errors_come_back_in_time_through_signs(network, magnitude, close):
    problem, built, params, batch, rng = problem_of(network, "error")
    rule = SignSymmetry(magnitude=magnitude)
    state = rule.init(problem, params, rng)
    if magnitude == "uniform":
        drawn = problem.fresh_weights(Stream("step", SEEDS))
        levels = [part.square().mean((1, 2), keepdim=True).sqrt() for part in parts(built, drawn)]
    else:
        levels = parts(built, state["magnitudes"])
    matrices = [
        level * part.sign() for level, part in zip(levels, parts(built, params), strict=True)
    ]
    expected = by_autograd(network, built, params, batch, *matrices)
    direction, _ = rule.direction(state, batch, problem, rng)
    close(direction, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_direct_feedback_reaches_every_time_and_goes_no_further_back_than_a_unit_remembers(
    network, close
):
    problem, built, params, batch, rng = problem_of(network, "error")
    rule = DirectFeedbackAlignment()
    state = rule.init(problem, params, rng)
    loop = torch.zeros_like(parts(built, params)[0])
    (read_out,) = state["feedback"]
    expected = by_autograd(network, built, params, batch, loop, read_out)
    close(rule.direction(state, batch, problem, rng), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("network", BOTH_WAYS, ids=lambda network: network.name)
@pytest.mark.parametrize("rule", [FeedbackAlignment(PLAIN), SignSymmetry(PLAIN, magnitude="fixed")])
def test_with_the_forward_weights_it_is_backpropagation_through_time(network, rule, close):
    ends = []
    for method in (Backprop(PLAIN), rule):
        problem, _, params, batch, rng = problem_of(network, method.signal)
        state = method.init(problem, params, rng)
        for _ in range(3):
            for name, same in (
                ("feedback", state["params"]),
                ("magnitudes", state["params"].abs()),
            ):
                if name in state:
                    state[name] = same
            state = method.step(state, batch, problem, rng)
        ends.append(method.params(state))
    close(*ends, rtol=1e-4, atol=1e-6)
