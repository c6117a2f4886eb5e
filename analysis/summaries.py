"""Tables made from the runs table: scores and ranks, paired differences, cost to target, failures."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pandas as pd
from numpy.random import Generator

from analysis.statistics import MIN_SEEDS, average_ranks, bootstrap_interval, holm, paired
from analysis.tables import COSTS, LEVELS, STATUSES, Frame, TableError, Tables, higher_is_better

RESULT = "best_test_score"  # the test score at the checkpoint with the best validation score

_MEANS = {
    "final_mean": "final_test_score",
    **{cost: cost for cost in COSTS},
    **{f"pretraining_{cost}": f"pretraining_{cost}" for cost in COSTS},
    **{name: name for name in ("rewards", "n_weights", "state_bytes")},
    **{f"inference_{name}": f"inference_{name}" for name in ("flops", "spikes", "accumulates")},
}


def summary(tables: Tables, rng: Generator) -> Frame:
    """One row for each arm of each task, the best first.

    `mean` is of the test score at the best validation, over the `n_seeds` replicas that have one; `low` and `high`
    are its bootstrap interval, `final_mean` the mean at the end, `overfitting_cost` the validation score lost between
    the best checkpoint and the end. Costs are means over replicas; pre-training is in columns of its own.
    """
    rows = []
    for (task, arm), replicas in tables.runs.groupby(["task", "arm"]):
        score = tables.score(str(task))
        sign = 1 if higher_is_better(score) else -1
        values = _finite(replicas[RESULT])
        low, high = bootstrap_interval(values, rng) if len(values) else (np.nan, np.nan)
        row = {"task": task, "arm": arm, "signal": replicas["signal"].iloc[0], "score": score, "n_seeds": len(values)}
        row |= {status: int((replicas["status"] == status).sum()) for status in STATUSES}
        row |= {"mean": _mean(values), "low": float(low), "high": float(high)}
        row["best"] = sign * (sign * values).max() if len(values) else np.nan
        row["std"] = values.std(ddof=1) if len(values) > 1 else np.nan
        row["overfitting_cost"] = _mean(sign * (replicas["best_validation_score"] - replicas["final_validation_score"]))
        ran = replicas[replicas["status"] != "skipped"]
        rows.append(row | {name: _mean(ran[column]) for name, column in _MEANS.items()})
    table = pd.DataFrame(rows)
    ranked = pd.concat([_ranks(replicas) for _, replicas in tables.runs.groupby("task")])
    table = table.merge(ranked, on=["task", "arm"], how="left")
    ascending = np.where(table["score"].map(higher_is_better), -1, 1) * table["mean"]
    order = table.assign(order=ascending).sort_values(["task", "order", "arm"], na_position="last")
    return order.drop(columns="order").reset_index(drop=True)


def _ranks(replicas: Frame) -> Frame:
    """Rank the arms of one task within each seed they share, and average; say why where that is refused.

    A replica that failed or diverged is last at its seed. Skipped ones are not ranked.
    """
    sign = 1 if higher_is_better(replicas["score"].iloc[0]) else -1
    valid = replicas["status"] == "finished"
    table = replicas.assign(value=(sign * replicas[RESULT]).where(valid))
    ran = table[table["status"] != "skipped"]
    n_seeds = ran.groupby("arm")["seed"].nunique().reindex(table["arm"].unique(), fill_value=0)
    candidates = n_seeds.index[n_seeds >= MIN_SEEDS]
    wide = ran[ran["arm"].isin(candidates)].pivot_table(index="arm", columns="seed", values="value", dropna=False)
    tried = ran[ran["arm"].isin(candidates)].pivot_table(index="arm", columns="seed", aggfunc="size")
    shared = tried.columns[tried.notna().all()] if len(tried) else []
    note = pd.Series("", n_seeds.index)
    note[n_seeds < MIN_SEEDS] = f"fewer than {MIN_SEEDS} seeds"
    note[n_seeds == 0] = "skipped"
    rank = pd.Series(np.nan, n_seeds.index)
    if len(shared) >= MIN_SEEDS:
        wide = wide.reindex(index=candidates, columns=shared)
        rank[candidates] = average_ranks(wide)
    else:
        note[candidates] = f"fewer than {MIN_SEEDS} seeds shared by all arms"
    return pd.DataFrame(
        {"task": replicas["task"].iloc[0], "arm": n_seeds.index, "rank": rank.array, "rank_note": note.array}
    )


def reference_arm(tables: Tables, task: str, preferred: str = "backprop") -> str | None:
    """Return the arm others are compared with: `preferred` if it has results, else the best by validation score."""
    replicas = tables.runs[(tables.runs["task"] == task) & tables.runs[RESULT].notna()]
    if replicas.empty:
        return None
    if preferred in set(replicas["arm"]):
        return preferred
    validation = replicas.groupby("arm")["best_validation_score"].mean()
    return str(validation.idxmax() if higher_is_better(tables.score(task)) else validation.idxmin())


def paired_differences(tables: Tables, rng: Generator, reference: str | None = None) -> Frame:
    """Each arm's score minus the reference arm's at the same seeds; `p_holm` corrects over the arms of the task.

    Raises
    ------
    TableError
        If the study has no arm of the reference's name.
    """
    if reference is not None and reference not in tables.arms:
        raise TableError(f"no arm has the name {reference}; known: {', '.join(tables.arms)}")
    parts = []
    for task in tables.tasks:
        name = reference_arm(tables, task, reference or "backprop")
        if name is None:
            continue
        wide = tables.runs[tables.runs["task"] == task].pivot_table(index="seed", columns="arm", values=RESULT)
        others = [arm for arm in wide if arm != name]
        rows = [asdict(paired(wide[arm], wide[name], rng)) for arm in others]
        part: Frame = pd.DataFrame(rows, columns=["n", "mean", "low", "high", "p", "smallest_p", "d_z"])
        part = part.assign(task=task, arm=others, reference=name, p_holm=holm(part["p"]))
        part = part[["task", "arm", "reference", "n", "mean", "low", "high", "p", "p_holm", "smallest_p", "d_z"]]
        ascending = not higher_is_better(tables.score(task))
        parts.append(part.sort_values(["mean", "arm"], ascending=[ascending, True]))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def cost_to_target(tables: Tables) -> Frame:
    """Median cost over seeds until the validation score meets each target; a miss is infinite.

    `reached` of `n` replicas met it. Skipped replicas are not counted, failed ones are misses.
    """
    rows = []
    ran = tables.runs[tables.runs["status"] != "skipped"]
    for (task, arm), replicas in ran.groupby(["task", "arm"]):
        for level in LEVELS:
            target = replicas[f"target_{level}"].dropna()
            if target.empty:
                continue
            costs = replicas[[f"{cost}_to_{level}" for cost in COSTS]].fillna(np.inf).to_numpy()
            reached = int(np.isfinite(costs[:, 0]).sum())
            row = {"task": task, "arm": arm, "level": level, "target": target.iloc[0]}
            row |= {"n": len(replicas), "reached": reached}
            rows.append(row | dict(zip(COSTS, np.median(costs, axis=0), strict=True)))
    return pd.DataFrame(rows, columns=["task", "arm", "level", "target", "n", "reached", *COSTS])


def failures(tables: Tables) -> Frame:
    """Replicas that did not finish, those of one arm with the same reason together."""
    bad = tables.runs[tables.runs["status"] != "finished"]
    rows = [
        {"task": task, "arm": arm, "status": status, "seeds": ranges(group["seed"]), "reason": reason}
        for (task, arm, status, reason), group in bad.groupby(["task", "arm", "status", "reason"])
    ]
    return pd.DataFrame(rows, columns=["task", "arm", "status", "seeds", "reason"])


def ranges(seeds: pd.Series) -> str:
    """Write whole numbers in short: 0-4, 7."""
    parts: list[list[int]] = []
    for seed in sorted(int(seed) for seed in seeds):
        if parts and seed == parts[-1][-1] + 1:
            parts[-1] = [parts[-1][0], seed]
        else:
            parts.append([seed])
    return ", ".join("-".join(map(str, part)) for part in parts)


def _finite(values: pd.Series) -> np.ndarray:
    array = values.to_numpy(float)
    return array[np.isfinite(array)]


def _mean(values: pd.Series | np.ndarray) -> float:
    finite = _finite(pd.Series(values))
    return float(finite.mean()) if len(finite) else np.nan
