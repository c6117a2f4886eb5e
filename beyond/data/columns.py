"""Columns of a table, of which one is to be predicted: the same wherever the table comes from."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import Literal

import numpy as np

from beyond.contracts import Architecture, TaskSpec
from beyond.data.arrays import Examples
from beyond.data.given import GivenTask, Targets
from beyond.data.tables import Frame, Table, in_order, understand, understand_target
from beyond.errors import require, require_one_of
from beyond.settings import PositiveInt, Text, settings


@settings(kw_only=True)
class ColumnsTask(GivenTask):
    """Columns, one of them the target.

    Parameters
    ----------
    kind : {"classes", "values"}, optional
        What the target is; None: texts, truth values and up to 20 whole numbers are classes.
    ignore : tuple of str
        Columns that are no inputs.
    group : str, optional
        Column whose rows with the same entry are all in one split; it is no input.
    time : str, optional
        Column by which rows are ordered before they are split; it is no input.
    rare : int, >= 1
        A text with fewer training examples than this is taken as none.
    """

    kind: Literal["classes", "values"] | None = None
    ignore: tuple[str, ...] = ()
    group: Text | None = None
    time: Text | None = None
    rare: PositiveInt = 3

    @property
    @abstractmethod
    def _frame(self) -> Frame:
        """The table, its rows numbered from 0."""

    @property
    @abstractmethod
    def _target(self) -> str:
        """Name of the column to predict."""

    def __post_init__(self) -> None:
        columns = list(self._frame.columns)
        aside = {"target": self._target, "group": self.group, "time": self.time}
        for setting, name in aside.items():
            if name is not None:
                require_one_of(f"task.{setting}", columns, name)
        for name in self.ignore:
            require_one_of("task.ignore", columns, name)
        apart = {"task.group": self.group, "task.time": self.time, "task.ignore": self.ignore}
        for setting, names in apart.items():
            chosen = names if isinstance(names, tuple) else (names,)
            allowed = f"without {self._target!r}, which is to be predicted"
            require(setting, allowed, names, self._target not in chosen)
        require(
            "task.time", "null where task.group is set", self.time, not (self.time and self.group)
        )
        super().__post_init__()

    def _spec(self, name: str, network: Architecture) -> TaskSpec:
        """Return what the harness must know."""
        return self._targets.spec(name, self._table.inputs.shape[1:], network)

    def examples(self) -> Examples:
        table = self._table
        return Examples(table.inputs, self._targets.values, column=table.columns(self.rare))

    def _told(self) -> list[str]:
        table = self._table
        return [
            f"{self._where}: {len(table.frame):,} rows, {len(table.frame.columns):,} columns",
            *table.told(),
            f"target {self._target}: {self._targets.told()}",
        ]

    def _told_splits(self) -> str:
        by = f"in order of {self.time}" if self.time else super()._told_splits()
        return by + (f", whole groups of {self.group}" if self.group else "")

    @cached_property
    def _table(self) -> Table:
        frame, where = self._frame, self._where
        aside = {self._target, self.group, self.time, *self.ignore}
        table = understand(frame, where, [name for name in frame.columns if name not in aside])
        reasons = dict.fromkeys(self.ignore, "ignored")
        reasons |= {name: "splits follow it" for name in (self.group, self.time) if name}
        table.dropped.update(reasons)
        return table

    @cached_property
    def _targets(self) -> Targets:
        column = self._frame[self._target]
        return understand_target(self._target, column, self.kind, self._where)

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
            order = in_order(self.time, self._table.frame[self.time], self._where)
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
        groups = self._table.frame[self.group].astype("category").cat.codes.to_numpy()
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
