"""A run's folder: rows become parquet files, and an interrupted run resumes where it stopped.

Files appear by write-then-rename, the manifest last, with the hashes of the tables: a folder is
finished if its tables are those that its manifest names. A lock keeps two processes from writing
one folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from io import BytesIO
from pathlib import Path
from platform import node
from time import monotonic
from typing import Any, NamedTuple

import torch

from beyond.contracts import TargetKind
from beyond.errors import BusyError, unwritable
from beyond.files import PART, write_whole, write_whole_text
from beyond.run.lock import PATIENCE, held, is_held
from beyond.run.loop import Progress
from beyond.run.predictions import Columns, joined, write
from beyond.run.provenance import changed
from beyond.run.rows import write_rows
from beyond.run.status import TRAINER

TABLES = ("curves", "layers", "runs")  # kept as rows; predictions come in columns, at the end
RECORDED = (*TABLES, "predictions")
WEIGHTS = "weights.pt"
# of a manifest, what plans and reports read: without it nobody knows what the tables are of
DECISIVE = {
    **dict.fromkeys(("run_id", "status", "data_sha256"), str),
    **dict.fromkeys(("reasons", "seeds"), list),
    **dict.fromkeys(("identity", "settings", "sources"), dict),
}
# reading a manifest that is cut off, or other than we write
UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError)


class Part(NamedTuple):
    """What is recorded of one cell: rows by table, and predictions."""

    rows: dict[str, list[dict[str, Any]]]
    predictions: Columns


class RunFolder:
    """Where one run is recorded.

    Parameters
    ----------
    path : Path
    save_every : float
        Seconds between saved states; 0 saves at every checkpoint.
    origin : dict of str to str, optional
        What decides the result, and its hashes: only a state that the same has saved is gone on
        from.

    Attributes
    ----------
    unusable : str
        After `resume`: why what was there is not gone on from; empty if it is, or if there was
        nothing.
    """

    def __init__(
        self, path: Path, save_every: float = 5.0, origin: Mapping[str, str] | None = None
    ) -> None:
        self.path = path
        self.unusable = ""
        self._removed = False
        self._origin = dict(origin or {})
        self._save_every = save_every
        self._saved_at = self._begun_at = monotonic()
        self._before = 0.0  # seconds of attempts that were interrupted
        self._rows: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
        # a stack has ten thousand: each becomes JSON once, though the state is saved many times
        self._texts: dict[str, list[str]] = {name: [] for name in TABLES}
        self._n_written: dict[str, int] = dict.fromkeys(TABLES, 0)
        self._snapshot: dict[str, Any] = {}  # to go on from, after these rows
        self._ended: Progress | None = None

    @property
    def finished(self) -> bool:
        """Whether the run is complete."""
        return self.manifest() is not None

    @property
    def begun(self) -> bool:
        """Whether there is a saved state to go on from."""
        return (self.path / "state.pt").exists()

    @property
    def seconds(self) -> float:
        """On the clock since `resume`, and before each interruption up to the last save."""
        return self._before + monotonic() - self._begun_at

    def manifest(self) -> dict[str, Any] | None:
        """Return the manifest of a complete run.

        None if it lacks what every run writes there, or a table is not the one that it names.
        """
        try:
            manifest = json.loads((self.path / "manifest.json").read_bytes())
            named = manifest["tables"]
            told = all(isinstance(manifest[name], kind) for name, kind in DECISIVE.items())
            told &= all(isinstance(seed, int) for seed in manifest["seeds"])
            told &= all(isinstance(reason, str) for reason in manifest["reasons"])
            whole = set(RECORDED) <= set(named) and all(
                hash_of(self.path / f"{name}.parquet") == digest for name, digest in named.items()
            )
        except UNREADABLE:
            return None
        return manifest if whole and told else None

    @property
    def keeps_weights(self) -> bool:
        """Whether the weights that the manifest names are here."""
        kept = (self.manifest() or {}).get("files", {}).get(WEIGHTS)
        try:
            return kept is not None and kept == hash_of(self.path / WEIGHTS)
        except OSError:
            return False

    @contextmanager
    def locked(self, seeds: Sequence[int] = (), patience: float = PATIENCE) -> Iterator[str]:
        """Hold the folder for this process; `InputError` if unwritable, `BusyError` if taken.

        Parameters
        ----------
        seeds : sequence of int
            Which other processes are told that this one trains.
        patience : float
            Seconds to wait for one that only looks.

        Yields
        ------
        str
            What must be said of the lock, "" mostly (see `beyond.run.lock`).
        """
        with ExitStack() as stack:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                caveat = stack.enter_context(held(self.path / "lock", patience))
                # apart from the lock: Windows lets nobody read what is locked
                write_whole_text(self.path / "seeds.json", json.dumps(list(seeds)))
                write_whole_text(self.path / TRAINER, json.dumps([node(), os.getpid()]))
            except TimeoutError:
                raise BusyError(f"another process is writing {str(self.path)!r}") from None
            except OSError as error:
                raise unwritable(self.path, error) from None
            try:
                yield caveat
            finally:
                (self.path / TRAINER).unlink(missing_ok=True)
                stack.close()
                if self._removed:
                    self._delete()

    @property
    def trainer(self) -> int | None:
        """The process of this machine that has the folder, or had when it was killed."""
        try:
            machine, pid = json.loads((self.path / TRAINER).read_bytes())
        except (OSError, ValueError, TypeError):
            return None
        return pid if machine == node() else None

    def claims(self, seeds: Sequence[int]) -> bool:
        """Say whether one of these seeds is trained here, or has been, by a folder's holder."""
        try:
            shared = set(seeds).intersection(json.loads((self.path / "seeds.json").read_bytes()))
        except FileNotFoundError:
            return False
        except (OSError, ValueError, TypeError):  # nobody can tell which
            return is_held(self.path / "lock")
        return bool(shared) and (is_held(self.path / "lock") or self.finished)

    def resume(self) -> dict[str, Any] | None:
        """Take up an unfinished run's rows; return its snapshot, or None (see `unusable`)."""
        path, manifest = self.path / "state.pt", self.path / "manifest.json"
        self._begun_at = monotonic()
        if manifest.exists() and not self.finished:
            self.unusable = "its tables are not those that its manifest names"
            manifest.unlink()
        if not path.exists():
            return None
        try:
            saved = torch.load(path, map_location="cpu", weights_only=True)
            outdated, rows, snapshot, before = (
                changed(saved["origin"], self._origin),
                json.loads(saved["rows"]),
                saved["snapshot"],
                float(saved["seconds"]),
            )
        except OSError:
            raise
        except Exception:  # torch has no particular error for a file that it cannot read
            self.unusable = "its saved state cannot be read"
        else:
            if not outdated:
                self._rows, self._before = rows, before
                return snapshot
            # one curve is of one program
            self.unusable = f"what began it has changed ({', '.join(outdated)})"
        path.unlink()
        return None

    def add(self, progress: Progress) -> None:
        """Take new rows; save the state if the last save is old enough."""
        if progress.runs:
            self._ended = progress
            return
        for name in TABLES:
            self._rows[name] += getattr(progress, name)
        self._snapshot = progress.snapshot
        if self._snapshot and monotonic() - self._saved_at >= self._save_every:
            self.save()

    def save(self) -> None:
        """Save the state before the end, to go on from."""
        saved = {"snapshot": self._snapshot, "rows": self._text(), "origin": self._origin}
        saved["seconds"] = self.seconds
        write_whole(self.path / "state.pt", lambda path: _save(saved, path))
        self._saved_at = monotonic()

    def _text(self) -> str:
        """All rows as JSON, in one piece: torch looks at every object by itself."""
        for name, rows in self._rows.items():
            if new := rows[self._n_written[name] :]:
                self._texts[name].append(json.dumps(new)[1:-1])
                self._n_written[name] = len(rows)
        tables = (f'"{name}": [{", ".join(texts)}]' for name, texts in self._texts.items())
        return f"{{{', '.join(tables)}}}"

    def remove(self) -> None:
        """Delete the folder once it is no longer held: Windows deletes no file that is open."""
        self._removed = True

    def _delete(self) -> None:
        """Delete the folder, and those above it that are then empty: its study's, that of runs."""
        shutil.rmtree(self.path)
        for above in (self.path.parent, self.path.parent.parent):
            with suppress(OSError):
                above.rmdir()

    def keep(self, weights: Mapping[int, Any]) -> str:
        """Write what was selected, by seed (see `beyond.run.trained`); return the file's hash."""
        path = self.path / WEIGHTS
        write_whole(path, lambda path: _save(dict(weights), path))
        return hash_of(path)

    def parts(self) -> dict[str, Part]:
        """What was added, by run_id: a stack of cells is recorded cell by cell."""
        rows, predictions = self._all
        run_ids = [row["run_id"] for row in rows["runs"]]
        found = {run_id: {name: list[Any]() for name in TABLES} for run_id in run_ids}
        for name, table in rows.items():
            for row in table:
                found[row["run_id"]][name].append(row)
        of = {run_id: predictions["run_id"] == run_id for run_id in found}
        return {
            run_id: Part(mine, {name: all_[of[run_id]] for name, all_ in predictions.items()})
            for run_id, mine in found.items()
        }

    @property
    def _all(self) -> Part:
        """All that was added, the end too."""
        if self._ended is None:
            return Part(self._rows, joined(TargetKind.CLASSES, []))
        rows = {name: self._rows[name] + getattr(self._ended, name) for name in TABLES}
        return Part(rows, self._ended.predictions or joined(TargetKind.CLASSES, []))

    def close(self, manifest: dict[str, Any], part: Part | None = None) -> None:
        """Write the tables, then the manifest with their hashes; the run is finished.

        They have all that was added, or what a stack hands over of this cell.
        """
        part = part or self._all
        for name in TABLES:
            write_whole(
                self.path / f"{name}.parquet",
                lambda path, rows=part.rows[name]: write_rows(rows, path),
            )
        write_whole(self.path / "predictions.parquet", lambda path: write(part.predictions, path))
        tables = {name: hash_of(self.path / f"{name}.parquet") for name in RECORDED}
        text = json.dumps({**manifest, "tables": tables}, indent=2, sort_keys=True) + "\n"
        write_whole_text(self.path / "manifest.json", text)
        for left in (self.path / "state.pt", *self.path.glob(f"*{PART}")):
            left.unlink(missing_ok=True)


def _save(saved: Any, path: Path) -> None:
    """Write what `torch.load` reads; where there is no room, torch raises no `OSError`."""
    buffer = BytesIO()
    torch.save(saved, buffer)
    path.write_bytes(buffer.getbuffer())


def hash_of(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
