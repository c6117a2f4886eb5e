"""One cell of a study: an arm and its seeds in, a finished run folder out."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from threadpoolctl import threadpool_limits

from beyond.catalog import GROUPS, build, read
from beyond.contracts import PerReplica, Task
from beyond.errors import InputError, UnsupportedError, require_one_of
from beyond.files import write_whole
from beyond.ledger import Budget
from beyond.run import provenance
from beyond.run.arm import Arm
from beyond.run.loop import skip, train
from beyond.run.outcome import STATUSES
from beyond.run.record import RunFolder
from beyond.run.setup import Setup
from beyond.settings import RunSettings

DATA = "its data"  # beside files, what decides a result


@dataclass(frozen=True)
class Cell:
    """Settings of one run.

    Attributes
    ----------
    settings : dict
        The resolved configuration.
    method : str
        Its choice in the catalogue.
    """

    settings: dict[str, Any]
    method: str

    @cached_property
    def run(self) -> RunSettings:
        """Settings that no group has; raises `InputError` for one that is unknown or out of range."""
        own = {name: value for name, value in self.settings.items() if name not in GROUPS}
        for name in own:
            require_one_of("setting", [*GROUPS, *(field.name for field in fields(RunSettings))], name)
        return RunSettings(**own)

    @cached_property
    def arm(self) -> Arm:
        """What is trained; raises `InputError` for a setting that is out of range."""
        settings, threads = self.settings, self.run.threads
        budget = Budget.of(settings["budget"])
        method_settings = dict(settings["method"])
        if settings["optimizer"]:
            if "optimizer" not in method_settings:
                raise InputError(f"optimizer must be default for method {self.method}, which has none to replace")
            method_settings["optimizer"] = settings["optimizer"]
        method = build(method_settings, "method")
        task = _task(json.dumps(settings["task"], sort_keys=True))
        network = build(settings["network"], "network") if settings["network"] else task.spec.network
        return Arm(self._method_name, method, task, network, budget, threads)

    @property
    def _method_name(self) -> str:
        """The choice's name; a class that was put in its place is no such method, and goes by its own."""
        made = self.settings["method"]["_target_"]
        return self.method if made == read("method", self.method)["_target_"] else made

    @property
    def seeds(self) -> list[int]:
        """One a replica."""
        return list(self.run.seed_list)

    @property
    def run_id(self) -> str:
        """Hash of all that can change a result: first the arm's, then the seeds'."""
        return f"{self.arm.id}-{hashlib.sha256(repr(self.seeds).encode()).hexdigest()[:6]}"

    @property
    def study(self) -> Path:
        """The folder of its study."""
        return Path(self.run.runs) / self.run.study_name

    @property
    def folder(self) -> Path:
        """Where the run is recorded."""
        return self.study / self.run_id

    @cached_property
    def sources(self) -> dict[str, str]:
        """Files that decide the result, and their hashes."""
        return provenance.sources(self.arm.method, self.arm.task, self.arm.architecture)

    @property
    def data(self) -> str:
        """Checksum of the task's data."""
        return _checksum(json.dumps(self.settings["task"], sort_keys=True))

    def of_seeds(self, seeds: list[int]) -> Cell:
        """Return the same arm with other seeds."""
        return self if seeds == self.seeds else replace(self, settings={**self.settings, "seeds": seeds})


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
    def seeds(self) -> list[int]:
        return self.manifest["seeds"]

    @property
    def status(self) -> str:
        return self.manifest["status"]

    def asked_again(self, run: RunSettings) -> bool:
        """Say whether a run asks for this cell: `stale` does for all that are in an arm, so that it is of one code."""
        if run.rerun == "stale":
            return bool(self.changed)
        return not set(self.seeds).isdisjoint(run.seed_list) and run.rerun in ("all", self.status)

    def line(self, arm: Arm) -> str:
        """What to tell of it."""
        told = f"{self.status} before" + (f" ({'; '.join(reasons)})" if (reasons := self.manifest["reasons"]) else "")
        if self.status == "failed":
            told += "; rerun=failed tries it again"
        if self.changed:
            told += f"; stale: what made it has changed ({', '.join(self.changed)}); rerun=stale trains it again"
        return f"{arm.label}: {told}, seeds {spans(self.seeds)}, in {self.path}"


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


