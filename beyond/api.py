"""From Python: the same comparisons as the command line's, of the same objects.

    import beyond

    study = beyond.compare(
        ["backprop", "genetic", {"name": "reinforce", "n_actions": 4}],
        beyond.table(frame, target="price"),
        epochs=20,
    )
    study.summary()
    study.plot.convergence()
    study.report()

What one of the two has trained, the other finds finished.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from rich.console import Console

from analysis.study import Study
from beyond import catalog
from beyond.contracts import Task
from beyond.errors import InputError, require, require_one_of
from beyond.hardware import present
from beyond.ledger import Budget
from beyond.run.arm import Arm, plain
from beyond.run.cell import Cell, hardware_of
from beyond.run.chosen import chosen, name_of
from beyond.run.display import say
from beyond.run.explain import GROUPS
from beyond.run.handed import Data, arrays
from beyond.run.plan import Agenda, note_stale
from beyond.run.runner import INTERRUPTED, run_cell
from beyond.run.start import Start
from beyond.settings import PositiveInt, RunSettings, Says, checked

Jobs = Annotated[Literal[-1] | PositiveInt, Says("-1, or an integer >= 1")]


def compare(
    methods: Any,
    tasks: Any,
    networks: Any = None,
    *,
    starts: Any = None,
    epochs: float | None = None,
    budget: Mapping[str, float] | str | None = None,
    n_jobs: int = 1,
    progress: bool = True,
    reference: str | None = None,
    **settings: Any,
) -> Study:
    """Train every method on every task, from the same weights at the same compute.

    All combinations are checked before the first is trained. What is finished stays: the same call
    again trains nothing, more seeds train those alone, and what was interrupted goes on.

    Parameters
    ----------
    methods : value, or list of values
        Each a name as on the command line, "backprop"; a mapping with the name and settings,
        {"name": "backprop", "batch_size": 64}; or an object, such as `Backprop(batch_size=64)`.
    tasks : value, or list of values
        The same; also `beyond.table(frame, target)`, `beyond.arrays(X, y)`, or a pair (X, y).
    networks, starts : value, or list of values
        The same; by default the task's network and the method's start.
    epochs : float, > 0
        What each replica may spend, in backprop epochs; 100 unless there is a `budget`.
    budget : mapping or str, optional
        In another currency, {"flops": 1e9}; or a name, "quick".
    n_jobs : int
        Processes that train side by side; -1 is one a core.
    progress : bool
        Whether to draw bars, and print a line a run.
    reference : str, optional
        See `Study`.
    **settings
        Those of a run (see `beyond.settings.RunSettings`): `seeds=10`, `study_name="adhoc"`,
        `runs="runs"`, `threads`, `time_limit`, `rerun`, ...

    Returns
    -------
    Study
        All that the folder `runs/study_name` has, with what was trained before.

    Raises
    ------
    InputError
        In one line, before anything is trained, for what is unknown or out of range.

    Examples
    --------
    >>> study = beyond.compare(["backprop", "genetic"], "image/digits", seeds=5, epochs=20)
    >>> study.summary()
    """
    run = _run_settings(settings)
    checked("n_jobs", Jobs, n_jobs)
    folder = run.study
    amount = _budget(epochs, budget)
    made_tasks = [_task(value, folder / "data") for value in _each(tasks)]
    combined = product(made_tasks, _each(methods), _each(networks), _each(starts))
    agenda, cells, asked = Agenda(), list[Cell](), list[str]()
    for task, method, network, start in combined:
        cell = _cell(method, task, network, start, amount, run)
        asked.append(cell.arm.id)
        if seeds := agenda.add(cell).seeds:
            once = replace(cell, run=replace(cell.run, rerun="none"))
            cells.append(once.of_seeds(seeds))
    console = Console(stderr=True, quiet=not progress)
    for line in agenda.begin():
        say(console, line)
    short = zip(cells, agenda.short(cells), strict=True)
    cells = [replace(cell, short=label) for cell, label in short]
    for cell in cells:
        _ = cell.sources, cell.data  # while they are here: another process has other classes
    _train(cells, n_jobs, progress)
    note_stale(folder, agenda.kept)
    return Study(folder, reference, asked=asked)


def run(method: Any, task: Any, network: Any = None, **settings: Any) -> Study:
    """Train one method on one task; parameters are those of `compare`.

    Examples
    --------
    >>> beyond.run("genetic", "image/digits", seeds=3, epochs=5).runs["best_test_score"]
    """
    for name, value in (("method", method), ("task", task), ("network", network)):
        require(name, "one value; compare takes lists", value, not isinstance(value, list))
    return compare(method, task, network, **settings)


def load(folder: str | Path, reference: str | None = None) -> Study:
    """Return what a folder has of a study: `beyond.load("runs/comparison")`."""
    return Study(folder, reference)


def names(group: str) -> list[str]:
    """Return what can be chosen: `beyond.names("method")`, "task", "network", "start", ..."""
    require_one_of("group", GROUPS, group)
    return catalog.names(group)


def _each(values: Any) -> list[Any]:
    if isinstance(values, list):
        require("a list", "of at least one value", values, bool(values))
        return values
    return [values]


def _run_settings(settings: dict[str, Any]) -> RunSettings:
    seeds = settings.get("seeds")
    if isinstance(seeds, Iterable) and not isinstance(seeds, str):
        settings = {**settings, "seeds": [_plain(seed) for seed in seeds]}
    made = RunSettings(**{name: _plain(value) for name, value in settings.items()})
    return replace(made, device=present(made.device))


def _plain(value: Any) -> Any:
    """Python's number for one of NumPy's."""
    return value.item() if isinstance(value, np.generic) else value


def _budget(epochs: float | None, budget: Mapping[str, float] | str | None) -> Budget:
    if epochs is not None:
        require("budget", "left out where epochs are given", budget, budget is None)
        return Budget.of({"epochs": epochs})
    if isinstance(budget, Mapping):
        return Budget.of(budget)
    return Budget.of(catalog.read("budget", budget or catalog.choices()["budget"]))


def _task(value: Any, folder: Path) -> Task:
    """Return the task that a value stands for; data are kept in a folder."""
    if isinstance(value, tuple) and len(value) == 2:
        value = arrays(*value)
    if hasattr(value, "to_parquet"):
        raise InputError("a DataFrame must name its target: beyond.table(frame, target=...)")
    return value.task(folder) if isinstance(value, Data) else chosen("task", value)


def _cell(
    method: Any, task: Task, network: Any, start: Any, budget: Budget, run: RunSettings
) -> Cell:
    """One run of the study."""
    name = name_of("method", method).removeprefix("__main__.")
    rule = chosen("method", method)
    architecture = task.spec.network if network is None else chosen("network", network)
    usual = catalog.choices()["start"]
    if name in catalog.names("method"):
        usual = catalog.brought("method", name).get("start", usual)
    begun: Start = chosen("start", usual if start is None else start)
    arm = Arm(
        name,
        rule,
        task,
        architecture or task.spec.network,
        budget,
        run.threads,
        begun.on(task),
        run.test_also,
        hardware_of(run),
    )
    return Cell(arm, run, _told(arm, begun, run))


def _told(arm: Arm, start: Start, run: RunSettings) -> dict[str, Any]:
    """Settings of a cell as a configuration has them: they make the same one again."""
    return {
        "task": plain(arm.task),
        "method": plain(arm.method),
        "network": plain(arm.architecture),
        **{part: {} for part in catalog.PARTS},
        "start": plain(start),
        "budget": {arm.budget.currency: arm.budget.amount},
        **{field.name: plain(getattr(run, field.name)) for field in fields(run)},
    }


def _train(cells: list[Cell], n_jobs: int, progress: bool) -> None:
    """Train the cells; what an interruption leaves is kept."""
    try:
        if n_jobs == 1:
            for cell in cells:
                status = run_cell(cell, keep_skipped=True, shown=progress, quiet=not progress)
                if status == INTERRUPTED:  # by a signal that a handler of the user's has noted
                    raise KeyboardInterrupt
            return
        from joblib import Parallel, delayed, parallel_config

        jobs = (delayed(run_cell)(cell, True, False, not progress) for cell in cells)
        with parallel_config(backend="loky", inner_max_num_threads=1):  # two pools fight
            Parallel(n_jobs=n_jobs)(jobs)
    except KeyboardInterrupt as error:
        error.add_note("what was computed is kept: the same call goes on, beyond.load reads it")
        raise
