"""A study's tables: the one way in which data reaches the analysis."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa

from analysis.cells import TableError, finished, stacked
from analysis.statistics.inference import RESOLUTION
from analysis.statistics.targets import between_checkpoints

Noted = TypeVar("Noted", dict[str, Any], list[dict[str, Any]])
Frame: TypeAlias = Any  # a pandas DataFrame: its types are unions that no checker can follow

COSTS = ("epochs", "examples", "flops", "seconds")
LEVELS = ("easy", "medium", "hard")
STATUSES = ("finished", "diverged", "failed", "untrained", "skipped")
RESULT = "best_test_score"  # the test score at the checkpoint with the best validation score
PUBLISHED = " (published)"  # ends the name of an arm that a release holds
FOLDERS = "/"  # ends the name of a folder whose rows stand beside a study's

_LEDGER = ("epochs", "forward", "backward", "flops", "bytes_moved", "steps", "seconds")
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
    *_LEDGER,
    "rewards",
    *(f"{cost}_to_{moment}" for moment in _MOMENTS for cost in _LEDGER),
    *(f"{what}_{level}" for what in ("target", "bracket") for level in LEVELS),
    "total_seconds",
    *(f"n_{split}" for split in ("train", "validation", "test")),
    "n_weights",
    "inference_flops",
    "inference_spikes",
    "inference_accumulates",
    *(f"pretraining_{cost}" for cost in _LEDGER if cost != "steps"),
    "state_bytes",
)
_RUN_WORDS = (  # "" if missing
    *("variant", "tuned", "reason", "split", "budget_currency", "data", "release"),
)
_CURVES = (
    *("run_id", "task", "seed", "checkpoint"),
    *(cost for cost in _LEDGER if cost not in ("steps", "bytes_moved")),  # old tables lack these
    *("split", "metric", "value"),
)
_NUMBERS = ("target", "prediction", "probability", "confidence", "brier")  # of predictions
_PREDICTIONS = ("run_id", "seed", "example", "output", *_NUMBERS)
_LATER = ("log_density",)  # NaN where a table is older
_LABELS = ("task", "arm", "status")  # that predictions get from their replica
_REPLICA = ["task", "arm", "seed"]
_LAYERS = (
    *("run_id", "task", "seed", "checkpoint", "layer", "depth"),
    *("n_weights", "gradient_norm", "update_cosine"),
)
# of the runs tables, what the analysis reads
RUN_COLUMNS = (*RUN_TEXT, "seed", "default_network", *_RUN_WORDS, *_RUN_NUMBERS)


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
            runs=runs.sort_values(_REPLICA, ignore_index=True),
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
    return Tables(
        study=str(runs["study"].iloc[0]) or folder.resolve().name,
        curves=curves,
        layers=layers[layers["depth"] > 0],
        networks=layers[layers["depth"] == 0],
        predictions=_predictions(cells),
        runs=runs,
        manifests=manifests,
        unfinished=tuple(sorted(cell.name for cell in begun.difference(cells))),
        repeated=repeated,
        stale=noted(folder / "stale.json", dict),
        landscape=_read([folder], "landscape", ("run_id", "other_run_id", "seed")),
    ).labelled(runs)


def _reaching(runs: Frame, curves: Frame) -> Frame:
    """Take what it cost to reach each level from the curves, see `targets`; the rest as it is."""
    sign = [1 if higher_is_better(score) else -1 for score in runs["headline_metric"]]
    costs = [cost for cost in _LEDGER if cost in curves]
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
    again = runs.duplicated(_REPLICA)
    lines = []
    both = runs[runs.duplicated(_REPLICA, keep=False)]
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


def _join(frame: Frame, runs: Frame, order: Sequence[str]) -> Frame:
    """Add each replica's labels to its rows; sort them by replica, then as said."""
    labels = runs[["run_id", "seed", "task", "arm", "status", "network", "headline_metric"]]
    kept = [column for column in frame if column in ("run_id", "seed") or column not in labels]
    joined = frame[kept].merge(labels, on=["run_id", "seed"], how="inner", validate="many_to_one")
    return joined.sort_values([*_REPLICA, *order], ignore_index=True)


def _join_predictions(frame: Frame, runs: Frame) -> Frame:
    """Add each replica's labels to its rows, which are many: as categories, and unsorted."""
    if frame.empty:
        return pd.DataFrame(columns=[*_PREDICTIONS, *_LATER, *_LABELS])
    labels = runs[["run_id", "seed", *_LABELS]].astype(dict.fromkeys(_LABELS, "category"))
    return frame[[*_PREDICTIONS, *_LATER]].merge(
        labels, on=["run_id", "seed"], how="inner", validate="many_to_one"
    )
