"""LeNet against torch's layers, and its published number of weights."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from beyond import catalog
from beyond.architectures.lenet import LeNet
from beyond.architectures.mlp import MLP
from beyond.architectures.resnet import ResNet
from beyond.contracts import TargetKind, TaskSpec
from beyond.errors import InputError
from beyond.streams import Stream


@pytest.fixture
def spec():
    return TaskSpec(
        name="images",
        input_shape=(1, 28, 28),
        n_outputs=10,
        target_kind=TargetKind.CLASSES,
        network=MLP(),
        score="accuracy_score",
        levels=(0.5,),
    )


def test_lenet_is_the_same_function_as_torchs_layers(spec):
    network = catalog.load("network", "lenet", initialisation="uniform").build(spec)
    assert network.n_weights == 61_706
    params, images = network.init(Stream("init", [0])), Stream("test", [0]).normal(3, 1, 28, 28)
    reference = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 120, 5),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, 10),
    )
    nn.utils.vector_to_parameters(params[0], reference.parameters())
    torch.testing.assert_close(
        network.outputs(params, images)[0], reference(images[0]), rtol=1e-4, atol=1e-5
    )


class Block(nn.Module):
    """He et al., 2016, figure 2, with a projection where the shape changes."""

    def __init__(self, below, width, stride):
        super().__init__()
        self.branch = nn.Sequential(
            *(nn.Conv2d(below, width, 3, stride, 1), nn.GroupNorm(2, width), nn.ReLU()),
            *(nn.Conv2d(width, width, 3, 1, 1), nn.GroupNorm(2, width)),
        )
        projection = nn.Sequential(nn.Conv2d(below, width, 1, stride), nn.GroupNorm(2, width))
        self.shortcut = projection if below != width else nn.Identity()

    def forward(self, x):
        return (self.branch(x) + self.shortcut(x)).relu()


def test_a_resnet_is_the_same_function_as_torchs_layers(spec):
    network = ResNet((4, 6), blocks=2, n_groups=2, initialisation="uniform").build(spec)
    params, images = network.init(Stream("init", [0])), Stream("test", [0]).normal(3, 1, 28, 28)
    params = params + 0.1 * Stream("more", [0]).normal(network.n_weights)
    reference = nn.Sequential(
        *(nn.Conv2d(1, 4, 3, 1, 1), nn.GroupNorm(2, 4), nn.ReLU()),
        *(Block(4, 4, 1), Block(4, 4, 1), Block(4, 6, 2), Block(6, 6, 1)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 10)),
    )
    nn.utils.vector_to_parameters(params[0], reference.parameters())
    torch.testing.assert_close(
        network.outputs(params, images)[0], reference(images[0]), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(("blocks", "published"), [(3, 0.27e6), (5, 0.46e6), (9, 0.85e6)])
def test_a_resnet_has_as_many_weights_as_published(blocks, published, spec):
    """He et al., 2016, table 6; ours has projections where it pads with zeros."""
    network = ResNet(blocks=blocks).build(replace(spec, input_shape=(3, 32, 32)))
    assert network.n_weights == pytest.approx(published, rel=0.02)


def test_what_it_cannot_be_is_refused(spec):
    for settings, message in (
        ({"pool": "min"}, "pool must be one of"),
        ({"activation": "x"}, "activation must be"),
    ):
        with pytest.raises(InputError, match=message):
            LeNet(**settings)
    with pytest.raises(InputError, match="small enough for a 4x4 image"):
        catalog.load("network", "lenet").build(catalog.load("task", "image/digits").spec)
