"""Features in groups that never meet."""

from __future__ import annotations

from beyond.contracts import TaskSpec
from beyond.network.layers import Layer
from beyond.network.parts import InitialisationName, Layered, trial
from beyond.network.vector_layers import GroupedLinear
from beyond.settings import Positive, PositiveInt, settings


@settings
class Grouped(Layered):
    """One grouped linear layer from inputs to outputs, which must be vectors.

    Parameters
    ----------
    n_groups : int, >= 1
        A divisor of the numbers of inputs and of outputs.
    """

    n_groups: PositiveInt = 2
    initialisation: InitialisationName = "uniform"
    init_std: Positive = 0.1

    @property
    def name(self) -> str:
        """`grouped-2`."""
        return f"grouped-{self.n_groups}"

    def stack(self, spec: TaskSpec) -> list[Layer]:
        layer = GroupedLinear(spec.n_outputs, self.n_groups)
        return [layer]


TRIALS = {"grouped": trial(Grouped(2), (6,))}
