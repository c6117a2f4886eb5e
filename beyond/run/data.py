"""`beyond-data check task=table task.path=my.csv task.target=price`: what a task's data are."""

from __future__ import annotations

import sys

from beyond.contracts import SPLITS, Task
from beyond.errors import InputError
from beyond.run.typed import typed

USAGE = "usage: beyond-data check task=NAME [task.SETTING=VALUE ...]"


def described(task: Task) -> list[str]:
    """Say what a task's data are, and first what it understood of them where it had to."""
    spec, splits = task.spec, task.at([0])
    sizes = ", ".join(f"{splits.size(split):,} {split}" for split in SPLITS)
    shape = "x".join(map(str, spec.input_shape))
    outputs = f"{spec.n_outputs} output{'' if spec.n_outputs == 1 else 's'}"
    return [
        *task.told(),
        f"{spec.name}: inputs {shape}, {outputs} ({spec.target_kind})",
        f"splits: {sizes}",
        f"network {spec.network.name}, {spec.score}; levels {', '.join(map(str, spec.levels))}",
    ]


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
    except InputError as error:
        sys.exit(f"beyond-data: {error}")
    print("\n".join(lines))  # noqa: T201


if __name__ == "__main__":
    main()
