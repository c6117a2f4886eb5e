"""Fully connected layers."""

from __future__ import annotations

from itertools import groupby

from beyond.contracts import TargetKind, TaskSpec
from beyond.errors import require
from beyond.network.activation_layers import ACTIVATIONS
from beyond.network.layers import Layer
from beyond.network.normalisation_layers import LayerNorm
from beyond.network.parts import (
    Activation,
    InitialisationName,
    Layered,
    dropping,
    trial,
    vector_entry,
)
from beyond.network.vector_layers import Linear, Residual
from beyond.settings import BelowOne, OneOrEach, Positive, PositiveInt, settings


@settings
class MLP(Layered):
    """Fully connected layers with an activation between them.

    Images are flattened first; symbols are embedded first. `hidden=()` is a linear network: on
    symbols, a linear map of the embedded letters.

    Parameters
    ----------
    hidden : tuple of int
        Widths of the hidden layers.
    activation : {"relu", "tanh", "sigmoid", "leaky_relu", "gelu", "silu", "step", "identity"}
    embedding : int, >= 1
        Features per symbol, where inputs are symbols.
    dropout : float in [0, 1)
        After each activation, in training; a method that turns it off says so under Departures.
    layer_norm : bool
        Before each activation.
    residual : bool
        Add to a hidden layer's output its input, where the layer before it has the same width; not
        with `layer_norm`.
    """

    hidden: tuple[PositiveInt, ...] = (32,)
    activation: Activation = "relu"
    embedding: PositiveInt = 8
    dropout: OneOrEach[BelowOne] = 0.0
    layer_norm: bool = False
    residual: bool = False
    initialisation: InitialisationName = "he"
    init_std: Positive = 0.1

    def __post_init__(self) -> None:
        both = self.residual and self.layer_norm
        require("residual", "false with layer_norm", self.residual, not both)

    @property
    def name(self) -> str:
        """`linear`, or the widths: `mlp-64-32`, `mlp-64x10` if many are alike, `...-residual`."""
        widths: list[str] = []
        for width, group in groupby(self.hidden):
            count = len(list(group))
            widths += [f"{width}x{count}"] if count > 3 else [str(width)] * count
        kind = ["residual"] if self.residual else []
        return "-".join(["mlp", *widths, *kind]) if self.hidden else "linear"

    def stack(self, spec: TaskSpec) -> list[Layer]:
        layers = vector_entry(spec, self.embedding)
        for below, width in zip((0, *self.hidden), self.hidden, strict=False):
            linear, activation = Linear(width), ACTIVATIONS[self.activation]()
            if self.residual and width == below:
                layers.append(Residual(linear, activation))
            else:
                layers += [linear, *([LayerNorm()] if self.layer_norm else []), activation]
            layers += dropping(self.dropout)
        layers.append(Linear(spec.n_outputs))
        return layers


def suited(n_examples: int) -> MLP:
    """Return what suits so many examples that nobody described."""
    few = n_examples < 3000
    return MLP(hidden=(32,) if few else (64,) if n_examples < 30_000 else (64, 64))


# what acts in an environment, as in Huang et al. (2022) and most who publish on them
POLICY = MLP(hidden=(64, 64), activation="tanh")
CHOICES = {
    "linear": (MLP(hidden=()), "No hidden layer: the control that tells what depth is worth."),
    "deep": (
        MLP(hidden=(32,) * 5, activation="sigmoid", initialisation="xavier"),
        "Five hidden layers of sigmoids: where gradients vanish.",
    ),
}
TRIALS = {
    "mlp": trial(MLP((5, 4), activation="tanh"), (6,)),
    "values": trial(MLP((5, 4), activation="tanh"), (6,), target_kind=TargetKind.VALUES),
    "distributions": trial(MLP((5,)), (6,), target_kind=TargetKind.DISTRIBUTIONS),
    "residual": trial(MLP((5, 5), residual=True), (6,)),
    "symbols": trial(MLP((5,), embedding=3), (4,), n_symbols=7),
    "dropout": trial(MLP((8, 8), dropout=0.25), (6,)),
    "layer norm": trial(MLP((5, 4), layer_norm=True), (6,)),
}
