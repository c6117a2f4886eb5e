"""When a replica stops before its budget is spent (Prechelt, 1998, "Early stopping - but when?").

    GL(t) = 100 (E_va(t) / E_opt(t) - 1)       E_opt: the lowest validation loss so far
    P(t)  = 1000 (mean E_tr / min E_tr - 1)    over the strip that ends at t

    GL_a: GL(t) > a        PQ_a: GL(t) / P(t) > a        UP_s: E_va rose in s successive strips

Departures: the source has strips of five epochs, and looks at P at each of them. Here a strip is
what lies between two checkpoints, at whose ends losses are known. They are spaced evenly in the
logarithm of the budget, ten for a power of ten: UP_3 looks back on half of all that was spent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf

from beyond.contracts import TargetKind
from beyond.errors import InputError


@dataclass(frozen=True)
class Stopping:
    """A criterion.

    Attributes
    ----------
    name : str
        As it is typed: GL_5, PQ_0.5 or UP_3, see `beyond.settings.STOPPING`.
    """

    name: str

    def require(self, kind: TargetKind) -> None:
        """Raise `InputError` for a loss of which it makes no sense: quotients need one above 0."""
        if kind is TargetKind.DISTRIBUTIONS and not self.name.startswith("UP"):
            raise InputError(
                f"early_stopping must be UP_s where values are predicted with their variance, "
                f"whose loss may be negative, got {self.name!r}"
            )

    def fires(self, losses: Sequence[tuple[float, float]]) -> bool:
        """Say whether to stop, from the training and validation loss at each checkpoint so far."""
        kind, _, limit = self.name.partition("_")
        if kind == "UP":
            strips = list(pairwise(validation for _, validation in losses))[-int(limit) :]
            return len(strips) == int(limit) and all(later > before for before, later in strips)
        lowest = min(validation for _, validation in losses)
        lost = 100 * _above(losses[-1][1], lowest)
        if kind == "GL":
            return lost > float(limit)
        ends = [train for train, _ in losses[-2:]]
        progress = 1000 * _above(sum(ends) / len(ends), min(ends))
        return lost > float(limit) * progress


def _above(value: float, lowest: float) -> float:
    """Return value / lowest - 1; of a lowest 0 infinity, unless that is the value too."""
    if value == lowest:
        return 0.0
    return value / lowest - 1 if lowest > 0 else inf


def loss_of(scores: dict[str, float]) -> float:
    """Return the loss among a split's scores; `InputError` if there is none."""
    for name, value in scores.items():
        if name.endswith("_loss"):
            return value
    raise InputError(f"early_stopping needs a loss; this task has {', '.join(scores)}")
