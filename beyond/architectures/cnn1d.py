"""Convolutions along time, for signals and sequences of symbols."""

from __future__ import annotations

from beyond.contracts import TaskSpec
from beyond.errors import require
from beyond.network.activation_layers import ACTIVATIONS
from beyond.network.layers import Layer
from beyond.network.parts import Activation, InitialisationName, Layered, sequence_entry, trial
from beyond.network.sequence_layers import Conv1d
from beyond.network.vector_layers import Flatten, Linear
from beyond.settings import NonNegativeInt, Positive, PositiveInt, settings


@settings
class CNN1d(Layered):
    """Convolutions along time, each followed by an activation, then a linear read-out of all times.

    Parameters
    ----------
    channels, kernels : tuple of int
        Of each convolution.
    stride, padding : int
        Of all of them.
    activation : {"relu", "tanh", "sigmoid", "leaky_relu", "gelu", "silu", "step", "identity"}
    embedding : int, >= 1
        Features per symbol, where inputs are symbols.
    """

    channels: tuple[PositiveInt, ...] = (25, 25, 25)
    kernels: tuple[PositiveInt, ...] = (5, 3, 3)
    stride: PositiveInt = 2
    padding: NonNegativeInt = 1
    activation: Activation = "relu"
    embedding: PositiveInt = 8
    initialisation: InitialisationName = "he"
    init_std: Positive = 0.1

    def __post_init__(self) -> None:
        require(
            "kernels", "as many as channels", self.kernels, len(self.kernels) == len(self.channels)
        )

    @property
    def name(self) -> str:
        """`cnn1d-25-25-25`."""
        return "-".join(["cnn1d", *map(str, self.channels)])

    def stack(self, spec: TaskSpec) -> list[Layer]:
        layers = sequence_entry(spec, self.embedding)
        for n_channels, kernel in zip(self.channels, self.kernels, strict=True):
            layers += [
                Conv1d(n_channels, kernel, self.stride, self.padding),
                ACTIVATIONS[self.activation](),
            ]
        layers += [Flatten(), Linear(spec.n_outputs)]
        return layers


TRIALS = {"cnn1d": trial(CNN1d((3, 2), (3, 2), stride=1), (8,))}
