"""A study's tables: the one way in which data reaches the analysis."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa

from analysis.cells import TableError, finished, stacked
from analysis.runs import (
    COSTS,
    LEDGER,
    LEVELS,
    REPLICA,
    RUN_TEXT,
    Frame,
    completed,
    labelled,
    once,
    with_numbers,
)
from analysis.statistics.targets import between_checkpoints

Noted = TypeVar("Noted", dict[str, Any], list[dict[str, Any]])

_CURVES = (
    *("run_id", "task", "seed", "checkpoint"),
    *(cost for cost in LEDGER if cost not in ("steps", "bytes_moved")),  # old tables lack these
    *("split", "metric", "value"),
)
_NUMBERS = ("target", "prediction", "probability", "confidence", "brier")  # of predictions
_PREDICTIONS = ("run_id", "seed", "example", "output", *_NUMBERS)
_LATER = ("log_density",)  # NaN where a table is older
_LABELS = ("task", "arm", "status")  # that predictions get from their replica
_LAYERS = (
    *("run_id", "task", "seed", "checkpoint", "layer", "depth"),
    *("n_weights", "gradient_norm", "update_cosine"),
)


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
        One row per replica. Its `task` is what arms are compared on, see `runs.decisive`, and
        `task_name` the one recorded; its `arm` is what is compared, named so that it differs from
        every other on its task; `tuned` in it stands for the settings that were.
        Cost to a level is between checkpoints, and `bracket_easy` their distance, where a curve was
        recorded; see `targets`.
        `settings` are those in which all arms of its task differ from the
        defaults alike, `spent` is the share of its budget, `data` the checksum of its data,
        `release` where it was published, empty for the study's.
    manifests : dict of str to dict
        By cell.
    unfinished : tuple of str
        Cells that have begun and are not in the tables.
    damaged : tuple of str
        Cells that have finished, and what they recorded is no more what it was.
    predictions : DataFrame
        One row per replica, test example and output, at the selected checkpoint; empty where none
        were recorded. Columns as recorded, and `task`, `arm`, `status`. `example` is its number in
        the task's source.
    repeated : tuple of str
        Which seeds were trained twice in one arm, and what was made of it; a line for each arm.
    stale : dict of str to list of str
        By run_id: files, or "its data", that had changed since when `beyond` last looked.
    notes : tuple of str
        What else weakens the comparison; a line each.
    landscape : DataFrame
        One row per place on a line or a plane of weights, as recorded; empty where none was.
    """

    study: str
    curves: Frame
    layers: Frame
    networks: Frame
    runs: Frame
    manifests: dict[str, dict[str, Any]]
    unfinished: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()
    predictions: Frame = field(
        default_factory=lambda: pd.DataFrame(columns=[*_PREDICTIONS, *_LATER, *_LABELS])
    )
    repeated: tuple[str, ...] = ()
    stale: Mapping[str, Sequence[str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    landscape: Frame = field(default_factory=lambda: pd.DataFrame(columns=["run_id"]))

    @property
    def tasks(self) -> list[str]:
        """Names, sorted; numbers in them by their size."""
        return sorted(self.runs["task"].unique(), key=with_numbers)

    @property
    def arms(self) -> list[str]:
        """Names over all tasks, sorted."""
        return sorted(self.runs["arm"].unique())

    def classes(self, task: str) -> list[str]:
        """Names of the task's classes in the order of their codes; none where they have none."""
        made = by_run(self.manifests)
        of_task = self.runs.loc[self.runs["task"] == task, "run_id"].unique()
        told = {tuple(made[run].get("classes", ())) for run in of_task if run in made} - {()}
        return list(told.pop()) if len(told) == 1 else []

    def score(self, task: str) -> str:
        """Name of the task's headline score."""
        return str(self.runs.loc[self.runs["task"] == task, "headline_metric"].iloc[0])

    def labelled(self, runs: Frame) -> Tables:
        """Return these tables with the labels that their replicas have in `runs`, in its order."""
        by_layer = ("checkpoint", "depth")
        return replace(
            self,
            runs=runs.sort_values(REPLICA, ignore_index=True),
            curves=_join(self.curves, runs, ("checkpoint", "split", "metric")),
            layers=_join(self.layers, runs, by_layer),
            networks=_join(self.networks, runs, by_layer),
            predictions=_join_predictions(self.predictions, runs),
        )


def several(n: int, noun: str) -> str:
    """Say how many: `1 task`, `2 tasks`."""
    return f"{n} {noun}{'' if n == 1 else 's'}"


def higher_is_better(score: str) -> bool:
    """Read a score's direction from its name: `_score` goes up, `_error` and `_loss` go down."""
    return not score.endswith(("_error", "_loss"))


def limits_of(score: str) -> tuple[float, float]:
    """Read from a score's name what it cannot leave."""
    if score in ("accuracy_score", "balanced_accuracy_score", "macro_f1_score"):
        return 0.0, 1.0
    return -np.inf, 1.0 if score == "r2_score" else np.inf


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
    found = finished(folder)
    cells = list(found)
    if not cells:
        raise TableError(
            f"no finished run in {folder}: no <cell>/manifest.json there that fits the tables "
            "beside it"
        )
    manifests = {cell.name: manifest for cell, manifest in found.items()}
    recorded = recorded_runs(cells)
    checksums = {run: made.get("data_sha256") for run, made in by_run(manifests).items()}
    known = {"data": recorded["run_id"].map(checksums), "tuned": _tuned(folder, recorded)}
    curves = _read(cells, "curves", _CURVES)
    runs, repeated = once(labelled(_reaching(completed(recorded.assign(**known)), curves)))
    curves["examples"] = curves["forward"] + 2 * curves["backward"]
    key = ["run_id", "seed", "checkpoint"]
    costs = curves.drop_duplicates(key)[[*key, *COSTS]]
    layers = _read(cells, "layers", _LAYERS).drop(columns=list(COSTS), errors="ignore")
    layers = layers.merge(costs, on=key, how="left")
    begun = {path.parent for name in ("lock", "state.pt") for path in folder.glob(f"*/{name}")}
    damaged = {path.parent for path in folder.glob("*/manifest.json")}.difference(cells)
    return Tables(
        study=str(runs["study"].iloc[0]) or folder.resolve().name,
        curves=curves,
        layers=layers[layers["depth"] > 0],
        networks=layers[layers["depth"] == 0],
        predictions=_predictions(cells),
        runs=runs,
        manifests=manifests,
        unfinished=tuple(sorted(cell.name for cell in begun.difference(cells, damaged))),
        damaged=tuple(sorted(cell.name for cell in damaged)),
        repeated=repeated,
        stale=noted(folder / "stale.json", dict),
        landscape=_read([folder], "landscape", ("run_id", "other_run_id", "seed")),
    ).labelled(runs)


def _reaching(runs: Frame, curves: Frame) -> Frame:
    """Take what it cost to reach each level from the curves, see `targets`; the rest as it is."""
    sign = [1 if higher_is_better(score) else -1 for score in runs["headline_metric"]]
    costs = [cost for cost in LEDGER if cost in curves]
    return between_checkpoints(runs, curves, sign, costs, LEVELS)


def noted(path: Path, kind: type[Noted], keys: Sequence[str] = ()) -> Noted:
    """Return what a file of JSON beside the cells has; of its kind empty if it is not there.

    Parameters
    ----------
    path : Path
    kind : type
        `dict` or `list`.
    keys : sequence of str
        What it, or each row of a list, must have.

    Raises
    ------
    TableError
        If it cannot be read, or is of another kind.
    """
    try:
        told = json.loads(path.read_bytes())
    except FileNotFoundError:
        return kind()
    except ValueError as error:
        raise TableError(f"cannot read {path}: {error}") from error
    rows = told if isinstance(told, list) else [told]
    if not isinstance(told, kind) or not all(
        isinstance(row, dict) and row.keys() >= {*keys} for row in rows
    ):
        raise TableError(f"cannot read {path}: it is not what a run writes there")
    return told


def reason(error: Exception) -> str:
    """What went wrong, in a line without the operating system's number."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror + (f": {error.filename!r}" if error.filename else "")
    return str(error)


def recorded_runs(cells: Sequence[Path]) -> Frame:
    """Return the runs tables of cells as one, as they were recorded."""
    return _read(cells, "runs", (*RUN_TEXT, "seed"))


def named_with(folder: Path, planned: Iterable[Mapping[str, Any]]) -> list[str]:
    """Names of a study's arms where replicas that are not trained yet join it, sorted."""
    there = recorded_runs(list(finished(folder)))
    known = there.assign(tuned=_tuned(folder, there))
    runs = labelled(pd.concat([known, pd.DataFrame(list(planned))], ignore_index=True))
    return sorted(runs["arm"].unique())


def tuned_pairs(folder: str | Path) -> list[dict[str, Any]]:
    """Which arm of a study is which other one's, tuned: ids `default` and `tuned`, `settings`."""
    return noted(Path(folder, "tuned.json"), list, ("default", "tuned", "settings"))


def _tuned(folder: Path, runs: Frame) -> pd.Series:
    """Names of the settings that were tuned in each run; empty where none were."""
    settings = {
        row["tuned"]: ", ".join(row["settings"])
        for row in tuned_pairs(folder)
        if row["tuned"] != row["default"]
    }
    return runs["run_id"].map(lambda run: settings.get(str(run).partition("-")[0], ""))


def _read(cells: Sequence[Path], name: str, required: Sequence[str]) -> Frame:
    """Stack one table of all cells, which must have some columns; without rows it has no others."""
    table = _required(stacked(cells, name), name, required)
    return pd.DataFrame(columns=list(required)) if table is None else table.to_pandas()


def _predictions(cells: Sequence[Path]) -> Frame:
    """Read all predictions, classes and values, as float32: both are exact in one column of it."""
    table = _required(stacked(cells, "predictions"), "predictions", _PREDICTIONS)
    if table is None:
        return pd.DataFrame(columns=[*_PREDICTIONS, *_LATER])
    for column in (*_NUMBERS, *_LATER):
        known = column in table.column_names
        values = table[column].cast(pa.float32(), safe=False) if known else _unknown(table)
        table = table.drop_columns([column] if known else []).append_column(column, values)
    return table.select([*_PREDICTIONS, *_LATER]).to_pandas()


def _unknown(table: pa.Table) -> pa.Array:
    """Return a column for a table that is too old to have it."""
    return pa.nulls(table.num_rows, pa.float32())


def _required(table: pa.Table | None, name: str, required: Sequence[str]) -> pa.Table | None:
    """Return a table, if there is one, that has these columns; raise `TableError` if it has not."""
    if table and (missing := [column for column in required if column not in table.column_names]):
        raise TableError(f"the {name} tables lack the columns {', '.join(missing)}")
    return table


def by_run(manifests: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Manifests by the run_id that each names; by cell where it names none."""
    return {str(manifest.get("run_id", cell)): manifest for cell, manifest in manifests.items()}


def _join(frame: Frame, runs: Frame, order: Sequence[str]) -> Frame:
    """Add each replica's labels to its rows; sort them by replica, then as said."""
    labels = runs[["run_id", "seed", "task", "arm", "status", "network", "headline_metric"]]
    kept = [column for column in frame if column in ("run_id", "seed") or column not in labels]
    joined = frame[kept].merge(labels, on=["run_id", "seed"], how="inner", validate="many_to_one")
    return joined.sort_values([*REPLICA, *order], ignore_index=True)


def _join_predictions(frame: Frame, runs: Frame) -> Frame:
    """Add each replica's labels to its rows, which are many: as categories, and unsorted."""
    if frame.empty:
        return pd.DataFrame(columns=[*_PREDICTIONS, *_LATER, *_LABELS])
    labels = runs[["run_id", "seed", *_LABELS]].astype(dict.fromkeys(_LABELS, "category"))
    return frame[[*_PREDICTIONS, *_LATER]].merge(
        labels, on=["run_id", "seed"], how="inner", validate="many_to_one"
    )
