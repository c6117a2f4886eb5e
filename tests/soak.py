"""A study whose processes are killed again and again ends as one that was left alone.

    python -m tests.soak --cells 200 --kills 50
    python -m tests.soak --cells 12 --kills 4 --full-disk

Killed are, as the seed draws it, the whole group, one worker or the parent, by SIGKILL, SIGTERM or
Ctrl-C's SIGINT, while cells are trained or while the command starts. Some cells are trained by
themselves, others together, as replicas of one program. Each cell must then be there once, with the
same numbers in its tables, time aside, and nothing may be left: no half-written file, no state, no
process. With `--full-disk` there is no room for part of the time. It fails where a kill found
nothing to strike, or none struck a program of several cells.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from beyond.run.record import TABLES, TRAINER, RunFolder

METHODS = ("backprop", "feedback_alignment", "genetic", "last_layer")
TOGETHER = ("backprop", "feedback_alignment")  # each a program: its cells differ in a rate
PATIENCE = 600.0  # seconds, of a busy machine, until cells are trained, or what was killed is gone
LIMIT = 20_000  # bytes of a file, where no small disk can be mounted
DISK = 16_000_000  # bytes of a small disk, beside those of its cells
CELL = 150_000
ROOM = 300_000  # bytes of it that are left: some cells are recorded
LEFT = ("*.part", "state.pt", TRAINER, "*.held", "stack_*")
# of the time that training takes, all waits for blows together: cells are left for the last
SHARE = 0.7
EARLY = 0.2  # of the commands that are killed, those before anything is trained
FLOAT32 = {"rtol": 1e-4, "atol": 1e-5}  # of scores and norms after some thousand steps


class Blow(NamedTuple):
    """How processes are killed: all is drawn beforehand."""

    victim: str
    number: signal.Signals
    early: bool
    wait: float  # as a share of the longest
    which: float


def drawn(n_kills: int, seed: int) -> list[Blow]:
    """Draw what strikes."""
    draws = random.Random(seed)
    blows, victims = list[Blow](), list[str]()
    for _ in range(n_kills):
        victims = victims or draws.sample(["group", "worker", "parent"], 3)
        victim = victims.pop()
        early = draws.random() < EARLY and victim != "worker"
        known = [signal.SIGKILL, signal.SIGTERM]
        # a worker leaves to its parent what a terminal sends; what imports has a traceback for it
        known += [signal.SIGINT] * (victim != "worker" and not early)
        blows.append(Blow(victim, draws.choice(known), early, draws.random(), draws.random()))
    return blows


class Study:
    """A study in a folder, which one command trains."""

    def __init__(self, runs: Path, n_cells: int, told: Path) -> None:
        n_rates = max(2, n_cells // 12)
        n_seeds = -(-(n_cells - n_rates * len(TOGETHER)) // len(METHODS))
        self.n_cells = n_rates * len(TOGETHER) + n_seeds * len(METHODS)
        self.folder = runs / "soak"
        rates = ",".join(f"{0.05 * (n + 1) / n_rates:.4f}" for n in range(n_rates))
        seeds = ",".join(f"[{seed}]" for seed in range(n_seeds))
        together = f"method={','.join(TOGETHER)} method.optimizer.learning_rate={rates}"
        alone = f"method={','.join(METHODS)} seeds={seeds}"
        arms = [
            f"{together} seeds=[0] budget.epochs=200 stacked=true",
            f"{alone} budget.epochs=100 stacked=false",
        ]
        self.command = [
            *(sys.executable, "-m", "beyond.run.main", "-m", f"hydra.sweeper.arms={arms}"),
            *("save_every=0.1", f"runs={runs}", "study_name=soak", "hydra.launcher.n_jobs=2"),
            *("hydra/launcher=joblib", "hydra.sweeper.publish=analysis.tables.load"),
        ]
        # SIGABRT shows where each thread is
        self.environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "1"}
        self._told = told

    @contextmanager
    def started(self, limit: Callable[[], None] | None = None) -> Iterator[subprocess.Popen[bytes]]:
        """Start the command as the leader of a session, whose processes can be told from others."""
        with self._told.open("wb") as told:
            leader = subprocess.Popen(
                self.command,
                env=self.environment,
                start_new_session=True,
                stdout=subprocess.DEVNULL,
                stderr=told,  # a pipe that nobody reads would stop it
                preexec_fn=limit,
            )
        try:
            yield leader
        finally:
            for pid in members(leader.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            leader.wait()

    @property
    def told(self) -> str:
        """What the command last started has told."""
        return self._told.read_text()

    def finish(self) -> None:
        """Train what is left."""
        with self.started() as leader:
            self.require_finished(leader)

    def require_finished(self, leader: subprocess.Popen[bytes]) -> None:
        """Raise `SystemExit` unless a command trains all that is left."""
        self.wait(leader, lambda: leader.poll() is not None, 100 * PATIENCE)
        self.require_gone(leader)
        if leader.returncode:
            raise SystemExit(f"the study ended with status {leader.returncode}: {self.told}")

    def require_gone(self, leader: subprocess.Popen[bytes]) -> None:
        """Raise `SystemExit` unless all of a session ends by itself, without a traceback."""
        self.wait(leader, lambda: leader.poll() is not None and not members(leader.pid))
        if "Traceback" in self.told:
            raise SystemExit(self.told)

    def wait(
        self,
        leader: subprocess.Popen[bytes],
        what: Callable[[], object],
        patience: float = PATIENCE,
    ) -> None:
        """Wait for something; raise `SystemExit` with what each process is at if it never comes."""
        deadline = time.monotonic() + patience
        while not what():
            if time.monotonic() > deadline:
                stuck = members(leader.pid)
                for pid in stuck:
                    os.kill(pid, signal.SIGABRT)
                time.sleep(1)
                raise SystemExit(f"after {patience:.0f} s {stuck} are stuck: {self.told}")
            time.sleep(0.02)

    def training(self) -> dict[int, set[str]]:
        """Names of the cells, and of programs of several, that are being trained, by process."""
        found = dict[int, set[str]]()
        for path in self.folder.glob(f"*/{TRAINER}"):
            pid = RunFolder(path.parent).trainer
            if pid is not None and _lives(pid):
                found.setdefault(pid, set()).add(path.parent.name)
        return found

    @property
    def manifests(self) -> dict[str, dict]:
        """Manifest of every cell."""
        paths = sorted(self.folder.glob("*/manifest.json"))
        return {path.parent.name: json.loads(path.read_bytes()) for path in paths}

    def tables(self, cell: str) -> dict[str, pd.DataFrame]:
        """Tables of a cell, without times."""
        return {
            name: pd.read_parquet(self.folder / cell / f"{name}.parquet").filter(
                regex="^(?!.*second)"
            )
            for name in (*TABLES, "predictions")
        }

    def left_over(self) -> list[str]:
        """What no finished study has."""
        return [str(path) for pattern in LEFT for path in self.folder.rglob(pattern)]


def _lives(pid: int) -> bool:
    with suppress(OSError):
        os.kill(pid, 0)
        return True
    return False


def members(session: int) -> list[int]:
    """Processes of a session, zombies aside."""
    found = list[int]()
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            state, _, _, its = path.joinpath("stat").read_text().rpartition(")")[2].split()[:4]
            if int(its) == session and state != "Z":
                found.append(int(path.name))
    return found


def strike(study: Study, blows: list[Blow], longest: float, start_up: float) -> Counter[str]:
    """Kill what trains, and start it again; return how often what was struck.

    Parameters
    ----------
    longest : float
        Seconds to wait for a blow at most, once something is trained.
    start_up : float
        The same, of those that strike a command that starts.

    Raises
    ------
    SystemExit
        If nothing was left to strike.
    """
    struck, waiting = Counter[str](), list(reversed(blows))
    while waiting:
        worn = set[str]()
        with study.started() as leader:
            early = waiting[-1].early
            while waiting:
                blow = waiting.pop()
                if not early:
                    _targets(study, leader, blow, worn)
                time.sleep(blow.wait * (start_up if early else longest))
                at = study.training() if early else _targets(study, leader, blow, worn)
                told = f"{len(blows) - len(waiting)}: {blow.number.name} to {blow.victim}"
                if leader.poll() is not None:
                    raise SystemExit(f"{told}: nothing is left to strike, {study.told}")
                if blow.victim == "group":
                    os.killpg(leader.pid, blow.number)
                elif blow.victim == "parent":
                    leader.send_signal(blow.number)
                else:
                    mortal = sorted(pid for pid, cells in at.items() if not cells & worn)
                    os.kill(mortal[int(blow.which * len(mortal))], blow.number)
                cells = set[str]().union(*at.values())
                worn |= cells
                together = any(cell.startswith("stack_") for cell in cells)
                what = "several cells" if together else "cells" if cells else "nothing yet"
                struck[what] += 1
                print(f"{told}, training {what}")
                if blow.victim != "worker":
                    study.require_gone(leader)
                    if leader.returncode not in (-blow.number, 128 + blow.number):
                        raise SystemExit(f"it ended with {leader.returncode}: {study.told}")
                    break
                early = False
            else:  # the last was a worker
                study.require_finished(leader)
    return struck


def _targets(
    study: Study, leader: subprocess.Popen[bytes], blow: Blow, worn: set[str]
) -> dict[int, set[str]]:
    """Wait until a blow has something to strike, or the study has ended; return what is trained.

    A cell whose process is killed twice while one parent lives has failed, by design: a worker is
    left alone that trains one which has been struck.
    """
    found = dict[int, set[str]]()

    def look() -> bool:
        nonlocal found
        found = study.training()
        if blow.victim == "worker":
            return leader.poll() is not None or any(not cells & worn for cells in found.values())
        return leader.poll() is not None or bool(found)

    study.wait(leader, look)
    return found


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[bool]:
    """Mount a disk of so many bytes there; yield whether that is allowed."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, check=False, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


