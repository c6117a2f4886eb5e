"""A worker of a sweep: it trains the cells that nobody else is training, until none is left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from rich.console import Console

from beyond.errors import BusyError, InputError, UnsupportedError
from beyond.run.cell import Cell
from beyond.run.display import say
from beyond.run.explain import explain
from beyond.run.record import RunFolder
from beyond.run.runner import train_cell

LOST = "lost"  # in place of a status: a cell that could not be trained, whatever its rule does


class Planned(NamedTuple):
    """A cell as it travels to a worker: `Cell.of` makes it there."""

    settings: dict[str, Any]
    method: str
    short: str = ""  # its label among the sweep's

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
    cells : sequence of Planned
    """

    cells: Sequence[Planned] = field(default_factory=list)

    def __call__(self, _: object) -> list[str]:
        """Return the status of each cell that was trained here, `LOST` if it could not be.

        Nobody else's is waited for.
        """
        statuses, waiting = list[str](), list(self.cells)
        while waiting:
            busy = [planned for planned in waiting if not self._done(planned, statuses)]
            if len(busy) == len(waiting):
                break
            waiting = busy
        return statuses

    def _done(self, planned: Planned, statuses: list[str]) -> bool:
        """Train a cell unless it is finished, and note its status; say whether it is done with."""
        cell, console = planned.cell, Console(stderr=True)
        if RunFolder(cell.folder).finished:
            return True
        try:
            status = train_cell(cell, True, console, shown=False, patience=0)
        except BusyError:
            return False
        except (InputError, UnsupportedError, OSError) as error:  # the others go on
            say(console, f"{cell.label}: {explain(error, [])}")
            status = LOST
        statuses += [status] if status else []
        return True
