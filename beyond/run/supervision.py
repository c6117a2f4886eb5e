"""Workers are watched: told when to end, and started again where one of them is killed."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager, suppress
from multiprocessing import active_children
from multiprocessing.connection import wait
from pathlib import Path
from signal import SIGTERM, Signals, raise_signal
from threading import Event, Thread
from time import sleep
from typing import Any

from rich.console import Console

from beyond.run.display import say
from beyond.run.interruption import WORD, noting, unheard
from beyond.run.record import TRAINER, RunFolder
from beyond.run.runner import INTERRUPTED, fail_cell
from beyond.run.stack import home
from beyond.run.worker import LOST, Travelling, Worker

EVERY = 0.1  # seconds between two looks at the workers, and between two words to them
DEATHS = 2  # of the process that trains a cell: then the cell has failed
VAIN = 3  # times in a row that a worker is killed, not by a cell, and none is finished


def shared(
    stacks: Sequence[Sequence[Travelling]],
    launch: Callable[[Worker], Sequence[list[str]]],
    study: Path,
    quiet: bool = False,
) -> list[str]:
    """Let workers train cells until all are done with; return the statuses of those trained.

    A signal that comes while they work is told to them, and raises when they have saved it. Where a
    worker is killed they lose what they have not saved, and are launched again for what is left; a
    cell that kills its process twice is recorded as failed.

    Parameters
    ----------
    stacks : sequence of sequence of Travelling
        See `Worker`.
    launch : callable
        Runs as many workers as there are to be, here or in other processes, and returns what each
        of them does; `BrokenExecutor` if one was killed.
    study : Path
        The cells' folder.
    quiet : bool
        See `Worker`.
    """
    console, left = Console(stderr=True), [list(stack) for stack in stacks]
    ended, deaths, vain = dict[str, str](), Counter[str](), 0
    while left:
        with _watched(study) as watch, unheard():
            try:
                returned = [status for one in launch(Worker(left, quiet=quiet)) for status in one]
            except BrokenExecutor:
                returned = [INTERRUPTED]
        if INTERRUPTED not in returned:
            return [*ended.values(), *_lost_once(returned, left)]
        before = len(ended)
        left = [rest for stack in left if (rest := _rest(stack, ended))]
        vain = vain + 1 if len(ended) == before else 0
        if watch.killed is not None:
            pid, how = watch.killed
            at = next((n for n, stack in enumerate(left) if _trainer(stack) == pid), None)
            if at is None:
                say(console, f"a worker was killed {how}")
            else:
                vain = 0
                left[at : at + 1] = _after_death(left[at], how, deaths, ended, console)
        if vain == VAIN:
            say(console, f"workers were killed {VAIN} times, and nothing was finished in between")
            return [*ended.values(), *[LOST] * sum(map(len, left))]
    return list(ended.values())


def _lost_once(statuses: Sequence[str], stacks: Sequence[Sequence[Travelling]]) -> list[str]:
    """Count a cell that was lost once, if at all: each worker tries it, and one may train it."""
    others = [status for status in statuses if status != LOST]
    if len(others) == len(statuses):
        return others
    cells = [planned.cell for stack in stacks for planned in stack]
    missing = [cell for cell in cells if not RunFolder(cell.folder).finished]
    return others + [LOST] * min(len(missing), len(statuses) - len(others))


def _rest(stack: Sequence[Travelling], ended: dict[str, str]) -> list[Travelling]:
    """What is left of a stack; note the statuses of the others."""
    cells = [planned.cell for planned in stack]
    manifests = [RunFolder(cell.folder).manifest() for cell in cells]
    ended |= {one["run_id"]: one["status"] for one in manifests if one}
    if len(cells) > 1 and home(cells).exists():  # it is trained as it was begun
        return list(stack)
    return [planned for planned, one in zip(stack, manifests, strict=True) if not one]


def _trainer(stack: Sequence[Travelling]) -> int | None:
    return RunFolder(stack[0].cell.folder).trainer


def _after_death(
    stack: list[Travelling], how: str, deaths: Counter[str], ended: dict[str, str], console: Console
) -> list[list[Travelling]]:
    """What is trained again of a stack whose process was killed: after two deaths its cells one by
    one; of one cell nothing, it has failed.
    """
    cells = [planned.cell for planned in stack]
    where = RunFolder(home(cells))
    deaths[where.path.name] += 1
    if deaths[where.path.name] < DEATHS:
        several = f" and {len(cells) - 1} more" * (len(cells) > 1)
        say(console, f"{cells[0].label}{several}: process killed {how}, trying again")
        return [stack]
    if len(cells) > 1:
        with where.locked():
            where.remove()
        return [[planned] for planned in stack]
    fail_cell(cells[0], f"its process was killed twice, {how}", console)
    ended[cells[0].run_id] = "failed"
    return []


@contextmanager
def _watched(study: Path) -> Iterator[_Watch]:
    """Watch the processes that are started meanwhile; tell them what a signal tells us."""
    with noting(lambda: WORD is not None and _training(study)) as asked:
        watch = _Watch(study, asked)
        watch.start()
        try:
            yield watch
        finally:
            watch.over.set()
            watch.join()


class _Watch(Thread):
    """Sees which of our processes is killed first: an executor then kills the others.

    Attributes
    ----------
    killed : tuple of int and str, optional
        Which it was, and how it ended; none if that cannot be told.
    over : Event
        Set when there is nothing left to watch.
    """

    def __init__(self, study: Path, asked: Callable[[], bool]) -> None:
        super().__init__(daemon=True)
        self._study = study
        self.killed: tuple[int, str] | None = None
        self.over = Event()
        self._asked = asked
        self._watching = True

    def run(self) -> None:
        """Look, and tell, again and again."""
        known = dict[Any, Any]()
        while not self.over.is_set():
            known |= {child.sentinel: child for child in active_children()}
            if self._asked():
                self._tell([child.pid for child in known.values()])
            if not known:
                self.over.wait(EVERY)
                continue
            ended = [known.pop(sentinel) for sentinel in wait(list(known), EVERY)]
            codes = {child.pid: _exit_code(child) for child in ended}
            violent = {pid: code for pid, code in codes.items() if code}
            if violent and self._watching:
                self._watching = False
                if len(violent) == 1:
                    ((pid, code),) = violent.items()
                    self.killed = pid, _how(code)

    def _tell(self, pids: list[int]) -> None:
        """Let processes end; when none has anything to save, nobody is waited for."""
        if not _training(self._study):
            raise_signal(SIGTERM)
            self.over.wait()
        for pid in pids:
            with suppress(OSError):  # it is gone
                os.kill(pid, WORD or 0)


def _training(study: Path) -> bool:
    """Say whether a process that we have started trains a cell."""
    pids = {child.pid for child in active_children()}
    folders = (path.parent for path in study.glob(f"*/{TRAINER}"))
    return any(RunFolder(folder).trainer in pids for folder in folders)


def _exit_code(child: Any) -> int:
    """Exit status of an ended process, negative for a signal; it may take a moment."""
    for _ in range(100):
        if child.exitcode is not None:
            return child.exitcode
        sleep(0.01)
    return 0


def _how(code: int) -> str:
    if code > 0:
        return f"with exit status {code}"
    name = Signals(-code).name
    return f"by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