def plan(cell: Cell) -> Plan:
    """Look for what is there already: a seed is trained once in an arm.

    Raises
    ------
    InputError
        If new seeds would join those that other code, or other data, have trained; or if the study was made by a
        version that named its cells otherwise.
    """
    earlier = next((path for path in cell.study.glob("*/manifest.json") if "-" not in path.parent.name), None)
    if earlier is not None:
        raise InputError(
            f"{str(cell.study)!r} has runs of an earlier version, which cannot be compared with this one's: "
            "choose another study_name or runs"
        )
    folders = sorted(path.parent for path in cell.study.glob(f"{cell.arm.id}-*/manifest.json"))
    found = [before for folder in folders if (before := _before(cell, folder))]
    own = set(cell.seeds)
    again = [one for one in found if one.asked_again(cell.run)]
    kept = [one for one in found if one not in again]
    there = {seed for one in kept for seed in one.seeds}
    wanted = [*cell.seeds, *(seed for one in again for seed in one.seeds)]
    seeds = [seed for seed in dict.fromkeys(wanted) if seed not in there]
    stale = next((one for one in kept if one.changed), None)
    if seeds and stale:
        raise InputError(
            f"{cell.arm.label}: seeds {spans(seeds)} would join seeds {spans(stale.seeds)}, which are stale "
            f"({', '.join(stale.changed)} changed): rerun=stale trains all of them again"
        )
    return Plan([one for one in kept if own.intersection(one.seeds)], again, seeds)


def prepare(cell: Cell) -> Setup:
    """Build task, method and network; raise `InputError` for a setting that is out of range."""
    arm = cell.arm
    arm.task.at(cell.seeds)  # what only shows with the data
    for part in vars(arm.method).values():
        if isinstance(part, PerReplica):
            part.require_replicas(len(cell.seeds))
    identity = {
        "run_id": cell.run_id,
        "study": cell.run.study_name,
        "method": arm.name,
        "signal": str(arm.method.signal),
        "task": arm.task.spec.name,
        "network": arm.architecture.name,
        "default_network": arm.default_network,
        "variant": arm.variant,
    }
    network = arm.architecture.build(arm.task.spec)
    return Setup(arm.method, arm.task, network, cell.seeds, arm.budget, identity, cell.run.time_limit)


def run_cell(cell: Cell, keep_skipped: bool, bar: bool) -> str:
    """Train what the study lacks of a cell, or go on with it; return the worst status among its replicas.

    Parameters
    ----------
    keep_skipped : bool
        Record a method that cannot serve as skipped (in a study) instead of raising `UnsupportedError`.
    bar : bool
        Draw a progress bar; otherwise print one line at the end.
    """
    console = Console(stderr=True)
    torch.set_flush_denormal(True)  # memorised data drives gradients denormal, which is slow
    torch.set_num_threads(cell.run.threads)
    with threadpool_limits(cell.run.threads):
        todo = plan(cell)
        for before in todo.kept:
            say(console, before.line(cell.arm))
        statuses = [before.status for before in todo.kept]
        if todo.seeds:
            setup = prepare(cell.of_seeds(todo.seeds))
            give_up(todo.again)
            statuses.append(_run(cell.of_seeds(todo.seeds), setup, keep_skipped, console, bar))
    if not keep_skipped:  # a sweep does so at its end
        note_stale(cell.study, todo.kept)
    return worst(statuses)


def _run(cell: Cell, setup: Setup, keep_skipped: bool, console: Console, bar: bool) -> str:
    """Train all seeds of a cell; return its worst status."""
    origin = {**cell.sources, DATA: cell.data, "its settings": cell.run_id}
    folder = RunFolder(cell.folder, cell.run.save_every, origin)
    with folder.locked(cell.seeds), _log(folder.path):
        _refuse_overlap(cell)
        if before := _before(cell, folder.path):  # by another process, after the plan was made
            say(console, before.line(cell.arm))
            return before.status
        snapshot = folder.resume()
        if folder.unusable:
            say(console, f"{cell.arm.label}: {folder.unusable}, starts anew")
        clock = perf_counter()
        try:
            rows = _train(setup, folder, snapshot, keep_skipped, console if bar else None, cell.arm.label)
        except (UnsupportedError, InputError):
            if not folder.begun:
                folder.remove()
            raise
        wall = perf_counter() - clock
        status = worst([row["status"] for row in rows])
        folder.close(_manifest(cell, setup, rows, status, wall))
    scores = [row["best_test_score"] for row in rows if row["status"] == "finished"]
    result = f"{', '.join(sorted({row['reason'] for row in rows if row['reason']}))}"
    if scores:
        result = f"test {setup.task.spec.score} {sum(scores) / len(scores):.3f} ({len(scores)} of {len(rows)} replicas)"
    total = rows[0]["total_seconds"]
    cost = f"wall time {figures(wall)} s, step seconds {figures(total)}, {figures(total / len(rows))} a replica"
    say(console, f"{cell.arm.label}: {status}, {result}, {cost}, in {folder.path}")
    return status


