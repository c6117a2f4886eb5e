"""Data that nobody described: what every task has that reads them from a path.

A task file says what the inputs are; what the targets are, which levels follow from them, and what
is told of all that, is here.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from stat import S_ISREG
from typing import Any

import numpy as np

from beyond.contracts import Architecture, TargetKind, TaskSpec
from beyond.data.arrays import ArrayTask
from beyond.data.drawn import digest
from beyond.data.splits import Column, Scaling
from beyond.errors import InputError, require
from beyond.files import expanded
from beyond.settings import Text, settings

LARGEST = 2 << 30  # bytes; all of the data are held in memory
FEWEST = 3  # examples of a class: one for each split
SHARES = {  # of the way from chance to a perfect score
    TargetKind.CLASSES: (0.5, 0.75, 0.9),
    TargetKind.VALUES: (0.25, 0.5, 0.75),
}
SPLIT_NAMES = {  # as people call them
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
}
HIDDEN = (".", "__")  # a name that begins so is the system's: `.DS_Store`, `__MACOSX`
Stamp = tuple[int, int]  # when a file was changed last, in ns; its size in bytes


@dataclass(frozen=True)
class Targets:
    """What is to be predicted.

    Attributes
    ----------
    values : array of shape (N,) int64, or (N, n_outputs) real
    counts : dict of str to int
        Examples of each class, by its name; empty where values are predicted.
    """

    values: np.ndarray
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def chance(self) -> float:
        """Score of the same answer for every example."""
        return max(self.counts.values()) / len(self.values) if self.counts else 0.0

    def spec(
        self, name: str, input_shape: tuple[int, ...], network: Architecture, n_symbols: int = 0
    ) -> TaskSpec:
        """Return what the harness must know: the levels lie between chance and a perfect score."""
        kind = TargetKind.CLASSES if self.counts else TargetKind.VALUES
        easy, medium, hard = (
            round(self.chance + share * (1 - self.chance), 3) for share in SHARES[kind]
        )
        return TaskSpec(
            name=name,
            input_shape=input_shape,
            n_outputs=len(self.counts) or self.values.shape[1],
            target_kind=kind,
            network=network,
            score="accuracy_score" if self.counts else "r2_score",
            levels=(easy, medium, hard),
            n_symbols=n_symbols,
        )

    def told(self) -> str:
        if not self.counts:
            low, high, n_outputs = self.values.min(), self.values.max(), self.values.shape[1]
            what = "values" if n_outputs == 1 else f"{n_outputs} values each,"
            return f"{what} from {low:.6g} to {high:.6g}, chance R2 = 0"
        classes = listed([f"{name} {count:,}" for name, count in self.counts.items()], 20)
        return f"{len(self.counts)} classes ({classes}), chance {self.chance:.3f}"


@dataclass(frozen=True)
class Seen:
    """What a network sees of the examples.

    Attributes
    ----------
    values : array of shape (N, *input_shape)
        Numbers, or int64 symbols.
    told : tuple of str
        What they are, in lines.
    encode : callable
        Turns others of the kind into such values.
    scaling, column
        See `beyond.data.arrays.Examples`.
    n_symbols : int
        How many there are; 0 where values are numbers.
    further : tuple of arrays
        What else decides results.
    """

    values: np.ndarray
    told: tuple[str, ...]
    encode: Callable[[Any], np.ndarray]
    scaling: Scaling = "feature"
    column: Column | None = None
    n_symbols: int = 0
    further: tuple[np.ndarray, ...] = ()


@settings(kw_only=True)
class GivenTask(ArrayTask):
    """Data as they come."""

    @property
    @abstractmethod
    def _where(self) -> str:
        """What lines about the data begin with."""

    @cached_property
    @abstractmethod
    def _targets(self) -> Targets:
        """What is to be predicted."""

    @abstractmethod
    def _told(self) -> list[str]:
        """What was understood of all but the splits, in lines."""

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self._targets.counts)

    def told(self) -> list[str]:
        return [*self._told(), f"splits: {self._told_splits()}"]

    def _told_splits(self) -> str:
        raw = self.examples()
        drawn = "by seed" if self.split_seed is None else f"by split_seed {self.split_seed}"
        sizes = {"validation": raw.n_validation, "test": raw.n_test}
        given = [split for split, size in sizes.items() if size is not None]
        if len(given) == len(sizes):
            return "as given"
        return f"{given[0]} as given, the others drawn {drawn}" if given else f"drawn {drawn}"

    def checksum(self) -> str:
        """SHA-256 over the raw inputs and targets, and what else decides results."""
        raw = self.examples()
        return digest(raw.inputs, raw.targets, *self._further())

    def _further(self) -> list[np.ndarray]:
        """What else of the data decides results: where fixed splits begin."""
        raw = self.examples()
        sizes = [-1 if size is None else size for size in (raw.n_validation, raw.n_test)]
        return [] if max(sizes) < 0 else [np.array(sizes)]


@settings(kw_only=True)
class FileTask(GivenTask):
    """Data in a file, or a folder.

    Parameters
    ----------
    path : str
        Where they are.
    """

    path: Text

    @property
    def _file(self) -> Path:
        return expanded(self.path)

    @property
    def _where(self) -> str:
        return str(self._file)


def of_classes(
    codes: np.ndarray,
    names: Iterable[str],
    where: str,
    fixed: Sequence[int | None] = (),
    noun: str = "row",
    hint: str = "",
) -> Targets:
    """Take codes (N,) in [0, K) as K named classes; `InputError` for one that is in no split.

    `fixed` are the sizes of the validation and test splits that the data end with, if they do; the
    noun is what an example is called.
    """
    given = [size for size in fixed if size is not None]
    counts = dict(zip(names, np.bincount(codes).tolist(), strict=True))
    if len(counts) < 2:
        raise InputError(f"{where}: every {noun} is of the class {next(iter(counts))}")
    free = np.bincount(codes[: len(codes) - sum(given)], minlength=len(counts))
    place = int(free.argmin())
    if free[place] < FEWEST - len(given):
        besides = " besides those of the given splits" if given else ""
        raise InputError(
            f"{where}: the class {list(counts)[place]} has {counted(int(free[place]), noun)}"
            f"{besides}, fewer than one for each split{hint}"
        )
    return Targets(codes, counts)


def of_values(values: np.ndarray, where: str) -> Targets:
    """Take numbers (N, n_outputs) as values; `InputError` if they are all the same."""
    if (values == values[:1]).all():
        raise InputError(f"{where}: every row has the same target")
    return Targets(values)


def stamp(file: Path) -> Stamp:
    """Say which version of a file this is; `InputError` if it is none, or too large."""
    stat = _stat(file)
    # a pipe never ends, and is read once
    require("task.path", "a file", str(file), S_ISREG(stat.st_mode))
    require_room(file, stat.st_size)
    return stat.st_mtime_ns, stat.st_size


def files_below(folder: Path) -> list[Path]:
    """Every file below, those of one folder after another; hidden ones are not there.

    A link to a folder is one. Raises `InputError` for what may not be opened, or leads nowhere:
    nothing is left out without a word.
    """

    def refuse(error: OSError) -> None:
        raise _unopened(error, error.filename)

    found = list[Path]()
    for place, inside, names in os.walk(folder, onerror=refuse, followlinks=True):
        inside[:] = [name for name in inside if not name.startswith(HIDDEN)]
        for name in inside:
            if Path(place).resolve().is_relative_to(Path(place, name).resolve()):
                raise InputError(f"{Path(place, name)} is a link to a folder that it is in")
        files = [Path(place, name) for name in names if not name.startswith(HIDDEN)]
        found += [file for file in files if S_ISREG(_stat(file).st_mode)]
    return sorted(found, key=lambda path: path.relative_to(folder).parts)


def _stat(file: Path) -> os.stat_result:
    try:
        return file.stat()
    except OSError as error:
        raise _unopened(error, file) from None


def _unopened(error: OSError, path: Path | str) -> InputError:
    return InputError(f"task.path: {error.strerror}: {str(path)!r}")


def require_room(file: Path | str, size: int) -> None:
    """Raise `InputError` for data too large to hold, of `size` bytes."""
    if size > LARGEST:
        raise InputError(f"{file} has {size / (1 << 30):.1f} GB; at most 2 can be held")


def counted(number: int, noun: str) -> str:
    """Say how many: `1 row`, `1,000 rows`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listed(names: Sequence[str], most: int = 8) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def first_line(error: Exception) -> str:
    """What an error says, in one line."""
    return (str(error).splitlines() or [type(error).__name__])[0]
