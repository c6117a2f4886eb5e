"""What tuning has cost and gained: from the rows of its trials, as pure functions of them.

A study that was tuned has its trials below it, in `trials/`: cells, and `trials.json`, which says
what each of them tries. A trial's score is the mean of its seeds, at the checkpoints with the best
validation score. One that failed, diverged or was not trained counts as the worst of its task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.random import Generator
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from analysis.runs import COSTS, RESULT, Frame, completed
from analysis.statistics.inference import Array, paired, stream
from analysis.tables import (
    TableError,
    Tables,
    by_run,
    finished,
    higher_is_better,
    noted,
    recorded_runs,
    several,
    tuned_pairs,
)

TRIALS = "trials"
ROW = ("default", "label", "method", "task", "trial", "run", "sampler", "sampler_seed", "settings")
QUANTILES = (0.1, 0.9)  # between which a user's luck lies in four of five tunings
DRAWS = 999  # permutations, for the p of a setting
FEWEST = 8  # trials that can tell what a setting explains


def weights(n: int, k: int) -> Array:
    """Probability that each of n values, ascending, is the largest of k drawn without replacement.

    C(i - 1, k - 1) / C(n, k) for the i-th.
    """
    return np.array([comb(i - 1, k - 1) / comb(n, k) for i in range(1, n + 1)])


def expected_best(values: ArrayLike, k: int, of: ArrayLike | None = None) -> float:
    """Mean of the best of k trials, drawn without replacement from those that were made.

    Parameters
    ----------
    values : array of shape (n,)
        By which the best is chosen, the largest; equal ones are chosen alike.
    of : array of shape (n,), optional
        What is told of the chosen one: test scores, where `values` are of validation.
    """
    values = np.asarray(values, float)
    order = np.argsort(values, kind="stable")
    chance = weights(len(values), k)
    _, group = np.unique(values[order], return_inverse=True)
    shared = np.bincount(group, chance) / np.bincount(group)
    return float(shared[group] @ (values if of is None else np.asarray(of, float))[order])


def best_quantile(values: ArrayLike, k: int, quantile: float) -> float:
    """Smallest value that the best of k trials stays at or below with such a probability.

    Exact: the best of k is at most the i-th smallest with probability C(i, k) / C(n, k).
    """
    ascending = np.sort(np.asarray(values, float))
    reached = np.cumsum(weights(len(ascending), k)) >= quantile - 1e-12
    return float(ascending[np.argmax(reached)])


def doublings(n: int) -> list[int]:
    """Numbers of trials to tell of: 1, 2, 4, ..., and all n."""
    return sorted({*(2**power for power in range(n.bit_length())), n})


def explained(setting: Sequence[Any], scores: ArrayLike, rng: Generator) -> tuple[float, float]:
    """How much of the trials' scores one setting explains alone, and by how much luck it could.

    Returns
    -------
    share : float
        Of the variance of the scores' ranks: R squared, adjusted for the number of terms, of a
        curve of second degree in the setting's ranks, or of means by alternative. 0 is nothing;
        NaN where trials are too few. What settings do together is in none of their shares.
    p : float
        Share of permutations of the scores that are explained as well.
    """
    n, ranks = len(setting), rankdata(np.asarray(scores, float))
    design = _design(setting)
    terms = design.shape[1]
    if n < max(FEWEST, terms + 3) or not terms or ranks.std() == 0:
        return np.nan, np.nan
    basis, _ = np.linalg.qr(np.column_stack([np.ones(n), design]))
    permuted = np.column_stack([ranks, *(rng.permutation(ranks) for _ in range(DRAWS))])
    centred = permuted - permuted.mean(0)
    squares = ((basis.T @ centred) ** 2).sum(0) / (centred**2).sum(0)
    share = 1 - (1 - squares[0]) * (n - 1) / (n - 1 - terms)
    return max(0.0, float(share)), float((squares >= squares[0] - 1e-12).mean())


def _design(setting: Sequence[Any]) -> Array:
    """Terms of a setting's values: rank and its square, or one for each alternative but one."""
    levels = sorted(set(setting), key=str)
    if any(isinstance(value, str | bool | None) for value in levels) or len(levels) < 3:
        return np.array([[value == level for level in levels[1:]] for value in setting], float)
    ranks = rankdata(np.asarray(setting, float))
    ranks -= ranks.mean()
    return np.column_stack([ranks, ranks**2 - (ranks**2).mean()])


