"""Features in groups that never meet."""

from __future__ import annotations

from beyond.contracts import TaskSpec
from beyond.network.layered import LayeredNetwork
from beyond.network.layers import GroupedLinear
from beyond.network.parts import InitialisationName, initialisation_of, trial
from beyond.settings import Positive, PositiveInt, settings


@settings
class Grouped:
    """One grouped linear layer from inputs to outputs, which must be vectors.

    Parameters
    ----------
    n_groups : int, >= 1
        A divisor of the numbers of inputs and of outputs.
    initialisation, init_std
        As in `MLP`.
    """

    n_groups: PositiveInt = 2
    initialisation: InitialisationName = "uniform"
    init_std: Positive = 0.1

    @property
    def name(self) -> str:
        """`grouped-2`."""
        return f"grouped-{self.n_groups}"

    def build(self, spec: TaskSpec) -> LayeredNetwork:
        """Make the network for a task."""
        layer = GroupedLinear(spec.n_outputs, self.n_groups)
        return LayeredNetwork([layer], spec.input_shape, initialisation_of(self.initialisation, self.init_std))


TRIALS = {"grouped": trial(Grouped(2), (6,))}
