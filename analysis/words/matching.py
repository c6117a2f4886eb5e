"""Which published arms may stand beside a study's, and what does not match, in sentences."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import pandas as pd

from analysis.release import Release
from analysis.runs import FOLDERS, Frame, decisive, labelled, once
from analysis.summaries.results import spans
from analysis.tables import TableError, Tables, by_run
from analysis.words.sentences import listed

Manifests: TypeAlias = Sequence[Mapping[str, Any]]

# what must be the same, as `decisive` and `_cells` name it, in sentences; settings by their names
_SAID = {
    "settings": "the task's settings are",
    "budget": "the budget is",
    "split": "the split is",
    "data": "the data are",
    "network": "the default network is",
    "score": "the score is",
}
_OF_VERSIONS = {"network", "score"}  # within one version they follow from the others


def beside(tables: Tables, releases: Sequence[Release]) -> Tables:
    """Put published arms, or those of other folders, beside a study's where they can be compared.

    They can where the task with its settings, the budget, the split and the data are the same, as
    within a study, and what other versions may have changed: the task's defaults, its network and
    score. A task that a folder alone has is there with the folder's arms.
    A published replica counts at the seeds that the study has on the task, for ranks and
    differences are of shared seeds; all do where it has none of them. Other code, and other
    versions of packages, are told in `notes`.

    Raises
    ------
    TableError
        If nothing of one can be compared, in one line that says why; if two have one name.
    """
    names = [release.name for release in releases]
    if len(set(names)) < len(names):
        raise TableError(
            f"arms are named by what they come from, whose names must differ; got {listed(names)}"
        )
    recorded = tables.runs.assign(task=tables.runs["task_name"])
    made = by_run(tables.manifests)
    ours, rows, notes = _cells(recorded, made), [recorded], list[str]()
    for release in releases:
        kept, told = _comparable(tables, ours, release)
        rows.append(release.runs[release.runs["run_id"].isin(kept)])
        notes += told
    runs, repeated = once(labelled(pd.concat(rows, ignore_index=True)))
    added: dict[str, dict[str, Any]] = {}
    for release in releases:
        runs, of_seeds = _at_shared_seeds(runs, release.name)
        shared = runs.loc[runs["release"] == release.name, "task"]
        met = set(runs.loc[runs["task"].isin(shared), "run_id"])
        compared = [manifest for run, manifest in made.items() if run in met]
        theirs = {run: manifest for run, manifest in release.manifests.items() if run in met}
        notes += [*of_seeds, *_made_otherwise(compared, [*theirs.values()], release.name)]
        added |= theirs
    return replace(
        _with_tables(tables, releases).labelled(runs),
        study=f"{tables.study} against {listed([name.removesuffix(FOLDERS) for name in names])}",
        manifests=tables.manifests | added,
        repeated=(*tables.repeated, *repeated),
        notes=tuple(notes),
    )


def _comparable(tables: Tables, ours: Frame, release: Release) -> tuple[set[str], list[str]]:
    """Runs of a release that stand beside a study's, and what is said of the others."""
    theirs = _cells(release.runs, release.manifests)
    conditions = tables.runs.groupby("run_id")["task"].first()
    alone = ~theirs["task"].isin(ours["task"]) & (release.tables is not None)
    kept, notes = set(theirs.index[alone]), list[str]()
    for condition in tables.tasks:
        cells = ours[conditions[ours.index] == condition]
        rivals = theirs[theirs["task"] == cells["task"].iloc[0]]
        differing = {str(cell): _differing(cells, row) for cell, row in rivals.iterrows()}
        kept |= {cell for cell, names in differing.items() if not names}
        told = _left_out(cells, rivals, differing, release)
        notes += [f"{condition}: {line}" for line in told]
    if not kept:
        raise TableError(
            f"nothing in {release.name} can be compared with {tables.study}. {' '.join(notes)}"
        )
    return kept, notes


def _with_tables(tables: Tables, releases: Iterable[Release]) -> Tables:
    """Add what was recorded of each run of a folder: curves, layers, predictions."""
    parts = [release.tables for release in releases if release.tables is not None]
    joined = {
        name: pd.concat(
            [frame for one in (tables, *parts) if len(frame := getattr(one, name))]
            or [getattr(tables, name)],
            ignore_index=True,
        )
        for name in ("curves", "layers", "networks", "predictions")
    }
    return replace(tables, **joined)


def _cells(runs: Frame, manifests: Mapping[str, Mapping[str, Any]]) -> Frame:
    """One row per run: its task, and all that must be the same, missing where it is not known."""
    cells = (
        pd.DataFrame(
            {
                "task": runs["task"],
                **decisive(runs),
                "network": runs["network"].where(runs["default_network"]),
                "score": runs["headline_metric"],
            }
        )
        .groupby(runs["run_id"])
        .first()
    )
    settings = {
        run: {
            f"task.{name}": json.dumps(value)
            for name, value in manifests.get(run, {}).get("settings", {}).get("task", {}).items()
            if name != "_target_"
        }
        for run in cells.index
    }
    return cells.join(pd.DataFrame.from_dict(settings, orient="index"))


