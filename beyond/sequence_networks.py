"""Architectures for sequences: inputs of shape (length,) or (channels, length), or symbols, which are embedded."""

from __future__ import annotations

from beyond.contracts import TaskSpec
from beyond.errors import require
from beyond.layers import ACTIVATIONS, Embedding, Flatten, Layer, Linear
from beyond.network import Activation, InitialisationName, LayeredNetwork, initialisation_of
from beyond.sequence_layers import GRU, Channels, Conv1d
from beyond.settings import NonNegativeInt, Positive, PositiveInt, settings


@settings
class CNN1d:
    """Convolutions along time, each followed by an activation, then a linear read-out of every time.

    Parameters
    ----------
    channels, kernels : tuple of int
        Of each convolution.
    stride, padding : int
        Of all of them.
    activation : {"relu", "tanh", "sigmoid"}
    embedding : int, >= 1
        Features a symbol, where inputs are symbols.
    initialisation, init_std
        As in `MLP`.
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
        require("kernels", "as many as channels", self.kernels, len(self.kernels) == len(self.channels))

    @property
    def name(self) -> str:
        """`cnn1d-25-25-25`."""
        return "-".join(["cnn1d", *map(str, self.channels)])

    def build(self, spec: TaskSpec) -> LayeredNetwork:
        """Make the network for a task; its inputs must be sequences."""
        layers = _entry(spec, self.embedding)
        for n_channels, kernel in zip(self.channels, self.kernels, strict=True):
            layers += [Conv1d(n_channels, kernel, self.stride, self.padding), ACTIVATIONS[self.activation]()]
        layers += [Flatten(), Linear(spec.n_outputs)]
        return LayeredNetwork(layers, spec.input_shape, initialisation_of(self.initialisation, self.init_std))


@settings
class Recurrent:
    """Gated recurrent units, then a linear read-out of their states at every time.

    Parameters
    ----------
    hidden : int, >= 1
        Units in each direction.
    bidirectional : bool
        Whether others read the sequence from its end.
    embedding : int, >= 1
        Features a symbol, where inputs are symbols.
    initialisation, init_std
        As in `MLP`; all of a recurrent layer's weights take its number of units for their fan.
    """

    hidden: PositiveInt = 6
    bidirectional: bool = True
    embedding: PositiveInt = 8
    initialisation: InitialisationName = "uniform"
    init_std: Positive = 0.1

    @property
    def name(self) -> str:
        """`gru-6`."""
        return f"gru-{self.hidden}"

    def build(self, spec: TaskSpec) -> LayeredNetwork:
        """Make the network for a task; its inputs must be sequences."""
        layers = [*_entry(spec, self.embedding), GRU(self.hidden, self.bidirectional)]
        layers += [Flatten(), Linear(spec.n_outputs)]
        return LayeredNetwork(layers, spec.input_shape, initialisation_of(self.initialisation, self.init_std))


def _entry(spec: TaskSpec, embedding: int) -> list[Layer]:
    if spec.n_symbols:
        return [Embedding(spec.n_symbols, embedding), Channels(embedding)]
    return [Channels()] if len(spec.input_shape) == 1 else []
