"""Tables from the runs table: scores, rank intervals, paired differences, cost to target, failures.

A score counts where its replica finished. An arm is ranked if every replica did, over the seeds
that all ranked arms share; one that lost replicas has the mean of the others, and how many they
are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

import numpy as np
import pandas as pd

from analysis.runs import COSTS, LEVELS, RESULT, STATUSES, Frame, ending
from analysis.statistics.inference import holm, mean_interval, merged, paired, stream
from analysis.summaries.ranking import Ranking
from analysis.tables import TableError, Tables, higher_is_better, limits_of

_MEANS = {
    "final_mean": "final_test_score",
    **{cost: cost for cost in COSTS},
    **{f"pretraining_{cost}": f"pretraining_{cost}" for cost in COSTS},
    **{name: name for name in ("total_seconds", "spent", "rewards", "n_weights", "state_bytes")},
    **{f"inference_{name}": f"inference_{name}" for name in ("flops", "spikes", "accumulates")},
}


def summary(tables: Tables, orders: Mapping[str, Ranking]) -> Frame:
    """One row for each arm of each task: ranked arms by their mean, the best first, then others.

    `mean` is of the test score at the best validation, over the `n_seeds` replicas that finished;
    `low` and `high` are its interval, `final_mean` the mean at the end. `selected_gain` with its
    interval is the test score of the selected checkpoint less that of the end, at the same seeds
    and so that positive is better: what selection gained, or lost. `rank_first` to `rank_last` is
    the rank interval, `group` the letters of the tie groups, `rank` the mean place over seeds;
    `rank_note` says why an arm has none. Costs are means over replicas, `spent` the share of the
    budget; pre-training is in separate columns.

    Parameters
    ----------
    orders : dict of str to Ranking
        By task, from `ranking.rankings`.
    """
    return pd.concat(
        [_summary(tables, task, orders[task]) for task in tables.tasks], ignore_index=True
    )


def _summary(tables: Tables, task: str, order: Ranking) -> Frame:
    """Rows of one task."""
    score = tables.score(task)
    sign = 1 if higher_is_better(score) else -1
    rows = []
    for arm, replicas in tables.runs[tables.runs["task"] == task].groupby("arm"):
        done = replicas[(replicas["status"] == "finished") & np.isfinite(replicas[RESULT])]
        values = done[RESULT].to_numpy(float)
        row = {
            "task": task,
            "arm": arm,
            "signal": replicas["signal"].iloc[0],
            "score": score,
            "n_seeds": len(values),
        }
        row |= {status: int((replicas["status"] == status).sum()) for status in STATUSES}
        row["mean"] = _mean(values)
        row["low"], row["high"] = map(float, mean_interval(values, limits_of(score)))
        row["best"] = sign * (sign * values).max() if len(values) else np.nan
        row["std"] = values.std(ddof=1) if len(values) > 1 else np.nan
        gain = paired(
            sign * values, sign * done["final_test_score"], stream(str(task), str(arm), "selected")
        )
        row |= {"selected_gain": gain.mean, "selected_low": gain.low, "selected_high": gain.high}
        ran = replicas[replicas["status"] != "skipped"]
        rows.append(row | {name: _mean(ran[column]) for name, column in _MEANS.items()})
    table = pd.DataFrame(rows).merge(_ranks(order), on="arm", how="left")
    table = table.assign(order=merged(-sign * table["mean"]), below=table["rank"].isna())
    return table.sort_values(["below", "order", "arm"], na_position="last").drop(
        columns=["order", "below"]
    )


def _ranks(order: Ranking) -> Frame:
    """Ranks of the arms of one task."""
    known = order.ties
    rows = [
        [*place, ""]
        for place in zip(
            order.arms, order.rank, known.first, known.last, known.letters, strict=True
        )
    ]
    rows += [[arm, *[np.nan] * 3, "", note] for arm, note in order.unranked.items()]
    return pd.DataFrame(
        rows, columns=["arm", "rank", "rank_first", "rank_last", "group", "rank_note"]
    )


def reference_arm(tables: Tables, task: str, preferred: str = "backprop") -> str | None:
    """The arm others are compared with: `preferred` if it has results, else best by validation.

    A method's name is enough if one arm alone has it, with the task's default network.
    """
    replicas = tables.runs[(tables.runs["task"] == task) & (tables.runs["status"] == "finished")]
    replicas = replicas[replicas[RESULT].notna()]
    if replicas.empty:
        return None
    if preferred in set(replicas["arm"]):
        return preferred
    of_method = replicas[(replicas["method"] == preferred) & replicas["default_network"]]
    named = of_method["arm"].unique()
    if len(named) == 1:
        return str(named[0])
    validation = replicas.groupby("arm")["best_validation_score"].mean()
    return str(validation.idxmax() if higher_is_better(tables.score(task)) else validation.idxmin())


def paired_differences(
    tables: Tables, orders: Mapping[str, Ranking], reference: str | None = None
) -> Frame:
    """Each arm's score minus the reference arm's at the same seeds, where both finished.

    `p_corrected` decides: it is for all pairs of ranked arms of the task, those without the
    reference included, and makes the tie groups. `p_uncorrected` is of the one pair, as if no other
    had been looked at.

    Parameters
    ----------
    orders : dict of str to Ranking
        By task, from `ranking.rankings`.

    Raises
    ------
    TableError
        If the study has no arm of the reference's name.
    """
    if reference is not None and reference not in tables.arms:
        raise TableError(f"no arm has the name {reference}; known: {', '.join(tables.arms)}")
    parts = []
    identity, tests = (
        ("task", "arm", "reference"),
        ("p_corrected", "p_uncorrected", "smallest_p", "d_z"),
    )
    done = tables.runs[tables.runs["status"] == "finished"]
    for task in tables.tasks:
        name = reference_arm(tables, task, reference or "backprop")
        if name is None:
            continue
        wide = done[done["task"] == task].pivot_table(index="seed", columns="arm", values=RESULT)
        others = [arm for arm in wide if arm != name]
        if not others:
            continue
        rows = [
            asdict(paired(wide[arm], wide[name], stream(task, str(arm), name))) for arm in others
        ]
        part: Frame = pd.DataFrame(
            rows, columns=["n", "mean", "low", "high", "p", "smallest_p", "d_z"]
        )
        part = part.rename(columns={"p": "p_uncorrected"})
        corrected = [orders[task].p(str(arm), name) for arm in others]
        part = part.assign(task=task, arm=others, reference=name, p_corrected=corrected)
        part = part[[*identity, "n", "mean", "low", "high", *tests]]
        ascending = not higher_is_better(tables.score(task))
        parts.append(part.sort_values(["mean", "arm"], ascending=[ascending, True]))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def between(tables: Tables) -> Frame:
    """Each arm's score where it was published, or in another folder, minus the study's own.

    At the same seeds, for every arm that is on a task twice. `p` is of the one pair, `p_holm`
    corrected for all arms of the task.
    """
    done = tables.runs[tables.runs["status"] == "finished"]
    columns = ["task", "arm", "beside", "n", "mean", "low", "high", "p", "p_holm"]
    parts = [pd.DataFrame(columns=columns)]
    for task in tables.tasks:
        of_task = done[done["task"] == task]
        wide = of_task.pivot_table(index="seed", columns="arm", values=RESULT)
        others = of_task.loc[of_task["release"] != "", ["arm", "release"]].drop_duplicates()
        rows = [
            {"task": task, "arm": arm, "beside": other}
            | asdict(paired(wide[other], wide[arm], stream(task, arm, "between")))
            for other, release in others.sort_values("arm").to_numpy()
            if (arm := other.removesuffix(ending(release))) in wide
        ]
        if rows:
            part: Frame = pd.DataFrame(rows)
            parts.append(part.assign(p_holm=holm(part["p"]))[columns])
    return pd.concat(parts[1:] or parts, ignore_index=True)


def cost_to_target(tables: Tables) -> Frame:
    """Median cost over seeds until the validation score meets each target; a miss is infinite.

    `reached` of `n` replicas met it. Skipped and untrained replicas are not counted, failed ones
    are misses. `how`: "interpolated" between checkpoints, with `bracket`, the median distance of
    the two as a share of the later one's cost; or as of the first "checkpoint" that met it, where
    there are no curves. See `targets` for what either is off by.
    """
    ran = tables.runs[~tables.runs["status"].isin(["skipped", "untrained"])]
    key = ["task", "arm"]
    columns = [*key, "level", "target", "n", "reached", *COSTS, "how", "bracket"]
    parts = [pd.DataFrame(columns=[*columns, "place"])]
    for place, level in enumerate(LEVELS):
        if ran[f"target_{level}"].isna().all():
            continue
        names = {f"{cost}_to_{level}": cost for cost in COSTS}
        costs = ran[list(names)].rename(columns=names).fillna(np.inf)
        hit = np.isfinite(costs[COSTS[0]])
        bracket = ran[f"bracket_{level}"].where(hit)
        asked = ran[key].assign(target=ran[f"target_{level}"], reached=hit, bracket=bracket)
        arms = asked.assign(unknown=hit & bracket.isna(), n=1, **costs).groupby(key)
        counts = arms[["n", "reached", "unknown"]].sum()
        part = arms["target"].first().to_frame().assign(level=level, place=place)
        part = part.join(counts).join(arms[[*COSTS, "bracket"]].median())
        told = np.where(part["unknown"] > 0, "checkpoint", "interpolated")
        part["how"] = np.where(part["reached"] > 0, told, "")
        part["bracket"] = part["bracket"].where(part["unknown"] == 0)
        parts.append(part.dropna(subset="target").reset_index())
    found = pd.concat(parts[1:] or parts).sort_values([*key, "place"], ignore_index=True)
    return found[columns]


def failures(tables: Tables) -> Frame:
    """Replicas that did not finish, by arm and reason; `spent` of their budget."""
    bad = tables.runs[tables.runs["status"] != "finished"]
    rows = [
        {
            "task": task,
            "arm": arm,
            "status": status,
            "seeds": spans(group["seed"]),
            "reason": reason,
            "spent": _mean(group["spent"]),
        }
        for (task, arm, status, reason), group in bad.groupby(["task", "arm", "status", "reason"])
    ]
    return pd.DataFrame(rows, columns=["task", "arm", "status", "seeds", "reason", "spent"])


def spans(seeds: pd.Series) -> str:
    """Write whole numbers in short, as a run's lines do: 0 to 4, 7."""
    parts: list[list[int]] = []
    for seed in sorted(int(seed) for seed in seeds):
        if parts and seed == parts[-1][-1] + 1:
            parts[-1] = [parts[-1][0], seed]
        else:
            parts.append([seed])
    return ", ".join(" to ".join(map(str, part)) for part in parts)


def _finite(values: pd.Series) -> np.ndarray:
    array = values.to_numpy(float)
    return array[np.isfinite(array)]


def _mean(values: pd.Series | np.ndarray) -> float:
    finite = _finite(pd.Series(values))
    return float(finite.mean()) if len(finite) else np.nan
