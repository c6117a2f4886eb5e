"""Compare ways of training on the same task, network, initial weights and compute.

From Python: `compare`, `tune`, `run` and `load` return a `Study`; `table` and `arrays` hand over
data; `names` lists what can be chosen. The harness knows no concrete method or task.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.study import Study
    from beyond.api import compare, load, names, run, tune
    from beyond.run.handed import arrays, table

__all__ = ["Study", "arrays", "compare", "load", "names", "run", "table", "tune"]
HOMES = {
    **dict.fromkeys(("Study", "compare", "load", "names", "run", "tune"), "beyond.api"),
    **dict.fromkeys(("arrays", "table"), "beyond.run.handed"),
}


def __getattr__(name: str) -> Any:
    """Import what is asked for: `beyond --help` needs none of it, and answers at once."""
    if name == "__version__":
        from beyond.installed import version

        return version()
    if name in HOMES:
        from beyond.installed import BESIDE, take

        for package in BESIDE:  # before a file in the working folder that has its name
            take(package)
        return getattr(import_module(HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
