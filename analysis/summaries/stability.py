"""Does the order of arms depend on what is counted? Kendall's tau between rankings of one task.

Rankings are by test score; by the best validation score so far at equal examples, operations,
bytes, steps or seconds, at all that every arm has spent of them, a tenth and a hundredth; and by
the median cost until each level, in each of these currencies. tau-b counts pairs of arms in the
same order less those in the other, over the root of the pairs that either ranking tells apart.

Source: Kendall (1945), The treatment of ties in ranking problems, Biometrika 33, 239.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pandas as pd
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from analysis.runs import LEVELS, RESULT, Frame
from analysis.statistics.inference import LEVEL, RESOLUTION, Array, stream
from analysis.statistics.targets import on_grid
from analysis.summaries.ranking import Ranking
from analysis.tables import Tables, higher_is_better

Centre = Callable[[Array], Array]

CURRENCIES = ("examples", "flops", "bytes_moved", "steps", "seconds")
PARTS = (1.0, 0.1, 0.01)  # of what every arm has spent
DRAWS = 200  # resamples of seeds
_COLUMNS = ["task", "first", "second", "n_arms", "tau", "low", "high"]


def orders(values: ArrayLike) -> Array:
    """Signs of all pairs, 1 where the first is larger: (..., arms) to (..., pairs); 0 of equals."""
    values = np.asarray(values, float)
    first, second = np.triu_indices(values.shape[-1], 1)
    one, other = values[..., first], values[..., second]
    with np.errstate(invalid="ignore"):
        apart = np.abs(one - other) > RESOLUTION * np.maximum(np.abs(one), np.abs(other))
    apart |= np.isinf(one) != np.isinf(other)
    return np.where(apart, np.sign(np.where(one > other, 1.0, -1.0)), 0.0)


def kendall(signs: ArrayLike) -> Array:
    """Kendall's tau-b of all pairs of rankings: (..., rankings, pairs) to (..., R, R).

    NaN where a ranking tells nothing apart.
    """
    short = np.asarray(signs, np.float32)
    both = (short @ np.swapaxes(short, -1, -2)).astype(float)  # counts: exact in float32
    told = np.diagonal(both, axis1=-2, axis2=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return both / np.sqrt(told[..., :, None] * told[..., None, :])


def rank_stability(tables: Tables, rankings: Mapping[str, Ranking]) -> Frame:
    """One row for each task and pair of rankings: tau-b of the ranked arms, with its interval.

    `low` and `high` are percentiles over resamples of the seeds, the same for all arms. A resample
    has its arms closer than they are, so that the interval lies low rather than high.
    """
    parts = []
    for task in tables.tasks:
        arms = rankings[task].arms
        if len(arms) < 2:
            continue
        measures = list(_measures(tables, task, arms))
        draws = _draws(measures[0][1].shape[1], stream("stability", task))
        signs = np.stack([orders(centre(v[:, draws]).T) for _, v, centre in measures], axis=1)
        tau = kendall(signs)  # (draws, rankings, rankings), the seeds as they are first
        first, second = np.triu_indices(len(measures), 1)
        drawn, names = tau[:, first, second], np.array([name for name, *_ in measures], object)
        known = np.isfinite(drawn[0])
        ends = np.nanquantile(drawn[1:, known], ((1 - LEVEL) / 2, (1 + LEVEL) / 2), axis=0)
        columns = {"task": task, "first": names[first[known]], "second": names[second[known]]}
        columns |= {"n_arms": len(arms), "tau": drawn[0, known]}
        parts.append(pd.DataFrame(columns | dict(zip(("low", "high"), ends, strict=True))))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=_COLUMNS)


def _draws(n: int, rng: Generator) -> NDArray[np.int64]:
    """Rows of n seeds: all of them once, then resamples."""
    return np.vstack([np.arange(n), rng.integers(0, n, (DRAWS, n))])


def _mean(values: Array) -> Array:
    return values.mean(axis=-1)


def _median(values: Array) -> Array:
    """Median over the last axis, infinite values too."""
    ordered, n = np.sort(values, axis=-1), values.shape[-1]
    return (ordered[..., (n - 1) // 2] + ordered[..., n // 2]) / 2


def _measures(tables: Tables, task: str, arms: list[str]) -> Iterator[tuple[str, Array, Centre]]:
    """What arms are ranked by: its name, (arms, seeds) so that up is better, what of the seeds."""
    runs = tables.runs[(tables.runs["task"] == task) & tables.runs["arm"].isin(arms)]
    sign = 1 if higher_is_better(tables.score(task)) else -1
    scores = runs.pivot_table(index="arm", columns="seed", values=RESULT).loc[arms].dropna(axis=1)
    yield "test score", sign * scores.to_numpy(float), _mean
    replicas = pd.MultiIndex.from_product([arms, scores.columns])
    runs = runs.set_index(["arm", "seed"]).loc[replicas]
    for name, values in _at_equal_cost(tables, runs, sign):
        yield name, values.reshape(scores.shape), _mean
    for level in LEVELS:
        for cost in CURRENCIES:
            if f"{cost}_to_{level}" in runs:
                spent = runs[f"{cost}_to_{level}"].fillna(np.inf).to_numpy(float)
                yield f"{cost} to {level}", -spent.reshape(scores.shape), _median


def _at_equal_cost(tables: Tables, runs: Frame, sign: int) -> Iterator[tuple[str, Array]]:
    """Best validation score so far of each replica, once it has spent what all arms have.

    An arm that ended of itself, before half of its budget, keeps what it had.
    """
    known = tables.curves.columns[tables.curves.notna().all()]  # not of all, where some are old
    costs = [cost for cost in CURRENCIES if cost in known]
    table, _ = on_grid(runs.reset_index(), tables.curves, costs)
    if not table.size or not np.isfinite(table).all():
        return
    best = np.maximum.accumulate(sign * table[..., 0], axis=1)
    spends = ~(runs["spent"] < 0.5)
    row, last = np.arange(len(best)), best.shape[1] - 1
    for place, cost in enumerate(costs):
        paid = table[..., 1 + place]
        ends: Frame = pd.Series(paid[:, -1], runs.index)[spends]
        ends = ends.groupby(level=0).median()
        for part in PARTS if len(ends) else ():
            amount = part * ends.min()
            after = np.minimum((paid < amount).sum(axis=1), last)
            before = np.maximum(after - 1, 0)
            low, high = paid[row, before], paid[row, after]
            share = np.clip((amount - low) / np.where(high > low, high - low, 1), 0, 1)
            of = "all" if part == 1 else f"{part:g}"
            name = f"validation score at {of} of the {cost} that every arm has spent"
            yield name, best[row, before] + share * (best[row, after] - best[row, before])
