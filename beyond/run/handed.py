"""Data that Python hands over: kept with the study, so that the command line reads them too."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from beyond import catalog
from beyond.contracts import Task
from beyond.data.tables import named
from beyond.errors import InputError, require, said, shown


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
        part = folder / f"{os.getpid()}-{self.file_name}"
        with _nothing_left(folder) as made:
            folder.mkdir(parents=True, exist_ok=True)
            try:
                self.write(part)
                digest = hashlib.sha256(part.read_bytes()).hexdigest()[:12]
                path = folder / digest / self.file_name
                made += [place for place in (path, path.parent) if not place.exists()]
                path.parent.mkdir(exist_ok=True)
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
            return catalog.load("task", self.choice, **{**self.settings, "path": path.as_posix()})


@contextmanager
def _nothing_left(folder: Path) -> Iterator[list[Path]]:
    """Remove a folder that an error leaves empty, and first what is put into the list."""
    above = [place for place in (folder, *folder.parents) if not place.exists()]
    made = list[Path]()
    try:
        yield made
    except BaseException:
        for place in (*made, *above):
            with suppress(OSError):  # another process may have written beside it
                place.rmdir() if place.is_dir() else place.unlink()
        raise


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
    _refuse_path(settings)
    if not hasattr(frame, "to_parquet"):
        raise InputError(f"frame must be a pandas DataFrame, got {type(frame).__name__}")

    def write(path: Path) -> None:
        try:
            _with_texts(named(frame)).to_parquet(path, index=False)
        except OSError:
            raise
        except Exception as error:  # pyarrow has its errors
            reason = " ".join(map(str, error.args)).splitlines()[0]
            raise InputError(f"frame {name!r} cannot be kept as parquet: {reason}") from error

    return Data("table", f"{name}.parquet", write, {"target": target, **settings})


def _with_texts(frame: Any) -> Any:
    """Name categories by texts: parquet takes others for what they are made of, such as numbers."""
    categories = frame.select_dtypes("category").items()
    named = {name: column.cat.rename_categories(str) for name, column in categories}
    return frame.assign(**named)


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
    _refuse_path(settings)
    inputs, targets = _array("X", X), _array("y", y)
    return Data("arrays", f"{name}.npz", lambda path: _savez(path, inputs, targets), settings)


def _array(name: str, value: Any) -> np.ndarray:
    """Return an array; `InputError` for what NumPy takes for none, or for Python objects."""
    held = value.detach().cpu() if isinstance(value, Tensor) else value
    try:
        array = np.asarray(held)
        if array.dtype.kind == "O" and array.ndim:  # as columns of several types come
            array = np.array(array.tolist())
    except Exception as error:  # each library has its errors
        raise InputError(f"{name} must be an array, got {shown(value)}: {said(error)}") from None
    if array.dtype.kind == "O" or not array.ndim:
        raise InputError(f"{name} must be an array of numbers or texts, got {shown(value)}")
    return array


def _savez(path: Path, inputs: np.ndarray, targets: np.ndarray) -> None:
    with path.open("wb") as file:
        np.savez(file, X=inputs, y=targets)


def _refuse_path(settings: Mapping[str, Any]) -> None:
    path = settings.get("path")
    require("path", "left out: data are kept with the study", path, "path" not in settings)


def _require_name(name: str) -> None:
    ok = isinstance(name, str) and name not in ("", "..") and name == Path(name).name
    require("name", "a file's name", name, ok)
