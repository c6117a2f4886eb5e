"""When the mean of n runs is past a target for certain: the rule by which optimizer records count.

    (target - mean) sqrt(n) >= c        where the score goes down; (mean - target) sqrt(n) where up

That is a one-sided test of a mean: with c = z s, s the deviation of one run, it holds where the
lower bound of the mean, z standard errors below it, has reached the target. In records of language
models (the optimizer track of modded-nanogpt: target 3.28, c = 0.004) c is fixed, and s known from
many runs: 0.0013 makes c = 3.1 s, which luck exceeds at one look in a thousand. Here s is that of
the arm's runs at the checkpoint, and in place of z = 1.645 stands Student's t of n - 1 degrees of
freedom, which ten runs put at 1.833: at one look, an arm whose mean is at the target passes in 5 %.
The first of many looks is favoured; a record is a claim of one.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student

from analysis.runs import COSTS, LEVELS, Frame
from analysis.statistics.inference import LEVEL, Array, at_least
from analysis.statistics.targets import between, first_reaching, on_grid
from analysis.tables import Tables, higher_is_better

_COLUMNS = ("task", "arm", "level", "target", "n", "c", "steps", *COSTS)


def margin(deviation: ArrayLike, n: ArrayLike) -> Array:
    """Return c: Student's one-sided quantile times the deviation of one run; infinite for one."""
    n = np.asarray(n, float)
    found = student.ppf(LEVEL, np.maximum(n - 1, 1)) * np.asarray(deviation, float)
    return np.where(n > 1, found, np.inf)


def bound(mean: ArrayLike, n: ArrayLike, c: ArrayLike) -> Array:
    """Return the highest target with (mean - target) sqrt(n) >= c, for a score that goes up."""
    return np.asarray(mean, float) - np.asarray(c, float) / np.sqrt(n)


def mean_to_target(tables: Tables, c: float | None = None) -> Frame:
    """One row for each arm, task and level: cost until the mean of its n runs is certainly past it.

    Costs are means over the runs, between the two checkpoints around it; infinite where it never
    is. A run that did not finish has no score after its end, and the arm none from there on; one
    that ended before others keeps its last. Skipped and untrained runs are not counted.

    Parameters
    ----------
    c : float, optional
        In units of the score, the same for all; None: that of each arm and checkpoint, see
        `margin`, of which the table has the value where the target was passed.
    """
    costs = [cost for cost in ("steps", *COSTS) if cost in tables.curves]
    groups, count, values, spent = _curves(tables, costs)
    if not values.size:
        return pd.DataFrame(columns=[*_COLUMNS])
    start = np.concatenate([[0], np.cumsum(count)[:-1]])
    measured = np.logical_or.reduceat(np.isfinite(values).any(axis=1), start)
    n = count[:, None]
    mean = np.add.reduceat(values, start) / n
    squares = np.add.reduceat((values - np.repeat(mean, count, axis=0)) ** 2, start)
    margins = (
        margin(np.sqrt(squares / np.maximum(n - 1, 1)), n) if c is None else np.full_like(mean, c)
    )
    past = bound(mean, n, margins).ravel()
    paid = np.add.reduceat(spent, start) / n[..., None]  # (arms, checkpoints, currencies)
    paid = paid.reshape(len(past), -1)
    arm = np.repeat(np.arange(len(groups)), values.shape[1])
    parts = []
    for level in LEVELS:
        target = groups[f"target_{level}"].to_numpy(float)
        signed = (groups["sign"] * target).to_numpy(float)[arm]
        which, before, after = first_reaching(arm, at_least(past, signed))
        share = between(past[before], signed[after], past[after])
        share = np.where(np.isfinite(past[before]), share, 1.0)[:, None]
        reached = np.full((len(groups), len(costs)), np.inf)
        reached[which] = paid[before] + share * (paid[after] - paid[before])
        at = np.full(len(groups), np.nan)
        at[which] = margins.ravel()[after]
        columns = {"task": groups["task"], "arm": groups["arm"], "level": level, "target": target}
        columns |= {"n": count, "c": at, **dict(zip(costs, reached.T, strict=True))}
        parts.append(pd.DataFrame(columns)[np.isfinite(target) & measured])
    found = pd.concat(parts, ignore_index=True).reindex(columns=[*_COLUMNS])
    return found.sort_values(["task", "arm"], kind="stable", ignore_index=True)


def _curves(tables: Tables, costs: list[str]) -> tuple[Frame, NDArray[np.int64], Array, Array]:
    """Validation scores of each arm's runs at every checkpoint, so that up is better.

    Returns
    -------
    groups : DataFrame
        A row for each arm and task.
    count : int array
        Runs of each.
    values : array of shape (n_runs, n_checkpoints)
        NaN where a run has none, or none any more.
    spent : array of shape (n_runs, n_checkpoints, n_costs)
    """
    runs = tables.runs[~tables.runs["status"].isin(["skipped", "untrained"])]
    runs = runs.sort_values(["task", "arm", "seed"], ignore_index=True)
    table, ended = on_grid(runs, tables.curves, costs)
    table[ended & (runs["status"] != "finished").to_numpy()[:, None]] = np.nan
    scores = runs.groupby("task")["headline_metric"].transform("first")
    sign = np.array([1.0 if higher_is_better(score) else -1.0 for score in scores])
    targets = [f"target_{level}" for level in LEVELS]
    groups = runs.assign(sign=sign).groupby(["task", "arm"], sort=True)
    first = groups[["sign", *targets]].first().reset_index()
    return first, groups.size().to_numpy(), sign[:, None] * table[..., 0], table[..., 1:]
