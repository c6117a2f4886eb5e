"""Performance profiles: how much dearer than the cheapest arm each is, over targets and tasks.

    ratio(arm, problem) = cost(arm, problem) / least cost over arms
    share(arm, tau)     = share of the problems whose ratio is at most tau
    score(arm)          = mean over tau in [1, r] of share(arm, tau)
                        = mean over problems of max(0, (r - ratio) / (r - 1))

A problem is a task with one of its levels; cost is the median over seeds until it is met, with the
pre-training; a miss is infinite, and so is what an arm was not tried on.

Sources: Dolan & More (2002), Mathematical Programming 91, 201; the score is AlgoPerf's (Dahl et
al., 2023, arXiv:2306.07179), r = 4, whose integral is taken here in closed form. Departure: methods
here differ by factors of hundreds, so a second score is the mean over log tau, up to r = 1000.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from analysis.runs import COSTS, Frame
from analysis.statistics.inference import Array, at_least, merged
from analysis.tables import Tables

_STEPS = ["currency", "arm", "ratio", "share"]
_SCORES = ["currency", "arm", "problems", "met", "first", "score", "log_score"]
WITHIN = 4.0  # AlgoPerf's r
WITHIN_LOG = 1000.0


def ratios(costs: ArrayLike) -> Array:
    """Cost over the least of its problem: (arms, problems); infinite where a target was missed.

    Where the least is nothing, another that costs nothing has 1 and all else is infinite.
    """
    costs = np.asarray(costs, float)
    least = costs.min(axis=0, initial=np.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = costs / least
    return np.where(np.isinf(costs), np.inf, np.where(at_least(least, costs), 1.0, found))


def score(found: ArrayLike, within: float = WITHIN) -> Array:
    """Mean of the profile over ratios from 1 to `within`; of (arms, problems)."""
    return np.clip((within - np.asarray(found, float)) / (within - 1), 0, 1).mean(axis=-1)


def log_score(found: ArrayLike, within: float = WITHIN_LOG) -> Array:
    """Mean of the profile over the logarithm of ratios from 1 to `within`."""
    return np.clip(1 - np.log(np.asarray(found, float)) / np.log(within), 0, 1).mean(axis=-1)


def problems(tables: Tables, targets: Frame, cost: str) -> Frame:
    """Cost in one currency of each arm (rows) until each level of each task is met (columns).

    Parameters
    ----------
    targets : DataFrame
        From `summaries.cost_to_target`.
    """
    before = tables.runs.groupby(["task", "arm"])[f"pretraining_{cost}"].mean().fillna(0)
    spent = targets[cost] + before.reindex(pd.MultiIndex.from_frame(targets[["task", "arm"]])).array
    wide = targets.assign(spent=spent).pivot_table(
        index="arm", columns=["task", "level"], values="spent", aggfunc="first"
    )
    return wide.fillna(np.inf)


def profiles(tables: Tables, targets: Frame) -> Frame:
    """Steps of each arm's profile: from `ratio` on, `share` of the problems; a currency a block."""
    parts = [pd.DataFrame(columns=_STEPS)]
    for cost in COSTS:
        wide = problems(tables, targets, cost)
        for arm, row in zip(wide.index, ratios(wide), strict=True):
            ratio, counts = np.unique(merged(row[np.isfinite(row)]), return_counts=True)
            steps = {"currency": cost, "arm": arm, "ratio": ratio}
            parts.append(pd.DataFrame(steps | {"share": np.cumsum(counts) / len(row)}))
    return pd.concat(parts[1:] or parts, ignore_index=True)


def profile_scores(tables: Tables, targets: Frame) -> Frame:
    """One row for each currency and arm, those of the best score first.

    `problems` is their number and `met` how many of them at half of the seeds or more, `first` the
    share at which no arm is cheaper. `score` and `log_score` are means of the profile, and like it
    of these competitors: they move when another joins.
    """
    parts = [pd.DataFrame(columns=_SCORES)]
    for cost in COSTS:
        wide = problems(tables, targets, cost)
        if wide.empty:
            continue
        found = ratios(wide)
        columns = {"currency": cost, "arm": wide.index, "problems": wide.shape[1]}
        columns |= {"met": np.isfinite(found).sum(axis=1), "first": (found == 1).mean(axis=1)}
        columns |= {"score": score(found), "log_score": log_score(found)}
        parts.append(
            pd.DataFrame(columns).sort_values(
                ["score", "log_score", "arm"], ascending=[False, False, True]
            )
        )
    return pd.concat(parts[1:] or parts, ignore_index=True)
