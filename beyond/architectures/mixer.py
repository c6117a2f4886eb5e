"""Layers that mix places and channels in turn, for images, signals and symbols."""

from __future__ import annotations

from beyond.contracts import TaskSpec
from beyond.network.activation_layers import ACTIVATIONS
from beyond.network.composite_layers import residual
from beyond.network.layers import Layer
from beyond.network.normalisation_layers import LayerNorm
from beyond.network.parts import (
    Activation,
    InitialisationName,
    Layered,
    dropping,
    read_out,
    token_entry,
)
from beyond.network.sequence_layers import Conv1d, Transposed
from beyond.settings import BelowOne, OneOrEach, Positive, PositiveInt, settings


@settings
class Mixer(Layered):
    """Blocks of two layers along the places and two along the channels, then a linear read-out.

    MLP-Mixer (Tolstikhin et al., 2021, arXiv 2105.01601): each half of a block normalises its input
    and adds to it; what is read is the mean of all places.

    Parameters
    ----------
    width : int, >= 1
        Channels at each place.
    depth : int, >= 1
        Blocks.
    place_units, channel_units : int, >= 1
        Hidden units of the layers along the places, and along the channels.
    activation : {"relu", "tanh", "sigmoid", "leaky_relu", "gelu", "silu", "step", "identity"}
    patch : int, >= 1
        Side of an image's squares; what is left over is cut off.
    dropout : float in [0, 1)
        At the end of each half of a block, in training.
    """

    width: PositiveInt = 32
    depth: PositiveInt = 2
    place_units: PositiveInt = 32
    channel_units: PositiveInt = 64
    activation: Activation = "gelu"
    patch: PositiveInt = 4
    dropout: OneOrEach[BelowOne] = 0.0
    initialisation: InitialisationName = "xavier"
    init_std: Positive = 0.1

    @property
    def name(self) -> str:
        """`mixer-2x32`."""
        return f"mixer-{self.depth}x{self.width}"

    def stack(self, spec: TaskSpec) -> list[Layer]:
        layers, shape = token_entry(spec, self.width, self.patch), spec.input_shape
        for layer in layers:
            shape = layer.output_shape(shape)
        for _ in range(self.depth):
            places = self._layers(self.place_units, shape[-1])
            layers += [
                residual(LayerNorm(), Transposed(), *places, Transposed()),
                residual(LayerNorm(), *self._layers(self.channel_units, self.width)),
            ]
        return [*layers, LayerNorm(), *read_out("mean", spec.n_outputs)]

    def _layers(self, n_units: int, n_out: int) -> list[Layer]:
        hidden = [Conv1d(n_units, 1), ACTIVATIONS[self.activation](), Conv1d(n_out, 1)]
        return [*hidden, *dropping(self.dropout)]


# its layers are those of `cnn1d`, `layer norm` and `text cnn`
TRIALS: dict[str, TaskSpec] = {}
