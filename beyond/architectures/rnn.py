"""Recurrence without gates, for signals and sequences of symbols."""

from __future__ import annotations

from typing import Literal

from beyond.contracts import TaskSpec
from beyond.network.layers import Layer
from beyond.network.parts import (
    InitialisationName,
    Layered,
    Readout,
    read_out,
    sequence_entry,
)
from beyond.network.recurrent_layers import RNN
from beyond.settings import Positive, PositiveInt, settings


@settings
class Elman(Layered):
    """Recurrent units without gates (Elman, 1990), then a linear read-out of their states.

    All of a recurrent layer's weights take its number of units for their fan.

    Parameters
    ----------
    hidden : int, >= 1
        Units in each direction.
    bidirectional : bool
        Whether as many units read the sequence from its end.
    activation : {"tanh", "relu"}
        Of the recurrent units.
    readout : {"all", "last", "mean", "max"}
        What is read of the states: those at every time, the ones that each direction ends with, or
        each unit's mean or largest over time.
    embedding : int, >= 1
        Features per symbol, where inputs are symbols.
    """

    hidden: PositiveInt = 32
    bidirectional: bool = False
    activation: Literal["tanh", "relu"] = "tanh"
    readout: Readout = "last"
    embedding: PositiveInt = 8
    initialisation: InitialisationName = "uniform"
    init_std: Positive = 0.1

    @property
    def name(self) -> str:
        """`rnn-32`."""
        return f"rnn-{self.hidden}"

    def stack(self, spec: TaskSpec) -> list[Layer]:
        return [
            *sequence_entry(spec, self.embedding),
            RNN(self.hidden, self.bidirectional, self.activation),
            *read_out(self.readout, spec.n_outputs, self.bidirectional),
        ]


# to a rule it is what `gru` is
TRIALS: dict[str, TaskSpec] = {}
