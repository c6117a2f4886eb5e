"""A method on trial: the small task that it serves, and the run that several checks look at."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import Any

import pandas as pd

from beyond import catalog
from beyond.contracts import Method, Task
from beyond.errors import UnsupportedError
from beyond.ledger import Budget
from beyond.problem import Problem
from beyond.run.loop import train
from beyond.run.setup import Setup
from beyond.streams import Stream

TABLES = ("curves", "layers", "runs")
# one of each kind of input and target, then those in episodes, the smaller network first
TASKS = (
    "image/digits",
    "text/languages",
    "regression/friedman",
    "regression/sinusoids",
    "image/glyphs",
)
Rows = dict[str, pd.DataFrame]


@lru_cache
def _small(task: str) -> Task:
    return catalog.load("task", task, train_size=300)


class Trial:
    """A method with its name, and the run that several checks look at.

    Raises `AssertionError` if it serves none of `TASKS`.
    """

    def __init__(self, method: Method, name: str) -> None:
        self.method, self.name = method, name

    @cached_property
    def home(self) -> str:
        """The first task that the method can serve."""
        refusals = dict[str, str]()
        for task in TASKS:
            of = self.setup(task)
            try:
                of.method.init(
                    Problem(of.network, of.task.spec, signal=of.method.signal),
                    of.network.init(Stream("init", of.seeds)),
                    Stream("step", of.seeds),
                )
            except UnsupportedError as refusal:
                refusals[task] = str(refusal)
            else:
                return task
        raise AssertionError(f"serves none of {', '.join(TASKS)}: {refusals[TASKS[0]]}")

    def setup(self, task: str = "", seeds: tuple[int, ...] = (0, 1, 2), steps: int = 8) -> Setup:
        """Equal steps, not equal costs: a budget below one generation would show nothing."""
        made = _small(task or self.home)
        network, budget = made.spec.network.build(made.spec), Budget("steps", steps)
        identities = [{"method": self.name, "run_id": self.name}] * len(seeds)
        return Setup(self.method, made, network, list(seeds), budget, identities)

    @cached_property
    def whole(self) -> Rows:
        """All that an uninterrupted run at home records."""
        return run(self.setup())


def run(of: Setup, snapshot: Any = None, before: Mapping[str, list[Any]] | None = None) -> Rows:
    """All that is recorded, without the clock; `before` has rows from before the snapshot."""
    rows = {name: list((before or {}).get(name, [])) for name in TABLES}
    predictions = {}
    for progress in train(of, snapshot):
        for name, table in rows.items():
            table += getattr(progress, name)
        predictions = progress.predictions
    return tables_of(rows, predictions)


def tables_of(rows: Mapping[str, list[Any]], predictions: Mapping[str, Any]) -> Rows:
    """Tables of rows by their names, without the clock, and the predictions."""
    tables = {name: pd.DataFrame(table) for name, table in rows.items()}
    return {
        **{name: _untimed(table) for name, table in tables.items()},
        "predictions": pd.DataFrame(predictions),
    }


def _untimed(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop(columns=[name for name in table.columns if "seconds" in name])
