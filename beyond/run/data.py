"""What tasks learn from: data that others publish, and a task's data as it understands them.

beyond-data list                        which there are, where they lie, under which licence
beyond-data fetch mnist cifar10         download into the cache, BEYOND_DATA
beyond-data fetch mnist from=FOLDER     copy into it from wherever they lie below a folder
beyond-data verify                      compare what is there with what was published
beyond-data check task=table task.path=my.csv task.target=price
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from math import floor, log10
from typing import Any, Literal

from beyond import catalog
from beyond.contracts import SPLITS, Architecture, Task
from beyond.data.given import counted
from beyond.data.sources import SWAPPED, Source
from beyond.errors import InputError, UnsupportedError, require, require_one_of
from beyond.files import expanded
from beyond.ledger import Budget
from beyond.network.trainable import Network
from beyond.run.cell import Cell
from beyond.run.explain import explain
from beyond.run.fetch import bring
from beyond.run.typed import typed

BATCH = 32  # examples that a step sees, by default of most methods
MUCH = 5e12  # operations of a replica: about an hour of one core
USAGE = (
    "usage: beyond-data list | fetch NAME ... [from=FOLDER] | verify [NAME ...] | "
    "check task=NAME [task.SETTING=VALUE ...]"
)


def described(task: Task) -> list[str]:
    """Say what a task's data are, and first what it understood of them where it had to."""
    spec, splits = task.spec, task.at([0])
    budget = Budget.of(catalog.read("budget", catalog.choices()["budget"]))
    sizes = ", ".join(f"{splits.size(split):,} {split}" for split in SPLITS)
    shape = "x".join(map(str, spec.input_shape))
    outputs = f"{spec.n_outputs} output{'' if spec.n_outputs == 1 else 's'}"
    return [
        *task.told(),
        f"{spec.name}: inputs {shape}, {outputs} ({spec.target_kind})",
        f"splits: {sizes}",
        *_planned(task, spec.network, budget, splits.size("train")),
    ]


def understood(cell: Cell) -> list[str]:
    """Say what a run's task understood of its data and what follows; nothing where it had not to.

    Raises `InputError` for data that cannot be used, or a network that does not take them.
    """
    arm = cell.arm
    if not (told := arm.task.told()):
        return []
    n_train = arm.task.at(cell.seeds).size("train")
    return [*told, *_planned(arm.task, arm.architecture, arm.budget, n_train)]


def _planned(
    task: Task, architecture: Architecture, budget: Budget, n_train: int
) -> tuple[str, str]:
    """By what a network is judged, and what a replica may spend."""
    spec, levels = task.spec, ", ".join(map(str, task.spec.levels))
    spent = _spent(budget, architecture.build(spec), n_train * spec.n_scored)
    return f"network {architecture.name}, {spec.score}; levels {levels}", f"budget: {spent}"


def _spent(budget: Budget, network: Network, n_examples: int) -> str:
    """A budget in its currency and, unless that is the clock's, in steps and operations."""
    epochs = budget.currency == "epochs"
    told = f"{budget.amount:,g} {'backprop ' if epochs else ''}{budget.currency} a replica"
    if budget.currency == "seconds":
        return told
    size = min(BATCH, n_examples)
    step = size * (network.forward_flops + network.backward_flops())
    cost = {"epochs": size / n_examples, "examples": 3 * size, "flops": step, "steps": 1}
    steps = budget.amount / cost[budget.currency]
    told += f", as {steps:,.0f} steps of backprop on {size} examples, {steps * step:.1e} operations"
    fits = MUCH / (step * n_examples / size)  # epochs
    if not epochs or budget.amount <= max(fits, 1):
        return told
    unit = 10 ** max(0, floor(log10(max(fits, 1))))
    return f"{told}; budget.epochs={max(1, int(fits // unit) * unit)} would do with less"


def published() -> dict[str, Source]:
    """Sources of all tasks, by name."""
    found = [source for task in _tasks().values() for source in _named_by(task, "DATA")]
    return {source.name: source for source in sorted(found, key=lambda source: source.name)}


