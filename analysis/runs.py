"""The runs table: what its rows are compared on, and what the arms are called."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from analysis.cells import TableError
from analysis.statistics.inference import RESOLUTION

Frame: TypeAlias = Any  # a pandas DataFrame: its types are unions that no checker can follow

COSTS = ("epochs", "examples", "flops", "seconds")
LEVELS = ("easy", "medium", "hard")
STATUSES = ("finished", "diverged", "failed", "untrained", "skipped")
RESULT = "best_test_score"  # the test score at the checkpoint with the best validation score
PUBLISHED = " (published)"  # ends the name of an arm that a release holds
FOLDERS = "/"  # ends the name of a folder whose rows stand beside a study's
REPLICA = ["task", "arm", "seed"]

LEDGER = ("epochs", "forward", "backward", "flops", "bytes_moved", "steps", "seconds")
_MOMENTS = ("best", "easy", "medium", "hard")
RUN_TEXT = ("run_id", "study", "method", "signal", "task", "network", "status", "headline_metric")
_RUN_NUMBERS = (
    "best_checkpoint",
    *(
        f"{moment}_{split}_score"
        for moment in ("best", "final")
        for split in ("train", "validation", "test")
    ),
    "budget",
    *LEDGER,
    "rewards",
    *(f"{cost}_to_{moment}" for moment in _MOMENTS for cost in LEDGER),
    *(f"{what}_{level}" for what in ("target", "bracket") for level in LEVELS),
    "total_seconds",
    *(f"n_{split}" for split in ("train", "validation", "test")),
    "n_weights",
    "inference_flops",
    "inference_spikes",
    "inference_accumulates",
    *(f"pretraining_{cost}" for cost in LEDGER if cost != "steps"),
    "state_bytes",
)
_RUN_WORDS = (  # "" if missing
    *("variant", "tuned", "reason", "split", "budget_currency", "data", "release"),
)
# of any table
_AMOUNTS = {
    *(*LEDGER, "examples", "rewards", "total_seconds", "state_bytes", "n_weights", "budget"),
    *("n_train", "n_validation", "n_test"),
    *("inference_flops", "inference_spikes", "inference_accumulates"),
    *("gradient_norm", "rise", "distance"),
}
# of the runs tables, what the analysis reads
RUN_COLUMNS = (*RUN_TEXT, "seed", "default_network", *_RUN_WORDS, *_RUN_NUMBERS)


def is_amount(column: str) -> bool:
    """Say whether a column has what is counted or measured, and is never below nothing."""
    return column.removeprefix("pretraining_").partition("_to_")[0] in _AMOUNTS


def completed(runs: Frame) -> Frame:
    """Give a runs table, as recorded or in part, every column that the analysis reads."""
    absent = [column for column in _RUN_NUMBERS if column not in runs]
    runs = runs.assign(**dict.fromkeys(absent, np.nan))
    text = {name: runs[name].fillna("").astype(str) if name in runs else "" for name in _RUN_WORDS}
    default = (
        runs["default_network"].fillna(True).astype(bool) if "default_network" in runs else True
    )
    numbers = {name: runs[name].astype(float) for name in _RUN_NUMBERS}
    runs = runs.assign(**text, **numbers, default_network=default)
    runs["examples"] = runs["forward"] + 2 * runs["backward"]
    for moment in _MOMENTS:
        runs[f"examples_to_{moment}"] = (
            runs[f"forward_to_{moment}"] + 2 * runs[f"backward_to_{moment}"]
        )
    runs["pretraining_examples"] = runs["pretraining_forward"] + 2 * runs["pretraining_backward"]
    amounts = [runs[cost].where(runs["budget_currency"] == cost) for cost in (*COSTS, "steps")]
    runs["spent"] = pd.concat(amounts, axis=1).max(axis=1) / runs["budget"]
    return runs


def labelled(runs: Frame) -> Frame:
    """Complete a runs table; name what each row's arm is compared on, and the arm."""
    if runs.empty:
        raise TableError("the runs tables hold no row")
    return pd.concat(
        [_named(rows, _conditions(rows)) for _, rows in completed(runs).groupby("task")],
        ignore_index=True,
    )


def _conditions(runs: Frame) -> pd.Series:
    """Name what the runs of one task can be compared on: the task, and what sets them apart.

    This alone decides what is comparable: arms share a ranking, tests and a headline where the
    task's settings, the budget, the split and the data are the same. What a table does not know
    sets nothing apart.
    """
    shared = set.intersection(*(set(settings_of(variant)) for variant in runs["variant"]))
    name: pd.Series = runs["task"]
    for values in decisive(runs, shared).values():
        apart = (values.groupby(name).transform("nunique") > 1) & values.notna() & (values != "")
        name = name.where(~apart, name + ", " + values.fillna(""))
    return name.astype(object)


