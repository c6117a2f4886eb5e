"""What a study has of an arm already, and what is left to train."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from beyond.errors import InputError
from beyond.files import write_whole_text
from beyond.run import provenance
from beyond.run.arm import Arm, labels
from beyond.run.cell import Cell, prepare
from beyond.run.data import understood
from beyond.run.display import spans
from beyond.run.notes import holding
from beyond.run.provenance import DATA
from beyond.run.record import RunFolder
from beyond.settings import RunSettings


@dataclass(frozen=True)
class Before:
    """A finished cell, of the same arm, found in the study.

    Attributes
    ----------
    path : Path
    manifest : dict
    changed : list of str
        Files, or "its data", that are no longer what they were: it is stale.
    """

    path: Path
    manifest: dict[str, Any]
    changed: list[str]

    @property
    def arm_id(self) -> str:
        return self.path.name.partition("-")[0]

    @property
    def seeds(self) -> list[int]:
        return self.manifest["seeds"]

    @property
    def status(self) -> str:
        return self.manifest["status"]

    def asked_again(self, run: RunSettings) -> bool:
        """Say whether a run asks for this cell: `stale` for all of an arm, so that code is one."""
        if run.rerun == "stale" and self.changed:
            return True
        asked = run.rerun in ("all", self.status) or self.lacks_weights(run)
        return asked and not set(self.seeds).isdisjoint(run.seed_list)

    def lacks_weights(self, run: RunSettings) -> bool:
        """Say whether a run asks for weights that are not here, and trained again would be."""
        return run.keep_weights and not self.changed and not RunFolder(self.path).keeps_weights

    def line(self, label: str) -> str:
        """What to tell of it, behind its arm's label."""
        told = f"{self.status} before" + (
            f" ({'; '.join(reasons)})" if (reasons := self.manifest["reasons"]) else ""
        )
        if self.status == "failed":
            told += "; rerun=failed tries it again"
        if self.changed:
            changed = ", ".join(self.changed)
            told += f"; stale: what made it has changed ({changed}); rerun=stale trains it again"
        return f"{label}: {told}, seeds {spans(self.seeds)}, in {self.path}"


@dataclass(frozen=True)
class Plan:
    """What a study has of a cell's arm, and what is left to do.

    Attributes
    ----------
    kept, again : list of Before
        Cells that stay as they are; and those that are given up and trained again.
    seeds : list of int
        To be trained.
    """

    kept: list[Before]
    again: list[Before]
    seeds: list[int]

    def holder(self, cell: Cell) -> Cell | None:
        """Return the cell of the seeds that are left, or of all that are there; None if others
        have them.
        """
        if self.seeds:
            return cell.of_seeds(self.seeds)
        return cell if cell.folder in [before.path for before in self.kept] else None


def plan(cell: Cell) -> Plan:
    """Look for what is there already: a seed is trained once in an arm.

    Raises
    ------
    InputError
        If new seeds would join those that other code, or other data, have trained; or if the study
        was made by a version that named its cells otherwise.
    """
    earlier = next(
        (path for path in cell.study.glob("*/manifest.json") if "-" not in path.parent.name), None
    )
    if earlier is not None:
        raise InputError(
            f"{str(cell.study)!r} has runs of an earlier version, which cannot be compared with "
            "this one's: choose another study_name or runs"
        )
    folders = sorted(path.parent for path in cell.study.glob(f"{cell.arm.id}-*/manifest.json"))
    found = [before for folder in folders if (before := finished_before(cell, folder))]
    ours = set(cell.seeds)
    again = [one for one in found if one.asked_again(cell.run)]
    kept = [one for one in found if one not in again]
    there = {seed for one in kept for seed in one.seeds}
    wanted = [*cell.seeds, *(seed for one in again for seed in one.seeds)]
    seeds = [seed for seed in dict.fromkeys(wanted) if seed not in there]
    stale = next((one for one in kept if one.changed), None)
    if seeds and stale:
        raise InputError(
            f"{cell.label}: seeds {spans(seeds)} would join seeds {spans(stale.seeds)}, which "
            f"are stale ({', '.join(stale.changed)} changed): rerun=stale trains all of them again"
        )
    return Plan([one for one in kept if ours.intersection(one.seeds)], again, seeds)


class Agenda:
    """What is left to train of a study's cells, each seed of an arm once.

    Attributes
    ----------
    kept : list of Before
        Cells that stay as they are.
    arms : dict of str to Arm
        What is compared, by id.
    understood : list of str
        What to tell of data.
    """

    def __init__(self) -> None:
        self.kept: list[Before] = []
        self.arms: dict[str, Arm] = {}
        self.understood: list[str] = []
        self._given_up: dict[Path, Before] = {}
        self._taken: dict[str, set[int]] = {}

    def add(self, cell: Cell) -> Plan:
        """Check a cell; return what is there of it, and the seeds that no cell before it has.

        Raises `InputError` for a setting that is out of range, and as `plan` does.
        """
        prepare(cell)
        self.understood += [line for line in understood(cell) if line not in self.understood]
        todo, taken = plan(cell), self._taken.setdefault(cell.arm.id, set())
        self.arms.setdefault(cell.arm.id, cell.arm)
        self.kept += todo.kept
        self._given_up |= {before.path: before for before in todo.again}
        seeds = [seed for seed in todo.seeds if seed not in taken]
        taken.update(seeds)
        return replace(todo, seeds=seeds)

    def begin(self) -> list[str]:
        """Delete what is trained again; return what to tell of data, and of cells that stay."""
        give_up(self._given_up.values())
        short, once = labels(self.arms.values()), {before.path: before for before in self.kept}
        return [*self.understood, *(before.line(short[before.arm_id]) for before in once.values())]

    def short(self, cells: Sequence[Cell]) -> list[str]:
        """Labels that tell cells apart; seeds are told where an arm has several cells."""
        short, cells_of = labels(self.arms.values()), Counter(cell.arm.id for cell in cells)
        return [
            short[cell.arm.id]
            + (f", seeds {spans(cell.seeds)}" if cells_of[cell.arm.id] > 1 else "")
            for cell in cells
        ]


def finished_before(cell: Cell, folder: Path) -> Before | None:
    """Read a cell and compare what made it with what there is now; None if it is not finished."""
    manifest = RunFolder(folder).manifest()
    if manifest is None:
        return None
    made, now = (
        {**manifest["sources"], DATA: manifest["data_sha256"]},
        {**cell.sources, DATA: cell.data},
    )
    return Before(folder, manifest, provenance.changed(made, now))


def give_up(cells: Iterable[Before]) -> None:
    """Delete cells that are to be trained again; `InputError` if a process is training one."""
    for before in cells:
        folder = RunFolder(before.path)
        with folder.locked():
            (before.path / "manifest.json").unlink(missing_ok=True)
            folder.remove()


def note_stale(study: Path, planned: Iterable[Before]) -> None:
    """Note for the report which cells of a study are of changed code, or of other data.

    Parameters
    ----------
    planned : iterable of Before
        Cells whose data were looked at; of the others only the code is.
    """
    found = {
        path.parent.name: provenance.outdated(manifest["sources"])
        for path in sorted(study.glob("*/manifest.json"))
        if (manifest := RunFolder(path.parent).manifest())
    }
    found |= {before.path.name: before.changed for before in planned}
    stale = {name: files for name, files in found.items() if files}
    with holding(study):
        write_whole_text(study / "stale.json", json.dumps(stale, indent=1) + "\n")
