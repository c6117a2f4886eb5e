"""LeNet against torch's layers, and its published number of weights."""

import pytest
import torch
from torch import nn

from beyond import catalog
from beyond.architectures.lenet import LeNet
from beyond.architectures.mlp import MLP
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


def test_what_it_cannot_be_is_refused(spec):
    for settings, message in (
        ({"pool": "min"}, "pool must be one of"),
        ({"activation": "x"}, "activation must be"),
    ):
        with pytest.raises(InputError, match=message):
            LeNet(**settings)
    with pytest.raises(InputError, match="small enough for a 4x4 image"):
        catalog.load("network", "lenet").build(catalog.load("task", "image/digits").spec)
