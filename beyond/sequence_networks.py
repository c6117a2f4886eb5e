"""Architectures for sequences: inputs of shape (length,) or (channels, length), or symbols, which are embedded."""

from __future__ import annotations

from dataclasses import dataclass

from beyond.contracts import TaskSpec
from beyond.errors import require, require_one_of
from beyond.layers import ACTIVATIONS, Embedding, Flatten, Layer, Linear
from beyond.network import LayeredNetwork, initialisation_of
from beyond.sequence_layers import GRU, Channels, Conv1d


@dataclass(frozen=True)
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

    channels: tuple[int, ...] = (25, 25, 25)
    kernels: tuple[int, ...] = (5, 3, 3)
    stride: int = 2
    padding: int = 1
    activation: str = "relu"
    embedding: int = 8
    initialisation: str = "he"
    init_std: float = 0.1

    def __post_init__(self) -> None:
        require_one_of("activation", ACTIVATIONS, self.activation)
        require("embedding", ">= 1", self.embedding, self.embedding >= 1)
        require("kernels", "as many as channels", self.kernels, len(self.kernels) == len(self.channels))
        for name in ("channels", "kernels"):
            for value in getattr(self, name):
                require(name, ">= 1", value, value >= 1)
        require("stride", ">= 1", self.stride, self.stride >= 1)
        require("padding", ">= 0", self.padding, self.padding >= 0)
        initialisation_of(self.initialisation, self.init_std)

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


@dataclass(frozen=True)
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

    hidden: int = 6
    bidirectional: bool = True
    embedding: int = 8
    initialisation: str = "uniform"
    init_std: float = 0.1

    def __post_init__(self) -> None:
        require("hidden", ">= 1", self.hidden, self.hidden >= 1)
        require("embedding", ">= 1", self.embedding, self.embedding >= 1)
        initialisation_of(self.initialisation, self.init_std)

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
