"""A run's folder: rows become parquet files, and a run that was cut off goes on where it stood.

Files appear by write-then-rename, the manifest last: a folder with a manifest is finished. A lock that the operating
system drops with its process keeps two processes from writing one folder.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import pandas as pd
import torch

from beyond.errors import InputError
from beyond.files import write_whole
from beyond.loop import Progress

TABLES = ("curves", "layers", "runs")


class RunFolder:
    """Where one run is recorded.

    Parameters
    ----------
    path : Path
    save_every : float
        Seconds between saved states; 0 saves at every checkpoint.
    """

    def __init__(self, path: Path, save_every: float = 5.0) -> None:
        self.path = path
        self._save_every = save_every
        self._saved_at = monotonic()
        self._rows: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}

    @property
    def finished(self) -> bool:
        """Whether the run is complete."""
        return (self.path / "manifest.json").exists()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this process; raise `InputError` if it cannot be written or another process holds it."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = (self.path / "lock").open("w")
        except OSError as error:
            raise InputError(
                f"runs must be a folder that can be written, got {str(self.path)!r} ({error.strerror})"
            ) from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise InputError(f"another process is writing {str(self.path)!r}") from None
            yield

    def resume(self) -> dict[str, Any] | None:
        """Take up the rows of an unfinished run and return its snapshot; None if there is none."""
        path = self.path / "state.pt"
        if not path.exists():
            return None
        saved = torch.load(path, weights_only=True)
        self._rows = saved["rows"]
        return saved["snapshot"]

    def add(self, progress: Progress) -> None:
        """Take new rows; save the state if the last save is old enough."""
        for name in TABLES:
            self._rows[name] += getattr(progress, name)
        if progress.snapshot and monotonic() - self._saved_at >= self._save_every:
            saved = {"snapshot": progress.snapshot, "rows": self._rows}
            write_whole(self.path / "state.pt", lambda path: torch.save(saved, path))
            self._saved_at = monotonic()

    def close(self, manifest: dict[str, Any]) -> None:
        """Write the tables and the manifest; the run is finished."""
        for name in TABLES:
            table = pd.DataFrame(self._rows[name])
            write_whole(self.path / f"{name}.parquet", lambda path, table=table: table.to_parquet(path, index=False))
        text = json.dumps(manifest, indent=2, sort_keys=True) + "\n"
        write_whole(self.path / "manifest.json", lambda path: path.write_text(text))
        (self.path / "state.pt").unlink(missing_ok=True)
