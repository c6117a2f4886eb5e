"""`beyond plan +study=comparison`: what a command would do, what is there, and what it will cost.

Nothing is trained and nothing written. What a cell will take is told by what another with the same
method, task and network has taken for what it spent, with the same settings if there is one such,
in this study if there is one such.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from beyond.run.arm import Arm, placed
from beyond.run.cell import Cell
from beyond.run.display import counted, duration, spans
from beyond.run.plan import Agenda, Before, Plan
from beyond.run.status import progress

WIDTH = 80  # columns, at most
ROWS = 20  # of the table, so that a screen has room for it
TUNING, TUNED = "tuning", "tuned"
IN_TIME = (TUNING, "", TUNED)
Cost = Mapping[str, Any]  # of one run, see `Speeds`


class Speeds:
    """What runs take on the clock, by what others took.

    Parameters
    ----------
    costs : iterable of mapping
        Of finished runs: `method`, `task`, `network`, `variant`, `replicas`, and of all of
        them `wall` seconds and what was spent by currency; `release`, "" for the study's.
    """

    def __init__(self, costs: Iterable[Cost]) -> None:
        self._known: dict[tuple[str, ...], list[Cost]] = {}
        for cost in costs:
            alike = cost["method"], cost["task"], cost["network"]
            self._known.setdefault(alike, []).append(cost)

    def seconds(self, cell: Cell) -> float | None:
        """How long a cell will take in one process; None if nothing like it is known."""
        arm, currency = cell.arm, cell.arm.budget.currency
        alike = self._known.get((arm.name, arm.task.spec.name, arm.architecture.name), [])
        ours = _settings(arm.variant)
        for chosen in (
            [one for one in alike if not one["release"] and _settings(one["variant"]) == ours],
            [one for one in alike if not one["release"]],
            [one for one in alike if _settings(one["variant"]) == ours],
            alike,
        ):
            if chosen:
                return len(cell.seeds) * median(
                    one["wall"]
                    / (one[currency] / arm.budget.amount if one[currency] else one["replicas"])
                    for one in chosen
                )
        return None


def _settings(variant: str) -> frozenset[str]:
    """Settings other than the budget, as the table names them."""
    return frozenset(part for part in variant.split(", ") if not part.startswith("budget."))


@dataclass
class Row:
    """What becomes of an arm, or of the trials that tune it.

    Attributes
    ----------
    arm : Arm
    of : str
        What of it: "", its cells; `TUNING`, its trials; `TUNED`, what it becomes by them.
    there : dict of str to list of int
        Seeds, or trials, that stay as they are, by what they are: "" if finished, "failed", ...
    todo : list of int
        Seeds, or trials, to be trained.
    each : str
        How many seeds each of them has, in words, where it is trials.
    told : list of str
        More of these: how far what is begun of them has come; that they are trained again.
    seconds : float
        What that takes in one process.
    unknown : int
        Cells of which nothing is known.
    """

    arm: Arm
    of: str = ""
    there: dict[str, list[int]] = field(default_factory=dict)
    todo: list[int] = field(default_factory=list)
    each: str = ""
    told: list[str] = field(default_factory=list)
    seconds: float = 0.0
    unknown: int = 0

    @property
    def fate(self) -> tuple[str, str, str]:
        """What of it, what is there, and what is trained, in words."""
        there = "; ".join(
            f"{self._words(numbers)} {state}".strip() for state, numbers in self.there.items()
        )
        todo = ", ".join([self._words(self.todo) + self.each, *self.told]) if self.todo else ""
        return self.of, there, todo

    def _words(self, numbers: Sequence[int]) -> str:
        if self.of == TUNING:
            return counted(len(numbers), "trial")
        return spans(sorted(set(numbers)))


@dataclass
class Outlook:
    """What a command would do.

    Parameters
    ----------
    folder : Path
        The study's.
    speeds : Speeds
    n_processes : int
        That share the cells.
    """

    folder: Path
    speeds: Speeds
    n_processes: int

    def __post_init__(self) -> None:
        self.rows = dict[tuple[str, str], Row]()
        self._kept = dict[Path, Before]()
        self._left = list[float | None]()  # seconds of each cell that is to be trained
        self._begun = self._replicas = self._n_cells = 0

    def add(self, cell: Cell, todo: Plan, states: Mapping[str, Path]) -> None:
        """Look at a cell, and at what is left of it.

        Parameters
        ----------
        states : mapping of str to Path
            Where states are saved, by run_id: a stack's if it is trained with others.
        """
        row = self._row(cell.arm, "")
        for before in todo.kept:
            self._kept[before.path] = before
            row.there.setdefault(_state(before), []).extend(before.seeds)
        if todo.seeds:
            self._n_cells += 1
            self._replicas += len(todo.seeds)
            left = cell.of_seeds(todo.seeds)
            state = states.get(left.run_id, left.folder)
            self._begun += self._todo(row, left, todo, todo.seeds, state)

    def add_trials(self, arm: Arm, trials: Sequence[tuple[Cell, Plan]], like: Cell, n: int) -> bool:
        """Look at the trials of an arm whose settings are known, and at n later ones, like another
        cell; say whether all are there.
        """
        row = self._row(arm, TUNING)
        row.each = f" of {counted(len(like.seeds), 'seed')}"
        for number, (cell, todo) in enumerate(trials):
            if todo.seeds:
                left = cell.of_seeds(todo.seeds)
                self._todo(row, left, todo, [number], left.folder)
            else:
                row.there.setdefault(_state(todo.kept[0]), []).append(number)
        for number in range(len(trials), len(trials) + n):
            self._todo(row, like, Plan([], [], like.seeds), [number], like.folder)
        return not row.todo

    def add_tuned(self, cell: Cell) -> None:
        """Look at what an arm becomes by its trials: it takes about what it takes without."""
        row = self._row(cell.arm, TUNED)
        self._todo(row, cell, Plan([], [], cell.seeds), cell.seeds, cell.folder)
        row.told = ["unless its defaults are best"]

    def _row(self, arm: Arm, of: str) -> Row:
        return self.rows.setdefault((arm.id, of), Row(arm, of))

    def _todo(self, row: Row, cell: Cell, todo: Plan, numbers: Sequence[int], state: Path) -> bool:
        """Count what is left of a cell; say whether it is begun."""
        share, told = progress(cell.folder, state)
        seconds = self.speeds.seconds(cell)
        row.todo += numbers
        new = [told] if told else []
        new += ["again"] if todo.again else []
        row.told += [one for one in new if one not in row.told]
        row.seconds += (seconds or 0.0) * (1 - share)
        row.unknown += seconds is None
        self._left.append(None if seconds is None else seconds * (1 - share))
        return bool(told)

    def summary(self) -> Iterator[str]:
        """What is there, what is to be trained, and what that takes: a line each."""
        counts = Counter(_state(before) or "finished" for before in self._kept.values())
        there = [f"{count} {state}" for state, count in counts.most_common()]
        begun = f" ({self._begun} begun)" if self._begun else ""
        replicas = f", {self._replicas} replicas" if self._n_cells else ""
        told = ", ".join([*there, f"{self._n_cells} to train{begun}{replicas}"])
        yield f"{self.folder}: {len(self._kept) + self._n_cells} in all: {told}"
        if tunings := [row for row in self.rows.values() if row.of == TUNING]:
            n_there = sum(len(numbers) for row in tunings for numbers in row.there.values())
            n_left = sum(len(row.todo) for row in tunings)
            trials = f"{counted(n_there + n_left, 'trial')}, {n_left} to train"
            yield f"tuning of {counted(len(tunings), 'arm')}: {trials}"
        known = [seconds for seconds in self._left if seconds is not None]
        if known:
            shared = max(sum(known) / self.n_processes, *known, 0.0)
            n = min(self.n_processes, len(known))
            by = f", {duration(shared)} by {n} processes" if n > 1 else ""
            yield f"about {duration(sum(known))} of training{by}"
        if len(known) < len(self._left):
            unknown = len(self._left) - len(known)
            of = f"{unknown} of {len(self._left)}" if known else "any"
            yield f"no speed is recorded for {of} of these cells"

    def table(self) -> Table:
        """A row for each arm, at most `WIDTH` wide; what becomes of arms alike is one row where
        there would be more rows than a screen has.
        """
        table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
        table.add_column("arm", overflow="fold")
        table.add_column("there", overflow="fold")
        table.add_column("to train", overflow="fold")
        table.add_column("takes", justify="right", overflow="fold")
        names = placed(row.arm for row in self.rows.values())
        order = {
            name: number for number, name in enumerate(dict.fromkeys(arm for arm, _ in self.rows))
        }
        every = sorted(
            self.rows.values(), key=lambda row: (order[row.arm.id], IN_TIME.index(row.of))
        )
        for place, rows in _grouped(every, lambda row: names[row.arm.id][0]).items():
            if place:
                table.add_row(Text(place, style="bold"))
            groups = _grouped(rows, lambda row: row.fate if self.merged else (row.arm.id, row.of))
            for alike in groups.values():
                told = names[alike[0].arm.id][1] if len(alike) == 1 else f"{len(alike)} arms"
                of, there, todo = alike[0].fate
                arm = f"{told}, {of}" if of else told
                table.add_row(*map(Text, (arm, there, todo, _takes(alike))))
        return table

    @property
    def merged(self) -> bool:
        """Whether a row is of several arms."""
        return len(self.rows) > ROWS


def _takes(rows: Sequence[Row]) -> str:
    """How long what is to be trained takes, in words."""
    seconds, unknown = sum(row.seconds for row in rows), sum(row.unknown for row in rows)
    told = [duration(seconds)] if seconds or not unknown else []
    several = sum(len(row.todo) > 0 for row in rows) > 1
    told += [f"{unknown} unknown" if several else "unknown"] if unknown else []
    return ", ".join(told) if any(row.todo for row in rows) else ""


def _grouped(rows: Iterable[Row], key: Callable[[Row], Any]) -> dict[Any, list[Row]]:
    """Rows by what they have in common, in the order of the first of each."""
    found: dict[Any, list[Row]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return found


def show(outlook: Outlook, agenda: Agenda) -> None:
    """Print what a command would do."""
    console = Console()
    console = Console(width=min(console.width, WIDTH))
    for line in [*outlook.summary(), *agenda.understood]:
        console.print(Text(line))
    console.print(outlook.table())
    if outlook.merged:
        console.print(Text("the same with task=NAME or method=NAME tells of single arms"))


def _state(before: Before) -> str:
    """What a cell that stays is; "" if that is finished, and of today's code and data."""
    stale = ["stale"] if before.changed else []
    return ", ".join([*([before.status] if before.status != "finished" else []), *stale])
