"""Arms over tasks: the interquartile mean of normalised scores, and who improves on whom.

Sources: Agarwal, Schwarzer, Castro, Courville & Bellemare (2021), Deep reinforcement learning at
the edge of the statistical precipice, NeurIPS 34 (IQM, stratified bootstrap); the probability of
improvement is Mann & Whitney's U (1947, Ann. Math. Stat. 18, 50) over the number of pairs.

Departures: replicas that did not finish count, as chance or as the worst; each arm draws from a
stream of its name, so that none moves because another was added.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from analysis.runs import RESULT, Frame
from analysis.statistics.inference import LEVEL, Array, merged, stream
from analysis.summaries.frontier import levels
from analysis.tables import Tables, higher_is_better

DRAWS = 2_000  # resamples: an end of an interval is known to a fifteenth of a standard error
_TAILS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
_MEANS = ["arm", "n_tasks", "n_runs", "unfinished", "iqm", "low", "high"]
_PAIRS = ["task", "arm", "other", "n_tasks", "improvement", "low", "high"]


def iqm(values: ArrayLike) -> Array:
    """Mean of the middle half along the last axis: a quarter of n, rounded down, is cut a side."""
    values = np.asarray(values, float)
    n = values.shape[-1]
    cut = n // 4
    middle = np.partition(values, (cut, n - 1 - cut), axis=-1)[..., cut : n - cut]
    return middle.mean(axis=-1)


def resampled(strata: Sequence[Array], rng: Generator, draws: int = DRAWS) -> Array:
    """Draw as many values from each stratum as it has, with replacement: (draws, n of all)."""
    return np.concatenate(
        [values[rng.integers(0, len(values), (draws, len(values)))] for values in strata], axis=1
    )


def scale(tables: Tables, task: str) -> tuple[float, float]:
    """Scores of a task that count as 0 and 1: chance, and the most there is.

    Where a score has no most there is, its hard level. NaN where the tables know no chance; what
    they know follows from the task and its constant answer, see `frontier.levels`.
    """
    known = levels(tables, task)
    hard = tables.runs.loc[tables.runs["task"] == task, "target_hard"].dropna()
    best = known.get("ceiling", hard.iloc[0] if len(hard) else np.nan)
    return known.get("chance", np.nan), float(best)


def normalised(tables: Tables) -> Frame:
    """Test score of each replica that was begun: 0 at chance, 1 at the most there is.

    One that did not finish has 0, what it would have without training. Tasks without a scale are
    left out.
    """
    runs = tables.runs[tables.runs["status"] != "skipped"]
    scales = {task: scale(tables, task) for task in tables.tasks}
    chance, best = (runs["task"].map({t: s[end] for t, s in scales.items()}) for end in (0, 1))
    done = (runs["status"] == "finished") & np.isfinite(runs[RESULT])
    value = ((runs[RESULT] - chance) / (best - chance).where(best != chance)).where(done, 0.0)
    known = np.isfinite(best - chance) & (best != chance)
    return runs[["task", "arm", "seed"]].assign(done=done, value=value)[known]


def interquartile_means(tables: Tables) -> Frame:
    """One row for each arm: IQM of its normalised scores over runs and tasks, with its interval.

    `low` and `high` are percentiles of a bootstrap that is stratified: it draws runs within each
    task. They say what other seeds would change, not what other tasks would. Arms of `n_tasks`
    tasks compare with arms of the same ones alone; those of most come first.
    """
    rows = []
    for arm, runs in normalised(tables).groupby("arm"):
        strata = [part.to_numpy(float) for _, part in runs.groupby("task")["value"]]
        row = {"arm": str(arm), "n_tasks": len(strata), "n_runs": len(runs)}
        row |= {"unfinished": int((~runs["done"]).sum()), "iqm": float(iqm(np.hstack(strata)))}
        if min(map(len, strata)) > 1:
            drawn = iqm(resampled(strata, stream("iqm", str(arm))))
            row["low"], row["high"] = map(float, np.quantile(drawn, _TAILS))
        rows.append(row)
    table: Frame = pd.DataFrame(rows, columns=_MEANS)
    return table.sort_values(
        ["n_tasks", "iqm", "arm"], ascending=[False, False, True], ignore_index=True
    )


def improvements(tables: Tables) -> Frame:
    """One row for each pair of arms on each task, and over the tasks that both have.

    `improvement` is the probability that a run of `arm` has a better test score than one of
    `other`, whatever the seeds; over tasks it is their mean. One that did not finish is worse than
    all that did. The interval is by a bootstrap of either arm's runs, within each task.
    """
    arms = tables.arms
    n_pairs = len(arms) * (len(arms) - 1) // 2
    known, means, rows = np.zeros(n_pairs, int), np.zeros(n_pairs), []
    drawn = np.zeros((n_pairs, DRAWS), np.float32)
    for task in tables.tasks:
        there, point, resamples = _of_task(tables, task, arms)
        known, means = known + there, means + point
        drawn += np.where(there[:, None], resamples, 0)
        rows.append(_pairs(task, arms, there, point, resamples))
    if len(tables.tasks) > 1:
        n = np.maximum(known, 1)
        both, over = known > 1, f"mean of {len(tables.tasks)} tasks"
        rows.append(_pairs(over, arms, both, means / n, drawn / n[:, None]))
        rows[-1]["n_tasks"] = known[both]
    return pd.concat(rows, ignore_index=True)[_PAIRS]


def _of_task(
    tables: Tables, task: str, arms: Sequence[str]
) -> tuple[NDArray[np.bool_], Array, NDArray[np.float32]]:
    """Of each pair of arms: whether both have runs, their improvement, and resamples of it."""
    runs = tables.runs[(tables.runs["task"] == task) & (tables.runs["status"] != "skipped")]
    sign = 1 if higher_is_better(tables.score(task)) else -1
    done = (runs["status"] == "finished") & np.isfinite(runs[RESULT])
    runs = runs.assign(value=merged((sign * runs[RESULT]).where(done, -np.inf)))
    parts = {str(arm): part.to_numpy(float) for arm, part in runs.groupby("arm")["value"]}
    n_most = max(map(len, parts.values()), default=1)
    scores = np.full((len(arms), n_most), np.nan)
    shares = np.zeros((len(arms), n_most))
    weights = np.zeros((DRAWS, len(arms), n_most), np.float32)
    for place, arm in enumerate(arms):
        values = parts.get(arm, np.empty(0))
        n = len(values)
        if n:
            scores[place, :n], shares[place, :n] = values, 1 / n
            rng = stream("improvement", task, arm)
            weights[:, place, :n] = rng.multinomial(n, np.full(n, 1 / n), DRAWS) / n
    larger = (scores[:, :, None, None] > scores) + 0.5 * (scores[:, :, None, None] == scores)
    point = np.einsum("ai,aibj,bj->ab", shares, larger, shares)
    upper = np.triu_indices(len(arms), 1)
    n_runs = (shares > 0).sum(axis=1)
    fewer = np.minimum(n_runs[upper[0]], n_runs[upper[1]])
    flat, parts_drawn = larger.astype(np.float32), []
    for place in range(len(arms) - 1):  # each arm against all that come after it
        ahead = weights[:, place] @ flat[place, :, place + 1 :].reshape(n_most, -1)
        ahead = ahead.reshape(DRAWS, -1, n_most)
        parts_drawn.append(np.einsum("dbj,dbj->bd", ahead, weights[:, place + 1 :]))
    resamples = np.concatenate([np.empty((0, DRAWS), np.float32), *parts_drawn])
    resamples[fewer < 2] = np.nan  # one run says nothing of how runs vary
    return fewer > 0, point[upper], resamples


def _pairs(
    task: str,
    arms: Sequence[str],
    kept: NDArray[np.bool_],
    point: Array,
    resamples: NDArray[Any],
) -> Frame:
    """Rows of the pairs that are kept."""
    first, second = np.triu_indices(len(arms), 1)
    low, high = np.quantile(resamples[kept], _TAILS, axis=1) if kept.any() else np.empty((2, 0))
    names = np.array(arms, object)
    columns = {"task": task, "arm": names[first[kept]], "other": names[second[kept]], "n_tasks": 1}
    found = {"improvement": point[kept], "low": low, "high": high}
    # sums of shares may be off by their rounding
    return pd.DataFrame(columns | {name: values.clip(0, 1) for name, values in found.items()})
