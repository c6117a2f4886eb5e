"""A table in a file, whose columns are inputs and one target.

Source      A file: CSV, TSV, Parquet or Excel.
Examples    A row each. Columns of numbers, of truth values, of texts and of dates become inputs as
            `beyond/data/tables.py` says; the target's column is what is to be predicted: classes
            where it has texts, truth values or a few whole numbers, otherwise a value.
Splits      70 % train, 15 % validation, 15 % test: drawn by seed and stratified by class; or with
            whole groups of rows in one split (`group`); or in order of time, the last rows being
            the test split (`time`), which is the same for every seed.
Chance      The share of the most frequent class; R2 = 0.
"""

from functools import cached_property
from typing import ClassVar, Literal

import numpy as np

from beyond.architectures.mlp import suited
from beyond.contracts import TaskSpec
from beyond.data.arrays import Examples
from beyond.data.given import GivenTask, Targets
from beyond.data.tables import (
    Reading,
    Table,
    in_order,
    read_table,
    understand,
    understand_target,
)
from beyond.errors import require, require_one_of
from beyond.settings import PositiveInt, Text, settings


@settings(kw_only=True)
class TableTask(GivenTask):
    """Predict one column of a table from the others.

    Parameters
    ----------
    path : str
        The file; its ending says what it is: .csv, .tsv, .txt, .parquet, .xlsx, .xls.
    target : str
        Name of the column to predict.
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
    delimiter : str, optional
        Between the columns of a text file; None: a comma, or a tab in .tsv and .txt.
    encoding : str
        Of a text file.
    missing : tuple of str
        Texts that stand for nothing, besides those usual (empty, NA, NaN, null).
    """

    PACKAGES: ClassVar = ("pandas",)

    target: Text
    kind: Literal["classes", "values"] | None = None
    ignore: tuple[str, ...] = ()
    group: Text | None = None
    time: Text | None = None
    rare: PositiveInt = 3
    delimiter: Text | None = None
    encoding: Text = "utf-8"
    missing: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        columns = list(read_table(self._reading).columns)
        aside = {"target": self.target, "group": self.group, "time": self.time}
        for setting, name in aside.items():
            if name is not None:
                require_one_of(f"task.{setting}", columns, name)
        for name in self.ignore:
            require_one_of("task.ignore", columns, name)
        require(
            "task.time", "null where task.group is set", self.time, not (self.time and self.group)
        )
        super().__post_init__()

    @property
    def spec(self) -> TaskSpec:
        n_rows, n_inputs = self._table.inputs.shape
        return self._targets.spec(f"table/{self._file.stem}", (n_inputs,), suited(n_rows))

    def examples(self) -> Examples:
        table = self._table
        return Examples(table.inputs, self._targets.values, column=table.columns(self.rare))

    def _told(self) -> list[str]:
        table = self._table
        return [
            f"{self._file}: {len(table.frame):,} rows, {len(table.frame.columns):,} columns",
            *table.told(),
            f"target {self.target}: {self._targets.told()}",
        ]

    def _told_splits(self) -> str:
        by = f"in order of {self.time}" if self.time else super()._told_splits()
        return by + (f", whole groups of {self.group}" if self.group else "")

    @property
    def _reading(self) -> Reading:
        return Reading(self.path, self.delimiter, self.encoding, self.missing)

    @cached_property
    def _table(self) -> Table:
        frame, file = read_table(self._reading), self._file
        aside = {self.target, self.group, self.time, *self.ignore}
        table = understand(frame, file, [name for name in frame.columns if name not in aside])
        reasons = dict.fromkeys(self.ignore, "ignored")
        reasons |= {name: "splits follow it" for name in (self.group, self.time) if name}
        table.dropped.update(reasons)
        return table

    @cached_property
    def _targets(self) -> Targets:
        column = self._table.frame[self.target]
        return understand_target(self.target, column, self.kind, self._file)

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
            order = in_order(self.time, self._table.frame[self.time], self._file)
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
