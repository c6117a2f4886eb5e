"""Attention, for symbols, signals and images."""

from __future__ import annotations

from typing import Literal

from beyond.contracts import TaskSpec
from beyond.network.activation_layers import ACTIVATIONS
from beyond.network.attention_layers import Attention, Positions
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
    trial,
)
from beyond.network.sequence_layers import Conv1d
from beyond.settings import BelowOne, OneOrEach, Positive, PositiveInt, settings


@settings
class Transformer(Layered):
    """Blocks of attention and of two layers at each place, then a read-out: a small encoder.

    Each half of a block normalises its input and adds to it (Vaswani et al., 2017, with the order
    of Xiong et al., 2020, arXiv 2002.04745); positions are learnt; images are cut into squares
    (Dosovitskiy et al., 2021, arXiv 2010.11929).

    Parameters
    ----------
    width : int, >= 1
        Channels at each place, a multiple of `heads`.
    heads : int, >= 1
    depth : int, >= 1
        Blocks.
    expansion : int, >= 1
        Hidden units at each place, in widths.
    activation : {"relu", "tanh", "sigmoid", "leaky_relu", "gelu", "silu", "step", "identity"}
    causal : bool
        Whether a place sees none behind it: for the next symbol, with `readout=last`.
    readout : {"last", "mean"}
        What is read: the last place, or the mean of all.
    patch : int, >= 1
        Side of an image's squares; what is left over is cut off.
    dropout : float in [0, 1)
        At the end of each half of a block, in training.
    """

    width: PositiveInt = 32
    heads: PositiveInt = 4
    depth: PositiveInt = 2
    expansion: PositiveInt = 4
    activation: Activation = "gelu"
    causal: bool = False
    readout: Literal["last", "mean"] = "mean"
    patch: PositiveInt = 4
    dropout: OneOrEach[BelowOne] = 0.0
    initialisation: InitialisationName = "xavier"
    init_std: Positive = 0.1

    @property
    def name(self) -> str:
        """`transformer-2x32`, or `transformer-causal-2x32`."""
        kind = "transformer-causal" if self.causal else "transformer"
        return f"{kind}-{self.depth}x{self.width}"

    def stack(self, spec: TaskSpec) -> list[Layer]:
        drop = dropping(self.dropout)
        layers = [*token_entry(spec, self.width, self.patch), Positions()]
        for _ in range(self.depth):
            layers += [
                residual(
                    *(LayerNorm(), Conv1d(3 * self.width, 1), Attention(self.heads, self.causal)),
                    *(Conv1d(self.width, 1), *drop),
                ),
                residual(
                    *(LayerNorm(), Conv1d(self.expansion * self.width, 1)),
                    *(ACTIVATIONS[self.activation](), Conv1d(self.width, 1), *drop),
                ),
            ]
        return [*layers, LayerNorm(), *read_out(self.readout, spec.n_outputs)]


CHOICES = {
    "transformer_causal": (
        Transformer(causal=True, readout="last"),
        "Each place sees what comes before it, and the last is read: for the next symbol.",
    ),
}
TRIALS = {"attention": trial(Transformer(8, 2, 1, 1, causal=True), (3,), n_symbols=5)}
