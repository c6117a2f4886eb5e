"""The YAML of every choice, made from the class that declares its settings, by `make conf`.

A method, a task and an architecture are a class in a separate file, which is found there and
gives the choice its name. Further choices, by the settings in which they differ from their class,
are named in the file's `CHOICES`. The parts of methods, such as optimizers, are all named so, in a
kit. Studies and papers are written by hand.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from inspect import getdoc
from pathlib import Path
from textwrap import wrap
from types import ModuleType
from typing import Any, get_type_hints

import yaml

from beyond.catalog import CONF, HOMES, MISSING, PARTS, belongs, modules
from beyond.ledger import Budget
from beyond.run.start import DEFAULT, Start
from beyond.settings import describe, is_settings

WIDTH = 120
EPOCHS = (
    "Backprop epochs: the compute of that many passes of backpropagation over the training set."
)

# Settings, or a class that has no defaults; what is said of it, if not by its class; and what it
# chooses in other groups (a mapping), if anything.
Choice = tuple[Any, ...]


@cache
def standing() -> dict[str, dict[str, Choice]]:
    """Return the choices that no file declares."""
    rule = _class_in(modules("method")["backprop"])()
    return {
        "network": {"default": (None, "The task's network.")},
        **{part: {"default": (None, f"The method's {part}.")} for part in PARTS},
        "start": {
            "cold": (Start(method=rule), "The weights as they are drawn."),
            "related": (Start(source=DEFAULT, method=rule), ""),
        },
        "budget": {
            "standard": (Budget("epochs", 100), EPOCHS),
            "quick": (Budget("epochs", 10), EPOCHS),
            "long": (Budget("epochs", 1000), EPOCHS),
            "examples": (
                Budget("examples", 100_000),
                "Examples through the network: forward + 2 backward.",
            ),
            "flops": (Budget("flops", 1e9), "Floating-point operations of the network's passes."),
            "rewards": (
                Budget("rewards", 100_000),
                "Rewards heard, one an action: of an environment, its steps.",
            ),
            "steps": (Budget("steps", 1000), "Changes of the weights; in evolution, generations."),
            "seconds": (
                Budget("seconds", 10),
                "Step time on the clock, a replica's share; tables are then not reproducible.",
            ),
        },
    }


def pages() -> dict[Path, str]:
    """Return the text of every YAML that is made, by its path below `conf/`."""
    groups = dict.fromkeys([*HOMES, *standing()])
    return {
        Path(group, f"{name}.yaml"): page(*choice)
        for group in groups
        for name, choice in named(group).items()
    }


def named(group: str) -> dict[str, Choice]:
    """Every choice of a group: each file's class, and what the files name in `CHOICES`."""
    found = dict(standing().get(group, {}))
    for file, module in modules(group).items() if group in HOMES else ():
        if file:  # a file per choice, not one for all
            declared = _class_in(module)
            made = declared if any(_required(declared)) else declared()
            named_by_task = group == "task" and not isinstance(made, type)
            name = made.spec.name if named_by_task else getattr(declared, "CHOICE", file)
            found[name] = (made, "")
        further: dict[str, Choice] = getattr(module, "CHOICES", {})
        found |= {name: choice for name, choice in further.items() if belongs(group, choice[0])}
    return found


def page(choice: Any, remark: str = "", others: Mapping[str, str] = {}) -> str:
    """Return the YAML of one choice: settings, or a class some of whose settings have no default;
    `others` are its choices in other groups.
    """
    if choice is None:
        lines = []
    elif isinstance(choice, Budget):  # asked for by its currency alone, `budget.epochs=300`
        lines = [f"{choice.currency}: {choice.amount:.10g}"]
    else:
        lines = list(_lines(choice))
        remark = remark or (getdoc(choice) or "").partition("\n\n")[0]
    chosen = [f"  - override /{group}@_global_.{group}: {name}" for group, name in others.items()]
    heading = [
        *(f"# {line}" for line in wrap(remark, WIDTH - 2)),
        *(["defaults:"] if chosen else []),
    ]
    return "\n".join([*heading, *chosen, *lines, ""])


def _lines(choice: Any, indent: str = "") -> Iterator[str]:
    """A line a setting, with what is allowed and what it means; settings within are indented."""
    cls = choice if isinstance(choice, type) else type(choice)
    declared = get_type_hints(cls, include_extras=True)
    first = {name: said.partition(". ")[0].rstrip(".") for name, said in meanings(cls).items()}
    yield f"{indent}_target_: {cls.__module__}.{cls.__qualname__}"
    for field in dataclasses.fields(cls):
        if not field.init:
            continue
        value = getattr(choice, field.name, dataclasses.MISSING)
        if is_settings(type(value)):
            yield f"{indent}{field.name}:"
            yield from _lines(value, indent + "  ")
            continue
        line = (
            f"{indent}{field.name}: {MISSING if value is dataclasses.MISSING else _scalar(value)}"
        )
        allowed = describe(declared[field.name]) or "a number"
        said = f"{line}  # {allowed}: {first.get(field.name, '')}"
        yield said if first.get(field.name) and len(said) <= WIDTH else f"{line}  # {allowed}"


def _scalar(value: Any) -> str:
    """A number, a name or a list of such in YAML, on one line: 1.0e-08, null, [16, 32]."""
    plain = list(value) if isinstance(value, tuple) else value
    return (
        yaml.safe_dump(plain, default_flow_style=True, width=WIDTH)
        .removesuffix("\n")
        .removesuffix("\n...")
    )


def meanings(cls: type) -> dict[str, str]:
    """Return what the class's docstring, or its parents', says of each parameter."""
    found: dict[str, str] = {}
    for owner in reversed(cls.__mro__):
        names: list[str] = []
        for line in (getdoc(owner) or "").partition("Parameters\n----------\n")[2].splitlines():
            if line and not line.startswith(" "):
                names = line.partition(" : ")[0].split(", ")
                found |= dict.fromkeys(names, "")
            else:
                found |= {name: f"{found[name]} {line.strip()}" for name in names}
    return {name: text.strip() for name, text in found.items()}


def _class_in(module: ModuleType) -> Any:
    """The first class that a file declares."""
    return next(
        value
        for value in vars(module).values()
        if is_settings(value) and value.__module__ == module.__name__
    )


def _required(cls: type) -> Iterator[str]:
    """Names of the fields that have no default."""
    for field in dataclasses.fields(cls):
        if field.init and dataclasses.MISSING is field.default is field.default_factory:
            yield field.name


def main() -> None:
    """Write all of them, and remove what is made no more."""
    made = {CONF / path: text for path, text in pages().items()}
    for group in {path.parts[0] for path in pages()}:
        for path in set((CONF / group).rglob("*.yaml")) - set(made):
            path.unlink()
    for path, text in made.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
