"""What a value of Python's stands for: a choice by its name, its name with settings, an object.

    chosen("method", "backprop")
    chosen("method", {"name": "backprop", "batch_size": 64, "optimizer": {"name": "sgd"}})
    chosen("method", {"name": "genetic", "selection": {"size": 5}})
    chosen("method", Backprop(batch_size=64))

They are built as on the command line: settings of a part without a name change the part that is
there, and with a name they replace it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import FunctionType
from typing import Any

import numpy as np

from beyond.catalog import PARTS, belongs, brought, build, names, read
from beyond.errors import InputError, shown
from beyond.run.arm import plain


def chosen(group: str, value: Any) -> Any:
    """Return the object that a value stands for.

    Parameters
    ----------
    group : str
        "method", "network", "task", "start", or a part of methods, such as "optimizer".
    value : str, mapping or object
        A name; a mapping with `name` and settings, in which those of parts are values like this
        one; an object of the group, which is returned; or for a network a function, or a class,
        that makes a torch module, as `network=module` takes it.

    Returns
    -------
    object
        None for the name "default", which leaves the choice to the task, or to the method.

    Raises
    ------
    InputError
        For an unknown name or setting, with the known ones; for a value that is out of range.

    Examples
    --------
    >>> chosen("optimizer", {"name": "sgd", "learning_rate": 0.5}).learning_rate
    0.5
    """
    if group == "network" and isinstance(value, type | FunctionType):
        value = {"name": "module", "factory": value}
    if not isinstance(value, str | Mapping):
        return _of_group(group, value)
    described = settings(group, value)
    return build(described, group) if described else None


def settings(group: str, value: str | Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that a name, or a mapping as in `chosen`, stands for: see `build`."""
    return read(group, value) if isinstance(value, str) else _changed(group, value, {})


def name_of(group: str, value: Any) -> str:
    """Return the name of the choice that a value is, or comes nearest to.

    An object of a class that is no choice goes by the name of its class, `package.module.Class`.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return value.get("name", "")
    made: Any = plain(_of_group(group, value))
    pages = {name: read(group, name) for name in names(group) if not brought(group, name)}
    alike = [name for name, page in pages.items() if page.get("_target_") == made["_target_"]]

    def distance(name: str) -> int:
        usual = pages[name]
        return sum(made[key] != plain(usual.get(key)) for key in made)

    return min(alike, key=distance, default=made["_target_"])


def stated(value: Mapping[str, Any], within: str = "") -> list[str]:
    """Settings that a mapping as in `chosen` states, by dotted names; not which parts it chooses.

    Examples
    --------
    >>> stated({"name": "backprop", "batch_size": 8, "optimizer": {"name": "sgd", "momentum": 0.5}})
    ["batch_size", "optimizer.momentum"]
    """
    found = list[str]()
    for name, inner in value.items():
        if isinstance(inner, Mapping):
            found += stated(inner, f"{within}{name}.")
        elif name != "name" and not (name in PARTS and isinstance(inner, str)):
            found.append(within + name)
    return found


def _changed(group: str, changes: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    """Settings after changes: of the choice that these name, or of the usual one."""
    if "name" not in changes and not usual:
        got = shown(dict(changes))
        raise InputError(f"{group} must have a name, one of {', '.join(names(group))}; got {got}")
    result = dict(read(group, changes["name"]) if "name" in changes else usual)
    for key, value in changes.items():
        if key != "name":
            result[key] = _setting(key, value, result.get(key))
    return result


def _setting(name: str, value: Any, usual: Any) -> Any:
    """One setting as `build` takes it; a part is described, an object of it is left as it is."""
    if isinstance(value, np.generic):  # of a grid that NumPy made
        return value.item()
    part = name in PARTS or (isinstance(usual, Mapping) and "_target_" in usual)
    if part and isinstance(value, Mapping):
        return _changed(name, value, usual or {})
    if part and isinstance(value, str):
        return read(name, value) or usual
    return _of_group(name, value) if part and value is not None else value


def _of_group(group: str, value: Any) -> Any:
    """Return an object of a group; `InputError` for anything else."""
    if isinstance(value, type) or not belongs(group, value):
        article = "an" if group[0] in "aeiou" else "a"
        allowed = f"a name, a mapping with a name, or {article} {group}"
        raise InputError(f"{group} must be {allowed}; got {shown(value)}")
    return value
