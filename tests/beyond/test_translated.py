"""Oracle: the torch modules themselves, outputs and gradients; what differs from ours stays wrapped."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from beyond.architectures.mlp import MLP
from beyond.architectures.module import Module
from beyond.contracts import TargetKind, TaskSpec
from beyond.network.translated import TranslatedNetwork, translated
from beyond.network.vector_layers import Dropout
from beyond.network.wrapped import ModuleNetwork
from beyond.streams import Stream

FAULTS = [
    # a stride is lost
    (
        "beyond/network/translated.py",
        "part.kernel_size[0], part.stride[0], part",
        "part.kernel_size[0], 1, part",
    ),
    # convolutions of parts of the channels are taken for whole ones
    ("beyond/network/translated.py", "return square and part.groups == 1", "return square"),
    # a layer that stands twice has its weights twice
    (
        "beyond/network/translated.py",
        "is not nn.Sequential or repeated or",
        "is not nn.Sequential or",
    ),
    # a subclass is taken for what it derives from
    (
        "beyond/network/translated.py",
        "COUNTERPARTS.get(type(part), ",
        "COUNTERPARTS.get(type(part).__mro__[1], ",
    ),
    # the module's weights are not the ones
    (
        "beyond/network/translated.py",
        "return self._wrapped.init(rng, n_copies)",
        "return super().init(rng, n_copies)",
    ),
    # other numbers than the module's, or another layer
    ("beyond/network/translated.py", "LayerNorm(part.eps)", "LayerNorm()"),
    ("beyond/network/translated.py", "Dropout(part.p)", "Dropout(0.5)"),
    ("beyond/network/translated.py", "LeakyReLU(part.negative_slope)", "LeakyReLU()"),
    ("beyond/network/translated.py", "BatchNorm(part.momentum, part.eps)", "BatchNorm()"),
    ("beyond/network/translated.py", "bias=part.bias is not None", "bias=True"),
    ("beyond/network/translated.py", "return part.affine and kept", "return True"),
    # what is handed on has no statistics
    ("beyond/network/translated.py", "return self._theirs.module", "return self._wrapped.module"),
    # another GELU is taken for the exact one
    ("beyond/network/translated.py", 'part.approximate == "none"', "True"),
    ("beyond/network/translated.py", "part.stride == side and plain", "plain"),
    ("beyond/network/translated.py", "part.padding == 0 and not", "not"),
    ("beyond/network/translated.py", "(part.start_dim, part.end_dim) == (1, -1)", "True"),
    ("beyond/network/translated.py", 'getattr(part, "divisor_override", 0)', "False"),
    # a stack that ours cannot make is refused, and not wrapped
    ("beyond/network/translated.py", "except InputError:", "except KeyError:"),
]
SPEC = TaskSpec("t", (2, 8, 8), 3, TargetKind.CLASSES, MLP(), "score", (0, 0, 0))
SEEDS = [0, 1, 2]


def stack():
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Sequential(nn.Conv2d(4, 3, 1), nn.Tanh(), nn.AvgPool2d(2)),
        nn.Flatten(),
        nn.Linear(3, 6),
        nn.LayerNorm(6, eps=0.5),
        nn.Sigmoid(),
        nn.Dropout(0.25),
        nn.Identity(),
        nn.Linear(6, 5),
        nn.LeakyReLU(0.2),
        nn.Linear(5, 5),
        nn.GELU(),
        nn.Linear(5, 5),
        nn.SiLU(),
        nn.Linear(5, 3),
    )


def twins(factory):
    wrapped = ModuleNetwork(factory, SPEC)
    ours = translated(wrapped, SPEC)
    assert ours is not None
    return wrapped, ours


def test_outputs_weights_and_gradients_are_the_modules():
    wrapped, ours = twins(stack)
    params = ours.init(Stream("init", SEEDS))
    assert torch.equal(params, wrapped.init(Stream("init", SEEDS)))
    inputs, error = Stream("data", SEEDS).normal(5, 2, 8, 8), Stream("error", SEEDS).normal(5, 3)
    found = []
    for network in (wrapped, ours):
        outputs, tape = network.forward(params, inputs)
        found.append((outputs, network.backward(tape, error)))
    for theirs, mine in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)
    assert Dropout(0.25) in ours.layers
    assert ours.forward_flops == wrapped.forward_flops
    assert ours.backward_flops() == wrapped.backward_flops()


def normalised():
    return nn.Sequential(
        nn.Sequential(
            nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4, eps=0.1, momentum=0.3), nn.ReLU()
        ),
        nn.Flatten(),
        nn.Linear(144, 5),
        nn.BatchNorm1d(5),
        nn.Linear(5, 3),
    )


def test_statistics_of_batches_are_the_modules():
    wrapped, ours = twins(normalised)
    params, data = ours.init(Stream("init", SEEDS)), Stream("data", SEEDS)
    networks = [network.holding(network.fresh_buffers(3)) for network in (wrapped, ours)]
    for _ in range(3):
        inputs, error = data.normal(5, 2, 8, 8), data.normal(5, 3)
        found = []
        for place, network in enumerate(networks):
            outputs, tape = network.forward(params, inputs, Stream("step", SEEDS))
            found.append((outputs, network.backward(tape, error)))
            networks[place] = network.holding(tape.buffers)
        for theirs, mine in zip(*found, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)
    theirs, mine = (network.state_dict(params[0]) for network in networks)
    counts = [name for name in theirs if name.endswith("num_batches_tracked")]
    assert [name for name in theirs if name not in mine] == []
    for name in theirs.keys() - set(counts):
        torch.testing.assert_close(mine[name], theirs[name], rtol=1e-4, atol=1e-5)
    theirs, mine = (network.module(params[0])(inputs[0]) for network in networks)
    torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(mine, networks[1].outputs(params, inputs)[0], rtol=1e-4, atol=1e-5)


class Doubled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


def twice():
    once = nn.Linear(4, 4)
    return nn.Sequential(nn.Flatten(), nn.Linear(128, 4), once, nn.Tanh(), once, nn.Linear(4, 3))


def tied():
    first, second = nn.Linear(128, 3), nn.Linear(3, 3)
    third = nn.Linear(3, 3)
    third.weight = second.weight
    return nn.Sequential(nn.Flatten(), first, second, third)


def hooked():
    module = nn.Sequential(nn.Flatten(), nn.Linear(128, 3))
    module[1].register_forward_hook(lambda _, __, output: 3 * output)
    return module


class Stack(nn.Sequential):
    def forward(self, x):
        return -super().forward(x)


def head(*layers, n=128):
    return lambda: nn.Sequential(*(make() for make in layers), nn.Flatten(), nn.Linear(n, 3))


OTHERS = {
    "another activation": head(nn.ELU),
    "an approximate activation": head(lambda: nn.GELU(approximate="tanh")),
    "a leak that grows": head(lambda: nn.LeakyReLU(1.5)),
    "no bias": lambda: nn.Sequential(nn.Flatten(), nn.Linear(128, 3, bias=False)),
    "grouped": head(lambda: nn.Conv2d(2, 2, 3, padding=1, groups=2)),
    "dilated": head(lambda: nn.Conv2d(2, 2, 3, padding=2, dilation=2)),
    "circular": head(lambda: nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular")),
    "a norm of all batches": head(lambda: nn.BatchNorm2d(2, momentum=None)),
    "a norm without gains": head(lambda: nn.BatchNorm2d(2, affine=False)),
    "a norm that keeps none": head(lambda: nn.BatchNorm2d(2, track_running_stats=False)),
    "padded by name": head(lambda: nn.Conv2d(2, 2, 3, padding="same")),
    "not square": head(lambda: nn.Conv2d(2, 2, (3, 1), padding=(1, 0))),
    "overlapping": head(lambda: nn.MaxPool2d(3, stride=1, padding=1)),
    "overlapping means": head(lambda: nn.AvgPool2d(3, stride=1), n=72),
    "padded": head(lambda: nn.AvgPool2d(3, padding=1), n=18),
    "another mean": head(lambda: nn.AvgPool2d(2, divisor_override=3), n=32),
    "flattened in part": head(lambda: nn.Flatten(1, 2)),
    "rounded up": head(lambda: nn.MaxPool2d(3, ceil_mode=True), n=18),
    "a layer of another's": lambda: nn.Sequential(nn.Flatten(), Doubled(128, 3)),
    "a layer twice": twice,
    "tied weights": tied,
    "a hook": hooked,
    "a stack of another's": lambda: Stack(nn.Flatten(), nn.Linear(128, 3)),
    "no stack": lambda: nn.Bilinear(2, 2, 3),
    "a norm of images": head(lambda: nn.LayerNorm((2, 8, 8))),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_differs_is_not_translated(name):
    assert translated(SimpleNamespace(template=OTHERS[name]()), SPEC) is None


@pytest.mark.parametrize(
    "factory",
    [
        head(lambda: nn.Linear(8, 8)),
        head(lambda: nn.LayerNorm(8)),
        lambda: nn.Sequential(nn.Flatten(), nn.LayerNorm(128, eps=0), nn.Linear(128, 3)),
    ],
    ids=["linear along rows", "norm of rows", "norm without epsilon"],
)
def test_what_torchs_layers_take_and_ours_do_not_stays_wrapped(factory):
    assert translated(ModuleNetwork(factory, SPEC), SPEC) is None


def make(input_shape, n_outputs):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, n_outputs))


def test_rules_for_layers_train_a_users_stack(beyond, monkeypatch):
    monkeypatch.setenv("BEYOND_PLUGINS", __name__.partition(".")[0])
    factory = f"network.factory={__name__}:make"
    for method in ("backprop", "feedback_alignment", "forward_forward"):
        status, told, _ = beyond(
            f"method={method}", "network=module", factory, "seeds=2", "budget.epochs=2"
        )
        assert status == 0, told
    assert isinstance(Module(f"{__name__}:make").build(SPEC_OF_DIGITS), TranslatedNetwork)


SPEC_OF_DIGITS = TaskSpec("t", (1, 8, 8), 10, TargetKind.CLASSES, MLP(), "score", (0, 0, 0))