def _differing(cells: Frame, other: Any) -> tuple[str, ...]:
    """Names of what a published run has otherwise than all runs of a condition."""
    names = [
        name
        for name in cells.columns.intersection(other.index)
        if pd.notna(other[name])
        and cells[name].notna().any()
        and other[name] not in set(cells[name].dropna())
    ]
    by_name = any(name.startswith("task.") for name in names)
    return tuple(name for name in names if not (by_name and name == "settings"))


def _left_out(
    cells: Frame, rivals: Frame, differing: Mapping[str, tuple[str, ...]], release: Release
) -> Iterator[str]:
    """Say what keeps the published runs of a task away: of those that differ in least."""
    if rivals.empty:
        tasks = ", ".join(sorted(release.runs["task"].unique()))
        yield f"{release.name} has no such task; its tasks: {tasks}."
        return
    met = any(not names for names in differing.values())
    # where some are beside the study's, others have another budget, say, and are not missed
    least = min(map(len, differing.values()))
    away = {
        cell: names
        for cell, names in differing.items()
        if (_OF_VERSIONS.issuperset(names) and names if met else len(names) == least)
    }
    if not away:
        return
    names = Counter(away.values()).most_common(1)[0][0]
    nearest = rivals.loc[[cell for cell, others in away.items() if others == names]]
    said = [
        f"{_SAID.get(name, f'{name} is')} {_values(nearest[name])} in {release.name} and "
        f"{_values(cells[name])} here"
        for name in names
    ]
    n = len(nearest)
    which = f"{n} published run{'s are' if n > 1 else ' is'} not" if met else "no published run is"
    yield f"{which} comparable: {', '.join(said)}."


def _values(column: pd.Series) -> str:
    values = sorted({re.sub(r"^(split=|data )", "", text) for text in column.dropna()})
    return listed([value or "the defaults" for value in values])


def _at_shared_seeds(runs: Frame, name: str) -> tuple[Frame, list[str]]:
    """Leave published replicas out whose seed the study does not have on the task; say so."""
    out, notes = pd.Series(False, runs.index), []
    for condition, rows in runs.groupby("task"):
        published, ours = rows["release"] == name, rows["release"] == ""
        begun = rows["status"] != "skipped"
        here, there = rows.loc[ours & begun, "seed"], rows.loc[published, "seed"]
        shared = there.isin(here)
        seeds = f"{condition}: {name} has seeds {spans(there.unique())}"
        if not len(here) or not len(there):
            continue
        if not shared.any():
            notes.append(
                f"{seeds} and yours are {spans(here.unique())}: nothing is paired or ranked with "
                "what is published."
            )
        elif not shared.all():
            out[there.index[~shared]] = True
            notes.append(f"{seeds}; of these count here {spans(there[shared].unique())}, as yours.")
    return runs[~out], notes


def _made_otherwise(ours: Manifests, theirs: Manifests, name: str) -> Iterator[str]:
    """Say which code, and which versions, differ between a study's runs and the published ones."""
    commits = {who: _each(made, _commit)["commit"] for who, made in (("", ours), (name, theirs))}
    files = _apart(_each(ours, _sources), _each(theirs, _sources))
    if files:
        yield (
            f"{name} was made by other code (commit {_joined(commits[name])}) than yours (commit "
            f"{_joined(commits[''])}): {listed(list(files), 8)} differ{'s' * (len(files) == 1)}."
        )
    versions = _apart(_each(ours, _versions), _each(theirs, _versions))
    if versions:
        told = [
            f"{package} {_joined(there)} there and {_joined(here)} here"
            for package, (here, there) in versions.items()
        ]
        yield f"{name} was made with other versions than yours: {', '.join(told)}."


def _commit(manifest: Mapping[str, Any]) -> dict[str, str]:
    return {"commit": str(manifest.get("commit") or "unknown")[:10]}


def _sources(manifest: Mapping[str, Any]) -> Mapping[str, str]:
    return manifest.get("sources", {})


def _versions(manifest: Mapping[str, Any]) -> dict[str, str]:
    project = {"beyond-backprop": manifest["version"]} if manifest.get("version") else {}
    return project | manifest.get("packages", {})


def _each(
    manifests: Manifests, take: Callable[[Mapping[str, Any]], Mapping[str, str]]
) -> dict[str, set[str]]:
    """Gather what several manifests say: all values, by name."""
    found: dict[str, set[str]] = {}
    for manifest in manifests:
        for name, value in take(manifest).items():
            found.setdefault(name, set()).add(value)
    return found


def _apart(
    here: Mapping[str, set[str]], there: Mapping[str, set[str]]
) -> dict[str, tuple[set[str], set[str]]]:
    """What both know and have otherwise, by name."""
    both = sorted(here.keys() & there.keys())
    return {name: (here[name], there[name]) for name in both if here[name] != there[name]}


def _joined(values: Iterable[str]) -> str:
    return " or ".join(sorted(values))
