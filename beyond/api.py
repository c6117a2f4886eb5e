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

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from itertools import product
from os import PathLike, cpu_count, fspath
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from rich.console import Console

from analysis.study import Study, TableError, arms_with
from beyond import catalog
from beyond.contracts import Task
from beyond.errors import BusyError, InputError, require, require_one_of
from beyond.hardware import present
from beyond.ledger import Budget
from beyond.run.arm import Arm, plain
from beyond.run.cell import Cell, hardware_of
from beyond.run.chosen import chosen, name_of, stated
from beyond.run.display import say
from beyond.run.explain import GROUPS
from beyond.run.handed import Data, arrays
from beyond.run.record import RunFolder
from beyond.run.sampling import Tuning
from beyond.run.schedule import Schedule, lost, scheduled
from beyond.run.start import Start
from beyond.run.tuning import Tuned
from beyond.run.tuning import tune as tuned
from beyond.run.worker import Handed, Worker
from beyond.settings import PositiveInt, RunSettings, Says, checked

Jobs = Annotated[Literal[-1] | PositiveInt, Says("-1, or an integer >= 1")]
Launch = Callable[[Worker], list[list[str]]]


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
        Whether to say how far it is, and print a line a run.
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
        In one line, before anything is trained, for what is unknown or out of range; after the
        others, for runs that could not be trained, as on a full disk.
    BusyError
        After the others, for runs that another process is training.
    KeyboardInterrupt
        When it is interrupted, with what is under way saved.

    Examples
    --------
    >>> study = beyond.compare(["backprop", "genetic"], "image/digits", seeds=5, epochs=20)
    >>> study.summary()
    """
    launch = _launcher(n_jobs)
    made = _cells(methods, tasks, networks, starts, epochs, budget, settings)
    cells = [cell for cell, _ in made]
    _require_named(reference, cells)
    return _compared(cells, launch, progress, reference)


def tune(
    methods: Any,
    tasks: Any,
    networks: Any = None,
    *,
    trials: int | Mapping[str, Any] = 20,
    starts: Any = None,
    epochs: float | None = None,
    budget: Mapping[str, float] | str | None = None,
    n_jobs: int = 1,
    progress: bool = True,
    reference: str | None = None,
    **settings: Any,
) -> Study:
    """Tune every method alike on every task, then compare its defaults and what was chosen.

    What `beyond +tune=equal` does: trials are told by their validation scores alone, and at other
    seeds than the comparison's. The same call again trains nothing, and goes on with what was
    interrupted.

    Parameters
    ----------
    trials : int in [1, 4096], or mapping
        Of every arm, the defaults included; or settings by the names that `tune.` has on the
        command line (see `beyond.run.sampling.Tuning`): {"n_trials": 20, "sampler": "tpe"}.
    methods, tasks, networks, starts, epochs, budget, n_jobs, progress, reference, **settings
        As of `compare`. Settings that a method states stay as they are: those of a mapping, and
        those in which an object differs from its choice.

    Returns
    -------
    Study
        With `trials()`, one row each, and `tuning()`, what they have gained and cost.

    Raises
    ------
    InputError
        As of `compare`; also if a seed of the comparison is one of the trials'.

    Examples
    --------
    >>> study = beyond.tune(["backprop", "genetic"], "image/digits", trials=6, epochs=5)
    >>> study.tuning()["tuning_gains"]
    """
    launch = _launcher(n_jobs)
    tuning = Tuning(**(trials if isinstance(trials, Mapping) else {"n_trials": trials}))
    cells = _cells(methods, tasks, networks, starts, epochs, budget, settings)
    arms = {
        cell.arm.id: Tuned(cell, cell.arm.name, _stated(method, cell), tuning)
        for cell, method in cells
    }
    _require_named(reference, [cell for cell, _ in cells], ("", "settings"))
    console = Console(stderr=True, quiet=not progress)

    def train(made: Sequence[tuple[Cell, str]]) -> None:
        _train([cell for cell, _ in made], launch, progress, waits=True)

    found = tuned(list(arms.values()), train, lambda line: say(console, line))
    every = [cell for cell, _ in cells]
    return _compared([*every, *found.values()], launch, progress, reference)


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
    """Return what a folder has of a study: `beyond.load("runs/comparison")`.

    Raises
    ------
    InputError
        In one line, if there is no such folder or no finished run in it, or if no arm has the
        reference's name.
    """
    return _study(folder, reference)


def names(group: str) -> list[str]:
    """Return what can be chosen: `beyond.names("method")`, "task", "network", "start", ..."""
    require_one_of("group", GROUPS, group)
    return catalog.names(group)


def _cells(
    methods: Any,
    tasks: Any,
    networks: Any,
    starts: Any,
    epochs: float | None,
    budget: Mapping[str, float] | str | None,
    settings: dict[str, Any],
) -> list[tuple[Cell, Any]]:
    """Make a cell of every combination; return each with its method as it was given."""
    run, amount = _run_settings(settings), _budget(epochs, budget)
    made = [_task(value, run.study / "data") for value in _each(tasks)]
    return [
        (_cell(method, task, network, start, amount, run), method)
        for task, method, network, start in product(
            made, _each(methods), _each(networks), _each(starts)
        )
    ]


def _stated(method: Any, cell: Cell) -> list[str]:
    """Settings of a method that were given with it."""
    if isinstance(method, str | Mapping):
        return [] if isinstance(method, str) else stated(method)
    names = [setting.partition("=")[0] for setting in cell.arm.method_differing]
    return [name for name in names if name not in catalog.PARTS]


def _require_named(
    reference: str | None, cells: Sequence[Cell], tuned: Sequence[str] = ("",)
) -> None:
    """Raise `InputError` unless an arm of the study will have the reference's name.

    Parameters
    ----------
    tuned : sequence of str
        What is tuned of each cell in the rows that it will have, "" for its defaults.
    """
    if reference is None:
        return
    planned = [{**cell.identity, "tuned": settings} for cell, settings in product(cells, tuned)]
    require_one_of("reference", arms_with(cells[0].study, planned), reference)


def _study(folder: str | Path, reference: str | None, asked: Iterable[str] = ()) -> Study:
    """Read a study; raise `InputError`, in a line, if it cannot be."""
    try:
        return Study(folder, reference, asked=asked)
    except TableError as error:
        raise InputError(str(error)) from error


def _compared(
    cells: Sequence[Cell], launch: Launch, progress: bool, reference: str | None
) -> Study:
    """Train what is left of the cells; return their study."""
    _train(cells, launch, progress)
    return _study(cells[0].study, reference, [cell.arm.id for cell in cells])


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
    """Python's number for one of NumPy's, and text for a path."""
    if isinstance(value, PathLike):
        return fspath(value)
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
        run.early_stopping,
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


def _train(cells: Sequence[Cell], launch: Launch, progress: bool, waits: bool = False) -> None:
    """Train what is left of the cells of one study, as a sweep does; interrupted, keep it."""
    asked = ((cell, cell.arm.name) for cell in cells)
    schedule = scheduled(asked, len(cells), _packed, Console(stderr=True, quiet=not progress))
    try:
        statuses = schedule.train(cells[0].study, launch, not progress, waits)
    except KeyboardInterrupt as error:
        error.add_note("what was computed is kept: the same call goes on, beyond.load reads it")
        raise
    _require_trained(schedule, statuses)


def _packed(cell: Cell, _method: str) -> Handed:
    """Let a cell travel as it is: another process could not make it again of classes typed here."""
    once = replace(cell, run=replace(cell.run, rerun="none"))
    _ = once.sources, once.data  # while its classes are where they were written
    return Handed(once)


def _launcher(n_jobs: int) -> Launch:
    """Return what runs as many workers as there are to be, and returns what each of them does.

    Raises `InputError` for another number than `compare` takes.
    """
    checked("n_jobs", Jobs, n_jobs)

    def launch(worker: Worker) -> list[list[str]]:
        n = min(n_jobs if n_jobs > 0 else cpu_count() or 1, len(worker.stacks))
        if n_jobs == 1:
            return [worker(None)]
        from joblib import Parallel, delayed, parallel_config

        with parallel_config(backend="loky", inner_max_num_threads=1):  # two pools fight
            done: Any = Parallel(n_jobs=n)(delayed(worker)(None) for _ in range(n))
        return list(done)

    return launch


def _require_trained(schedule: Schedule, statuses: Sequence[str]) -> None:
    """Raise an error, in a line, if some of the runs could not be trained here."""
    if told := lost(statuses, "call"):
        raise InputError(told)
    cells = [handed.cell for stack in schedule.stacks for handed in stack]
    if busy := [cell for cell in cells if not RunFolder(cell.folder).finished]:
        raise BusyError(
            f"another process is writing {str(busy[0].folder)!r}"
            + (f" and {len(busy) - 1} more" if len(busy) > 1 else "")
            + ": the same call reads what it has done"
        )
