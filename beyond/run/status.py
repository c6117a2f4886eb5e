"""`beyond status runs/comparison`: what has become of a study's cells, while it runs and after."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from math import isnan
from pathlib import Path
from statistics import mean
from time import sleep

from rich.console import Console

from beyond.errors import InputError
from beyond.files import write_whole_text
from beyond.run.display import counted, duration, say
from beyond.run.lock import is_held
from beyond.run.notes import holding, known
from beyond.run.provenance import DATA, outdated

PLANNED = "planned.json"
TRAINER = "trainer.json"  # machine and process that hold the folder; left by one that is killed
TRIALS = "trials"  # below a study's folder: the cells that tune its arms
# from what needs a look to what is done with
STATES = (
    *("running", "interrupted", "failed", "diverged", "untrained"),
    *("missing", "finished", "skipped"),
)
QUIET = ("finished", "skipped")  # counted, not listed
OPEN = ("running", "interrupted", "missing")  # not done
LISTED = 10  # cells of a state, and files of a cell, at most
BEGINS = "begins "  # in a cell's log, before its label
LABEL = re.compile(rf"^\S+ \S+ INFO {BEGINS}(.+)$", re.M)
SPENT = re.compile(
    r"^(?P<when>\S+ \S+) INFO spent (?P<share>[\d.]+) of (?P<of>[^,\n]+)"
    r"(, validation (?P<score>\S+))?$",
    re.M,
)
RECENT = 8  # checkpoints that tell the pace
EVERY = 2.0  # seconds between two looks
IDLE = 15  # looks at which nothing is running: then there is nothing to watch
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
        What has changed since; its data, where a sweep has seen that.
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
    with holding(study):
        earlier = {
            name: label
            for name, label in known(study / PLANNED, str).items()
            if (study / name).is_dir() or name.partition("-")[0] not in arms
        }
        text = json.dumps({**earlier, **labels}, indent=1, sort_keys=True) + "\n"
        write_whole_text(study / PLANNED, text)


def states(study: Path) -> list[CellState]:
    """Look at every cell of a folder; there may be none."""
    planned, stale = known(study / PLANNED, str), known(study / "stale.json", list)
    begun = {path.name: path for path in sorted(study.glob("*-*")) if (path / "lock").exists()}
    found = [
        _state(path, planned.get(name), DATA in stale.get(name, ())) for name, path in begun.items()
    ]
    found += [CellState(label, "missing") for name, label in planned.items() if name not in begun]
    return sorted(found, key=lambda one: (STATES.index(one.state), one.label))


def lines(study: Path) -> Iterator[str]:
    """Tell how many cells are in each state, how long the rest will take, and what is not done.

    First of the trials, if arms are tuned. `InputError` if there is no cell.
    """
    found = looked(study)
    if not found:
        raise InputError(f"no cell of a study in {str(study)!r}")
    for folder, every in found.items():
        yield from _lines(folder, every)


def looked(study: Path) -> dict[Path, list[CellState]]:
    """Look at every cell of a study and its trials, by their folders, of those that have any."""
    found = {folder: states(folder) for folder in (study / TRIALS, study)}
    return {folder: every for folder, every in found.items() if every}


def _lines(folder: Path, every: Sequence[CellState]) -> Iterator[str]:
    by_state = {state: [one for one in every if one.state == state] for state in STATES}
    told = [f"{len(alike)} {state}" for state, alike in by_state.items() if alike]
    stale = [one for one in every if one.stale]
    told += [f"{len(stale)} stale"] if stale else []
    yield f"{folder}: {counted(len(every), 'cell')}: {', '.join(told)}{_rest(every)}"
    for state, alike in by_state.items():
        if state in QUIET:
            continue
        for one in alike[:LISTED]:
            yield ": ".join(filter(None, [state, one.label, one.told]))
        if len(alike) > LISTED:
            yield f"{state}: and {len(alike) - LISTED} more"
    for files in dict.fromkeys(one.stale for one in stale):
        labels = [one.label for one in stale if one.stale == files]
        which = labels[0] if len(labels) == 1 else f"{len(labels)} cells"
        more = f" and {len(files) - LISTED} more" if len(files) > LISTED else ""
        again = "it" if len(labels) == 1 else "them"
        changed = f"{', '.join(files[:LISTED])}{more} changed"
        yield f"stale: {which}: {changed}; rerun=stale trains {again} again"


def main(arguments: Sequence[str]) -> None:
    """Print what has become of a study, once; or until it is done, or nobody is at it any more."""
    folders = [Path(argument) for argument in arguments if argument != "--watch"]
    if len(folders) != 1 or folders[0].name.startswith("-"):
        raise InputError(f"one folder of a study must be given; {USAGE}")
    (study,) = folders
    console = Console()
    if "--watch" not in arguments:
        for line in lines(study):
            say(console, line)
        return
    with suppress(KeyboardInterrupt):
        for shown in _watched(study):
            if console.is_terminal:
                console.clear()
            for line in shown:
                say(console, line)
            sys.stdout.flush()


def _watched(study: Path) -> Iterator[list[str]]:
    """Look at a study again and again, until it is done, or nobody is at it any more."""
    idle, waits = 0, False
    while idle < IDLE:
        found = looked(study)
        every = [one for cells in found.values() for one in cells]
        if every:
            yield [line for folder, cells in found.items() for line in _lines(folder, cells)]
        elif not waits:
            yield [f"{study}: no cell of a study yet, waiting for the first"]
        waits = not every
        if every and not any(one.state in OPEN for one in every):
            return
        at_it = any(one.state == "running" for one in every)
        begun = any(
            one.state != "missing" for one in every
        )  # before, it waits for workers to start
        idle = idle + 1 if begun and not at_it else 0
        sleep(EVERY)


@dataclass
class Count:
    """Tells how many of a sweep's cells are done and begun, and how long the rest takes.

    No lock is touched: a worker that found it taken would leave its cell. Nothing is said of the
    rest before a cell, or a twentieth of the sweep, was trained meanwhile: workers take seconds to
    start, and what was saved before was for nothing.

    Parameters
    ----------
    study : Path
    names : sequence of str
        Run_ids of the cells that were to be trained.
    """

    study: Path
    names: Sequence[str]

    def __post_init__(self) -> None:
        self._first: tuple[float, float] | None = None  # when, and how much, there was to be seen

    def __call__(self, now: float) -> str:
        """Tell it at a time, in seconds of any clock."""
        study, names = self.study, self.names
        done = [name for name in names if (study / name / "manifest.json").exists()]
        begun = [n for n in names if n not in done and (study / n / "log.txt").exists()]
        whole = len(done) + sum(_share(study / name / "log.txt") for name in begun)
        self._first = self._first or (now, whole)
        gained, left = whole - self._first[1], ""
        if gained >= min(1.0, len(names) / 20):
            seconds = (now - self._first[0]) * (len(names) - whole) / gained
            left = f", about {duration(seconds)} left"
        return f"{study}: {len(done)} of {len(names)} cells done, {len(begun)} running{left}"


def elsewhere(study: Path, names: Sequence[str]) -> list[str]:
    """Of a sweep's cells, those that another process trains; no lock is touched."""
    return [
        name
        for name in names
        if (study / name / TRAINER).exists() and not (study / name / "manifest.json").exists()
    ]


