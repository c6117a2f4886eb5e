"""GARCH(1,1): four weights that predict mean and variance of the next return."""

from __future__ import annotations

from beyond.contracts import TargetKind, TaskSpec
from beyond.errors import require
from beyond.network.layers import Layer
from beyond.network.parts import Layered, trial
from beyond.network.volatility_layers import GARCHRecursion
from beyond.settings import Positive, settings


@settings
class GARCH(Layered):
    """Variance that follows the last shock and itself (Bollerslev, 1986).

    For tasks that ask for the distribution of one value, from past returns.

    Parameters
    ----------
    init_std : float, > 0
        Standard deviation of the four initial weights, see `beyond.network.volatility_layers`.
    """

    initialisation = "gaussian"
    init_std: Positive = 0.5

    @property
    def name(self) -> str:
        """`garch`."""
        return "garch"

    def stack(self, spec: TaskSpec) -> list[Layer]:
        asked = f"{spec.target_kind}, {spec.n_outputs} outputs"
        fits = spec.target_kind is TargetKind.DISTRIBUTIONS and spec.n_outputs == 2
        require("garch targets", "distributions of one value", asked, fits)
        return [GARCHRecursion()]


TRIALS = {"garch": trial(GARCH(), (2, 6), target_kind=TargetKind.DISTRIBUTIONS)}