def _tasks() -> dict[str, type]:
    targets = {name: catalog.read("task", name)["_target_"] for name in catalog.names("task")}
    return {name: catalog.find("_target_", target) for name, target in targets.items()}


def _named_by(task: type, what: Literal["DATA", "PACKAGES"]) -> Sequence[Any]:
    """What data, or packages with data, a task names: one that is added may name none."""
    return getattr(task, what, ())


def _list(arguments: Sequence[str]) -> Iterator[str]:
    require("list", "alone", " ".join(arguments), not arguments)
    tasks, rows = _tasks(), [("data", "size", "where", "licence", "tasks")]
    for source in published().values():
        users = [name for name, task in tasks.items() if source in _named_by(task, "DATA")]
        size = f"{source.size / 1e6:.1f} MB" if source.size else ""
        rows.append((source.name, size, _state(source), source.licence, ", ".join(users)))
    brought = {name: _named_by(tasks[name], "PACKAGES") for name in catalog.complete("task")}
    for package in sorted(set(chain.from_iterable(brought.values()))):
        users = [name for name, packages in brought.items() if package in packages]
        rows.append((package, "", _installed(package), "", ", ".join(users)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        yield "  ".join(cells).rstrip()


def _state(source: Source) -> str:
    """Where the files of a source are, or what brings them."""
    places = {copy.parent if (copy := source.find(file)) else None for file in source.files}
    if None in places:
        return f"missing: {source.remedy}"
    return ", ".join(sorted(map(str, places)))


def _installed(package: str) -> str:
    try:
        return f"with the Python package {package} {version(package)}"
    except PackageNotFoundError:
        return f"missing: pip install {package}"


def _fetch(arguments: Sequence[str]) -> Iterator[str]:
    names = [argument for argument in arguments if "=" not in argument]
    given = dict(argument.split("=", 1) for argument in arguments if argument not in names)
    for key in given:
        require_one_of("a setting of fetch", ["from"], key)
    require("fetch", "followed by a name of `beyond-data list`", " ".join(arguments), bool(names))
    folder = expanded(given["from"]) if "from" in given else None
    require("from", "a folder", str(folder), folder is None or folder.is_dir())
    for source in _named(names):
        bring(source, folder, lambda line: print(line, file=sys.stderr))  # noqa: T201
        yield f"{source.name}: {counted(len(source.files), 'file')} in {_state(source)}"


def _verify(arguments: Sequence[str]) -> Iterator[str]:
    bad = 0
    for source in _named(arguments or published()):
        missing = [file.name for file in source.files if source.find(file) is None]
        spoilt = [file for file in source.files if file.name not in missing]
        spoilt = [str(source.find(file)) for file in spoilt if source.lies(file) is None]
        bad += len(spoilt)
        if spoilt:
            yield f"{source.name}: {', '.join(spoilt)} {SWAPPED}; {source.remedy}"
        elif missing:
            yield f"{source.name}: missing: {source.remedy}"
        else:
            yield f"{source.name}: as published, in {_state(source)}"
    if bad:
        raise InputError(f"{counted(bad, 'file')} must be as published")


def _named(names: Iterable[str]) -> list[Source]:
    known = published()
    for name in names:
        require_one_of("data", known, name)
    return [known[name] for name in names]


COMMANDS: dict[str, Callable[[Sequence[str]], Iterable[str]]] = {
    "list": _list,
    "fetch": _fetch,
    "verify": _verify,
    "check": lambda arguments: described(typed(arguments, "task")[2]),
}


def main() -> None:
    """Console script `beyond-data`: bad input is one line and exit status 1."""
    command, *arguments = sys.argv[1:] or ["--help"]
    if command in ("--help", "-h"):
        print(f"{__doc__}\n{USAGE}")  # noqa: T201
        return
    try:
        require_one_of("command", COMMANDS, command)
        for line in COMMANDS[command](arguments):
            print(line, flush=True)  # noqa: T201
    except (InputError, UnsupportedError, OSError) as error:
        sys.exit(f"beyond-data: {explain(error, arguments)}")


if __name__ == "__main__":
    main()