def without_room(study: Study, runs: Path, mounted: bool) -> None:
    """Train on a disk that is full; where none can be mounted, no file may be large."""
    filler = runs / "filler"
    if mounted:
        runs.joinpath("soak").mkdir()
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(b"0" * ROOM)
        os.truncate(filler, filler.stat().st_size - ROOM)
    limit = None if mounted else lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))
    with study.started(limit) as leader:
        study.require_gone(leader)
    print(f"without room: status {leader.returncode}, {len(study.told.splitlines())} lines")
    if leader.returncode != 1:
        raise SystemExit(f"a full disk must end in lines and status 1, got: {study.told}")
    filler.unlink(missing_ok=True)


def main() -> None:
    """Do so, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=200)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--full-disk", action="store_true")
    asked = parser.parse_args()
    # a shell's background job ignores it, and so would all that is started here
    signal.signal(signal.SIGINT, signal.default_int_handler)
    blows = drawn(asked.kills, asked.seed)
    with tempfile.TemporaryDirectory() as made:
        told, runs = Path(made, "told"), Path(made, "struck")
        alone = Study(Path(made, "alone"), asked.cells, told)
        clock = time.perf_counter()
        alone.finish()
        whole = time.perf_counter() - clock
        # two workers share what all cells take
        training = sum(one["wall_seconds"] for one in alone.manifests.values()) / 2
        print(f"{alone.n_cells} cells left alone: {whole:.0f} s, of which trained {training:.0f} s")
        with small_disk(runs, DISK + CELL * alone.n_cells) as mounted:
            study = Study(runs, asked.cells, told)
            if asked.full_disk:
                without_room(study, runs, mounted)
            longest = SHARE * training / len(blows)
            struck = strike(study, blows, longest, max(1.0, whole - training))
            study.finish()
            compare(alone, study)
        print(f"struck {struck.total()} of {len(blows)} times: {dict(struck)}")
        print(f"{time.perf_counter() - clock:.0f} s in all")
    if not struck["several cells"]:
        raise SystemExit("no program of several cells was struck")


def compare(alone: Study, study: Study) -> None:
    """Raise `SystemExit` unless two studies are the same, and whole.

    A stack that was begun is trained as it was. Where one could not begin, for lack of room, its
    cells may have had other company, which changes roundings.
    """
    expected, found = alone.manifests, study.manifests
    if not expected.keys() == found.keys() or len(found) != study.n_cells:
        raise SystemExit(f"{len(found)} cells of {len(expected)}, {study.n_cells} were planned")
    n_rounded = 0
    for cell, manifest in expected.items():
        same = manifest["n_replicas"] == found[cell]["n_replicas"]
        n_rounded += not same
        tables = study.tables(cell)
        for name, table in alone.tables(cell).items():
            how = {"check_exact": True} if same else FLOAT32
            pd.testing.assert_frame_equal(tables[name], table, **how)
    if left := study.left_over():
        raise SystemExit(f"left over: {', '.join(left)}")
    rounded = f" ({n_rounded} to float32 rounding: trained in other company)" * bool(n_rounded)
    print(f"{len(found)} cells, each once, with the same tables{rounded}; nothing is left over")


if __name__ == "__main__":
    main()
