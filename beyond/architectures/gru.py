"""Gated recurrence, for signals and sequences of symbols."""

from __future__ import annotations

from beyond.contracts import TaskSpec
from beyond.network.layers import Layer
from beyond.network.parts import (
    InitialisationName,
    Layered,
    Readout,
    read_out,
    sequence_entry,
    trial,
)
from beyond.network.recurrent_layers import GRU
from beyond.settings import Positive, PositiveInt, settings


@settings
class Recurrent(Layered):
    """Gated recurrent units, then a linear read-out of their states.

    All of a recurrent layer's weights take its number of units for their fan.

    Parameters
    ----------
    hidden : int, >= 1
        Units in each direction.
    bidirectional : bool
        Whether as many units read the sequence from its end.
    readout : {"all", "last", "mean", "max"}
        What is read of the states: those at every time, the ones that each direction ends with, or
        each unit's mean or largest over time.
    embedding : int, >= 1
        Features per symbol, where inputs are symbols.
    """

    hidden: PositiveInt = 6
    bidirectional: bool = True
    readout: Readout = "all"
    embedding: PositiveInt = 8
    initialisation: InitialisationName = "uniform"
    init_std: Positive = 0.1

    @property
    def name(self) -> str:
        """`gru-6`."""
        return f"gru-{self.hidden}"

    def stack(self, spec: TaskSpec) -> list[Layer]:
        return [
            *sequence_entry(spec, self.embedding),
            GRU(self.hidden, self.bidirectional),
            *read_out(self.readout, spec.n_outputs, self.bidirectional),
        ]


TRIALS = {"recurrent": trial(Recurrent(3), (5,))}
