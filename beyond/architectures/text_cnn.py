"""Convolutions of several widths beside one another, for texts."""

from __future__ import annotations

from beyond.contracts import TaskSpec
from beyond.errors import require
from beyond.network.activation_layers import ACTIVATIONS
from beyond.network.composite_layers import Chain, Concatenation
from beyond.network.layers import Layer
from beyond.network.parts import (
    Activation,
    InitialisationName,
    Layered,
    dropping,
    sequence_entry,
    trial,
)
from beyond.network.sequence_layers import Conv1d, MaxOverTime
from beyond.network.vector_layers import Linear
from beyond.settings import BelowOne, OneOrEach, Positive, PositiveInt, settings


@settings
class TextCNN(Layered):
    """Maps of windows of several widths, each map's largest value over time, a linear read-out.

    CNN-rand of Kim, 2014 (arXiv 1408.5882), which has 300 features and 100 maps of each width, and
    bounds the norm of the read-out's weights. Small initial weights, as its: those of "he" make
    features of a symbol so large that few of them are learnt.

    Parameters
    ----------
    kernels : tuple of int
        Widths of the windows, at most the length of the sequence.
    maps : int, >= 1
        Of each width.
    activation : {"relu", "tanh", "sigmoid", "leaky_relu", "gelu", "silu", "step", "identity"}
    dropout : float in [0, 1)
        Of the largest values, in training.
    embedding : int, >= 1
        Features per symbol, where inputs are symbols.
    """

    kernels: tuple[PositiveInt, ...] = (3, 4, 5)
    maps: PositiveInt = 32
    activation: Activation = "relu"
    dropout: OneOrEach[BelowOne] = 0.5
    embedding: PositiveInt = 32
    initialisation: InitialisationName = "gaussian"
    init_std: Positive = 0.1

    def __post_init__(self) -> None:
        require("kernels", "one at least", self.kernels, bool(self.kernels))

    @property
    def name(self) -> str:
        """`text_cnn-3x32`: so many widths, so many maps of each."""
        return f"text_cnn-{len(self.kernels)}x{self.maps}"

    def stack(self, spec: TaskSpec) -> list[Layer]:
        branches = [
            # the activation of the largest sum is the largest activation, if it is monotone
            Chain((Conv1d(self.maps, kernel), MaxOverTime(), ACTIVATIONS[self.activation]()))
            for kernel in self.kernels
        ]
        layers = [*sequence_entry(spec, self.embedding), Concatenation(tuple(branches))]
        return [*layers, *dropping(self.dropout), Linear(spec.n_outputs)]


TRIALS = {"text cnn": trial(TextCNN((2, 3), 2, dropout=0.0, embedding=3), (4,), n_symbols=7)}