def said(share: float, score: float, of: str) -> str:
    """What a run's log says of how far it is: the share of what, and the score if there is one."""
    return f"spent {share:.4f} of {of}" + ("" if isnan(score) else f", validation {score:.4f}")


def _text(log: Path) -> str:
    """A cell's log; "" if there is none."""
    with suppress(OSError):
        return log.read_text(encoding="utf-8", errors="replace")
    return ""


def _share(log: Path) -> float:
    """Share of its budget that a cell has spent, by its log."""
    *_, last = (None, *SPENT.finditer(_text(log)))
    return float(last["share"]) if last and last["of"] == "budget" else 0.0


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


def _state(path: Path, label: str | None, other_data: bool) -> CellState:
    log = _text(path / "log.txt")
    label = label or _label(log) or path.name
    manifest = known(path / "manifest.json")
    if manifest:
        stale = outdated(manifest.get("sources", {})) + [DATA] * other_data
        told = "; ".join(manifest.get("reasons", []))
        seconds, state = manifest.get("wall_seconds"), manifest.get("status")
        if state not in STATES:
            state, told = "failed", f"its manifest has the status {state!r}"
        return CellState(label, state, told, seconds, None, tuple(stale))
    told, left = _progress(log)
    running = is_held(path / "lock")
    return CellState(
        label, "running" if running else "interrupted", told, left=left if running else None
    )


def _label(log: str) -> str:
    """A cell's label, by its log."""
    found = LABEL.search(log)
    return str(found[1]) if found else ""


def _progress(log: str) -> tuple[str, float | None]:
    """How far a run is, and how many seconds its budget lasts at its pace."""
    found = [*SPENT.finditer(log)]
    if not found:
        return "", None
    last, spent = found[-1], float(found[-1]["share"])
    scored = [one["score"] for one in found if one["score"]][-1:]
    told = f"{spent:.0%} of {last['of']}" + "".join(f", validation {score}" for score in scored)
    alike = [other for other in found if other["of"] == last["of"]][-RECENT:]
    begun, share = _moment(alike[0]["when"]), spent - float(alike[0]["share"])
    if share <= 0 or last["of"] != "budget":
        return told, None
    left = (_moment(last["when"]) - begun) * (1 - spent) / share
    return f"{told}, about {duration(left)} left", left


def _rest(every: Sequence[CellState]) -> str:
    """How long what is not done will take, at the pace of what is running and finished."""
    running = [one for one in every if one.state == "running"]
    done = [one.seconds for one in every if one.seconds is not None and one.state != "skipped"]
    if not running or not done:
        return ""
    waiting = sum(one.state in ("missing", "interrupted") for one in every)
    seconds = sum(one.left or mean(done) for one in running) + waiting * mean(done)
    return f"; about {duration(seconds / len(running))} left, if cells are alike"


def _moment(text: str) -> float:
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S,%f").timestamp()
