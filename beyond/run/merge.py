"""`beyond merge A B INTO`: one study of what several machines have trained.

Each finished cell counts once. All is checked before the first file is written, and a cell appears
as a run's does: its files by write-then-rename, the manifest last. The same command again goes on
where it was interrupted.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os.path import realpath  # Path.resolve raises for links in a circle
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from rich.console import Console

from beyond.catalog import find, read
from beyond.errors import InputError
from beyond.files import write_whole
from beyond.run.display import say, spans
from beyond.run.plan import DATA, note_stale
from beyond.run.provenance import changed
from beyond.run.record import RunFolder
from beyond.run.status import PLANNED, known, note_planned

USAGE = "usage: beyond merge FOLDER [FOLDER ...] INTO"
STUDY = ("paper.json", "multirun.yaml")  # of a study, beside its cells
LEFT = ("lock", "lock.held", "state.pt", "manifest.json")
APART = ("seconds", "study")  # parts of columns that equal runs may differ in


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
        If a folder has no cell, if two have other tables of one cell, or cells of one arm that
        share seeds or were made by other code or data; before anything is written.
    BusyError
        If another process is writing one of the cells.
    """
    here = realpath(into)
    others = [folder for folder in folders if realpath(folder) != here]
    there, cells = finished(into), dict[str, Found]()
    lines = list[str]()
    for folder in others:
        begun = {path.parent.name for path in folder.glob("*/lock")}
        found = finished(folder)
        if not begun and not found:
            raise InputError(f"no cell of a study in {str(folder)!r}")
        for name, cell in found.items():
            if (twin := there.get(name) or cells.get(name)) is not None:
                _require_equal(twin, cell)
        new = {name: cell for name, cell in found.items() if name not in {*there, *cells}}
        cells |= new
        told = [f"{len(new)} of {len(found)} finished cells are new"]
        unfinished = sorted(begun - set(found))
        told += [f"unfinished, left out: {', '.join(unfinished)}"] if unfinished else []
        lines.append(f"{folder}: {'; '.join(told)}")
    if not there and not cells:
        raise InputError(f"no finished cell in {', '.join(map(str, folders))}")
    _require_one_study([*there.values(), *cells.values()])
    for cell in cells.values():
        _copy(cell, into)
    for folder in reversed(others):  # the first stays
        _copy_study(folder, into)
    note_stale(into, [])
    yield from lines


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
    for line in merge(folders, into):
        say(Console(stderr=True), line)
    find("hydra.sweeper.publish", _publisher(into / STUDY[1]))(into)


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


def _require_equal(one: Found, other: Found) -> None:
    """Raise `InputError` for two runs of one cell whose tables differ in more than time."""
    tables = sorted({*one.manifest["tables"], *other.manifest["tables"]})
    differing = [name for name in tables if not _same(one.path, other.path, f"{name}.parquet")]
    if differing:
        raise InputError(
            f"{one.path} and {other.path} are one cell with other {', '.join(differing)}: delete "
            "the one that is not to count"
        )


def _same(one: Path, other: Path, file: str) -> bool:
    if not ((one / file).exists() and (other / file).exists()):
        return False
    left, right = (
        table[[name for name in table if not any(part in str(name) for part in APART)]]
        for table in (pd.read_parquet(path / file) for path in (one, other))
    )
    return left.equals(right)


def _require_one_study(cells: Sequence[Found]) -> None:
    """Raise `InputError` if cells of an arm share seeds, or other code or data made them."""
    arms: dict[str, list[Found]] = {}
    for cell in cells:
        for other in arms.setdefault(cell.arm, []):
            label = cell.manifest["identity"]["method"]
            if shared := sorted(cell.seeds & other.seeds):
                raise InputError(
                    f"{other.path} and {cell.path} both have seeds {spans(shared)} of one arm, "
                    f"{label}: delete the one that is not to count"
                )
            if files := changed(other.made_by, cell.made_by):
                raise InputError(
                    f"{other.path} and {cell.path} are seeds of one arm, {label}, made by other "
                    f"{', '.join(files)}: train one of them again, with rerun=stale"
                )
        arms[cell.arm].append(cell)


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
    """Take over what a study has beside its cells."""
    for name in STUDY:
        if (folder / name).exists() and not (into / name).exists():
            write_whole(into / name, lambda part, name=name: shutil.copy2(folder / name, part))
    labels = known(folder / PLANNED, str)
    there = {name: label for name, label in labels.items() if (into / name).is_dir()}
    note_planned(into, there)
