"""Tuned settings: one YAML for each task, network and method, with where they come from.

tuned/image/digits/mlp-32/backprop.yaml
tuned/image/digits/mlp-32/backprop,batch_size=64.yaml     what was typed, and not searched
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

import yaml

from beyond.catalog import PARTS
from beyond.errors import InputError, require, said
from beyond.files import expanded, write_whole_text
from beyond.installed import CONF
from beyond.run.arm import Arm, shown
from beyond.run.cell import Cell

PUBLISHED = CONF / "tuned"


def file_of(folder: Path, arm: Arm, variant: str | None = None) -> Path:
    """Where the tuned settings of an arm are, below a folder of such.

    Parameters
    ----------
    variant : str, optional
        Settings of the method that were not searched and differ from its choice: the arm's.
    """
    told = arm.method_variant if variant is None else variant
    name = ",".join(filter(None, [arm.name, told.replace(", ", ",")]))
    safe = (re.sub(r"[^\w.,=+-]", "_", part) for part in (arm.architecture.name, f"{name}.yaml"))
    return Path(folder, arm.task.spec.name, *safe)


def write(path: Path, settings: Mapping[str, Any], origin: Mapping[str, Any]) -> None:
    """Write tuned settings by dotted names, and what they come from."""
    text = yaml.safe_dump(
        {"settings": dict(settings), "origin": dict(origin)}, sort_keys=False, width=120
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole_text(path, text)


def read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what `write` wrote; `InputError` with the file if it is other than that."""
    try:
        found = yaml.safe_load(path.read_bytes())
        settings = {str(name): value for name, value in found["settings"].items()}
        origin = dict(found["origin"])
        _ = _told(origin["budget"]), int(origin["n_trials"])
    except (yaml.YAMLError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{str(path)!r} has no tuned settings: {said(error)}") from error
    return settings, origin


def folder_of(value: object) -> Path | None:
    """Where `tuned=VALUE` looks: true is what the project publishes; false is nowhere."""
    if isinstance(value, bool) or value is None:
        return PUBLISHED if value else None
    require("tuned", "true, false, or a folder of tuned settings", value, isinstance(value, str))
    folder = expanded(str(value))
    require("tuned", "true, false, or a folder that is there", value, folder.is_dir())
    return folder


def overlaid(
    cell: Cell, method: str, folder: Path, typed: Iterable[str], tell: Callable[[str], None]
) -> Cell:
    """Return the cell with tuned settings, but for those that were typed.

    Parameters
    ----------
    method : str
        The choice in the catalogue.
    folder : Path
        Of tuned settings.
    typed : iterable of str
        Overrides, the user's and the study's.
    tell : callable
        Is told, in a line, what was taken from where.

    Raises
    ------
    InputError
        If there are none for this task, network and method, or a part that they tune was replaced.
    """
    arm = cell.arm
    found = (file_of(folder, arm), file_of(folder, arm, ""))
    path = next((file for file in found if file.is_file()), None)
    place = f"{arm.name} on {arm.task.spec.name} ({arm.architecture.name})"
    if path is None:
        command = f"beyond +tune=equal method={arm.name} task={arm.task.spec.name}"
        raise InputError(
            f"no tuned settings of {place} in {str(folder)!r}: {command} makes them, in the "
            "study's folder tuned, which tuned=FOLDER then names"
        )
    tuned, origin = read(path)
    fixed = fixed_by(typed)
    for part in PARTS:
        lost = [name for name in tuned if name.startswith(f"{part}.")]
        if lost and cell.settings[part] and f"{part}=" not in str(origin.get("variant", "")):
            raise InputError(
                f"{part} must be default with tuned settings of another, {lost[0]} in {str(path)!r}"
            )
    taken = {
        name: value
        for name, value in tuned.items()
        if not any(name == one or name.startswith(f"{one}.") for one in fixed)
    }
    for name in taken:
        try:
            reduce(getattr, name.split("."), arm.method)
        except AttributeError as error:
            raise InputError(f"{str(path)!r} has settings of another method: {name}") from error
    told = ", ".join(f"{name}={shown(value)}" for name, value in taken.items()) or "the defaults"
    line = f"{place}: {told}, tuned in {origin['n_trials']} trials, from {path}"
    budget = {arm.budget.currency: arm.budget.amount}
    if origin["budget"] != budget:
        line += f"; tuned for {_told(origin['budget'])}, not {_told(budget)}"
    tell(line)
    return Cell.of(with_settings(cell.settings, taken), method)


def _told(budget: Mapping[str, float]) -> str:
    """Write a budget: "60 epochs"; `ValueError` for what is none."""
    ((currency, amount),) = budget.items()
    return f"{amount:g} {currency}"


def fixed_by(typed: Iterable[str]) -> list[str]:
    """Settings of the method that overrides name, "method.optimizer.learning_rate=0.1"."""
    keys = [override.lstrip("+").partition("=")[0] for override in typed]
    return [
        key.removeprefix("method.")
        for key in keys
        if key.startswith("method.") or (key.partition(".")[0] in PARTS and "." in key)
    ]


def with_settings(settings: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a cell's settings with others of its method, in whatever part they are."""
    made = deepcopy(dict(settings))
    for name, value in values.items():
        *parents, last = key_of(settings, name).split(".")
        inner = made
        for parent in parents:
            inner = inner[parent]
        inner[last] = value
    return made


def with_values(cell: Cell, values: Mapping[str, Any], **run: Any) -> Cell:
    """Return a cell with other settings of its method, by dotted names, and of its run.

    Raises `InputError` for one that is out of range, or where they do not go together.
    """
    other = replace(cell.run, **run)
    method = _replaced(cell.arm.method, values)
    arm = replace(cell.arm, method=method, test_also=other.test_also)
    return Cell(arm, other, {**with_settings(cell.settings, values), **run})


def _replaced(made: Any, values: Mapping[str, Any]) -> Any:
    """Return an object with other settings, those of its parts by dotted names, all at once."""
    ours = {name: value for name, value in values.items() if "." not in name}
    parts: dict[str, dict[str, Any]] = {}
    for name in values.keys() - ours.keys():
        part, _, inner = name.partition(".")
        parts.setdefault(part, {})[inner] = values[name]
    ours |= {part: _replaced(getattr(made, part), inner) for part, inner in parts.items()}
    return replace(made, **ours)


def key_of(settings: Mapping[str, Any], name: str) -> str:
    """Where a method's setting is: in the part that was chosen, if one was, or the method's."""
    part = name.partition(".")[0]
    return name if part in PARTS and settings[part] else f"method.{name}"
