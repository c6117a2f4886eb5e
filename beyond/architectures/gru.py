"""Gated recurrence, for signals and sequences of symbols."""

from __future__ import annotations

from beyond.contracts import TaskSpec
from beyond.network.layers import Flatten, Layer, Linear
from beyond.network.parts import InitialisationName, Layered, sequence_entry, trial
from beyond.network.sequence_layers import GRU
from beyond.settings import Positive, PositiveInt, settings


@settings
class Recurrent(Layered):
    """Gated recurrent units, then a linear read-out of their states at every time.

    All of a recurrent layer's weights take its number of units for their fan.

    Parameters
    ----------
    hidden : int, >= 1
        Units in each direction.
    bidirectional : bool
        Whether as many units read the sequence from its end.
    embedding : int, >= 1
        Features per symbol, where inputs are symbols.
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

    def stack(self, spec: TaskSpec) -> list[Layer]:
        layers = [*sequence_entry(spec, self.embedding), GRU(self.hidden, self.bidirectional)]
        layers += [Flatten(), Linear(spec.n_outputs)]
        return layers


TRIALS = {"recurrent": trial(Recurrent(3), (5,))}
