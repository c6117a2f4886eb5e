"""One cell of a study: settings in, a finished run folder out."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from threadpoolctl import threadpool_limits

from beyond.catalog import CONF, build
from beyond.contracts import Task
from beyond.errors import InputError, UnsupportedError, require, require_one_of
from beyond.ledger import Budget
from beyond.loop import Setup, skip, train
from beyond.record import RunFolder

DISPLAY = ("runs", "study_name", "save_every")  # settings that cannot change a result
KNOWN = ("task", "method", "network", "optimizer", "budget", "seeds", "threads", "time_limit", *DISPLAY)
PACKAGES = ("torch", "numpy", "scipy", "pandas", "scikit-learn", "deap", "gymnasium", "hydra-core")


@dataclass(frozen=True)
class Cell:
    """Settings of one run, and what they are called.

    Attributes
    ----------
    settings : dict
        The resolved configuration.
    method : str
        Its name in the catalogue.
    default_network : bool
        Whether the network is the task's own.
    variant : str
        Settings that differ from the defaults, as text.
    """

    settings: dict[str, Any]
    method: str
    default_network: bool
    variant: str

    @property
    def run_id(self) -> str:
        """Hash of all that can change a result."""
        decisive = {key: value for key, value in self.settings.items() if key not in DISPLAY}
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def folder(self) -> Path:
        """Where the run is recorded."""
        return Path(self.settings["runs"]) / self.settings["study_name"] / self.run_id


def prepare(cell: Cell) -> Setup:
    """Build task, method and network; raise `InputError` for a setting that is out of range."""
    settings = cell.settings
    for name in settings:
        require_one_of("setting", KNOWN, name)
    require("threads", ">= 1", settings["threads"], settings["threads"] >= 1)
    require("time_limit", "> 0 or null", settings["time_limit"], (settings["time_limit"] or 1) > 0)
    budget = Budget.of(settings["budget"])
    seeds = _seeds(settings["seeds"])
    method_settings = dict(settings["method"])
    if settings["optimizer"]:
        if "optimizer" not in method_settings:
            raise InputError(f"optimizer must be default for method {cell.method}, which has none to replace")
        method_settings["optimizer"] = settings["optimizer"]
    method = _construct("method", method_settings)
    task = _task(json.dumps(settings["task"], sort_keys=True))
    task.at(seeds)  # what only shows with the data
    architecture = _construct("network", settings["network"]) if settings["network"] else task.spec.network
    identity = {
        "run_id": cell.run_id,
        "study": settings["study_name"],
        "method": cell.method,
        "signal": str(method.signal),
        "task": task.spec.name,
        "network": architecture.name,
        "default_network": cell.default_network,
        "variant": cell.variant,
    }
    return Setup(method, task, architecture.build(task.spec), seeds, budget, identity, settings["time_limit"])


def run_cell(cell: Cell, keep_skipped: bool, bar: bool) -> str:
    """Train one cell, or go on with it, or leave it alone if it is finished; return its worst status.

    Parameters
    ----------
    keep_skipped : bool
        Record a method that cannot serve as skipped (in a study) instead of raising `UnsupportedError`.
    bar : bool
        Draw a progress bar; otherwise print one line at the end.
    """
    console = Console(stderr=True)
    folder = RunFolder(cell.folder, cell.settings["save_every"])
    label = f"{cell.method} on {cell.settings['task']['_target_'].rpartition('.')[2]}"
    if folder.finished:
        manifest = json.loads((folder.path / "manifest.json").read_text())
        older = "" if manifest["commit"] == _git("rev-parse", "HEAD") else " by another commit of the code"
        console.print(
            f"{label}: finished before{older}, in {folder.path}", highlight=False, markup=False, soft_wrap=True
        )
        return manifest["status"]
    torch.set_flush_denormal(True)  # memorised data drives gradients denormal, which is slow
    torch.set_num_threads(cell.settings["threads"])
    with threadpool_limits(cell.settings["threads"]):
        setup = prepare(cell)
        label = f"{cell.method} on {setup.task.spec.name} ({setup.identity['network']})"
        with folder.locked(), _log(folder.path):
            clock = perf_counter()
            rows = _train(setup, folder, keep_skipped, console if bar else None, label)
            wall = perf_counter() - clock
            status = max((row["status"] for row in rows), key=["finished", "skipped", "diverged", "failed"].index)
            folder.close(_manifest(cell, setup, rows, status, wall))
    scores = [row["best_test_score"] for row in rows if row["status"] == "finished"]
    result = f"test {setup.task.spec.score} {sum(scores) / len(scores):.3f}" if scores else rows[0]["reason"]
    console.print(
        f"{label}: {status}, {result}, {wall:.1f} s, in {folder.path}", highlight=False, markup=False, soft_wrap=True
    )
    return status


def _train(setup: Setup, folder: RunFolder, keep_skipped: bool, console: Console | None, label: str) -> list[dict]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} % of budget"),
        TextColumn("validation {task.fields[score]:.3f}"),
        TimeElapsedColumn(),
    )
    rows: list[dict] = []
    with Progress(*columns, console=console, disable=console is None or not console.is_terminal) as bar:
        task_id = bar.add_task(label, total=1.0, score=float("nan"))
        try:
            for progress in train(setup, folder.resume()):
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


def _seeds(value: int | list[int]) -> list[int]:
    seeds = list(range(value)) if isinstance(value, int) else list(value)
    ok = bool(seeds) and len(set(seeds)) == len(seeds) and all(isinstance(seed, int) and seed >= 0 for seed in seeds)
    require("seeds", "a count >= 1 or a list of distinct seeds >= 0", value, ok)
    return seeds


@lru_cache(maxsize=8)
def _task(settings: str) -> Task:
    """Tasks are immutable and slow to load: those of one study share them."""
    return _construct("task", json.loads(settings))


def _construct(group: str, settings: dict[str, Any]) -> Any:
    try:
        return build(settings)
    except TypeError as error:  # a key that the class does not know, or a value of the wrong type
        raise InputError(f"{group}: {error}") from error


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
        "data_sha256": setup.task.checksum(),
        "packages": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "commit": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain")),
        "processor": _processor(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "threads": cell.settings["threads"],
        "wall_seconds": wall,
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        * (1 if sys.platform == "darwin" else 1024),
    }


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=CONF, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
