"""Gated recurrence, for signals and sequences of symbols."""

from __future__ import annotations

from beyond.contracts import TaskSpec
from beyond.network.layered import LayeredNetwork
from beyond.network.layers import Flatten, Linear
from beyond.network.parts import InitialisationName, initialisation_of, sequence_entry, trial
from beyond.network.sequence_layers import GRU
from beyond.settings import Positive, PositiveInt, settings


@settings
class Recurrent:
    """Gated recurrent units, then a linear read-out of their states at every time.

    Parameters
    ----------
    hidden : int, >= 1
        Units in each direction.
    bidirectional : bool
        Whether as many units read the sequence from its end.
    embedding : int, >= 1
        Features per symbol, where inputs are symbols.
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
        layers = [*sequence_entry(spec, self.embedding), GRU(self.hidden, self.bidirectional)]
        layers += [Flatten(), Linear(spec.n_outputs)]
        return LayeredNetwork(layers, spec.input_shape, initialisation_of(self.initialisation, self.init_std))


TRIALS = {"recurrent": trial(Recurrent(3), (5,))}
