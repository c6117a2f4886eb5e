"""What a score costs: operations until the selected checkpoint, pre-training counted, and who is on
the Pareto front; with the levels that a score is held against.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from analysis.runs import RESULT, Frame, is_linear
from analysis.statistics.inference import mean_interval
from analysis.tables import Tables, by_run, higher_is_better, limits_of

LEVEL_NAMES = {
    "chance": "chance",
    "linear": "linear network",
    "best": "best known",
    "ceiling": "ceiling",
}


def front(costs: ArrayLike, scores: ArrayLike) -> NDArray[np.bool_]:
    """Say which points no other beats: none is as cheap and as good, and cheaper or better.

    Parameters
    ----------
    costs, scores : array of shape (n,)
        Smaller costs are better, larger scores are.
    """
    costs, scores = np.asarray(costs, float), np.asarray(scores, float)
    order = np.lexsort((-scores, costs))
    best = np.maximum.accumulate(np.concatenate([[-np.inf], scores[order]]))
    ahead = scores[order] > best[:-1]
    kept = np.zeros(len(costs), bool)
    kept[order] = ahead
    # equal points stand or fall together
    points = np.stack([costs, scores], axis=1)
    same = (points[:, None] == points[None]).all(axis=-1)
    return (same & kept).any(axis=1)


def points(tables: Tables, task: str) -> Frame:
    """Test score and what it cost, a row for each arm with a score, the best first.

    Columns arm, n (replicas that finished), score, score_low, score_high, flops, flops_low,
    flops_high (until the selected checkpoint, and of pre-training), before (of pre-training alone),
    is_front.
    """
    runs = tables.runs[(tables.runs["task"] == task) & (tables.runs["status"] == "finished")]
    runs = runs[np.isfinite(runs[RESULT]) & np.isfinite(runs["flops_to_best"])]
    up, rows = higher_is_better(tables.score(task)), []
    for arm, replicas in runs.groupby("arm"):
        before = replicas["pretraining_flops"].fillna(0).to_numpy(float)
        row = {"arm": str(arm), "n": len(replicas), "before": before.mean()}
        # the selected checkpoint cannot be later than the last
        most = float((replicas["flops"].fillna(np.inf) + before).max())
        for name, values, limits in (
            ("score", replicas[RESULT].to_numpy(float), limits_of(tables.score(task))),
            ("flops", replicas["flops_to_best"].to_numpy(float) + before, (0.0, most)),
        ):
            low, high = mean_interval(values, limits)
            row |= {name: values.mean(), f"{name}_low": float(low), f"{name}_high": float(high)}
        rows.append(row)
    names = ("score", "score_low", "score_high", "flops", "flops_low", "flops_high")
    table = pd.DataFrame(rows, columns=["arm", "n", "before", *names])
    sign = 1 if up else -1
    table["is_front"] = front(table["flops"], sign * table["score"])
    order = np.lexsort((table["arm"].to_numpy(str), -sign * table["score"].to_numpy(float)))
    return table.iloc[order].reset_index(drop=True)


def levels(tables: Tables, task: str) -> dict[str, float]:
    """Scores that others are held against, where the tables know them.

    `chance`: of the constant answer, as its arm has it; without that arm the share of the commonest
    class among the test examples, or an R2 of 0. `linear`: of backpropagation in a linear network.
    `best`: the best known, see `best_known`. `ceiling`: what no score exceeds.
    """
    runs = tables.runs[(tables.runs["task"] == task) & (tables.runs["status"] == "finished")]
    linear = [is_linear(row) for row in runs[["network", "default_network"]].to_dict("records")]
    of_linear = runs[np.array(linear, bool) & (runs["method"] == "backprop").to_numpy()]
    found = {
        "chance": _chance(tables, task, runs),
        # of several, the best by validation, as a method's settings would be chosen
        "linear": _best(of_linear, higher_is_better(tables.score(task))),
        "best": best_known(tables, task).get("value", np.nan),
        "ceiling": limits_of(tables.score(task))[1],
    }
    return {name: float(value) for name, value in found.items() if np.isfinite(value)}


def best_known(tables: Tables, task: str) -> dict[str, Any]:
    """Return the best score of which the task's datasheet had a source when it was run.

    `value`, of the task's score, and `source`; of several the best. Nothing where none is recorded:
    the source has measured the task with other settings, or there is none.
    """
    made = by_run(tables.manifests)
    runs = tables.runs.loc[tables.runs["task"] == task, "run_id"].unique()
    stated = [known for run in runs if (known := made.get(run, {}).get("best_known"))]
    score = tables.score(task)
    stated = [known for known in stated if known["score"] == score]
    sign = 1 if higher_is_better(score) else -1
    return max(stated, key=lambda known: sign * known["value"], default={})


def _chance(tables: Tables, task: str, runs: Frame) -> float:
    constant = runs.loc[runs["method"] == "constant", RESULT]
    if len(constant):
        return float(constant.mean())
    score = tables.score(task)
    if score == "r2_score":
        return 0.0
    tested = tables.predictions
    tested = tested[(tested["task"] == task) & (tested["output"] == 0)]
    if score != "accuracy_score" or tested.empty:
        return np.nan
    one = tested[tested["run_id"] == tested["run_id"].iloc[0]]
    counts = one.groupby(["seed", "target"], observed=True).size()
    share = counts.groupby("seed").max() / counts.groupby("seed").sum()
    return float(share.mean())


def _best(runs: Frame, up: bool) -> float:
    if runs.empty:
        return np.nan
    means = runs.groupby("arm")[["best_validation_score", RESULT]].mean()
    chosen = means["best_validation_score"]
    return float(means.loc[chosen.idxmax() if up else chosen.idxmin(), RESULT])
