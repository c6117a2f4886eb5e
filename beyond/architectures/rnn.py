"""Recurrence without gates, for signals and sequences of symbols."""

from __future__ import annotations

from typing import ClassVar, Literal

from beyond.contracts import TaskSpec
from beyond.network.layers import Layer
from beyond.network.parts import Recurrent
from beyond.network.recurrent_layers import RNN
from beyond.settings import settings


@settings
class Elman(Recurrent):
    """Recurrent units without gates (Elman, 1990), then a linear read-out of their states.

    Parameters
    ----------
    activation : {"tanh", "relu"}
        Of the recurrent units.
    """

    KIND: ClassVar = "rnn"

    activation: Literal["tanh", "relu"] = "tanh"

    @property
    def units(self) -> Layer:
        return RNN(self.hidden, self.bidirectional, self.activation)


# to a rule it is what `gru` is
TRIALS: dict[str, TaskSpec] = {}
