"""The YAML of every choice, made from the class that declares its settings: `make conf` writes it below `conf/`.

A method and a task are a class in a file of their own, which is found there. Networks, optimizers and budgets are named
here, by the settings in which a choice differs from its class. Studies and papers are written by hand.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from importlib import import_module
from inspect import getdoc
from pathlib import Path
from textwrap import wrap
from typing import Any, get_type_hints

import yaml

from beyond.catalog import CONF
from beyond.grouped import Grouped
from beyond.image_networks import LeNet
from beyond.ledger import Budget
from beyond.module import Module
from beyond.network import CNN, MLP
from beyond.optimizers import SGD, Adam, AdamW, RMSprop
from beyond.sequence_networks import CNN1d, Recurrent
from beyond.settings import describe, is_settings

WIDTH = 120
EPOCHS = "Backprop epochs: the compute of that many passes of backpropagation over the training set."

NAMED: dict[str, dict[str, tuple[Any, str]]] = {  # settings, or a class that has no defaults; and what is said of it
    "network": {
        "default": (None, "The task's own network."),
        "mlp": (MLP(), ""),
        "linear": (MLP(hidden=()), "No hidden layer: the control that tells what depth is worth."),
        "deep": (
            MLP(hidden=(32,) * 5, activation="sigmoid", initialisation="xavier"),
            "Five hidden layers of sigmoids: where gradients vanish.",
        ),
        "cnn": (CNN(), ""),
        "cnn1d": (CNN1d(), "Convolutions along time: for signals, and for text, whose symbols are embedded first."),
        "lenet": (LeNet(), "LeCun's convolutional network, for images of 28x28."),
        "gru": (Recurrent(), "Gated recurrent units in both directions, read out at every time."),
        "grouped": (
            Grouped(),
            "One linear layer whose features stay in groups: n_groups inputs and outputs make it diagonal.",
        ),
        "module": (Module, "Any torch.nn.Module: a function of (input_shape, n_outputs)."),
    },
    "optimizer": {
        "default": (None, "The method's own optimizer."),
        "sgd": (SGD(), ""),
        "momentum": (SGD(learning_rate=0.03, momentum=0.9), ""),
        "nesterov": (SGD(learning_rate=0.03, momentum=0.9, nesterov=True), ""),
        "rmsprop": (RMSprop(), ""),
        "adam": (Adam(), ""),
        "adamw": (AdamW(), ""),
    },
    "budget": {
        "standard": (Budget("epochs", 100), EPOCHS),
        "quick": (Budget("epochs", 10), EPOCHS),
        "long": (Budget("epochs", 1000), EPOCHS),
        "examples": (Budget("examples", 100_000), "Examples through the network: forward + 2 backward."),
        "flops": (Budget("flops", 1e9), "Floating-point operations of the network's passes."),
        "steps": (Budget("steps", 1000), "Changes of the weights; in evolution, generations."),
        "seconds": (
            Budget("seconds", 10),
            "Step time on the clock, a replica's share; tables are then not reproducible.",
        ),
    },
}


def pages() -> dict[Path, str]:
    """Return the text of every YAML that is made, by its path below `conf/`."""
    made = {Path("method", f"{path.stem}.yaml"): page(_class_in("methods", path.stem)()) for path in _files("methods")}
    for path in _files("tasks"):
        task = _class_in("tasks", path.stem)()
        made[Path("task", f"{task.spec.name}.yaml")] = page(task)
    for group, choices in NAMED.items():
        made |= {Path(group, f"{name}.yaml"): page(*choice) for name, choice in choices.items()}
    return made


def page(choice: Any, remark: str = "") -> str:
    """Return the YAML of one choice: settings, or a class some of whose settings have no default."""
    if choice is None:
        lines = []
    elif isinstance(choice, Budget):  # asked for by its currency alone, `budget.epochs=300`
        lines = [f"{choice.currency}: {choice.amount:.10g}"]
    else:
        lines = list(_lines(choice))
        remark = remark or (getdoc(choice) or "").partition("\n\n")[0]
    return "\n".join([*(f"# {line}" for line in wrap(remark, WIDTH - 2)), *lines, ""])


def _lines(choice: Any, indent: str = "") -> Iterator[str]:
    """A line a setting, with what is allowed and what it means behind it; settings within settings are indented."""
    cls = choice if isinstance(choice, type) else type(choice)
    declared, meanings = get_type_hints(cls, include_extras=True), _meanings(cls)
    yield f"{indent}_target_: {cls.__module__}.{cls.__qualname__}"
    for field in dataclasses.fields(cls):
        if not field.init:
            continue
        value = getattr(choice, field.name, dataclasses.MISSING)
        if is_settings(type(value)):
            yield f"{indent}{field.name}:"
            yield from _lines(value, indent + "  ")
            continue
        line = f"{indent}{field.name}: {'???' if value is dataclasses.MISSING else _scalar(value)}"
        allowed = describe(declared[field.name]) or "a number"
        said = f"{line}  # {allowed}: {meanings.get(field.name, '')}"
        yield said if meanings.get(field.name) and len(said) <= WIDTH else f"{line}  # {allowed}"


def _scalar(value: Any) -> str:
    """A number, a name or a list of such in YAML's own words, on one line: 1.0e-08, null, [16, 32]."""
    plain = list(value) if isinstance(value, tuple) else value
    return yaml.safe_dump(plain, default_flow_style=True, width=WIDTH).removesuffix("\n").removesuffix("\n...")


def _meanings(cls: type) -> dict[str, str]:
    """First sentence of what the class's docstring, or its parents', says of each parameter."""
    found: dict[str, str] = {}
    for owner in reversed(cls.__mro__):
        names: list[str] = []
        for line in (getdoc(owner) or "").partition("Parameters\n----------\n")[2].splitlines():
            if line and not line.startswith(" "):
                names = line.partition(" : ")[0].split(", ")
                found |= dict.fromkeys(names, "")
            else:
                found |= {name: f"{found[name]} {line.strip()}" for name in names}
    return {name: text.strip().partition(". ")[0].rstrip(".") for name, text in found.items()}


def _files(package: str) -> list[Path]:
    return sorted(path for path in (CONF.parent / package).glob("*.py") if path.stem != "__init__")


def _class_in(package: str, name: str) -> Any:
    """The class that a file of methods or tasks declares."""
    module = import_module(f"{package}.{name}")
    return next(own for own in vars(module).values() if is_settings(own) and own.__module__ == module.__name__)


def main() -> None:
    """Write all of them, and remove what is made no more."""
    made = {CONF / path: text for path, text in pages().items()}
    for group in {path.parts[0] for path in pages()}:
        for path in set((CONF / group).rglob("*.yaml")) - set(made):
            path.unlink()
    for path, text in made.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    sys.exit(main())
