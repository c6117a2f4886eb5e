"""`beyond merge A B INTO`: one study of what several machines have trained.

Each finished cell counts once, the trials of a tuning among them. All is checked before the first
file is written, and a cell appears as a run's does: its files by write-then-rename, the manifest
last. The same command again goes on where it was interrupted. A landscape is recorded anew, of all.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from os.path import realpath  # Path.resolve raises for links in a circle
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from rich.console import Console

from beyond.catalog import find, read
from beyond.errors import InputError, UnsupportedError, require
from beyond.files import write_whole
from beyond.run.arm import shown
from beyond.run.cell import TRIALS
from beyond.run.display import say, spans, ticking
from beyond.run.notes import holding, known
from beyond.run.page import join_page
from beyond.run.plan import DATA, note_stale
from beyond.run.provenance import changed
from beyond.run.record import RunFolder
from beyond.run.status import PLANNED, note_planned
from beyond.run.survey import NOTE, Survey
from beyond.run.trained import Trained
from beyond.run.tuning import TUNED, note_trials, note_tuned, trials_of, tuned_of

USAGE = "usage: beyond merge FOLDER [FOLDER ...] INTO"
SWEEP = "multirun.yaml"  # of a study, beside its cells
LEFT = ("lock", "lock.held", "state.pt", "manifest.json")
PLACES = {"": "cells", TRIALS: "trials"}  # folders of cells in a study's, and what these are
APART = ("seconds", "study")  # parts of columns that equal runs may differ in
# of a manifest: where these differ, sums may be rounded otherwise
ROUNDING = ("n_replicas", "processor", "cores", "platform", "packages", "threads")
TOLERANCE = 1e-4  # relative, or of a score: what rounding becomes in a training


@dataclass(frozen=True)
class Found:
    """A finished cell, and its manifest."""

    path: Path
    manifest: Mapping[str, Any]

    @property
    def arm(self) -> str:
        return self.path.name.partition("-")[0]

    @property
    def seeds(self) -> set[int]:
        return set(self.manifest["seeds"])

    @property
    def made_by(self) -> dict[str, str]:
        """Files, and data, that decide the result."""
        return {**self.manifest["sources"], DATA: self.manifest["data_sha256"]}


def merge(folders: Sequence[Path], into: Path) -> Iterator[str]:
    """Copy what `into` lacks; yield what to tell, a line for each folder.

    Raises
    ------
    InputError
        If a folder has no cell, if two have other tables of one cell, cells of one arm that share
        seeds or were made by other code or data, or arms that were tuned otherwise: in one line, of
        all of these, before anything is written.
    BusyError
        If another process is writing one of the cells.
    """
    here = realpath(into)
    others = [folder for folder in folders if realpath(folder) != here]
    there = {place: finished(into / place) for place in PLACES}
    new = {place: dict[str, Found]() for place in PLACES}
    lines, conflicts, rounded = list[str](), list[str](), list[str]()
    for folder in others:
        told, unfinished, n_begun = list[str](), list[str](), 0
        for place, what in PLACES.items():
            begun = {path.parent.name for path in (folder / place).glob("*/lock")}
            found, known = finished(folder / place), there[place] | new[place]
            for name, cell in found.items():
                if name in known and (differing := _differing(known[name], cell)):
                    conflicts += differing.refused
                    rounded += differing.rounded
            lacking = {name: cell for name, cell in found.items() if name not in known}
            new[place] |= lacking
            n_begun += len(begun | found.keys())
            if found or not place:
                told.append(f"{len(lacking)} of {len(found)} finished {what} are new")
            unfinished += sorted(begun - found.keys())
        if not n_begun:
            raise InputError(f"no cell of a study in {str(folder)!r}")
        told += [f"unfinished, left out: {', '.join(unfinished)}"] if unfinished else []
        lines.append(f"{folder}: {'; '.join(told)}")
    if not any([*there.values(), *new.values()]):
        raise InputError(f"no finished cell in {', '.join(map(str, folders))}")
    for place in PLACES:
        conflicts += _apart([*there[place].values(), *new[place].values()])
    conflicts += _tuned_otherwise([into, *others])
    conflicts += _surveyed_otherwise([into, *others])
    if survey := _survey([into, *others]):
        conflicts += _without_landscape(survey, [*there[""].values(), *new[""].values()])
    if conflicts:
        raise InputError("; ".join(conflicts))
    for place, cells in new.items():
        for cell in cells.values():
            _copy(cell, into / place)
    for folder in others:  # of two that have the same the first stays
        _copy_study(folder, into)
    for place in PLACES:
        if (into / place).is_dir():
            note_stale(into / place, [])
    yield from lines
    if rounded:
        yield f"differ by rounding, the first is kept: {', '.join(rounded)}"


def finished(study: Path) -> dict[str, Found]:
    """Finished cells of a study, by name."""
    paths = [path.parent for path in sorted(study.glob("*/manifest.json"))]
    manifests = {path: RunFolder(path).manifest() for path in paths}
    return {path.name: Found(path, manifest) for path, manifest in manifests.items() if manifest}


def main(arguments: Sequence[str]) -> None:
    """Merge studies and make the report of what they are together."""
    if len(arguments) < 2 or any(argument.startswith("-") for argument in arguments):
        raise InputError(f"two folders or more must be given; {USAGE}")
    *folders, into = map(Path, arguments)
    there = next(place for place in (into, *into.absolute().parents) if place.exists())
    require("INTO", "a folder, there or to be made", str(into), there.is_dir())
    console = Console(stderr=True)
    for line in merge(folders, into):
        say(console, line)
    if survey := _survey([into, *folders]):
        with ticking(console, lambda: f"{into}: measuring the loss between solutions"):
            survey.record(into)
    find("hydra.sweeper.publish", _publisher(into / SWEEP))(into)


def _publisher(file: Path) -> str:
    """What makes a study's report, by the configuration of its sweep if it has one."""
    usual = read("hydra/sweeper", "cells")["publish"]
    try:
        return yaml.safe_load(file.read_bytes())["hydra"]["sweeper"].get("publish", usual)
    except FileNotFoundError:
        return usual
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"merged, but without a report: {str(file)!r} is no sweep's; beyond-report "
            f"{file.parent} makes the usual one"
        ) from error


