"""What a user sees of a run: lines, and a bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from math import isnan
from threading import Event, Thread
from time import perf_counter
from typing import Any

from rich.console import Console
from rich.control import Control
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.segment import ControlType
from rich.table import Column

SILENCE = 10.0  # seconds without a word, at most
RENEWED = 1.0  # seconds between two states of a terminal's last line
OTHERS = 41  # columns of a bar that are not its label's


@contextmanager
def bar(console: Console | None, label: str) -> Iterator[Callable[[float, float, str], None]]:
    """Draw a progress bar, or say a line now and then where there is no terminal; yield what moves
    it, told the share of the budget and the score; or the share of what is learnt before it, and
    what that is. Without a console nothing is told.
    """
    columns = (
        TextColumn(
            "{task.description}",
            markup=False,
            table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
        ),
        BarColumn(bar_width=8),
        TextColumn("{task.percentage:>3.0f} %{task.fields[of]}"),
        TextColumn("{task.fields[score]}"),
        TimeElapsedColumn(),
    )
    begun, at = perf_counter(), (0.0, float("nan"), "budget")

    def told() -> str:
        spent, score, of = at
        seconds = duration(perf_counter() - begun)
        return ", ".join(filter(None, [f"{label}: {spent:.0%} of {of}", _scored(score), seconds]))

    drawn = console is not None and console.is_terminal
    lines = nullcontext() if console is None or drawn else ticking(console, told)
    with Progress(*columns, console=console, disable=not drawn, expand=True) as shown, lines:
        # on what it is, is left out where that leaves no room for what it is
        room = console.width - OTHERS if console else 0
        fitting = label if len(label) <= room else label.rpartition(": ")[2]
        task_id = shown.add_task(fitting, total=1.0, score="", of="")

        def move(spent: float, score: float, of: str) -> None:
            nonlocal at
            at = spent, score, of
            before = "" if of == "budget" else f" of {of}"
            shown.update(task_id, completed=spent, score=_scored(score), of=before)

        yield move


def _scored(score: float) -> str:
    return "" if isnan(score) else f"validation {score:.3f}"


@contextmanager
def ticking(console: Console, told: Callable[[], str], renewed: bool = True) -> Iterator[None]:
    """Say meanwhile how far something is: a line every ten seconds, or at once one that is renewed.

    Parameters
    ----------
    console : Console
    told : callable
        Returns the line.
    renewed : bool
        Whether a terminal may show it as its last line, each second; others are printed above it.
    """
    renewed, ended = renewed and console.is_terminal, Event()

    def run() -> None:
        seen = False
        while not ended.wait(SILENCE if not renewed else RENEWED if seen else RENEWED / 10):
            seen = True
            if renewed:
                with console:  # in one piece, as other processes write there
                    _erase(console)
                    console.print(
                        told()[: console.width - 1], end="", highlight=False, markup=False
                    )
            else:
                say(console, told())

    thread = Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        if renewed:
            _erase(console)


def say(console: Console, line: str) -> None:
    """Print one line: whole, and on a terminal wrapped between words, in place of a renewed one."""
    with console:
        _erase(console)
        console.print(line, highlight=False, markup=False, soft_wrap=not console.is_terminal)


def _erase(console: Console) -> None:
    """Clear a terminal's line, and begin at its start."""
    if console.is_terminal:
        console.control(Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2)))


def result(
    rows: Sequence[dict[str, Any]], reasons: Sequence[str], wall: float, split: str = "test"
) -> str:
    """Tell what came of a run, by its rows of the runs table, and the seconds that it took.

    Parameters
    ----------
    split : {"test", "validation"}
        Of the score.
    """
    told = ", ".join(reasons)
    scores = [row[f"best_{split}_score"] for row in rows if row["status"] == "finished"]
    if scores:
        metric = rows[0]["headline_metric"]
        mean = sum(scores) / len(scores)
        told = f"{split} {metric} {mean:.3f} ({len(scores)} of {len(rows)} replicas)"
    total = sum(row["seconds"] for row in rows)  # together or one by one
    seconds = f"step seconds {figures(total)}, {figures(total / len(rows))} per replica"
    return f"{told}, wall time {figures(wall)} s, {seconds}"


def figures(seconds: float) -> str:
    """Write a time with three figures, so that a short one is not 0.0; long ones to the second."""
    return f"{seconds:.3g}" if seconds < 999.5 else f"{seconds:.0f}"


def duration(seconds: float) -> str:
    """Write a time as people plan with it: "8.5 s", "75 s", "12 min", "3 h 20 min"."""
    if seconds < 99.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if minutes < 6000 else f"{minutes // 60} h"


def counted(number: int, what: str) -> str:
    """Write how many there are of something: "1 trial", "3 trials"."""
    return f"{number} {what}{'s' * (number != 1)}"


def spans(seeds: list[int]) -> str:
    """Write seeds, ranges as such: "0 to 4, 7"."""
    parts: list[list[int]] = []
    for seed in sorted(seeds):
        if parts and parts[-1][-1] == seed - 1:
            parts[-1].append(seed)
        else:
            parts.append([seed])
    return ", ".join(
        str(part[0]) if len(part) == 1 else f"{part[0]} to {part[-1]}" for part in parts
    )