def decisive(runs: Frame, shared: Collection[str] = frozenset()) -> dict[str, Any]:
    """Tell what must be the same where arms are compared.

    Parameters
    ----------
    shared : set of str
        Settings that need not be told.

    Returns
    -------
    dict of str to Series of str
        By its name; missing where a row does not know it.
    """
    of_task = runs["variant"].map(
        lambda variant: ", ".join(
            part.removeprefix("task.")
            for part in settings_of(variant)
            if part.startswith("task.") and part not in shared
        )
    )
    amounts = runs["budget"].map("{:.15g}".format) + " " + runs["budget_currency"]
    return {
        "settings": of_task,
        "budget": amounts.where(runs["budget"].notna()),
        "split": ("split=" + runs["split"]).where(runs["split"] != ""),
        "data": ("data " + runs["data"].str[:8]).where(runs["data"] != ""),
    }


def _named(runs: Frame, conditions: pd.Series) -> Frame:
    """Name the arms of one task: method, and network and settings that not all of its arms share.

    A network's name stands for the settings that all who have it share.
    """
    one_network = len(set(runs["network"])) == 1
    arm = runs["method"].where(
        runs["default_network"] | one_network, runs["method"] + " (" + runs["network"] + ")"
    )
    settings = {variant: settings_of(variant) for variant in runs["variant"].unique()}
    of_condition = {
        part
        for parts in settings.values()
        for part in parts
        if part.startswith(("task.", "budget."))
    }
    shared = set.intersection(*map(set, settings.values()))
    implied = {
        network: {
            part
            for part in set.intersection(*(set(settings[v]) for v in variants))
            if part.startswith("network.")
        }
        for network, variants in runs.groupby("network")["variant"].unique().items()
    }
    told = [
        ", ".join(
            [
                *(
                    part
                    for part in settings[variant]
                    if part not in shared | of_condition | implied[network]
                    and part.partition("=")[0] not in tuned.split(", ")
                ),
                *(["tuned"] if tuned else []),
            ]
        )
        for variant, network, tuned in runs[["variant", "network", "tuned"]].to_numpy()
    ]
    inside = pd.Series(told, runs.index, dtype=object)
    arm = arm.where(inside == "", arm + " [" + inside + "]")
    arm = arm + runs["release"].map(ending)
    alike = {
        variant: ", ".join(sorted(shared | of_condition.intersection(parts)))
        for variant, parts in settings.items()
    }
    return runs.assign(
        arm=arm, settings=runs["variant"].map(alike), task_name=runs["task"], task=conditions
    )


def ending(release: str) -> str:
    """What ends the name of an arm that another folder, or a release, holds; of a study's nothing.

    `runs/before` ends it ` (before)`.
    """
    if release.endswith(FOLDERS):
        return f" ({release.removesuffix(FOLDERS)})"
    return PUBLISHED if release else ""


def settings_of(variant: str) -> list[str]:
    """Take `name=value, name=[1, 2]` apart, at the commas outside of brackets."""
    return [part for part in re.split(r", (?![^\[({]*[\])}])", variant) if part]


def is_linear(row: Mapping[str, Any]) -> bool:
    """Say whether a run has a linear network where its task's default is another: a control."""
    return row["network"] == "linear" and not row["default_network"]


def with_numbers(name: str) -> list[str | float]:
    """Sort `a, 100 steps` after `a, 20 steps`: texts and numbers take turns."""
    parts = re.split(r"((?:(?<==)-)?\d+(?:\.\d+)?(?:e[+-]?\d+)?)", name)
    return [float(part) if place % 2 else part for place, part in enumerate(parts)]


def once(runs: Frame) -> tuple[Frame, tuple[str, ...]]:
    """Count a seed once in an arm, in the run with the most seeds; say where, how far apart.

    Two runs of one arm share a seed where a study went on with more seeds.
    """
    size = runs.groupby("run_id")["seed"].transform("size")
    runs = runs.assign(size=size).sort_values(
        ["size", "run_id"], ascending=[False, True], kind="stable"
    )
    again = runs.duplicated(REPLICA)
    lines = []
    both = runs[runs.duplicated(REPLICA, keep=False)]
    for (task, arm), rows in both.groupby(["task", "arm"]):
        apart = rows.groupby("seed")[RESULT].agg(lambda scores: scores.max() - scores.min()).max()
        differ = f"whose scores differ by up to {apart:.2g}"
        scores = differ if apart > RESOLUTION else "with equal scores"
        lines.append(
            f"{task}: {rows['seed'].nunique()} seeds of {arm} were trained in "
            f"{rows['run_id'].nunique()} runs, {scores}; each counts once, in the run with the "
            f"most seeds ({rows['run_id'].iloc[0]})."
        )
    return runs[~again].drop(columns="size"), tuple(lines)
