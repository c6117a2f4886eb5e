"""Gated recurrence, for signals and sequences of symbols."""

from __future__ import annotations

from typing import ClassVar

from beyond.network import parts
from beyond.network.layers import Layer
from beyond.network.parts import Readout, trial
from beyond.network.recurrent_layers import GRU
from beyond.settings import PositiveInt, settings


@settings
class Recurrent(parts.Recurrent):
    """Gated recurrent units, then a linear read-out of their states."""

    KIND: ClassVar = "gru"

    hidden: PositiveInt = 6
    bidirectional: bool = True
    readout: Readout = "all"

    @property
    def units(self) -> Layer:
        return GRU(self.hidden, self.bidirectional)


TRIALS = {"recurrent": trial(Recurrent(3), (5,))}
