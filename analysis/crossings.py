"""When a curve first reaches a level, between the checkpoints at which it was measured."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from analysis.statistics import at_least
from analysis.tables import Frame, TableError

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
    found = {}
    for seed, curve in rows.sort_values(at).groupby("seed"):
        found[seed] = _first(
            curve[at].to_numpy(float), curve[column].to_numpy(float), level, SCALES[scale]
        )
    return pd.Series(found, dtype=float)


def _first(
    at: np.ndarray, values: np.ndarray, level: float, scale: Callable[[np.ndarray], np.ndarray]
) -> float:
    """Find where values first reach a level; `at` increases."""
    beyond = at_least(values, level) if values[0] < level else at_least(level, values)
    if not beyond.any():
        return np.inf
    after = int(beyond.argmax())
    if after == 0:
        return float(at[0])
    ends = np.array([values[after - 1], level, values[after]])
    with np.errstate(divide="ignore", invalid="ignore"):
        shown = scale(ends)
    low, middle, high = shown if np.isfinite(shown).all() else ends
    share = min((middle - low) / (high - low), 1.0)  # an end may be below the level by its rounding
    return float(at[after - 1] + (at[after] - at[after - 1]) * share)
