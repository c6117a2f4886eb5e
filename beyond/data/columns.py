"""Rows of a table, of which one column is to be predicted: the same wherever they come from."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal

import numpy as np

from beyond.contracts import Architecture, TaskSpec
from beyond.data.arrays import Examples
from beyond.data.features import Table, in_order, of_entries, understand, understand_target
from beyond.data.given import GivenTask, Seen, Targets
from beyond.data.tables import Frame
from beyond.errors import require, require_one_of
from beyond.settings import PositiveInt, Text, settings


@settings(kw_only=True)
class RowsTask(GivenTask):
    """Rows of a table, one of whose columns is the target.

    Parameters
    ----------
    kind : {"classes", "values"}, optional
        What the target is; None: texts, truth values and up to 20 whole numbers are classes.
    group : str, optional
        Column whose rows with the same entry are all in one split; it is no input.
    time : str, optional
        Column by which rows are ordered before they are split; it is no input.
    """

    kind: Literal["classes", "values"] | None = None
    group: Text | None = None
    time: Text | None = None

    @property
    @abstractmethod
    def _frame(self) -> Frame:
        """The table, its rows numbered from 0."""

    @property
    @abstractmethod
    def _target(self) -> str:
        """Name of the column to predict."""

    @cached_property
    @abstractmethod
    def _seen(self) -> Seen:
        """What a network sees of the rows."""

    @property
    def _names(self) -> list[str]:
        """Names of all columns, those that are in no frame too."""
        return list(self._frame.columns)

    @property
    def _fixed(self) -> tuple[int | None, int | None]:
        """Sizes of the validation and test splits that the rows end with, if they do."""
        return None, None

    @property
    def _apart(self) -> Mapping[str, tuple[str, ...]]:
        """Settings that name columns other than the target."""
        return {
            f"task.{setting}": (name,)
            for setting, name in (("group", self.group), ("time", self.time))
            if name is not None
        }

    def __post_init__(self) -> None:
        columns = list(self._frame.columns)
        target = self._target
        for setting, names in {"task.target": (target,), **self._apart}.items():
            for name in names:
                require_one_of(setting, columns, name)
        for setting, names in self._apart.items():
            for name in names:
                allowed = f"another than task.target, {target!r}"
                require(setting, allowed, name, name != target)
        for setting, name in (("target", target), ("group", self.group)):
            single = name is None or of_entries(self._frame[name])
            require(f"task.{setting}", "a column of single entries, not of lists", name, single)
        require(
            "task.time", "null where task.group is set", self.time, not (self.time and self.group)
        )
        for setting in ("group", "time"):
            name, drawn = getattr(self, setting), self._fixed == (None, None)
            require(f"task.{setting}", "null where splits are given", name, drawn or name is None)
        _ = self._seen, self._targets  # refused now if they cannot be used
        super().__post_init__()

    def _spec(self, name: str, network: Architecture) -> TaskSpec:
        """Return what the harness must know."""
        seen = self._seen
        return self._targets.spec(name, seen.values.shape[1:], network, seen.n_symbols)

    def encode(self, inputs: Any) -> np.ndarray:
        """Return rows as a DataFrame (or what becomes one), or texts, as an array."""
        return self._seen.encode(inputs)

    def examples(self) -> Examples:
        seen, targets, (n_validation, n_test) = self._seen, self._targets.values, self._fixed
        return Examples(
            seen.values, targets, n_test, seen.scaling, n_validation, column=seen.column
        )

    def _told(self) -> list[str]:
        return [
            f"{self._where}: {len(self._frame):,} rows, {len(self._names):,} columns",
            *self._seen.told,
            f"target {self._target}: {self._targets.told()}",
        ]

    def _further(self) -> list[np.ndarray]:
        return [*super()._further(), *self._seen.further]

    def _told_splits(self) -> str:
        by = f"in order of {self.time}" if self.time else super()._told_splits()
        return by + (f", whole groups of {self.group}" if self.group else "")

    @cached_property
    def _targets(self) -> Targets:
        column = self._frame[self._target]
        return understand_target(self._target, column, self.kind, self._where, self._fixed)

    def _origin(self, raw: Examples) -> str:
        return "source" if self.time else super()._origin(raw)

    def _divide(self, raw: Examples, rng: np.random.Generator) -> dict[str, np.ndarray]:
        if self.time is None and self.group is None:
            return super()._divide(raw, rng)
        n_rows = len(raw.targets)
        n_test, n_held = (
            round(self.TEST_FRACTION * n_rows),
            round(self.VALIDATION_FRACTION * n_rows),
        )
        if self.time is not None:
            order = in_order(self.time, self._frame[self.time], self._where)
            train, validation, test = np.split(order, [n_rows - n_test - n_held, n_rows - n_test])
        else:
            train, validation, test = self._by_group(n_test, n_held, rng)
        return {
            "train": self._thin(rng.permutation(train), raw.targets),
            "validation": validation,
            "test": test,
        }

    def _by_group(
        self, n_test: int, n_held: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows of train, validation and test, each of whole groups less what is over their sizes.

        The sizes are the same for every seed: what is over is in no split.
        """
        groups = self._frame[self.group].astype("category").cat.codes.to_numpy()
        names, members, sizes = np.unique(groups, return_inverse=True, return_counts=True)
        n_rows, over = len(groups), 2 * (int(sizes.max()) - 1)
        n_train = n_rows - n_test - n_held - over
        allowed = f"a column whose largest group is at most {n_rows // 10} of {n_rows} rows"
        require("task.group", allowed, self.group, sizes.max() <= n_rows // 10)
        places = np.empty(len(names), int)
        places[rng.permutation(len(names))] = np.arange(len(names))
        order = np.argsort(places[members], kind="stable")  # group after group
        ends = np.cumsum(sizes[np.argsort(places)])
        test_end = int(ends[np.searchsorted(ends, n_test)])
        held_end = int(ends[np.searchsorted(ends, test_end + n_held)])
        held = order[test_end : test_end + n_held]
        return rng.permutation(order[held_end:])[:n_train], held, order[:n_test]


@settings(kw_only=True)
class ColumnsTask(RowsTask):
    """Rows whose other columns are inputs.

    Parameters
    ----------
    ignore : tuple of str
        Columns that are no inputs.
    rare : int, >= 1
        A text with fewer training examples than this is taken as none.
    """

    ignore: tuple[str, ...] = ()
    rare: PositiveInt = 3

    @property
    def _apart(self) -> Mapping[str, tuple[str, ...]]:
        return {**super()._apart, "task.ignore": self.ignore}

    @cached_property
    def _seen(self) -> Seen:
        table = self._table
        return Seen(
            table.inputs, tuple(table.told()), table.encode, column=table.columns(self.rare)
        )

    @cached_property
    def _table(self) -> Table:
        frame = self._frame
        reasons = dict.fromkeys(self.ignore, "ignored")
        reasons |= {name: "splits follow it" for name in (self.group, self.time) if name}
        names = [name for name in frame.columns if name not in {self._target, *reasons}]
        table = understand(frame, self._where, names)
        table.dropped.update(reasons)
        return table
