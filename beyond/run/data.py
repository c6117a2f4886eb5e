"""`beyond-data check task=table task.path=my.csv task.target=price`: what a task's data are."""

from __future__ import annotations

import sys
from math import floor, log10

from beyond import catalog
from beyond.contracts import SPLITS, Architecture, Task
from beyond.errors import InputError, UnsupportedError
from beyond.ledger import Budget
from beyond.network.trainable import Network
from beyond.run.cell import Cell
from beyond.run.explain import explain
from beyond.run.typed import typed

BATCH = 32  # examples that a step sees, by default of most methods
MUCH = 5e12  # operations of a replica: about an hour of one core
USAGE = "usage: beyond-data check task=NAME [task.SETTING=VALUE ...]"


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


def main() -> None:
    """Console script `beyond-data`: bad input is one line and exit status 1."""
    command, *arguments = sys.argv[1:] or ["--help"]
    if command in ("--help", "-h"):
        print(f"{__doc__}\n\n{USAGE}")  # noqa: T201
        return
    try:
        if command != "check":
            raise InputError(f"command must be check, got {command!r}; {USAGE}")
        lines = described(typed(arguments, "task")[2])
    except (InputError, UnsupportedError, OSError) as error:
        sys.exit(f"beyond-data: {explain(error, arguments)}")
    print("\n".join(lines))  # noqa: T201


if __name__ == "__main__":
    main()
