"""A cell is trained: what its study lacks of it becomes a finished run folder."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from threadpoolctl import ThreadpoolController

from beyond.errors import BusyError, InputError, UnsupportedError
from beyond.hardware import Hardware
from beyond.run import provenance
from beyond.run.arm import best_known
from beyond.run.cell import Cell, prepare
from beyond.run.display import bar, result, say, spans
from beyond.run.interruption import noting
from beyond.run.live import follower, following
from beyond.run.lock import PATIENCE
from beyond.run.loop import Progress, never, skip, train
from beyond.run.outcome import worst
from beyond.run.plan import DATA, finished_before, give_up, note_stale, plan
from beyond.run.record import WEIGHTS, Part, RunFolder
from beyond.run.setup import Setup
from beyond.run.stack import home, joined
from beyond.run.status import BEGINS, said
from beyond.run.trained import kept

INTERRUPTED = "interrupted"  # in place of a status: stopped on the way, with its state saved


class ApartError(Exception):
    """A program of several cells failed: they are to be trained one by one."""


def run_cell(cell: Cell, keep_skipped: bool, shown: bool, quiet: bool = False) -> str:
    """Train what the study lacks of a cell, or go on with it; return its replicas' worst status,
    or `INTERRUPTED`.

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
    follower(cell.run.follow)  # refused even where there is nothing to follow
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
        if status == INTERRUPTED:
            return status
        statuses += [status] if status else []
    if not keep_skipped:  # a sweep does so at its end
        note_stale(cell.study, todo.kept)
    return worst(statuses)


@contextmanager
def arithmetic(threads: int, hardware: Hardware) -> Iterator[None]:
    """Compute with so many threads, without denormal numbers; then as before."""
    before = torch.get_num_threads()
    torch.set_flush_denormal(True)  # memorised data drives gradients denormal, which is slow
    torch.set_num_threads(threads)
    try:
        with _pools(len(sys.modules)).limit(limits=threads), hardware.repeatable():
            yield
    finally:
        torch.set_num_threads(before)
        torch.set_flush_denormal(False)


@lru_cache(maxsize=1)
def _pools(_: int) -> ThreadpoolController:
    """Find the thread pools of all libraries; again when modules, which bring them, are added."""
    return ThreadpoolController()


def train_cell(
    cell: Cell, keep_skipped: bool, console: Console, shown: bool, patience: float = PATIENCE
) -> str | None:
    """Train all seeds of a cell, which no other has; return its replicas' worst status.

    None if another process has finished it since the study was planned. See `train_stack`.
    """
    statuses = train_stack([cell], keep_skipped, console, shown, patience)
    return statuses[0] if statuses else None


def train_stack(
    cells: Sequence[Cell],
    keep_skipped: bool,
    console: Console,
    shown: bool = False,
    patience: float = PATIENCE,
    stop: Callable[[], bool] = never,
) -> list[str]:
    """Train the cells of a stack as one program and record each; return each one's worst status.

    A signal (see `beyond.run.interruption`) ends them at the next step with their state saved:
    then `INTERRUPTED` is all that is returned.

    Nothing of those that are finished: another process has trained them since the study was
    planned, or was interrupted while it recorded the stack.

    Parameters
    ----------
    keep_skipped, shown : bool
        As in `run_cell`.
    console : Console
        For the line at the end.
    patience : float
        Seconds to wait for a process that only looks whether another is at it.
    stop : callable
        Asked before every step whether to end as after a signal.

    Raises
    ------
    BusyError
        If another process is training one of the cells, or one of its seeds.
    ApartError
        If a program of several cells fails: trained by itself, each shows whether it is its fault.
    """
    first, several = cells[0], len(cells) > 1
    with ExitStack() as stack:
        noted = stack.enter_context(noting())
        stack.enter_context(arithmetic(first.run.threads, first.arm.hardware))
        folders = [stack.enter_context(_held(cell, console, patience)) for cell in cells]
        state = folders[0]
        if several:
            origin = _origin(first, home(cells).name)
            state = RunFolder(home(cells), first.run.save_every, origin)
            stack.enter_context(state.locked(patience=patience))
        if all(folder.finished for folder in folders):
            if several:
                state.remove()
            return []
        setup, snapshot = joined(cells), state.resume()
        label = first.label + f" and {len(cells) - 1} more" * several
        if state.unusable:
            say(console, f"{label}: {state.unusable}, starting again")
        try:
            with (
                bar(console if shown else None, label) as move,
                _followed(cells, setup, console) as follow,
            ):
                asked = lambda: noted() or stop()  # noqa: E731
                ended = _train(setup, state, snapshot, keep_skipped, move, follow, asked)
        except (UnsupportedError, InputError):
            if several or not state.begun:
                state.remove()
            raise
        if not ended.runs:
            state.save()
            return [INTERRUPTED]
        wall = state.seconds
        if several and "failed" in (row["status"] for row in ended.runs):
            state.remove()
            raise ApartError(next(row["reason"] for row in ended.runs if row["reason"]))
        if several:  # it stays until the last of them is recorded
            state.save()
        parts = state.parts()
        statuses = [
            _record(cell, folder, setup, ended, parts, wall, console)
            for cell, folder in zip(cells, folders, strict=True)
            if not folder.finished
        ]
        if several:
            state.remove()
    return statuses


