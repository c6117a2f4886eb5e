"""What a user sees of a run: lines, and a bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn


@contextmanager
def bar(console: Console | None, label: str) -> Iterator[Callable[[float, float, str], None]]:
    """Draw a progress bar if there is a terminal; yield what moves it, told the share of the budget
    and the score; or the share of what is learnt before it, and what that is.
    """
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} % of {task.fields[of]}"),
        TextColumn("validation {task.fields[score]:.3f}"),
        TimeElapsedColumn(),
    )
    with Progress(
        *columns, console=console, disable=console is None or not console.is_terminal
    ) as drawn:
        task_id = drawn.add_task(label, total=1.0, score=float("nan"), of="budget")
        yield lambda spent, score, of: drawn.update(task_id, completed=spent, score=score, of=of)


def say(console: Console, line: str) -> None:
    """Print one line, however long, as it is."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def result(rows: Sequence[dict[str, Any]], reasons: Sequence[str], wall: float) -> str:
    """Tell what came of a run, by its rows of the runs table, and the seconds that it took."""
    told = ", ".join(reasons)
    scores = [row["best_test_score"] for row in rows if row["status"] == "finished"]
    if scores:
        metric = rows[0]["headline_metric"]
        told = (
            f"test {metric} {sum(scores) / len(scores):.3f} ({len(scores)} of {len(rows)} replicas)"
        )
    total = rows[0]["total_seconds"]
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
