"""Arrays that take a while to make: made once, and kept in the cache."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from filelock import FileLock

from beyond.data.sources import cache
from beyond.errors import InputError
from beyond.files import write_whole


def made_once(
    name: str, key: str, make: Callable[[], Mapping[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """Arrays by name, from the cache's folder `name`, where they are made if they are not there.

    Another process that asks meanwhile waits for them.

    Parameters
    ----------
    name, key : str
        The key is of all that decides the arrays: with another, others are made.
    make : callable

    Raises
    ------
    InputError
        If the cache cannot be written, or what it holds cannot be read.
    """
    try:
        path = cache(name) / f"{key}.npz"
        with FileLock(path.with_suffix(".lock")):
            if not path.exists():
                write_whole(path, lambda part: _write(part, make()))
    except OSError as error:
        raise InputError(
            f"{name} is kept in BEYOND_DATA, which cannot be written: {error}"
        ) from None
    try:
        with np.load(path) as held:
            return dict(held)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        raise InputError(f"{path} is spoilt; without it, it is made again") from None


def _write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
