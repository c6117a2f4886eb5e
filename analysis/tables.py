"""A study's tables: the one way in which data reaches the analysis."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from analysis.statistics import RESOLUTION

Frame: TypeAlias = Any  # a pandas DataFrame: its types are unions that no checker can follow

COSTS = ("epochs", "examples", "flops", "seconds")
LEVELS = ("easy", "medium", "hard")
STATUSES = ("finished", "diverged", "failed", "untrained", "skipped")
RESULT = "best_test_score"  # the test score at the checkpoint with the best validation score

_LEDGER = ("epochs", "forward", "backward", "flops", "steps", "seconds")
_MOMENTS = ("best", "easy", "medium", "hard")
_RUN_TEXT = ("run_id", "study", "method", "signal", "task", "network", "status", "headline_metric")
_RUN_NUMBERS = (
    "best_checkpoint",
    *(
        f"{moment}_{split}_score"
        for moment in ("best", "final")
        for split in ("train", "validation", "test")
    ),
    "budget",
    *_LEDGER,
    "rewards",
    *(f"{cost}_to_{moment}" for moment in _MOMENTS for cost in _LEDGER),
    *(f"target_{level}" for level in LEVELS),
    "total_seconds",
    *(f"n_{split}" for split in ("train", "validation", "test")),
    "n_weights",
    "inference_flops",
    "inference_spikes",
    "inference_accumulates",
    *(f"pretraining_{cost}" for cost in _LEDGER if cost != "steps"),
    "state_bytes",
)
_CURVES = (
    *("run_id", "task", "seed", "checkpoint"),
    *(cost for cost in _LEDGER if cost != "steps"),
    *("split", "metric", "value"),
)
_PREDICTIONS = (
    *("run_id", "seed", "example", "output"),
    *("target", "prediction", "probability", "confidence", "brier"),
)
_LABELS = ("task", "arm", "status")  # that predictions get from their replica
_LAYERS = (
    *("run_id", "task", "seed", "checkpoint", "layer", "depth"),
    *("n_weights", "gradient_norm", "update_cosine"),
)


class TableError(ValueError):
    """The tables cannot be analysed. The message is one line."""


@dataclass(frozen=True)
class Tables:
    """Everything that was recorded of a study.

    Attributes
    ----------
    study : str
    curves, layers, networks : DataFrame
        Columns as recorded, and `arm`, `status`, `network`, `headline_metric` of the replica;
        `layers` and `networks` also have the costs of their checkpoint. `examples` is forward + 2
        backward. `networks` is the recorded layers' depth 0, the whole network as one; it has no
        row where none was recorded.
    runs : DataFrame
        One row per replica. Its `task` is what arms are compared on, see `_conditions`, and
        `task_name` the one recorded; its `arm` is what is compared, named so that it differs from
        every other on its task. `settings` are those in which all arms of its task differ from the
        defaults alike, `spent` is the share of its budget.
    manifests : dict of str to dict
        By cell.
    unfinished : tuple of str
        Cells that have begun and are not in the tables.
    predictions : DataFrame
        One row per replica, test example and output, at the selected checkpoint; empty where none
        were recorded. Columns as recorded, and `task`, `arm`, `status`. `example` is its number in
        the task's source.
    repeated : tuple of str
        Which seeds were trained twice in one arm, and what was made of it; a line for each arm.
    stale : dict of str to list of str
        By run_id: files, or "its data", that had changed since when `beyond` last looked.
    """

    study: str
    curves: Frame
    layers: Frame
    networks: Frame
    runs: Frame
    manifests: dict[str, dict[str, Any]]
    unfinished: tuple[str, ...] = ()
    predictions: Frame = field(
        default_factory=lambda: pd.DataFrame(columns=[*_PREDICTIONS, *_LABELS])
    )
    repeated: tuple[str, ...] = ()
    stale: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def tasks(self) -> list[str]:
        """Names, sorted; numbers in them by their size."""
        return sorted(self.runs["task"].unique(), key=_with_numbers)

    @property
    def arms(self) -> list[str]:
        """Names over all tasks, sorted."""
        return sorted(self.runs["arm"].unique())

    def score(self, task: str) -> str:
        """Name of the task's headline score."""
        return str(self.runs.loc[self.runs["task"] == task, "headline_metric"].iloc[0])


def higher_is_better(score: str) -> bool:
    """Read a score's direction from its name: `_score` goes up, `_error` and `_loss` go down."""
    return not score.endswith(("_error", "_loss"))


