"""Settings that a study gave several numbers, and the score at each: curves, not arms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.runs import RESULT, Frame, settings_of
from analysis.statistics.inference import Array, mean_interval
from analysis.tables import Tables, by_run, higher_is_better, limits_of

FEWEST = 3  # values that make a curve
_WITHIN = ("", "method", "network", "task")  # parts of a run's settings that a name may begin in


@dataclass(frozen=True)
class Sweep:
    """Arms that differ in one numeric setting alone.

    Attributes
    ----------
    setting : str
    name : str
        What they share: method, network and further settings.
    arms : list of str
        In the order of the values.
    values, mean, low, high : arrays of shape (n_values,)
        Of the setting, and the test score at each with its interval.
    best : int
        The place of the value with the best mean validation score.
    """

    setting: str
    name: str
    arms: list[str]
    values: Array
    mean: Array
    low: Array
    high: Array
    best: int


def sweeps(tables: Tables, task: str) -> list[Sweep]:
    """Find every setting of which arms of one method, else alike, have three numbers or more.

    An arm at the default, which no name tells, has its number from the manifest of its run.
    """
    runs = tables.runs[(tables.runs["task"] == task) & (tables.runs["status"] == "finished")]
    runs = runs[np.isfinite(runs[RESULT]) & (runs["tuned"] == "") & (runs["release"] == "")]
    if runs.empty:
        return []
    made = by_run(tables.manifests)
    firsts = runs.drop_duplicates("arm").to_dict("records")
    numeric = {name for row in firsts for name in _numbers(row["variant"])}
    found: dict[tuple[str, str], dict[float, str]] = {}
    for name in sorted(numeric):
        for row in firsts:
            value = _numbers(row["variant"]).get(name)
            if value is None:
                value = _default(made.get(row["run_id"], {}), name)
            if value is not None:
                found.setdefault((name, _others(row, name)), {})[value] = str(row["arm"])
    return [
        _sweep(tables, runs, task, name, shared, arms)
        for (name, shared), arms in found.items()
        if len(arms) >= FEWEST
    ]


def _sweep(
    tables: Tables, runs: Frame, task: str, name: str, shared: str, arms: Mapping[float, str]
) -> Sweep:
    score, values = tables.score(task), sorted(arms)
    of = [runs[runs["arm"] == arms[value]] for value in values]
    scores = [rows[RESULT].to_numpy(float) for rows in of]
    bounds = np.array([mean_interval(one, limits_of(score)) for one in scores], float)
    chosen = np.array([rows["best_validation_score"].mean() for rows in of])
    return Sweep(
        name,
        shared,
        [arms[value] for value in values],
        np.array(values, float),
        np.array([one.mean() for one in scores]),
        bounds[:, 0],
        bounds[:, 1],
        int(chosen.argmax() if higher_is_better(score) else chosen.argmin()),
    )


def _numbers(variant: str) -> dict[str, float]:
    """Settings of a variant that have a number, a truth value being none."""
    found = {}
    for part in settings_of(variant):
        name, _, text = part.partition("=")
        if (value := _number(text)) is not None and not name.startswith("budget."):
            found[name] = value
    return found


def _number(text: Any) -> float | None:
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if np.isfinite(value) and not isinstance(text, bool) else None


def _default(manifest: Mapping[str, Any], name: str) -> float | None:
    """Read a setting's number from the configuration of a run."""
    for part in _WITHIN:
        node: Any = manifest.get("settings", {})
        for key in filter(None, [part, *name.split(".")]):
            node = node.get(key) if isinstance(node, Mapping) else None
        if (value := _number(node)) is not None:
            return value
    return None


def _others(row: Mapping[str, Any], name: str) -> str:
    """Name what an arm is but for one setting, as arms are named."""
    kept: Iterable[str] = (
        part
        for part in settings_of(row["variant"])
        if part.partition("=")[0] != name and part not in settings_of(row["settings"])
    )
    network = "" if row["default_network"] else f" ({row['network']})"
    inside = ", ".join(kept)
    return f"{row['method']}{network}" + (f" [{inside}]" if inside else "")