@dataclass(frozen=True)
class Differing:
    """What two runs of one cell differ in, if it is more than time.

    Attributes
    ----------
    refused, rounded : list of str
        Of one of which the other is empty.
    """

    refused: list[str]
    rounded: list[str]


def _differing(one: Found, other: Found) -> Differing | None:
    """Compare the tables of two runs of one cell.

    Where it was trained beside other cells, or on another machine, sums were rounded otherwise.
    """
    tables = sorted({*one.manifest["tables"], *other.manifest["tables"]})
    apart = any(one.manifest.get(name) != other.manifest.get(name) for name in ROUNDING)
    pairs = {name: _pair(one.path, other.path, f"{name}.parquet") for name in tables}
    unequal = [name for name, pair in pairs.items() if pair is None or not pair[0].equals(pair[1])]
    if not unequal:
        return None
    far = [name for name in unequal if not (apart and _close(pairs[name]))]
    if not far:
        return Differing([], [f"{one.path} and {other.path}"])
    return Differing(
        [
            f"{one.path} and {other.path} are one cell with other {', '.join(far)}: delete the one "
            "that is not to count"
        ],
        [],
    )


def _pair(one: Path, other: Path, file: str) -> tuple[Any, Any] | None:
    """A table of both, without what may differ; None if it is not there."""
    if not ((one / file).exists() and (other / file).exists()):
        return None
    left, right = (pd.read_parquet(path / file) for path in (one, other))
    apart = [name for name in left if any(part in str(name) for part in APART)]
    return left.drop(columns=apart), right.drop(columns=apart, errors="ignore")


def _close(pair: tuple[Any, Any] | None) -> bool:
    """Whether tables are equal but for the rounding of float32."""
    if pair is None:
        return False
    try:
        pd.testing.assert_frame_equal(*pair, rtol=TOLERANCE, atol=TOLERANCE)
    except AssertionError:
        return False
    return True