def limits_of(score: str) -> tuple[float, float]:
    """Read from a score's name what it cannot leave."""
    return {"accuracy_score": (0.0, 1.0), "r2_score": (-np.inf, 1.0)}.get(score, (-np.inf, np.inf))


def load(folder: str | Path) -> Tables:
    """Read a study's finished cells, `folder/<cell>/{curves,layers,runs}.parquet, manifest.json`.

    A cell without a manifest, or whose tables are not those that it names, is not finished.

    Raises
    ------
    TableError
        If there is no such folder or no table in it, or if a column is missing.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise TableError(f"no such folder: {folder}")
    found = {path.parent: _manifest(path) for path in sorted(folder.glob("*/manifest.json"))}
    cells = [cell for cell, manifest in found.items() if manifest]
    if not cells:
        raise TableError(
            f"no finished run in {folder}: no <cell>/manifest.json there that fits the tables "
            "beside it"
        )
    manifests = {cell.name: found[cell] for cell in cells}
    checksums = {str(m.get("run_id", cell)): m.get("data_sha256") for cell, m in manifests.items()}
    runs, repeated = _once(
        _labelled(_read(cells, "runs", (*_RUN_TEXT, "seed"), _RUN_NUMBERS), checksums)
    )
    curves = _join(_read(cells, "curves", _CURVES), runs)
    curves["examples"] = curves["forward"] + 2 * curves["backward"]
    layers = _join(_read(cells, "layers", _LAYERS), runs)
    key = ["run_id", "seed", "checkpoint"]
    costs = curves.drop_duplicates(key)[[*key, *COSTS]]
    layers = layers.drop(columns=list(COSTS), errors="ignore").merge(costs, on=key, how="left")
    replica = ["task", "arm", "seed"]
    layers = layers.sort_values([*replica, "checkpoint", "depth"])
    begun = {path.parent for name in ("lock", "state.pt") for path in folder.glob(f"*/{name}")}
    return Tables(
        study=str(runs["study"].iloc[0]) or folder.resolve().name,
        curves=curves.sort_values([*replica, "checkpoint", "split", "metric"], ignore_index=True),
        layers=layers[layers["depth"] > 0].reset_index(drop=True),
        networks=layers[layers["depth"] == 0].reset_index(drop=True),
        predictions=_predictions(cells, runs),
        runs=runs.sort_values(replica, ignore_index=True),
        manifests=manifests,
        unfinished=tuple(sorted(cell.name for cell in begun.difference(cells))),
        repeated=repeated,
        stale=json.loads(noted.read_text()) if (noted := folder / "stale.json").exists() else {},
    )


def _read(
    cells: list[Path], name: str, required: Sequence[str], optional: Sequence[str] = ()
) -> Frame:
    """Stack one table of all cells; a skipped cell may lack rows, columns or the file."""
    parts = []
    for path in (cell / f"{name}.parquet" for cell in cells):
        if path.is_file():
            try:
                parts.append(pq.ParquetFile(path).read())
            except pa.ArrowException as error:
                raise TableError(f"cannot read {path}: {str(error).splitlines()[0]}") from error
    parts = [part for part in parts if part.num_rows]
    if not parts:
        return pd.DataFrame(columns=[*required, *optional])
    table = pa.concat_tables(parts, promote_options="permissive").to_pandas()
    if missing := [column for column in required if column not in table]:
        raise TableError(f"the {name} tables lack the columns {', '.join(missing)}")
    absent = [column for column in optional if column not in table]
    return table.assign(**dict.fromkeys(absent, np.nan))


def _predictions(cells: list[Path], runs: Frame) -> Frame:
    """Read all predictions, classes and values, as float32: both are exact in one column of it."""
    parts = []
    for cell in cells:
        part = _read([cell], "predictions", _PREDICTIONS)
        if len(part):
            numbers = ("target", "prediction", "probability", "confidence", "brier")
            parts.append(part[list(_PREDICTIONS)].astype(dict.fromkeys(numbers, np.float32)))
    if not parts:
        return pd.DataFrame(columns=[*_PREDICTIONS, *_LABELS])
    labels = runs[["run_id", "seed", *_LABELS]].astype(dict.fromkeys(_LABELS, "category"))
    return pd.concat(parts).merge(
        labels, on=["run_id", "seed"], how="inner", validate="many_to_one"
    )


def _labelled(runs: Frame, checksums: Mapping[str, str | None]) -> Frame:
    """Complete the columns; name what each row's arm is compared on, and the arm."""
    if runs.empty:
        raise TableError("the runs tables hold no row")
    words = ("variant", "reason", "split", "budget_currency")
    text = {name: runs[name].fillna("").astype(str) if name in runs else "" for name in words}
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
    data = runs["run_id"].map(checksums)
    return pd.concat(
        [_named(rows, _conditions(rows, data)) for _, rows in runs.groupby("task")],
        ignore_index=True,
    )


