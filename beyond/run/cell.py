"""One cell of a study: settings in, what is trained out."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from beyond.catalog import GROUPS, PARTS, build, names, read
from beyond.contracts import Task
from beyond.errors import InputError, require_one_of
from beyond.files import expanded
from beyond.hardware import Hardware, present
from beyond.ledger import Budget
from beyond.replicas import require_replicas
from beyond.run import provenance
from beyond.run.arm import Arm
from beyond.run.live import follower
from beyond.run.setup import Setup
from beyond.run.status import TRIALS
from beyond.run.stopping import Stopping
from beyond.settings import RunSettings


@dataclass(frozen=True)
class Cell:
    """One run of a study.

    Attributes
    ----------
    arm : Arm
        What is trained.
    run : RunSettings
        Settings that no group has.
    settings : dict
        Those that both were made from, as the manifest tells them.
    short : str
        In a sweep, what tells it from the others; "" for all that differs from the defaults.
    """

    arm: Arm
    run: RunSettings
    settings: dict[str, Any]
    short: str = ""

    @classmethod
    def of(cls, settings: dict[str, Any], method: str) -> Cell:
        """Build what a resolved configuration describes; `method` is its choice in the catalogue.

        Raises `InputError` for a setting that is unknown or out of range.
        """
        settings = {**settings, **_resolved(settings)}
        ungrouped = {name: value for name, value in settings.items() if name not in GROUPS}
        known = [*GROUPS, *(field.name for field in fields(RunSettings))]
        for name in ungrouped:
            require_one_of("setting", known, name)
        run = RunSettings(**ungrouped)
        budget = Budget.of(settings["budget"])
        rule = build({**settings["method"], **_parts(settings, method)}, "method")
        task = _task(json.dumps(settings["task"], sort_keys=True))
        network = build(settings["network"], "network") if settings["network"] else None
        start = build(settings["start"], "start").on(task)
        # a class in a choice's place is no such method, and goes by its name
        made = settings["method"]["_target_"]
        chosen = read("method", method)["_target_"] if method in names("method") else None
        name = method if made == chosen else made
        network = network or task.spec.network
        arm = Arm(
            name,
            rule,
            task,
            network,
            budget,
            run.threads,
            start,
            run.test_also,
            hardware_of(run),
            run.early_stopping,
        )
        return cls(arm, run, settings)

    @property
    def seeds(self) -> list[int]:
        """One a replica."""
        return list(self.run.seed_list)

    @property
    def label(self) -> str:
        """What lines about it begin with."""
        return self.short or self.arm.label

    @property
    def run_id(self) -> str:
        """Hash of all that can change a result: first the arm's, then the seeds'."""
        return f"{self.arm.id}-{provenance.short_hash(repr(self.seeds), 6)}"

    @property
    def identity(self) -> dict[str, Any]:
        """What each row of its runs table, and its manifest, tell it by."""
        arm = self.arm
        return {
            "run_id": self.run_id,
            "study": self.run.study_name,
            "method": arm.name,
            "signal": str(arm.method.signal),
            "task": arm.task.spec.name,
            "network": arm.architecture.name,
            "default_network": arm.default_network,
            "variant": arm.variant,
        }

    @property
    def study(self) -> Path:
        """The folder of its study."""
        return self.run.study

    @property
    def folder(self) -> Path:
        """Where the run is recorded."""
        return self.study / self.run_id

    @cached_property
    def sources(self) -> dict[str, str]:
        """Files that decide the result, and their hashes."""
        arm = self.arm
        return provenance.sources(arm.method, arm.task, arm.architecture, arm.start)

    @property
    def data(self) -> str:
        """Checksum of the task's data."""
        return _checksum(self.arm.task)

    @property
    def told_split(self) -> str:
        """Whose score may be shown when it is trained: who tunes must not see that of the test."""
        return "validation" if self.study.name == TRIALS else "test"

    def of_seeds(self, seeds: list[int]) -> Cell:
        """Return the same arm with other seeds."""
        if seeds == self.seeds:
            return self
        run = replace(self.run, seeds=tuple(seeds))
        return replace(self, run=run, settings={**self.settings, "seeds": seeds})


def hardware_of(run: RunSettings) -> Hardware:
    """Return where, and how, a run computes."""
    return Hardware.of(run.device, run.draws, run.precision, run.max_memory)


def _resolved(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings that depend on the machine, as they are on this one.

    So a study's cells are the same in all its processes.
    """
    found = {"device": present(settings["device"])} if "device" in settings else {}
    if isinstance(runs := settings.get("runs"), str):
        found["runs"] = str(expanded(runs)) if runs else runs
    return found


def prepare(cell: Cell) -> Setup:
    """Build task, method and network; raise `InputError` for a setting that is out of range."""
    arm = cell.arm
    arm.hardware.require()
    follower(cell.run.follow)  # refused before any work
    arm.task.at(cell.seeds)  # what only shows with the data
    require_replicas(arm.method, len(cell.seeds))
    require_replicas(arm.architecture, len(cell.seeds))
    stopping = Stopping(arm.early_stopping) if arm.early_stopping else None
    if stopping is not None:
        stopping.require(arm.task.spec.target_kind)
    network = arm.architecture.build(arm.task.spec)
    return Setup(
        arm.method,
        arm.task,
        network,
        cell.seeds,
        arm.budget,
        [cell.identity] * len(cell.seeds),
        time_limit=cell.run.time_limit,
        start=arm.start,
        also=arm.also,
        hardware=arm.hardware,
        stopping=stopping,
    )


def _parts(settings: dict[str, Any], method: str) -> dict[str, Any]:
    """Parts that were chosen to replace the method's."""
    chosen = {part: settings[part] for part in PARTS if settings[part]}
    for part in PARTS:
        made = settings["method"].get(part)
        if isinstance(made, str):
            known = ", ".join(names(part))
            raise InputError(
                f"method.{part} must be chosen by {part}=NAME, of {known}; got {made!r}"
            )
        if part in chosen and part not in settings["method"]:
            raise InputError(
                f"{part} must be default for method {method}, which has none to replace"
            )
        if part in chosen and made != read("method", method).get(part):
            raise InputError(  # what is set there would be lost
                f"method.{part} must be as the method has it where {part} replaces it; "
                f"{part}.SETTING=VALUE tunes what is chosen"
            )
    return chosen


@lru_cache(maxsize=8)
def _task(settings: str) -> Task:
    """Tasks are immutable and slow to load: those of one study share them."""
    return build(json.loads(settings), "task")


def _checksum(task: Task) -> str:
    """Checksum of a task's data, computed once for an object, as its cached properties are."""
    known = vars(task)
    if "_checksum" not in known:
        known["_checksum"] = task.checksum()
    return known["_checksum"]
