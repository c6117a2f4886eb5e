"""A cell is trained: what its study lacks of it becomes a finished run folder."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from rich.console import Console
from threadpoolctl import threadpool_limits

from beyond.errors import BusyError, InputError, UnsupportedError
from beyond.run import provenance
from beyond.run.cell import Cell, prepare
from beyond.run.display import bar, result, say, spans
from beyond.run.lock import PATIENCE
from beyond.run.loop import Progress, skip, train
from beyond.run.outcome import worst
from beyond.run.plan import DATA, finished_before, give_up, note_stale, plan
from beyond.run.record import WEIGHTS, RunFolder
from beyond.run.setup import Setup
from beyond.run.trained import kept


def run_cell(cell: Cell, keep_skipped: bool, shown: bool, quiet: bool = False) -> str:
    """Train what the study lacks of a cell, or go on with it; return its replicas' worst status.

    Parameters
    ----------
    keep_skipped : bool
        Record a method that cannot serve as skipped (in a study) instead of raising
        `UnsupportedError`.
    shown : bool
        Draw a progress bar until the line at the end.
    quiet : bool
        Say nothing at all.

    Raises
    ------
    BusyError
        If another process is training this cell, or one of its seeds.
    """
    console = Console(stderr=True, quiet=quiet)
    todo = plan(cell)
    for before in todo.kept:
        say(console, before.line(cell.label))
    statuses = [before.status for before in todo.kept]
    for before in todo.again:
        if before.lacks_weights(cell.run):
            lacking = f"no weights of seeds {spans(before.seeds)} are kept"
            say(console, f"{cell.label}: {lacking}, training again")
    if todo.seeds:
        left = cell.of_seeds(todo.seeds)
        prepare(left)  # refused before anything is given up
        give_up(todo.again)
        status = train_cell(left, keep_skipped, console, shown)
        if status is None and (before := finished_before(left, left.folder)):
            say(console, before.line(cell.label))
            status = before.status
        statuses += [status] if status else []
    if not keep_skipped:  # a sweep does so at its end
        note_stale(cell.study, todo.kept)
    return worst(statuses)


@contextmanager
def _arithmetic(threads: int) -> Iterator[None]:
    """Compute with so many threads, without denormal numbers; then as before."""
    before = torch.get_num_threads()
    torch.set_flush_denormal(True)  # memorised data drives gradients denormal, which is slow
    torch.set_num_threads(threads)
    try:
        with threadpool_limits(threads):
            yield
    finally:
        torch.set_num_threads(before)
        torch.set_flush_denormal(False)


def train_cell(
    cell: Cell, keep_skipped: bool, console: Console, shown: bool, patience: float = PATIENCE
) -> str | None:
    """Train all seeds of a cell, which no other has; return its replicas' worst status.

    None if another process has finished it since the study was planned.

    Parameters
    ----------
    keep_skipped, shown : bool
        As in `run_cell`.
    console : Console
        For the line at the end.
    patience : float
        Seconds to wait for a process that only looks whether another is at it.

    Raises
    ------
    BusyError
        If another process is training the cell, or one of its seeds.
    """
    origin = {**cell.sources, DATA: cell.data, "its settings": cell.run_id}
    folder = RunFolder(cell.folder, cell.run.save_every, origin)
    with (
        _arithmetic(cell.run.threads),
        folder.locked(cell.seeds, patience) as caveat,
        _log(folder.path),
    ):
        if caveat:
            say(console, f"{cell.label}: {caveat}")
        _refuse_overlap(cell)
        if folder.finished:
            return None
        setup = prepare(cell)
        snapshot = folder.resume()
        if folder.unusable:
            say(console, f"{cell.label}: {folder.unusable}, starting again")
        clock = perf_counter()
        try:
            with bar(console if shown else None, cell.label) as move:
                ended = _train(setup, folder, snapshot, keep_skipped, move)
        except (UnsupportedError, InputError):
            if not folder.begun:
                folder.remove()
            raise
        wall, rows = perf_counter() - clock, ended.runs
        status = worst([row["status"] for row in rows])
        reasons = sorted({row["reason"] for row in rows if row["reason"]})
        manifest = _manifest(cell, setup, rows, status, reasons, wall)
        if cell.run.keep_weights:
            weights = kept(setup.method, setup.network, ended.selected)
            manifest["files"] = {WEIGHTS: folder.keep(weights)}
        folder.close(manifest)
    say(console, f"{cell.label}: {status}, {result(rows, reasons, wall)}, in {folder.path}")
    return status


def _refuse_overlap(cell: Cell) -> None:
    """Raise `BusyError` if another process trains a seed, or just has; ours is locked."""
    for path in sorted(cell.study.glob(f"{cell.arm.id}-*")):
        if path != cell.folder and RunFolder(path).claims(cell.seeds):
            raise BusyError(f"another process is writing {str(path)!r}, with seeds of {cell.label}")


def _train(
    setup: Setup,
    folder: RunFolder,
    snapshot: dict[str, Any] | None,
    keep_skipped: bool,
    move: Callable[..., None],
) -> Progress:
    """Record all that a run yields; return the last of it."""
    progress: Progress | None = None
    try:
        for progress in train(setup, snapshot):
            folder.add(progress)
            if not progress.runs:
                told = progress.spent, progress.score, progress.of
                logging.info("spent %.4f validation %.4f of %s", *told)
                move(*told)
    except UnsupportedError as error:
        if not keep_skipped:
            raise
        progress = skip(setup, str(error))
        folder.add(progress)
    assert progress is not None
    return progress


@contextmanager
def _log(folder: Path) -> Iterator[None]:
    """Write the log to the run's folder."""
    handler = logging.FileHandler(folder / "log.txt", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.INFO)
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        handler.close()


def _manifest(
    cell: Cell, setup: Setup, rows: list[dict], status: str, reasons: Sequence[str], wall: float
) -> dict[str, Any]:
    """Where the tables come from."""
    return {
        "run_id": cell.run_id,
        "status": status,
        "reasons": reasons,
        "identity": setup.identity,
        "settings": cell.settings,
        "seeds": setup.seeds,
        "split": rows[0]["split"],
        "source_digest": provenance.digest(cell.sources),
        "sources": cell.sources,
        "data_sha256": cell.data,
        "classes": list(setup.task.classes),
        "packages": provenance.packages(setup.task.PACKAGES),
        "threads": cell.run.threads,
        "wall_seconds": wall,
        **provenance.machine(),
    }
