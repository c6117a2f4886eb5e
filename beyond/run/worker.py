"""A worker of a sweep: it trains the cells that nobody else is training, until none is left."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

from rich.console import Console

from beyond.errors import BusyError, InputError, UnsupportedError
from beyond.run.cell import Cell
from beyond.run.display import say
from beyond.run.explain import explain
from beyond.run.interruption import listening
from beyond.run.lock import PATIENCE
from beyond.run.loop import never
from beyond.run.record import RunFolder
from beyond.run.runner import INTERRUPTED, ApartError, train_stack
from beyond.run.stack import home

LOST = "lost"  # in place of a status: a cell that could not be trained, whatever its rule does


class Travelling(Protocol):
    """A cell as it travels to a worker."""

    @property
    def cell(self) -> Cell: ...


class Handed(NamedTuple):
    """A cell that travels as it is: of objects that Python has handed over."""

    cell: Cell


class Planned(NamedTuple):
    """A cell that travels as its settings: `Cell.of` makes it there."""

    settings: dict[str, Any]
    method: str
    short: str = ""  # its label among the sweep's

    @classmethod
    def of(cls, cell: Cell, method: str) -> Planned:
        """Let a cell travel; `method` is its choice in the catalogue."""
        return cls(cell.settings | {"rerun": "none"}, method, cell.short)

    @property
    def cell(self) -> Cell:
        return replace(Cell.of(self.settings, self.method), short=self.short)


@dataclass
class Worker:
    """What a launcher calls in each of its processes.

    All have the same cells, and each folder's lock says who trains which: so they share the work
    however unequal it is, and with whoever runs the same study beside them.

    Attributes
    ----------
    stacks : sequence of sequence of Travelling
        Cells that are trained together, see `beyond.run.stack`; mostly one.
    launcher : int
        The process that launches it.
    quiet : bool
        Whether nothing is told but what could not be trained.
    """

    stacks: Sequence[Sequence[Travelling]] = field(default_factory=list)
    launcher: int = field(default_factory=os.getpid)
    quiet: bool = False

    def __call__(self, _: object) -> list[str]:
        """Return the status of each cell that was trained here, `LOST` if it could not be, and
        `INTERRUPTED` at the end if there may be more to do.

        Nobody else's is waited for.
        """
        if os.getpid() == self.launcher:
            return self._statuses(never)
        statuses = list[str]()
        while True:
            with listening(self.launcher) as told:
                statuses += self._statuses(told)
            if not told.passed_on:
                return statuses
            # who handles such signals lets us go on
            statuses = [status for status in statuses if status != INTERRUPTED]

    def _statuses(self, stop: Callable[[], bool]) -> list[str]:
        statuses, waiting, patience = list[str](), list(self.stacks), 0.0
        while waiting:
            busy = [stack for stack in waiting if not self._done(stack, statuses, stop, patience)]
            if INTERRUPTED in statuses or (patience and len(busy) == len(waiting)):
                break
            # in the end: some may only have been looked at
            patience = PATIENCE if len(busy) == len(waiting) else 0.0
            waiting = busy
        return statuses

    def _done(
        self,
        stack: Sequence[Travelling],
        statuses: list[str],
        stop: Callable[[], bool],
        patience: float,
    ) -> bool:
        """Train a stack unless it is finished, and note the status of each of its cells; say
        whether it is done with. Who holds it lets it go within the seconds of patience, or not.
        """
        if INTERRUPTED in statuses:
            return True
        if stop():
            statuses.append(INTERRUPTED)
            return True
        cells = [planned.cell for planned in stack]
        console = Console(stderr=True, quiet=self.quiet)
        several = len(cells) > 1
        recorded = not several or not home(cells).exists()
        if recorded and all(RunFolder(cell.folder).finished for cell in cells):
            return True
        try:
            statuses += train_stack(cells, not several, console, patience=patience, stop=stop)
        except BusyError:
            return False
        except (ApartError, InputError, UnsupportedError, OSError) as error:  # the others go on
            if several:
                return all([self._done([one], statuses, stop, patience) for one in stack])
            say(Console(stderr=True), f"{cells[0].label}: {explain(error, [])}")
            statuses.append(LOST)
        return True
