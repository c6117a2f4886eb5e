"""The table of methods, made from the head of each method's file and its class."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from inspect import getdoc

from rich import box
from rich.console import Console
from rich.table import Column, Table

from beyond.catalog import load, modules, names, read
from beyond.errors import require_one_of
from beyond.installed import imported
from beyond.run import matrix
from beyond.run.choices import named
from beyond.search import space

# What backpropagation needs and a brain, a chip or a pipeline may not have.
NEEDS = {
    "weight transport": "errors travel back through transposed forward weights, or their signs",
    "global loss": "what a hidden layer learns depends on a loss at the outputs",
    "stored activations": "a forward pass's activations are kept until an error comes back",
    "separate phases": "a step has distinct phases: free and nudged, positive and negative, "
    "inference and learning",
    "backward locking": "a layer's update waits for a sweep from the outputs back to it",
}
HEAD = """# Methods

Made from the heads of the files in `methods/`, by `make methods`; `beyond --methods` prints it too.

The signal is what a method is told: `gradient` the exact derivative of the loss, `error` the
derivative at the outputs, `targets` the targets themselves and no error behind the outputs, `loss`
numbers that say how large the loss is, `reward` a number for each action that it takes. An x says
that the rule needs
"""
FURTHER = "Further choices, which differ from their file's in settings alone:\n"
WHICH = """## Which network for which rule

Every method at its defaults, on a small network of each architecture: *yes*, every layer learns;
*in part*, the rule leaves some layers as they were drawn (`Method.left_alone`); *no*, it is refused
in one line before training. A test steps them all.
"""
COMBINATIONS = f"""## On what they run

Every method, at its defaults and with each choice of each setting, on each of
{len(matrix.SPECS)} kinds of network (see `beyond/run/matrix.py`). A combination trains every layer,
leaves some alone because the rule does so (`Method.left_alone`), or is refused in one line before
training; the last columns name the kinds of network for which that happens with at least one
choice. A test runs them all.
"""
SEARCHED = """## What is searched

When methods are tuned, these settings of each are, over these ranges: declared beside the setting,
the same for every task and network. Ranges with `log` are searched by the logarithm.
"""
STEPS = """## What a step costs, and how a rule is checked
"""
PARAGRAPHS = ("departures", "needs", "cost", "check", "source")
NOT_SAID = "not said"  # by a file outside the checkout
HEADING = re.compile(
    r"^(Departures|Needs|Cost|Check|Source): (.*?)(?=^[A-Z][a-z]+: |\Z)", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Description:
    """What a method's file says of it.

    Attributes
    ----------
    name : str
        In the catalogue.
    title : str
        Its full name, with authors and year.
    signal : str
    needs : list of str, optional
        Keys of `NEEDS`; None where the file does not say.
    departures, cost, check, source : str
    """

    name: str
    title: str
    signal: str
    needs: list[str] | None
    departures: str
    cost: str
    check: str
    source: str


def describe(name: str) -> Description:
    """Read a method's file, or a choice's of it; `InputError` for a need not in `NEEDS`."""
    module_name, _, class_name = read("method", name)["_target_"].rpartition(".")
    module = imported(module_name)
    text = getdoc(module) or ""
    found = {
        key.lower(): " ".join(value.split()).rstrip(".") for key, value in HEADING.findall(text)
    }
    parts = dict.fromkeys(PARAGRAPHS, NOT_SAID) | found
    title = " ".join((further().get(name) or text.split("\n\n")[0]).split()).rstrip(".")
    stated = parts.pop("needs")
    needs = None if stated == NOT_SAID else [] if stated == "none of these" else stated.split(", ")
    for need in needs or ():
        require_one_of(f"{name}: Needs", NEEDS, need)
    return Description(name, title, str(getattr(module, class_name).signal), needs, **parts)


@cache
def further() -> dict[str, str]:
    """Return what is said of each choice that has no separate file, by its name."""
    files = modules("method")
    return {name: said[1] for name, said in named("method").items() if name not in files}


def markdown() -> str:
    """Return the page `docs/methods.md`: one row per method, one column per need."""
    methods = [describe(name) for name in modules("method")]
    needs = [["method", "rule and source", "signal", *NEEDS]]
    for method in methods:
        needed = ["x" if need in (method.needs or ()) else "" for need in NEEDS]
        needs.append([method.name, method.title, method.signal, *needed])
    steps = [["method", "cost of a step", "check"]]
    steps += [[method.name, method.cost, method.check] for method in methods]
    searched = [["method", "settings and ranges"]]
    searched += [[name, _searched(name) or "nothing"] for name in names("method")]
    meanings = [f"- **{need}**: {meaning}." for need, meaning in NEEDS.items()]
    choices = [
        f"- `{name}`, of `{read('method', name)['_target_'].split('.')[1]}`: {said}"
        for name, said in further().items()
    ]
    parts = [*meanings, "", *_table(needs), "", FURTHER, *choices, "", STEPS, *_table(steps), ""]
    parts += [SEARCHED, *_table(searched), ""]
    parts += [WHICH, matrix.which(), ""]
    return "\n".join([HEAD, *parts, COMBINATIONS, matrix.markdown(), ""])


def _searched(name: str) -> str:
    """Name the settings of a method that are searched, each with its range."""
    found = space(load("method", name))
    return "; ".join(f"`{setting}` {within}" for setting, within in found.items())


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table, the first of them its head."""
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return [lines[0], "|" + "---|" * len(rows[0]), *lines[1:]]


def show(chosen: Sequence[str] = ()) -> None:
    """Print the same of the methods chosen, or of all, as narrow as a terminal."""
    for name in chosen:
        require_one_of("method", names("method"), name)
    shown = Table(
        "method",
        "signal",
        Column("rule and source, needs, cost of a step, check", overflow="fold"),
        box=box.SIMPLE,
        show_lines=True,
    )
    for method in map(describe, chosen or names("method")):
        stated = method.needs
        needs = NOT_SAID if stated is None else ", ".join(stated) or "none of the five"
        told = f"{method.title}\nneeds   {needs}\ncost    {method.cost}\ncheck   {method.check}"
        shown.add_row(method.name, method.signal, told)
    Console(highlight=False, markup=False).print(shown)


if __name__ == "__main__":
    sys.stdout.write(markdown())
