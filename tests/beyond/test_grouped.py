"""Oracle: torch's grouped convolution, and automatic differentiation of it."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from beyond import catalog
from beyond.architectures.grouped import Grouped
from beyond.architectures.mlp import MLP
from beyond.contracts import TargetKind, TaskSpec
from beyond.errors import InputError
from beyond.network.vector_layers import GroupedLinear
from beyond.streams import Stream

R, B = 3, 4
CASES = [
    (GroupedLinear(6, 2), 4),
    (GroupedLinear(3, 3), 3),
    (GroupedLinear(4, 1), 5),
    (GroupedLinear(2, 2), 6),
]


def draw(layer, n_in, n_copies=R):
    generator = torch.Generator().manual_seed(0)
    (shape,) = layer.parameters((n_in,)).values()
    weight = torch.randn(n_copies, *shape, generator=generator, dtype=torch.float64)
    return weight, torch.randn(R, n_in, B, generator=generator, dtype=torch.float64)


def reference(layer, weight, x):
    """A convolution with kernel 1 over the batch's axis."""
    return torch.stack(
        [
            F.conv1d(inputs, w.flatten(0, 1).unsqueeze(2), groups=layer.n_groups)
            for w, inputs in zip(weight, x, strict=True)
        ]
    )


@pytest.mark.parametrize(("layer", "n_in"), CASES)
def test_forward_and_chain_rule_are_those_of_a_grouped_convolution(layer, n_in):
    weight, x = (leaf.requires_grad_() for leaf in draw(layer, n_in))
    expected = reference(layer, weight, x)
    y, cache = layer.forward({"weight": weight}, x)
    torch.testing.assert_close(y, expected)
    dy = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    d_weight, d_x = torch.autograd.grad(expected, (weight, x), dy)
    torch.testing.assert_close(layer.gradients(cache, dy)["weight"], d_weight)
    torch.testing.assert_close(layer.carry({"weight": weight}, cache, dy), d_x)
    torch.testing.assert_close(layer.carry({"weight": weight}, cache, dy, 2 * weight), 2 * d_x)


@pytest.mark.parametrize(("layer", "n_in"), CASES)
def test_copies_may_share_an_input(layer, n_in):
    weight, x = draw(layer, n_in, 2 * R)
    y, _ = layer.forward({"weight": weight}, x)
    torch.testing.assert_close(y, reference(layer, weight, x.repeat_interleave(2, 0)))


@pytest.mark.parametrize(("layer", "n_in"), CASES)
def test_operations_are_those_that_torch_counts(layer, n_in):
    weight, x = draw(layer, n_in, 1)
    cost = layer.flops((n_in,))
    with FlopCounterMode(display=False) as counter:
        y, cache = layer.forward({"weight": weight}, x[:1])
    assert counter.get_total_flops() == B * cost.forward
    with FlopCounterMode(display=False) as counter:
        layer.carry({"weight": weight}, cache, y)
        layer.gradients(cache, y)
    assert counter.get_total_flops() == B * (cost.carry + cost.gradients)


def test_as_many_groups_as_features_is_a_diagonal_map():
    spec = TaskSpec("x", (3,), 3, TargetKind.VALUES, MLP(), "r2_score", (0.1, 0.2, 0.3))
    network = catalog.load("network", "grouped", n_groups=3).build(spec)
    params = network.init(Stream("init", range(200)))
    assert params.shape == (200, 3)
    assert -1 < params.min() < -0.95 < 0.95 < params.max() < 1  # uniform with one input a unit
    x = torch.randn(200, 5, 3)
    torch.testing.assert_close(network.outputs(params, x), params.unsqueeze(1) * x)


def test_bad_settings_are_refused():
    for settings in ({"n_groups": 0}, {"initialisation": "nothing"}, {"init_std": 0.0}):
        with pytest.raises(InputError, match=next(iter(settings))):
            Grouped(**settings)
    with pytest.raises(
        InputError, match=r"n_out must be >= 1 and a multiple of n_groups \(2\), got 3"
    ):
        GroupedLinear(3, 2)
    with pytest.raises(InputError, match="GroupedLinear input must be one axis"):
        GroupedLinear(4, 2).parameters((3,))
