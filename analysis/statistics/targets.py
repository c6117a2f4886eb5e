"""What it cost to reach a score: between the checkpoints at which it was measured.

Checkpoints are ten a decade of the budget: the first that has a score comes up to 26 % after the
score itself, 13 % on average. So a curve is taken to be straight between neighbours. For curves
that level off as an exponential, a hyperbola, a power law or a logistic function, what is found so
is within 5 % of the true cost up to 95 % of the way (tests/analysis/test_targets.py). On digits and
friedman, four methods and levels from a fifth of the way to nearly all, medians of five seeds are
off by 0.5 % on average from what ten times as many checkpoints give, and by more than 5 % in 2 of
72; those of first checkpoints are 11 % too late. For any curve that does not turn back the cost is
between the two checkpoints, whose distance `bracket` tells: where steps are large, or before the
first checkpoint, it is all that is known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.statistics.inference import Array, at_least


def first_reaching(
    curve: NDArray[np.int64], reached: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Between which rows each curve first gets there.

    Parameters
    ----------
    curve : int array of shape (n,)
        What curve a row is of; those of one follow one another, in order.
    reached : bool array of shape (n,)

    Returns
    -------
    which : int array of shape (m,)
        The curves that get there.
    before, after : int arrays of shape (m,)
        The last row before it and the first there; the same row for one that begins there.
    """
    hits = np.flatnonzero(reached)
    which, first = np.unique(curve[hits], return_index=True)
    after = hits[first]
    before = after - ((after > 0) & (curve[after - 1] == curve[after]))
    return which, before, after


def between(
    before: ArrayLike,
    level: ArrayLike,
    after: ArrayLike,
    scale: Callable[[Array], Array] = np.asarray,
) -> Array:
    """Share of the way from one value to the next at which a level lies, straight on a scale.

    Where the scale cannot show one of the three (a logarithm of zero) it is straight as it is.
    """
    ends = np.array(np.broadcast_arrays(before, level, after), float)
    with np.errstate(divide="ignore", invalid="ignore"):
        shown = scale(ends)
        low, middle, high = np.where(np.isfinite(shown).all(axis=0), shown, ends)
        share = (middle - low) / (high - low)
    return np.where(high == low, 1, np.clip(share, 0, 1))  # an end may be there by its rounding


def between_checkpoints(
    runs: Any, curves: Any, sign: ArrayLike, costs: Sequence[str], levels: Sequence[str]
) -> Any:
    """Replace what it cost to reach each level by what the curves tell, for replicas that have one.

    Parameters
    ----------
    runs : DataFrame
        One row per replica, with `target_LEVEL` and `COST_to_LEVEL`.
    curves : DataFrame
        As recorded.
    sign : array of shape (n_runs,)
        1 where the score of a row goes up, -1 where it goes down.
    costs, levels : sequences of str

    Returns
    -------
    DataFrame
        With `bracket_LEVEL`: distance of the two checkpoints, as a share of the later's epochs;
        missing where the level was not reached, or the cost is as recorded.
    """
    key = ["run_id", "seed"]
    targets = [f"target_{level}" for level in levels]
    replicas = runs[[*key, "headline_metric", *targets]].assign(row=np.arange(len(runs)), sign=sign)
    rows = curves[curves["split"] == "validation"]
    rows = rows.merge(replicas, on=key, suffixes=("", "_of_run"))
    rows = rows[rows["metric"] == rows["headline_metric"]].sort_values(["row", "checkpoint"])
    curve, up = rows["row"].to_numpy(), rows["sign"].to_numpy(float)
    values, spent = up * rows["value"].to_numpy(float), rows[list(costs)].to_numpy(float)
    measured = np.isin(np.arange(len(runs)), curve)
    made = {}
    for level in levels:
        target = up * rows[f"target_{level}"].to_numpy(float)
        which, before, after = first_reaching(curve, at_least(values, target))
        share = between(values[before], target[after], values[after])[:, None]
        found = spent[before] + share * (spent[after] - spent[before])
        for place, cost in enumerate(costs):
            name = f"{cost}_to_{level}"
            column = np.where(measured, np.inf, runs[name].to_numpy(float))
            column[which] = found[:, place]
            made[name] = column
        width = np.full(len(runs), np.nan)
        early, late = (rows["epochs"].to_numpy(float)[side] for side in (before, after))
        width[which] = np.divide(late - early, late, out=np.zeros(len(late)), where=late > 0)
        made[f"bracket_{level}"] = width
    return runs.assign(**made)


def on_grid(runs: Any, curves: Any, columns: Sequence[str]) -> tuple[Array, NDArray[np.bool_]]:
    """Lay out validation scores of replicas, and what they had cost, by checkpoint.

    A checkpoint that a long step skips, or that comes after the end, has what the last one has.

    Parameters
    ----------
    runs : DataFrame
        One row per replica, with `run_id` and `seed`.
    curves : DataFrame
        With the `headline_metric` of its replica.
    columns : sequence of str
        Costs.

    Returns
    -------
    table : array of shape (n_replicas, n_checkpoints, 1 + n_costs)
        Score first; NaN where a replica has no curve.
    ended : bool array of shape (n_replicas, n_checkpoints)
        Which come after the end.
    """
    key = ["run_id", "seed"]
    shown = (curves["split"] == "validation") & (curves["metric"] == curves["headline_metric"])
    rows = curves.loc[shown, [*key, "checkpoint", "value", *columns]].merge(
        runs[key].assign(row=np.arange(len(runs))), on=key
    )
    points, place = np.unique(rows["checkpoint"], return_inverse=True)
    table = np.full((len(runs), len(points), 1 + len(columns)), np.nan)
    table[rows["row"], place] = rows[["value", *columns]].to_numpy(float)
    index = np.arange(len(points))
    known = np.where(np.isfinite(table[..., 0]), index, -1)
    last = np.maximum.accumulate(known, axis=1)
    ended = index > known.max(axis=1, initial=-1)[:, None]
    return np.take_along_axis(table, np.maximum(last, 0)[..., None], axis=1), ended