def worst(statuses: list[str]) -> str:
    """Return the worst of several statuses."""
    return max(statuses, key=STATUSES.index)


def figures(seconds: float) -> str:
    """Write a time with three figures, so that a short one is not 0.0; from a thousand on to the second."""
    return f"{seconds:.3g}" if seconds < 999.5 else f"{seconds:.0f}"


def say(console: Console, line: str) -> None:
    """Print one line, however long, as it is."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def give_up(cells: Iterable[Before]) -> None:
    """Delete cells that are to be trained again; raise `InputError` if another process is already training one."""
    for before in cells:
        with RunFolder(before.path).locked():
            (before.path / "manifest.json").unlink(missing_ok=True)
            shutil.rmtree(before.path)


def note_stale(study: Path, planned: Iterable[Before]) -> None:
    """Write down for the report which cells of a study are of code that has changed since, or of other data.

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
    write_whole(study / "stale.json", lambda path: path.write_text(json.dumps(stale, indent=1) + "\n"))


def spans(seeds: list[int]) -> str:
    """Write seeds, ranges as such: "0 to 4, 7"."""
    parts: list[list[int]] = []
    for seed in sorted(seeds):
        if parts and parts[-1][-1] == seed - 1:
            parts[-1].append(seed)
        else:
            parts.append([seed])
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]} to {part[-1]}" for part in parts)


def _before(cell: Cell, folder: Path) -> Before | None:
    """Read a cell and compare what made it with what there is now; None if it is not finished."""
    manifest = RunFolder(folder).manifest()
    if manifest is None:
        return None
    made, now = {**manifest["sources"], DATA: manifest["data_sha256"]}, {**cell.sources, DATA: cell.data}
    return Before(folder, manifest, provenance.changed(made, now))


def _refuse_overlap(cell: Cell) -> None:
    """Raise `InputError` if another process trains one of the seeds, or has just done so; ours is locked already."""
    for path in sorted(cell.study.glob(f"{cell.arm.id}-*")):
        if path != cell.folder and RunFolder(path).claims(cell.seeds):
            raise InputError(f"another process is writing {str(path)!r}, with seeds of {cell.arm.label}")


def _train(
    setup: Setup,
    folder: RunFolder,
    snapshot: dict[str, Any] | None,
    keep_skipped: bool,
    console: Console | None,
    label: str,
) -> list[dict]:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} % of budget"),
        TextColumn("validation {task.fields[score]:.3f}"),
        TimeElapsedColumn(),
    )
    rows: list[dict] = []
    with Progress(*columns, console=console, disable=console is None or not console.is_terminal) as bar:
        task_id = bar.add_task(label, total=1.0, score=float("nan"))
        try:
            for progress in train(setup, snapshot):
                folder.add(progress)
                rows = progress.runs
                if not rows:
                    logging.info("spent %.4f validation %.4f", progress.spent, progress.score)
                    bar.update(task_id, completed=progress.spent, score=progress.score)
        except UnsupportedError as error:
            if not keep_skipped:
                raise
            progress = skip(setup, str(error))
            folder.add(progress)
            rows = progress.runs
    return rows


@lru_cache(maxsize=8)
def _task(settings: str) -> Task:
    """Tasks are immutable and slow to load: those of one study share them."""
    return build(json.loads(settings), "task")


@lru_cache(maxsize=8)
def _checksum(settings: str) -> str:
    return _task(settings).checksum()


@contextmanager
def _log(folder: Path) -> Iterator[None]:
    """Write the log to the run's folder."""
    handler = logging.FileHandler(folder / "log.txt")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()


def _manifest(cell: Cell, setup: Setup, rows: list[dict], status: str, wall: float) -> dict[str, Any]:
    return {
        "run_id": cell.run_id,
        "status": status,
        "reasons": sorted({row["reason"] for row in rows if row["reason"]}),
        "identity": setup.identity,
        "settings": cell.settings,
        "seeds": setup.seeds,
        "split": rows[0]["split"],
        "source_digest": provenance.digest(cell.sources),
        "sources": cell.sources,
        "data_sha256": cell.data,
        "packages": provenance.packages(setup.task.PACKAGES),
        "threads": cell.run.threads,
        "wall_seconds": wall,
        **provenance.machine(),
    }