def _apart(cells: Sequence[Found]) -> list[str]:
    """Say where cells of an arm share seeds, or other code or data made them."""
    arms: dict[str, list[Found]] = {}
    conflicts = list[str]()
    for cell in cells:
        for other in arms.setdefault(cell.arm, []):
            label = cell.manifest["identity"]["method"]
            if shared := sorted(cell.seeds & other.seeds):
                conflicts.append(
                    f"{other.path} and {cell.path} both have seeds {spans(shared)} of one arm, "
                    f"{label}: delete the one that is not to count"
                )
            elif files := changed(other.made_by, cell.made_by):
                conflicts.append(
                    f"{other.path} and {cell.path} are seeds of one arm, {label}, made by other "
                    f"{', '.join(files)}: train one of them again, with rerun=stale"
                )
        arms[cell.arm].append(cell)
    return conflicts


def _tuned_otherwise(folders: Sequence[Path]) -> list[str]:
    """Say where folders have tuned an arm in other trials, or chosen another of them."""
    return [
        *_otherwise(folders, trials_of, f"{TRIALS}/{TRIALS}.json", ("run", "settings")),
        *_otherwise(folders, tuned_of, TUNED, ("tuned",)),
    ]


def _survey(folders: Sequence[Path]) -> Survey | None:
    """How the first of the folders that has a landscape has recorded it."""
    return next(filter(None, map(Survey.of, folders)), None)


def _without_landscape(survey: Survey, cells: Sequence[Found]) -> Iterator[str]:
    """Say which cells cannot be in a landscape."""
    for cell in cells:
        try:
            survey.require([(Trained.load(cell.path).arm, True)])
        except (InputError, UnsupportedError) as error:
            yield f"{error}; without {NOTE} in any of the folders no landscape is recorded"


def _surveyed_otherwise(folders: Sequence[Path]) -> Iterator[str]:
    """Say where folders have their landscapes recorded with other settings."""
    surveys = {folder: survey for folder in folders if (survey := Survey.of(folder))}
    for (first, one), (folder, other) in pairwise(surveys.items()):
        if one != other:
            yield (
                f"{first / NOTE} and {folder / NOTE} have other settings, {one} and {other}: "
                "delete the one that is not to count"
            )


def _otherwise(
    folders: Sequence[Path],
    rows_of: Callable[[Path], dict[str, dict[str, Any]]],
    name: str,
    told: Sequence[str],
) -> Iterator[str]:
    """Say where a file beside the cells has other rows than that of a folder before it."""
    known: dict[str, tuple[Path, dict[str, Any]]] = {}
    for folder in folders:
        for key, row in rows_of(folder).items():
            first, other = known.setdefault(key, (folder, row))
            if any(row.get(one) != other.get(one) for one in told):
                yield (
                    f"{first / name} and {folder / name} have arm {row['default']} otherwise, "
                    f"trial {other['trial']} with {shown(other.get('settings'))} and trial "
                    f"{row['trial']} with {shown(row.get('settings'))}: delete what is not to count"
                )


def _copy(cell: Found, into: Path) -> None:
    """Write a cell's files, the manifest last."""
    target = RunFolder(into / cell.path.name)
    with target.locked(cell.manifest["seeds"]):
        if target.finished:  # meanwhile
            return
        names = sorted(path.name for path in cell.path.iterdir() if path.is_file())
        kept = [name for name in names if name not in LEFT and not name.endswith(".part")]
        for name in (*kept, "manifest.json"):
            write_whole(
                target.path / name, lambda part, name=name: shutil.copy2(cell.path / name, part)
            )
        (target.path / "state.pt").unlink(missing_ok=True)


def _copy_study(folder: Path, into: Path) -> None:
    """Take over what a study has beside its cells; what `into` has of it stays."""
    tuned = [path.relative_to(folder).as_posix() for path in sorted(folder.glob("tuned/**/*.yaml"))]
    with holding(into):
        for name in (SWEEP, *tuned):
            if (folder / name).exists() and not (into / name).exists():
                (into / name).parent.mkdir(parents=True, exist_ok=True)
                write_whole(into / name, lambda part, name=name: shutil.copy2(folder / name, part))
    join_page(folder, into)
    if rows := trials_of(folder):
        note_trials(into, list((rows | trials_of(into)).values()))
    if rows := tuned_of(folder):
        note_tuned(into, list((rows | tuned_of(into)).values()))
    for place in PLACES:
        labels = known(folder / place / PLANNED, str) | known(into / place / PLANNED, str)
        there = {name: label for name, label in labels.items() if (into / place / name).is_dir()}
        if there:
            note_planned(into / place, there)
