"""Skeleton: the architecture in one line, with its source."""

from beyond.contracts import TaskSpec
from beyond.network.activation_layers import Tanh
from beyond.network.layers import Layer
from beyond.network.parts import InitialisationName, Layered, vector_entry
from beyond.network.vector_layers import Linear
from beyond.settings import Positive, PositiveInt, settings


@settings
class Skeleton(Layered):
    """One hidden layer.

    Parameters
    ----------
    width : int, >= 1
        Units of the hidden layer.
    embedding : int, >= 1
        Features per symbol, where inputs are symbols.
    """

    width: PositiveInt = 32
    embedding: PositiveInt = 8
    initialisation: InitialisationName = "xavier"
    init_std: Positive = 0.1

    @property
    def name(self) -> str:
        """`skeleton-32`: what differs between two of them."""
        return f"skeleton-{self.width}"

    def stack(self, spec: TaskSpec) -> list[Layer]:
        entry = vector_entry(spec, self.embedding)
        return [*entry, Linear(self.width), Tanh(), Linear(spec.n_outputs)]
