"""`beyond plan +study=comparison`: what a command would do, what is there, and what it will cost.

Nothing is trained and nothing written. What a cell will take is told by what another with the same
method, task and network has taken for what it spent, with the same settings if there is one such,
in this study if there is one such.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from beyond.run.arm import Arm, labels
from beyond.run.cell import Cell
from beyond.run.display import duration, spans
from beyond.run.plan import Agenda, Before, Plan
from beyond.run.status import progress

WIDTH = 80  # columns, at most
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
class ArmOutlook:
    """What becomes of an arm.

    Attributes
    ----------
    arm : Arm
    there : dict of str to list of int
        Seeds that stay as they are, by what they are: "" if finished, "failed", "stale", ...
    seeds : list of int
        To be trained.
    told : list of str
        How far what is begun of them has come; that they are trained again.
    seconds : float
        What that takes in one process.
    unknown : int
        Cells of which nothing is known.
    """

    arm: Arm
    there: dict[str, list[int]]
    seeds: list[int]
    told: list[str]
    seconds: float = 0.0
    unknown: int = 0

    @property
    def kept(self) -> str:
        """What is there, in words."""
        return "; ".join(
            f"{spans(sorted(set(seeds)))} {state}".strip() for state, seeds in self.there.items()
        )


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
        self.arms = dict[str, ArmOutlook]()
        self._kept = dict[Path, Before]()
        self._left = list[float | None]()  # seconds of each cell that is to be trained
        self._begun = self._replicas = 0

    def add(self, cell: Cell, todo: Plan) -> None:
        """Look at a cell, and at what is left of it."""
        arm = self.arms.setdefault(cell.arm.id, ArmOutlook(cell.arm, {}, [], []))
        for before in todo.kept:
            if before.path not in self._kept:
                self._kept[before.path] = before
                arm.there.setdefault(_state(before), []).extend(before.seeds)
        if not todo.seeds:
            return
        left = cell.of_seeds(todo.seeds)
        share, told = progress(left.folder)
        seconds = self.speeds.seconds(left)
        arm.seeds += todo.seeds
        arm.told += [told] if told else []
        arm.told += ["again"] if todo.again else []
        arm.seconds += (seconds or 0.0) * (1 - share)
        arm.unknown += seconds is None
        self._left.append(None if seconds is None else seconds * (1 - share))
        self._begun += bool(told)
        self._replicas += len(todo.seeds)

    def summary(self) -> Iterator[str]:
        """What is there, what is to be trained, and what that takes: a line each."""
        counts = Counter(_state(before) or "finished" for before in self._kept.values())
        there = [f"{count} {state}" for state, count in counts.most_common()]
        n_left = len(self._left)
        begun = f" ({self._begun} begun)" if self._begun else ""
        replicas = f", {self._replicas} replicas" if n_left else ""
        told = ", ".join([*there, f"{n_left} to train{begun}{replicas}"])
        yield f"{self.folder}: {len(self._kept) + n_left} in all: {told}"
        known = [seconds for seconds in self._left if seconds is not None]
        if known:
            shared = max(sum(known) / self.n_processes, *known, 0.0)
            n = min(self.n_processes, len(known))
            by = f", {duration(shared)} by {n} processes" if n > 1 else ""
            yield f"about {duration(sum(known))} of training{by}"
        if len(known) < n_left:
            of = f"{n_left - len(known)} of {n_left}" if known else "any"
            yield f"no speed is recorded for {of} of these cells"

    def table(self) -> Table:
        """A row for each arm, at most `WIDTH` wide."""
        table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
        table.add_column("arm", overflow="fold")
        table.add_column("there", overflow="fold")
        table.add_column("to train", overflow="fold")
        table.add_column("takes", justify="right", no_wrap=True)
        short = labels(one.arm for one in self.arms.values())
        for name, one in self.arms.items():
            todo = ", ".join([spans(one.seeds), *one.told]) if one.seeds else ""
            takes = ("unknown" if one.unknown else duration(one.seconds)) if one.seeds else ""
            table.add_row(*map(Text, (short[name], one.kept, todo, takes)))
        return table


def show(outlook: Outlook, agenda: Agenda) -> None:
    """Print what a command would do."""
    console = Console()
    console = Console(width=min(console.width, WIDTH))
    for line in [*outlook.summary(), *agenda.understood]:
        console.print(Text(line))
    console.print(outlook.table())


def _state(before: Before) -> str:
    """What a cell that stays is; "" if that is finished, and of today's code and data."""
    stale = ["stale"] if before.changed else []
    return ", ".join([*([before.status] if before.status != "finished" else []), *stale])
