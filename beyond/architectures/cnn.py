"""Convolutions and pooling, for images."""

from __future__ import annotations

from typing import Literal

from beyond.architectures.mlp import MLP
from beyond.contracts import Architecture, TaskSpec
from beyond.network.activation_layers import ACTIVATIONS
from beyond.network.image_layers import AvgPool2d, Conv2d, MaxPool2d
from beyond.network.layers import Layer
from beyond.network.parts import (
    Activation,
    InitialisationName,
    Layered,
    Norm,
    dropping,
    normalised,
    trial,
)
from beyond.network.vector_layers import Flatten, Linear
from beyond.settings import BelowOne, OneOrEach, Positive, PositiveInt, settings


@settings
class CNN(Layered):
    """Convolutions of 3x3, each with activation and 2x2 pooling, then a linear read-out: images.

    Parameters
    ----------
    channels : tuple of int
        Of each convolution.
    activation : {"relu", "tanh", "sigmoid", "leaky_relu", "gelu", "silu", "step", "identity"}
    pool : {"max", "average"}
    norm : {"none", "group", "batch"}
        Behind each convolution, which has no bias where a batch is normalised.
    n_groups : int, >= 1
        Of channels that are normalised together; each convolution has a multiple of it.
    dropout : float in [0, 1)
        After each activation, in training.
    """

    channels: tuple[PositiveInt, ...] = (16, 32)
    activation: Activation = "relu"
    pool: Literal["max", "average"] = "max"
    norm: Norm = "none"
    n_groups: PositiveInt = 8
    dropout: OneOrEach[BelowOne] = 0.0
    initialisation: InitialisationName = "he"
    init_std: Positive = 0.1

    @property
    def name(self) -> str:
        """`cnn-16-32`."""
        return "-".join(["cnn", *map(str, self.channels)])

    def stack(self, spec: TaskSpec) -> list[Layer]:
        layers: list[Layer] = []
        pool = MaxPool2d if self.pool == "max" else AvgPool2d
        for n_channels in self.channels:
            # Pooling first makes a cheaper activation; for max pooling and a monotone activation
            # the two commute.
            layers += [
                *normalised(Conv2d(n_channels, 3, padding=1), self.norm, self.n_groups),
                *(pool(2), ACTIVATIONS[self.activation]()),
                *dropping(self.dropout),
            ]
        layers += [Flatten(), Linear(spec.n_outputs)]
        return layers


def suited(shape: tuple[int, ...]) -> Architecture:
    """Return what suits images (channels, height, width) not described: a pooling halves."""
    smallest = min(shape[1:])
    return CNN((8, 16)) if smallest >= 8 else CNN((8,)) if smallest >= 4 else MLP()


TRIALS = {
    "cnn": trial(CNN((2, 3)), (1, 6, 6)),
    "batch norm": trial(CNN((2,), norm="batch"), (1, 4, 4)),
}