def _conditions(runs: Frame, data: pd.Series) -> pd.Series:
    """Name what the runs of one task can be compared on: the task, and what sets them apart.

    This alone decides what is comparable: arms share a ranking, tests and a headline where the
    task's settings, the budget, the split and the data are the same. What a table does not know
    sets nothing apart.

    Parameters
    ----------
    data : Series of str
        Checksum of each row's data.
    """
    settings = runs["variant"].map(
        lambda variant: [part for part in _settings(variant) if part.startswith("task.")]
    )
    shared = set.intersection(*map(set, settings))
    of_task = settings.map(
        lambda parts: ", ".join(part.removeprefix("task.") for part in parts if part not in shared)
    )
    known = runs["budget"].notna()
    budgets = (runs["budget"].map("{:.15g}".format) + " " + runs["budget_currency"]).where(known)
    splits = ("split=" + runs["split"]).where(runs["split"] != "")
    name: pd.Series = runs["task"]
    for values in (of_task, budgets, splits, "data " + data.str[:8].astype("string")):
        apart = (values.groupby(name).transform("nunique") > 1) & values.notna() & (values != "")
        name = name.where(~apart, name + ", " + values.fillna(""))
    return name.astype(object)


def _named(runs: Frame, conditions: pd.Series) -> Frame:
    """Name the arms of one task: method, network, and settings that not all of its arms share.

    A network's name stands for the settings that all who have it share.
    """
    arm = runs["method"].where(
        runs["default_network"], runs["method"] + " (" + runs["network"] + ")"
    )
    settings = {variant: _settings(variant) for variant in runs["variant"].unique()}
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
            part
            for part in settings[variant]
            if part not in shared | of_condition | implied[network]
        )
        for variant, network in runs[["variant", "network"]].to_numpy()
    ]
    inside = pd.Series(told, runs.index, dtype=object)
    arm = arm.where(inside == "", arm + " [" + inside + "]")
    alike = {
        variant: ", ".join(sorted(shared | of_condition.intersection(parts)))
        for variant, parts in settings.items()
    }
    return runs.assign(
        arm=arm, settings=runs["variant"].map(alike), task_name=runs["task"], task=conditions
    )


def _settings(variant: str) -> list[str]:
    """Take `name=value, name=[1, 2]` apart, at the commas outside of brackets."""
    return [part for part in re.split(r", (?![^\[({]*[\])}])", variant) if part]


def _with_numbers(name: str) -> list[str | float]:
    """Sort `a, 100 steps` after `a, 20 steps`: texts and numbers take turns."""
    parts = re.split(r"((?:(?<==)-)?\d+(?:\.\d+)?(?:e[+-]?\d+)?)", name)
    return [float(part) if place % 2 else part for place, part in enumerate(parts)]


def _once(runs: Frame) -> tuple[Frame, tuple[str, ...]]:
    """Count a seed once in an arm, in the run with the most seeds; say where, how far apart.

    Two runs of one arm share a seed where a study went on with more seeds.
    """
    key = ["task", "arm", "seed"]
    size = runs.groupby("run_id")["seed"].transform("size")
    runs = runs.assign(size=size).sort_values(
        ["size", "run_id"], ascending=[False, True], kind="stable"
    )
    again = runs.duplicated(key)
    lines = []
    both = runs[runs.duplicated(key, keep=False)]
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


def _join(frame: Frame, runs: Frame) -> Frame:
    """Add each replica's labels to its rows."""
    labels = runs[["run_id", "seed", "task", "arm", "status", "network", "headline_metric"]]
    kept = [column for column in frame if column in ("run_id", "seed") or column not in labels]
    return frame[kept].merge(labels, on=["run_id", "seed"], how="inner", validate="many_to_one")


def _manifest(path: Path) -> dict[str, Any]:
    """Read a cell's manifest; empty if it cannot be, or if a table is not the one that it names."""
    try:
        manifest = json.loads(path.read_text())
        tables = manifest.get("tables", {}).items()
        whole = all(
            hashlib.sha256(path.with_name(f"{n}.parquet").read_bytes()).hexdigest() == digest
            for n, digest in tables
        )
    except (OSError, ValueError, AttributeError):
        return {}
    return manifest if whole else {}
