"""`beyond status runs/comparison`: what has become of a study's cells, while it runs and after."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import mean
from time import sleep
from typing import Any

from rich.console import Console

from beyond.errors import InputError
from beyond.files import write_whole
from beyond.run.display import duration, figures, say
from beyond.run.lock import is_held

PLANNED = "planned.json"
# from what needs a look to what is done with
STATES = (
    *("running", "interrupted", "failed", "diverged", "untrained"),
    *("missing", "finished", "skipped"),
)
QUIET = ("finished", "skipped")  # counted, not listed
SPENT = re.compile(r"^(\S+ \S+) INFO spent ([\d.]+) validation (\S+) of (\S+)$", re.M)
RECENT = 8  # checkpoints that tell the pace
EVERY = 2.0  # seconds between two looks
USAGE = "usage: beyond status FOLDER [--watch]"


@dataclass(frozen=True)
class CellState:
    """What has become of one cell.

    Attributes
    ----------
    label : str
        As the lines of a run begin.
    state : str
        A status as in the runs table, or "running", "interrupted" (begun, and held by nobody) or
        "missing" (planned, and not begun).
    told : str
        More of it: reasons, or how far it is.
    seconds : float, optional
        What it took, where it is finished.
    left : float, optional
        Seconds that it will still take at its pace, where it is running.
    stale : tuple of str
        What had changed since, when a sweep last looked.
    """

    label: str
    state: str
    told: str = ""
    seconds: float | None = None
    left: float | None = None
    stale: tuple[str, ...] = ()


def note_planned(study: Path, labels: Mapping[str, str]) -> None:
    """Keep the labels of the cells that a sweep is to have, by run_id, beside earlier ones.

    Of the same arms the last plan counts: other seeds make another cell.
    """
    arms = {name.partition("-")[0] for name in labels}
    earlier = {
        name: label
        for name, label in known(study / PLANNED, str).items()
        if (study / name).is_dir() or name.partition("-")[0] not in arms
    }
    text = json.dumps({**earlier, **labels}, indent=1, sort_keys=True) + "\n"
    write_whole(study / PLANNED, lambda path: path.write_text(text, encoding="utf-8"))


def states(study: Path) -> list[CellState]:
    """Look at every cell of a study; `InputError` if there is none."""
    planned, stale = known(study / PLANNED, str), known(study / "stale.json", list)
    begun = {path.name: path for path in sorted(study.glob("*-*")) if (path / "lock").exists()}
    if not begun and not planned:
        raise InputError(f"no cell of a study in {str(study)!r}")
    found = [
        _state(path, planned.get(name, name), stale.get(name, ())) for name, path in begun.items()
    ]
    found += [CellState(label, "missing") for name, label in planned.items() if name not in begun]
    return sorted(found, key=lambda one: (STATES.index(one.state), one.label))


def lines(study: Path) -> Iterator[str]:
    """Tell how many cells are in each state, how long the rest will take, and what is not done."""
    every = states(study)
    counts = {state: sum(one.state == state for one in every) for state in STATES}
    told = [f"{count} {state}" for state, count in counts.items() if count]
    n_stale = sum(bool(one.stale) for one in every)
    told += [f"{n_stale} stale"] if n_stale else []
    yield f"{study}: {len(every)} cells: {', '.join(told)}{_rest(every)}"
    for one in every:
        if one.state not in QUIET:
            yield ": ".join(filter(None, [one.state, one.label, one.told]))
    for one in every:
        if one.stale:
            yield f"stale: {one.label}: {', '.join(one.stale)} changed; rerun=stale trains it again"


def main(arguments: Sequence[str]) -> None:
    """Print what has become of a study, once, or until nothing of it is running."""
    folders = [Path(argument) for argument in arguments if argument != "--watch"]
    if len(folders) != 1:
        raise InputError(f"one folder of a study must be given; {USAGE}")
    console, watched = Console(), "--watch" in arguments
    while True:
        shown = list(lines(folders[0]))
        if watched and console.is_terminal:
            console.clear()
        for line in shown:
            say(console, line)
        if not watched or not any(line.startswith("running: ") for line in shown):
            return
        sys.stdout.flush()
        sleep(EVERY)


def count(study: Path, names: Sequence[str], since: float) -> str:
    """Tell how many of a sweep's cells are done and begun, and how long the rest takes.

    No lock is touched: a worker that found it taken would leave its cell.

    Parameters
    ----------
    study : Path
    names : sequence of str
        Run_ids of the cells that were to be trained.
    since : float
        Seconds since the first of them began.
    """
    done = [name for name in names if (study / name / "manifest.json").exists()]
    begun = [n for n in names if n not in done and (study / n / "log.txt").exists()]
    shares = [_share(study / name / "log.txt") for name in begun]
    whole = len(done) + sum(shares)
    left = f", about {duration(since * (len(names) - whole) / whole)} left" if whole > 0 else ""
    return f"{study}: {len(done)} of {len(names)} cells done, {len(begun)} running{left}"


def _share(log: Path) -> float:
    """Share of its budget that a cell has spent, by its log."""
    with suppress(OSError):
        found = SPENT.findall(log.read_text(encoding="utf-8", errors="replace"))
        if found and found[-1][3] == "budget":
            return float(found[-1][1])
    return 0.0


def progress(folder: Path, state: Path) -> tuple[float, str]:
    """Share of its budget that a cell which is not finished has saved, and what to tell of it.

    Parameters
    ----------
    folder, state : Path
        The cell's, and where its state is saved: a stack's if it is trained with others.
    """
    if (folder / "lock").exists() and is_held(folder / "lock"):
        return 0.0, "running"
    if not (state / "state.pt").exists():
        return 0.0, ""
    share = _share(folder / "log.txt")
    return share, f"{share:.0%} done" if share else "begun"


def _state(path: Path, label: str, stale: Sequence[str]) -> CellState:
    manifest = known(path / "manifest.json")
    if manifest:
        told = "; ".join(manifest.get("reasons", []))
        seconds = manifest.get("wall_seconds")
        return CellState(label, manifest.get("status", "failed"), told, seconds, None, tuple(stale))
    told, left = _progress(path / "log.txt")
    running = is_held(path / "lock")
    return CellState(
        label, "running" if running else "interrupted", told, left=left if running else None
    )


def _progress(log: Path) -> tuple[str, float | None]:
    """How far a run is, and how many seconds its budget lasts at its pace."""
    with suppress(OSError):
        found = SPENT.findall(log.read_text(encoding="utf-8", errors="replace"))
        if found:
            when, spent, score, of = found[-1]
            told = f"{float(spent):.0%} of {of}, validation {score}"
            alike = [other for other in found if other[3] == of][-RECENT:]
            begun, share = _moment(alike[0][0]), float(spent) - float(alike[0][1])
            if share <= 0 or of != "budget":
                return told, None
            left = (_moment(when) - begun) * (1 - float(spent)) / share
            return f"{told}, about {figures(left)} s left", left
    return "", None


def _rest(every: Sequence[CellState]) -> str:
    """How long what is not done will take, at the pace of what is running and finished."""
    running = [one for one in every if one.state == "running"]
    done = [one.seconds for one in every if one.seconds is not None and one.state != "skipped"]
    if not running or not done:
        return ""
    waiting = sum(one.state in ("missing", "interrupted") for one in every)
    seconds = sum(one.left or mean(done) for one in running) + waiting * mean(done)
    return f"; about {figures(seconds / len(running))} s left, if cells are alike"


def _moment(text: str) -> float:
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S,%f").timestamp()


def known(path: Path, kind: type = object) -> dict[str, Any]:
    """What a file of JSON has of a kind; nothing if it is not there, or cut."""
    try:
        found = dict(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return {}
    return {name: value for name, value in found.items() if isinstance(value, kind)}