def trials(folder: str | Path, tables: Tables) -> Frame:
    """One row for each trial of a study; none if it has none.

    Columns: `task` and `arm` as the study's tables name the arm with its defaults; `default`, the
    arm's id; `method`, `sampler`, `seeds`; `trial`, its number; `settings`, a dict; `status`;
    `validation` and `test`, its scores so that up is better, NaN unless all replicas finished;
    `value`, the same of validation, or the worst of the task; costs over its replicas, and the
    `machine` that its seconds are of.

    Raises
    ------
    TableError
        If what the trials try cannot be read.
    """
    trials = Path(folder, TRIALS)
    told = noted(trials / f"{TRIALS}.json", list, (*ROW, "seeds"))
    cells = finished(trials) if told else {}
    if not cells:
        return pd.DataFrame()
    manifests = {cell.name: made for cell, made in cells.items()}
    machines = {run: _machine(made) for run, made in by_run(manifests).items()}
    runs = completed(recorded_runs(list(cells)))
    runs = runs.assign(machine=runs["run_id"].map(machines))
    runs = runs.assign(of=runs["run_id"].str.partition("-")[0])
    parts = {run: rows for run, rows in runs.groupby("of")}
    rows = [_trial(one, parts.get(one["run"])) for one in told]
    table: Frame = pd.DataFrame([row for row in rows if row is not None])
    if table.empty:
        return table
    named = _arms(tables)
    names = [named.get(row.default, (row.task, row.label)) for row in table.itertuples(index=False)]
    table[["task", "arm"]] = names
    worst = table.groupby("task")["validation"].transform("min")
    return table.assign(value=table["validation"].fillna(worst).fillna(0.0)).sort_values(
        ["task", "arm", "sampler", "sampler_seed", "trial"], ignore_index=True
    )


def _trial(told: dict[str, Any], runs: Any) -> dict[str, Any] | None:
    """Row of a trial; None if it is not there in full, which an interrupted tuning leaves."""
    row = {
        **{name: told[name] for name in ROW if name != "run"},
        "seeds": tuple(told["seeds"]),
        **dict.fromkeys(("validation", "test"), np.nan),
        **dict.fromkeys(COSTS, 0.0),
        "status": "refused",
        "machine": "",
    }
    if not told["run"]:
        return row
    if runs is None:
        return None
    runs = runs[runs["seed"].isin(told["seeds"])].drop_duplicates("seed")
    if len(runs) < len(told["seeds"]):
        return None
    whole = bool((runs["status"] == "finished").all())
    sign = 1 if higher_is_better(str(runs["headline_metric"].iloc[0])) else -1
    unfinished = runs.loc[runs["status"] != "finished", "status"]
    return row | {
        "status": "finished" if whole else str(unfinished.iloc[0]),
        "validation": sign * runs["best_validation_score"].mean() if whole else np.nan,
        "test": sign * runs[RESULT].mean() if whole else np.nan,
        **{cost: float(runs[cost].sum()) for cost in COSTS},
        "machine": " and ".join(sorted(set(runs["machine"]) - {""})),
    }


def _machine(manifest: Mapping[str, Any]) -> str:
    """What the seconds of a run are of; empty where its manifest does not say."""
    told = (manifest.get("processor"), manifest.get("cores") and f"{manifest['cores']} cores")
    return ", ".join(str(part) for part in told if part)


def _with_ids(tables: Tables) -> Frame:
    """Rows of a study's runs with `of`, the id of their arm."""
    return tables.runs.assign(of=tables.runs["run_id"].str.partition("-")[0])


def _arms(tables: Tables) -> dict[str, tuple[str, str]]:
    """Task and name of each arm of a study, by the arm's id."""
    runs = _with_ids(tables)
    return {
        str(row.of): (str(row.task), str(row.arm))
        for row in runs.drop_duplicates("of").itertuples(index=False)
    }


def after_trials(found: Frame) -> Frame:
    """One row for each arm and number of trials k: what a user can expect who has made so many.

    `validation` is the mean best validation score of k of the arm's trials, `low` and `high` its
    quantiles over all choices of k; `test` the mean test score of the chosen trial. `default` is
    the validation score of the first trial, which has the defaults; `sampler` asked for the others.
    """
    rows = []
    for (task, arm), table in _compared(found):
        values, tests = table["value"].to_numpy(float), table["test"]
        known = tests.fillna(tests.min()).to_numpy(float)
        default = table.loc[table["trial"] == 0, "value"].mean()
        for k in doublings(len(table)):
            low, high = (best_quantile(values, k, quantile) for quantile in QUANTILES)
            row = {"task": task, "arm": arm, "k": k, "n": len(table)}
            row |= {"default": default, "sampler": _listed(table["sampler"])}
            row |= {"validation": expected_best(values, k), "low": low, "high": high}
            rows.append(row | {"test": expected_best(values, k, known)})
    columns = ["task", "arm", "k", "n", "default", "sampler", "validation", "low", "high", "test"]
    return pd.DataFrame(rows, columns=columns)


def sensitivity(found: Frame) -> Frame:
    """One row for each arm and setting: `share` of the ranks' variance it explains, `p`, `best`."""
    rows = []
    for (task, arm), table in _compared(found):
        best = table.loc[table["value"].idxmax(), "settings"]
        for setting in best:
            values = [settings[setting] for settings in table["settings"]]
            share, p = explained(values, table["value"], stream(str(task), str(arm), setting))
            row = {"task": task, "arm": arm, "setting": setting, "share": share, "p": p}
            rows.append(row | {"best": str(best[setting])})
    return pd.DataFrame(rows, columns=["task", "arm", "setting", "share", "p", "best"])


