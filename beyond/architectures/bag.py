"""A bag of words: what an example has counts, where it stands does not."""

from __future__ import annotations

from beyond.contracts import TaskSpec
from beyond.errors import require
from beyond.network.activation_layers import ACTIVATIONS
from beyond.network.layers import Layer
from beyond.network.parts import Activation, InitialisationName, Layered, sequence_entry, trial
from beyond.network.sequence_layers import MeanOverTime
from beyond.network.vector_layers import Linear
from beyond.settings import Positive, PositiveInt, settings


@settings
class Bag(Layered):
    """The mean of the features of all symbols, then fully connected layers: cheap, without order.

    `hidden=()` is the classifier of Joulin et al., 2017 (arXiv 1607.01759), without their pairs of
    words. The mean is over the whole length, padding included.

    Parameters
    ----------
    hidden : tuple of int
        Widths of the hidden layers.
    activation : {"relu", "tanh", "sigmoid", "leaky_relu", "gelu", "silu", "step", "identity"}
    embedding : int, >= 1
        Features per symbol, where inputs are symbols.
    """

    hidden: tuple[PositiveInt, ...] = (32,)
    activation: Activation = "relu"
    embedding: PositiveInt = 16
    initialisation: InitialisationName = "he"
    init_std: Positive = 0.1

    @property
    def name(self) -> str:
        """`bag-32`."""
        return "-".join(["bag", *map(str, self.hidden)])

    def stack(self, spec: TaskSpec) -> list[Layer]:
        timed = bool(spec.n_symbols) or len(spec.input_shape) == 2
        require(
            f"inputs of {self.name}", "symbols, or channels along time", spec.input_shape, timed
        )
        layers = [*sequence_entry(spec, self.embedding), MeanOverTime()]
        for width in self.hidden:
            layers += [Linear(width), ACTIVATIONS[self.activation]()]
        layers.append(Linear(spec.n_outputs))
        return layers


TRIALS = {"bag": trial(Bag((5,), embedding=3), (4,), n_symbols=7)}
