"""A study whose processes are killed again and again ends as one that was left alone.

    python -m tests.soak --cells 200 --kills 50
    python -m tests.soak --cells 12 --kills 4 --full-disk

Killed are, at random, the whole group, one worker or the parent, by SIGKILL or SIGTERM. Each cell
must then be there once, with the same bytes in its tables, time aside, and nothing may be left: no
half-written file, no state, no process. With `--full-disk` there is no room for part of the time.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pandas as pd

from beyond.run.record import TABLES, TRAINER, RunFolder

METHODS = ("backprop", "feedback_alignment", "genetic", "last_layer")
PATIENCE = 120.0  # seconds, of a busy machine, until cells are trained, or what was killed is gone
LIMIT = 20_000  # bytes of a file, where no small disk can be mounted
ROOM = 300_000  # bytes of a disk that are left: some cells are recorded
LEFT = ("*.part", "state.pt", TRAINER, "*.held")


class Study:
    """A study in a folder, which one command trains."""

    def __init__(self, runs: Path, cells: int) -> None:
        self.folder = runs / "soak"
        seeds = ",".join(f"[{seed}]" for seed in range(-(-cells // len(METHODS))))
        self.command = [
            *(sys.executable, "-m", "beyond.run.main", "-m", f"method={','.join(METHODS)}"),
            *(f"seeds={seeds}", "budget.epochs=30", "save_every=0.1", "stacked=false"),
            *(f"runs={runs}", "study_name=soak", "hydra.launcher.n_jobs=2"),
            *("hydra/launcher=joblib", "hydra.sweeper.publish=analysis.tables.load"),
        ]
        self.environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def start(self, limit: Callable[[], None] | None = None) -> subprocess.Popen[str]:
        """Start the command as the leader of a session, whose processes can be told from others."""
        return subprocess.Popen(
            self.command,
            env=self.environment,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=limit,
        )

    def finish(self) -> str:
        """Train what is left; return what was told."""
        started = self.start()
        told = started.communicate()[1]
        if started.returncode:
            raise SystemExit(f"the study ended with status {started.returncode}: {told}")
        return told

    def training(self) -> dict[int, str]:
        """Cells that are being trained, by process."""
        found = {RunFolder(path.parent).trainer: path.parent.name for path in self._notes()}
        return {pid: cell for pid, cell in found.items() if pid is not None and _lives(pid)}

    def _notes(self) -> Iterator[Path]:
        return self.folder.glob(f"*/{TRAINER}")

    def tables(self) -> dict[str, dict[str, pd.DataFrame]]:
        """Tables of every cell, without times and the study's name."""
        cells = {path.parent.name for path in self.folder.glob("*/manifest.json")}
        return {
            cell: {
                name: pd.read_parquet(self.folder / cell / f"{name}.parquet").filter(
                    regex="^(?!.*second)"
                )
                for name in (*TABLES, "predictions")
            }
            for cell in sorted(cells)
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


def strike(study: Study, kills: int, draws: random.Random) -> None:
    """Kill what trains, so often, and start it again."""
    struck = 0
    while struck < kills:
        started, who, struck_cells = study.start(), "", set[str]()
        while started.poll() is None and struck < kills and who in ("", "worker"):
            if not wait_until(lambda: study.training() or started.poll() is not None):  # noqa: B023
                raise SystemExit("nothing is trained")
            time.sleep(draws.uniform(0, 2))
            # a cell whose process is killed twice while one parent lives has failed, by design
            workers = study.training()
            mortal = [pid for pid, cell in workers.items() if cell not in struck_cells]
            who = draws.choice(["group", "worker", "parent"])
            number = draws.choice([signal.SIGKILL, signal.SIGTERM])
            if not mortal or started.poll() is not None:
                continue
            pid = draws.choice(sorted(mortal)) if who == "worker" else started.pid
            with suppress(ProcessLookupError):
                (os.killpg if who == "group" else os.kill)(pid, number)
            struck_cells |= set(workers.values())
            struck += 1
            print(f"{struck}: {number.name} to {who}")
        if who != "worker" and not wait_until(lambda: not members(started.pid)):  # noqa: B023
            raise SystemExit(f"processes live on: {members(started.pid)}")
        told = started.communicate()[1]
        if "Traceback" in told:
            raise SystemExit(told)
        if started.returncode == 0:  # all was done before so many
            return


def wait_until(what: Callable[[], object]) -> bool:
    """Wait for something; say whether it came."""
    deadline = time.monotonic() + PATIENCE
    while not what():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Mount a disk of 16 MB there; yield whether that is allowed."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]
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
    started = study.start(limit)
    told = started.communicate()[1]
    print(f"without room: status {started.returncode}, {len(told.splitlines())} lines")
    if started.returncode != 1 or "Traceback" in told:
        raise SystemExit(f"a full disk must end in lines and status 1, got: {told}")
    filler.unlink(missing_ok=True)


def main() -> None:
    """Do so, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=200)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--full-disk", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        alone, runs = Study(Path(made, "alone"), asked.cells), Path(made, "struck")
        clock = time.perf_counter()
        alone.finish()
        print(f"{asked.cells} cells left alone: {time.perf_counter() - clock:.0f} s")
        with small_disk(runs) as mounted:
            study = Study(runs, asked.cells)
            if asked.full_disk:
                without_room(study, runs, mounted)
            strike(study, asked.kills, random.Random(asked.seed))
            study.finish()
            compare(alone, study, asked.cells)


def compare(alone: Study, study: Study, n_cells: int) -> None:
    """Raise `SystemExit` unless two studies are the same, and whole."""
    expected, found = alone.tables(), study.tables()
    if not expected.keys() == found.keys() or len(found) != n_cells:
        raise SystemExit(f"{len(found)} cells of {len(expected)}, {n_cells} were planned")
    for cell, tables in expected.items():
        for name, table in tables.items():
            pd.testing.assert_frame_equal(found[cell][name], table, check_exact=True)
    if left := study.left_over():
        raise SystemExit(f"left over: {', '.join(left)}")
    print(f"{n_cells} cells, each once, with the same tables; nothing is left over")


if __name__ == "__main__":
    main()
