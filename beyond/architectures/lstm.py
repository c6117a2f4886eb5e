"""Long short-term memory, for signals and sequences of symbols."""

from __future__ import annotations

from typing import ClassVar

from beyond.contracts import TaskSpec
from beyond.network.layers import Layer
from beyond.network.parts import Recurrent
from beyond.network.recurrent_layers import LSTM
from beyond.settings import settings


@settings
class LongShortTerm(Recurrent):
    """Units with a memory cell and three gates, then a linear read-out of their states."""

    KIND: ClassVar = "lstm"

    @property
    def units(self) -> Layer:
        return LSTM(self.hidden, self.bidirectional)


# to a rule it is what `gru` is
TRIALS: dict[str, TaskSpec] = {}