def costs(found: Frame) -> Frame:
    """One row for each arm: its trials, how many of them did not finish, what all have cost."""
    rows = [
        {
            "task": task,
            "arm": arm,
            "trials": len(table),
            "not_finished": int((table["status"] != "finished").sum()),
            **{cost: table[cost].sum() for cost in COSTS},
        }
        for (task, arm), table in found.groupby(["task", "arm"])
    ]
    return pd.DataFrame(rows, columns=["task", "arm", "trials", "not_finished", *COSTS])


def gains(folder: str | Path, tables: Tables) -> Frame:
    """One row for each tuned arm: test score less that of its defaults, at the same seeds.

    So that positive is better. An arm whose defaults were best of its trials has no other row.
    """
    told, runs = tuned_pairs(folder), _with_ids(tables)
    done = runs[runs["status"] == "finished"]
    by_arm = {str(of): rows.set_index("seed")[RESULT] for of, rows in done.groupby("of")}
    named, rows = _arms(tables), []
    for pair in told:
        if pair["default"] == pair["tuned"] or not {pair["default"], pair["tuned"]} <= set(by_arm):
            continue
        task, arm = named[pair["default"]]
        default, tuned = by_arm[pair["default"]].align(by_arm[pair["tuned"]], join="inner")
        sign = 1 if higher_is_better(tables.score(task)) else -1
        gain = paired(sign * tuned, sign * default, stream(task, arm, "tuned"))
        row = {"task": task, "arm": arm, "default": default.mean(), "tuned": tuned.mean()}
        rows.append(row | asdict(gain) | {"settings": pair["settings"]})
    columns = ["task", "arm", "default", "tuned", "n", "mean", "low", "high", "p", "settings"]
    return pd.DataFrame(rows, columns=columns).sort_values(
        ["task", "mean"], ascending=[True, False], ignore_index=True
    )


def as_tuned(folder: str | Path, tables: Tables) -> Tables:
    """Return a study in which each arm has its tuned settings alone, under its plain name.

    Where the defaults were best, or nothing is searched, they stay.

    Raises
    ------
    TableError
        If no arm of the study was tuned.
    """
    pairs, runs = tuned_pairs(folder), _with_ids(tables)
    there = {row["default"]: row["tuned"] for row in pairs if row["tuned"] in set(runs["of"])}
    if not there:
        raise TableError(f"no arm of {folder} was tuned: beyond +tune=equal does so")
    replaced = {default: tuned for default, tuned in there.items() if default != tuned}
    named = _arms(tables)
    plain = {tuned: named[default][1] for default, tuned in replaced.items() if default in named}
    runs = runs[~runs["of"].isin(replaced)]
    runs = runs.assign(arm=runs["of"].map(plain).fillna(runs["arm"])).drop(columns="of")
    kept = set(runs["run_id"])
    manifests = {
        cell: made for cell, made in tables.manifests.items() if made.get("run_id", cell) in kept
    }
    kept_theirs = several(len(pairs) - len(replaced), "arm")
    line = (
        f"Arms have the settings that their trials chose; {kept_theirs} of {len(pairs)} kept the "
        "defaults."
    )
    return replace(tables, manifests=manifests, notes=(*tables.notes, line)).labelled(runs)


def faults(found: Frame) -> list[str]:
    """Say where arms of a task were not tuned alike, or on other machines, a line each."""
    lines = []
    for task, table in found.groupby("task") if len(found) else ():
        tuned = pd.concat(
            [rows for (of, _), rows in _compared(found) if of == task] or [table.iloc[:0]]
        )
        for what, told in {
            "numbers of trials": tuned.groupby("arm").size(),
            "samplers": tuned.groupby("arm")["sampler"].agg(_listed),
            "tuning seeds": tuned.groupby("arm")["seeds"].agg(_listed),
        }.items():
            if len(told.unique()) > 1:
                each = "; ".join(
                    f"{value} of {', '.join(map(str, arms.index))}"
                    for value, arms in told.groupby(told)
                )
                lines.append(f"{task}: arms were not tuned alike, by other {what}: {each}.")
        machines = sorted(set(table["machine"]) - {""})
        if len(machines) > 1:
            lines.append(
                f"{task}: trials ran on {len(machines)} kinds of machine ({'; '.join(machines)}): "
                "their seconds are not comparable."
            )
    return lines


def _listed(values: pd.Series) -> str:
    """Write distinct values."""
    distinct = sorted({value if isinstance(value, str) else _seeds(value) for value in values})
    return " and ".join(distinct)


def _seeds(seeds: Sequence[int]) -> str:
    return f"{min(seeds)} to {max(seeds)}" if len(seeds) > 1 else str(seeds[0])


def _compared(found: Frame) -> list[tuple[tuple[str, str], Frame]]:
    """Trials by task and arm, of the arms of which something is searched and some trial began."""
    return [
        ((str(task), str(arm)), rows)
        for (task, arm), rows in (found.groupby(["task", "arm"]) if len(found) else ())
        if any(rows["settings"]) and not (rows["status"] == "skipped").all()
    ]
