"""A study's runs, asked for by a command or from Python: all are checked before the first is
trained; then processes share what is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter, sleep

from rich.console import Console

from beyond.run.arm import labels
from beyond.run.cell import Cell
from beyond.run.display import counted, say, ticking
from beyond.run.lock import is_held
from beyond.run.plan import Agenda, Before, Plan, note_stale
from beyond.run.stack import to_train
from beyond.run.status import EVERY, Count, elsewhere, note_planned
from beyond.run.supervision import shared
from beyond.run.worker import LOST, Travelling, Worker


@dataclass(frozen=True)
class Schedule:
    """What is left to train of the cells that were asked for.

    Attributes
    ----------
    cells : list of Cell
        All that were asked for.
    kept : list of Before
        Cells that are left alone.
    short : dict of str to str
        Labels of arms, by id.
    left : list of str
        The run_ids of cells to train.
    labels : dict of str to str
        Of all cells, by run_id.
    stacks : list of list of Travelling
        What is trained, each together (see `beyond.run.stack`).
    """

    cells: list[Cell]
    kept: list[Before]
    short: dict[str, str]
    left: list[str]
    labels: dict[str, str]
    stacks: list[list[Travelling]]

    def train(
        self,
        study: Path,
        launch: Callable[[Worker], Sequence[list[str]]],
        quiet: bool = False,
        waits: bool = False,
    ) -> list[str]:
        """Let processes share the stacks; return the statuses of those trained (see `shared`).

        Parameters
        ----------
        study : Path
            The cells' folder, which has notes of them beside it for `beyond status` and the report.
        launch, quiet
            As `shared` takes them.
        waits : bool
            Whether cells that other processes train are waited for, and trained here if those end
            before: what follows depends on them.
        """
        note_planned(study, self.labels)
        statuses, count = list[str](), Count(study, self.left)
        if self.stacks:
            console = Console(stderr=True, quiet=quiet)
            with ticking(console, lambda: count(perf_counter())):
                statuses = shared(self.stacks, launch, study, quiet)
                while waits and LOST not in statuses and (theirs := elsewhere(study, self.left)):
                    while any(is_held(study / name / "lock") for name in theirs):
                        sleep(EVERY)
                    statuses += shared(self.stacks, launch, study, quiet)
            for name in () if waits else elsewhere(study, self.left):
                say(
                    console,
                    f"{self.labels[name]}: another process trains it, the report is without it",
                )
        note_stale(study, self.kept)
        return statuses


def scheduled(
    asked: Iterable[tuple[Cell, str]],
    n_cells: int,
    packed: Callable[[Cell, str], Travelling],
    console: Console,
) -> Schedule:
    """Refuse cells of which one is out of range; return what is left to train, each seed once.

    Parameters
    ----------
    asked : iterable of (Cell, str)
        Each with its method's choice.
    n_cells : int
        How many they are.
    packed : callable
        Returns a cell, with its method's choice, as it travels to a worker.
    console : Console
        For what is told of data, and of cells that stay.

    Raises
    ------
    InputError
        As `Agenda.add` does.
    """
    agenda, left, cells = Agenda(), set[str](), list[Cell]()
    found, methods = dict[str, Cell](), dict[str, str]()
    for cell, method, todo in checked(asked, n_cells, agenda, console):
        cells.append(cell)
        if holder := todo.holder(cell):
            found[holder.run_id], methods[holder.run_id] = holder, method
            left |= {holder.run_id} if todo.seeds else set()
    for line in agenda.begin():
        say(console, line)
    there = {one.path.name: agenda.arms[one.arm_id].label for one in agenda.kept}
    short = dict(zip(found, agenda.short(list(found.values())), strict=True))
    return Schedule(
        cells,
        agenda.kept,
        labels(agenda.arms.values()),
        sorted(left),
        there | {name: cell.label for name, cell in found.items()},
        [
            [
                packed(replace(cell, short=short[cell.run_id]), methods[cell.run_id])
                for cell in stack
            ]
            for stack in to_train(list(found.values()), left)
        ],
    )


def checked(
    asked: Iterable[tuple[Cell, str]], n_cells: int, agenda: Agenda, console: Console
) -> Iterator[tuple[Cell, str, Plan]]:
    """Every cell, its choice of a method, and what is left; `InputError` as of `Agenda.add`."""
    number = 0

    def told() -> str:
        return f"checked {number} of {n_cells} runs before the first is trained"

    with ticking(console, told):
        for number, (cell, method) in enumerate(asked):  # noqa: B007  told meanwhile
            yield cell, method, agenda.add(cell)


def lost(statuses: Sequence[str], same: str) -> str:
    """Tell how many cells could not be trained, "" if none; `same` is what tries again."""
    n_lost = statuses.count(LOST)
    runs = counted(n_lost, "run")
    return f"{runs} not trained, see above; the same {same} tries again" if n_lost else ""