@contextmanager
def _followed(
    cells: Sequence[Cell], setup: Setup, console: Console
) -> Iterator[Callable[[Progress], None]]:
    """Let the follower that was asked for follow the cells of a stack."""
    first, labels = cells[0], {cell.run_id: cell.label for cell in cells}
    kind = follower(first.run.follow)
    runs = [
        {**identity, "seed": seed, "label": labels[identity["run_id"]]}
        for identity, seed in zip(setup.identities, setup.seeds, strict=True)
    ]
    tell = lambda line: say(console, f"{first.label}: {line}")  # noqa: E731
    with following(kind, first.study, runs, tell) as follow:
        yield follow


def fail_cell(cell: Cell, reason: str, console: Console) -> None:
    """Record a cell as failed, of which nothing is known but why."""
    with _held(cell, console, PATIENCE) as folder:
        setup = prepare(cell)
        ended = skip(setup, reason, "failed")
        folder.add(ended)
        _record(cell, folder, setup, ended, folder.parts(), 0.0, console)


def _record(
    cell: Cell,
    folder: RunFolder,
    setup: Setup,
    ended: Progress,
    parts: Mapping[str, Part],
    wall: float,
    console: Console,
) -> str:
    """Write what came of one cell of a stack; return its replicas' worst status."""
    replicas, part = setup.cells[cell.run_id], parts[cell.run_id]
    rows = part.rows["runs"]
    wall *= len(replicas) / len(setup.seeds)
    status = worst([row["status"] for row in rows])
    reasons = sorted({row["reason"] for row in rows if row["reason"]})
    manifest = _manifest(cell, setup, rows, status, reasons, wall)
    if cell.run.keep_weights:
        states = {setup.seeds[r]: ended.selected[r] for r in replicas if r in ended.selected}
        manifest["files"] = {WEIGHTS: folder.keep(kept(setup.method, setup.network, states))}
    folder.close(manifest, part)
    told = result(rows, reasons, wall, cell.told_split)
    say(console, f"{cell.label}: {status}, {told}, in {folder.path}")
    return status


@contextmanager
def _held(cell: Cell, console: Console, patience: float) -> Iterator[RunFolder]:
    """Hold a cell's folder, with its log, against others who would train one of its seeds."""
    folder = RunFolder(cell.folder, cell.run.save_every, _origin(cell, cell.run_id))
    with folder.locked(cell.seeds, patience) as caveat, _log(folder.path, cell):
        if caveat:
            say(console, f"{cell.label}: {caveat}")
        _refuse_overlap(cell)
        yield folder


def _origin(cell: Cell, settings: str) -> dict[str, str]:
    """What decides a result, and its hashes; the hash of the settings is given."""
    return {**cell.sources, DATA: cell.data, "its settings": settings}


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
    follow: Callable[[Progress], None],
    stop: Callable[[], bool],
) -> Progress:
    """Record all that a run yields; return the last of it, without `runs` if it was stopped."""
    progress: Progress | None = None
    try:
        for progress in train(setup, snapshot, stop):
            folder.add(progress)
            follow(progress)
            if progress.curves or progress.of == "pre-training":
                told = progress.spent, progress.score, progress.of
                logging.info(said(*told))
                move(*told)
    except UnsupportedError as error:
        if not keep_skipped:
            raise
        progress = skip(setup, str(error))
        folder.add(progress)
        follow(progress)
    assert progress is not None
    return progress


@contextmanager
def _log(folder: Path, cell: Cell) -> Iterator[None]:
    """Write the log to the run's folder, from whose it is."""
    handler = _LogFile(folder / "log.txt", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    handler.handle(logging.makeLogRecord({"levelname": "INFO", "msg": BEGINS + cell.arm.label}))
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.INFO)
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        with suppress(OSError):
            handler.close()


class _LogFile(logging.FileHandler):
    """A log that ends where there is no room for more: a run that needs room says so itself."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Write no traceback a line."""


def _manifest(
    cell: Cell, setup: Setup, rows: list[dict], status: str, reasons: Sequence[str], wall: float
) -> dict[str, Any]:
    """Where the tables come from."""
    return {
        "run_id": cell.run_id,
        "status": status,
        "reasons": reasons,
        "identity": setup.identities[setup.cells[cell.run_id][0]],
        "settings": cell.settings,
        "seeds": cell.seeds,
        "split": rows[0]["split"],
        "source_digest": provenance.digest(cell.sources),
        "sources": cell.sources,
        "cited": provenance.cited(method=cell.arm.method, task=cell.arm.task),
        "data_sha256": cell.data,
        "classes": list(setup.task.classes),
        "best_known": best_known(setup.task),
        "packages": provenance.packages(setup.task.PACKAGES),
        "threads": cell.run.threads,
        "device": cell.arm.hardware.told,
        "n_replicas": len(setup.seeds),
        "wall_seconds": wall,
        **provenance.machine(),
    }
