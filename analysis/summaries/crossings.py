"""When a curve first reaches a level, between the checkpoints at which it was measured."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from analysis.runs import Frame
from analysis.statistics.inference import at_least
from analysis.statistics.targets import between, first_reaching
from analysis.tables import TableError

SCALES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "linear": lambda values: values,
    "log": np.log,
    "logit": lambda values: np.log(values / (1 - values)),
}


def crossing(
    rows: Frame, column: str, level: float, at: str = "steps", scale: str = "linear"
) -> pd.Series:
    """Where each seed's curve first reaches `level`, from whichever side; infinite where never.

    The curve is taken to be straight between neighbouring checkpoints once its values are on
    `scale`: "linear"; "log" suits exponential decay, "logit" a fraction that grows like the
    logistic function. A bracket with an end that the scale cannot show (a logarithm of zero) is
    straight as it is.

    Parameters
    ----------
    rows : DataFrame
        One curve per seed, with the columns `seed`, `column` and `at`.
    column : str
        The values.
    level : float
    at : str
        What to measure along, which grows with the checkpoints: steps, flops, seconds, ...
    scale : {"linear", "log", "logit"}

    Returns
    -------
    Series by seed
    """
    if scale not in SCALES:
        raise TableError(
            f"the scale of a crossing must be one of {', '.join(SCALES)}; got {scale!r}"
        )
    if rows.duplicated(["seed", at]).any():
        raise TableError(
            f"a crossing needs one curve per seed; some have several rows at the same {at}"
        )
    ordered = rows.sort_values(["seed", at])
    curve, seeds = pd.factorize(ordered["seed"])
    values, spent = ordered[column].to_numpy(float), ordered[at].to_numpy(float)
    begun = values[np.searchsorted(curve, curve)]  # where the row's curve begins
    reached = np.where(begun < level, at_least(values, level), at_least(level, values))
    which, before, after = first_reaching(curve, reached)
    share = between(values[before], level, values[after], SCALES[scale])
    found = np.full(len(seeds), np.inf)
    found[which] = spent[before] + share * (spent[after] - spent[before])
    return pd.Series(found, index=seeds, dtype=float)
