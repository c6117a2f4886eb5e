"""Data that Python hands over: kept with the study, so that the command line reads them too."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from beyond import catalog
from beyond.contracts import Task
from beyond.errors import InputError, require


@dataclass(frozen=True)
class Data:
    """Examples in memory, which become a file when a study needs them.

    Attributes
    ----------
    choice : str
        The task that reads such a file: "table" or "arrays".
    file_name : str
        Its stem names the task.
    write : callable
        Writes the file.
    settings : mapping
        The task's, without `path`.
    """

    choice: str
    file_name: str
    write: Callable[[Path], Any]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def task(self, folder: Path) -> Task:
        """Write the file to `folder/<hash of its contents>/`, unless it is there; return the task.

        Raises `InputError` for data that the task cannot read.
        """
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f"{os.getpid()}-{self.file_name}"
        try:
            self.write(part)
            digest = hashlib.sha256(part.read_bytes()).hexdigest()[:12]
            path = folder / digest / self.file_name
            path.parent.mkdir(exist_ok=True)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        return catalog.load("task", self.choice, path=path.as_posix(), **self.settings)


def table(frame: Any, target: str, name: str = "table", **settings: Any) -> Data:
    """Hand over a DataFrame, as `task=table` reads one: `table(frame, target="price")`.

    Parameters
    ----------
    frame : DataFrame
        A row an example; its index is left out.
    target : str
        Name of the column to predict.
    name : str
        What the task is called, after "table/".
    **settings
        Of `tasks.table.TableTask`, such as `kind="values"`, `group="patient"`.
    """
    _require_name(name)
    if not hasattr(frame, "to_parquet"):
        raise InputError(f"frame must be a pandas DataFrame, got {type(frame).__name__}")

    def write(path: Path) -> None:
        try:
            frame.rename(columns=str).to_parquet(path, index=False)
        # pyarrow's are some of these
        except (ValueError, TypeError, OverflowError, NotImplementedError) as error:
            said = " ".join(map(str, error.args)).splitlines()[0]
            raise InputError(f"frame {name!r} cannot be kept as parquet: {said}") from error

    return Data("table", f"{name}.parquet", write, {"target": target, **settings})


def arrays(X: Any, y: Any, name: str = "arrays", **settings: Any) -> Data:
    """Hand over arrays, as `task=arrays` reads them: `arrays(X, y)`.

    Parameters
    ----------
    X : array of shape (N, features), (N, height, width) or with channels
        Inputs; anything that NumPy takes, such as a tensor on the CPU.
    y : array of shape (N,) or (N, n_outputs)
        Whole numbers, truth values and texts are classes; others are values.
    name : str
        What the task is called, after "arrays/".
    **settings
        Of `tasks.arrays.Arrays`, such as `symbols=True`.
    """
    _require_name(name)
    inputs, targets = np.asarray(X), np.asarray(y)
    if targets.dtype.kind == "O" and all(isinstance(one, str) for one in targets.flat):
        targets = targets.astype(str)  # as columns of texts come
    return Data("arrays", f"{name}.npz", lambda path: _savez(path, inputs, targets), settings)


def _savez(path: Path, inputs: np.ndarray, targets: np.ndarray) -> None:
    with path.open("wb") as file:
        np.savez(file, X=inputs, y=targets)


def _require_name(name: str) -> None:
    require("name", "a file's name", name, bool(name) and name == Path(name).name)
