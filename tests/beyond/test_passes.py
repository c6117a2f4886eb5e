"""Part by part it is the network: outputs and gradient. What is put end to end comes apart."""

from math import prod

import pytest
import torch

from beyond.architectures.cnn import CNN
from beyond.architectures.mlp import MLP
from beyond.kits.passes import apart, end_to_end, forward, gradients, stretch, widths
from beyond.network.parts import trial
from beyond.problem import Problem
from beyond.streams import Stream

FAULTS = [
    # every part sees the network's inputs
    (
        "beyond/kits/passes.py",
        "part.forward(params, activities[-1], rng)",
        "part.forward(params, inputs, rng)",
    ),
    (
        "beyond/kits/passes.py",
        "zip(rows, shapes, strict=True)",
        "zip(reversed(rows), shapes, strict=True)",
    ),
    ("beyond/kits/passes.py", "[prod(part.output_shape)", "[prod(part.input_shape)"),
]
SEEDS = [0, 1]


@pytest.mark.parametrize("kind", ["layers", "stages"])
@pytest.mark.parametrize(
    ("network", "shape"), [(MLP((5, 4), dropout=0.5), (6,)), (CNN((3,)), (1, 6, 6))]
)
def test_the_parts_make_the_network(network, shape, kind, close):
    spec = trial(network, shape)
    built = network.build(spec)
    problem, params = Problem(built, spec), built.init(Stream("init", SEEDS))
    inputs = Stream("data", SEEDS).normal(3, *shape)
    outputs, tape = problem.forward(params, inputs, Stream("step", SEEDS))
    parts = getattr(problem, kind)
    activities, tapes = forward(parts, params, inputs, Stream("step", SEEDS))
    assert activities[0] is inputs
    close(activities[-1], outputs)
    assert [prod(activity.shape[2:]) for activity in activities[1:]] == widths(parts)

    errors = [torch.ones_like(outputs)]
    for part, crossed in zip(parts[:0:-1], tapes[:0:-1], strict=True):
        errors.insert(0, part.carry(crossed, errors[0]))
    close(gradients(parts, tapes, errors), problem.backward(tape, torch.ones_like(outputs)))


def test_what_is_put_end_to_end_comes_apart():
    rng = Stream("data", SEEDS)
    tensors = [rng.normal(*shape) for shape in ((3, 2), (4,), (1, 2, 3))]
    whole = end_to_end(tensors)
    assert whole.shape == (2, 16)
    assert all(map(torch.equal, apart(whole, [(3, 2), (4,), (1, 2, 3)]), tensors))
    assert apart(whole[:, :0], []) == []


def test_numbers_are_stretched_over_the_axes_behind_theirs():
    assert stretch(torch.ones(2, 3), torch.ones(2, 3, 4, 5)).shape == (2, 3, 1, 1)
