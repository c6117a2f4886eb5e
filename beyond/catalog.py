"""What can be chosen: the YAML below `conf/`, what it describes, and whose code it may name.

A YAML can come from a stranger, and what it names (`_target_`) is imported and called. So only this
project's packages may be named, and those that the user declared, where no YAML can: in the
environment, `BEYOND_PLUGINS=mine,yours`, or by an installed package with an entry point in the
group `beyond.plugins`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

import yaml

from beyond.errors import InputError, require_one_of

CONF = Path(__file__).resolve().parent.parent / "conf"
PARTS = {  # of a method, each in its field of that name: where the classes are, and what tells one
    "optimizer": ("beyond.kits.optimizers", "update"),
    "selection": ("beyond.kits.selection", "choose"),
    "crossover": ("beyond.kits.variation", "mate"),
    "mutation": ("beyond.kits.variation", "mutate"),
}
CONTRACTS = {  # what tells a class of each group
    "task": ("spec", "score"),
    "method": ("signal", "step"),
    "network": ("build",),
    "start": ("on",),
    **{part: (member,) for part, (_, member) in PARTS.items()},
}
OURS = ("beyond", "methods", "tasks", "analysis")
VARIABLE = "BEYOND_PLUGINS"
MISSING = "???"  # in a YAML, what must be given
HOMES = {
    "task": "tasks",
    "method": "methods",
    "network": "beyond.architectures",
    **{part: home for part, (home, _) in PARTS.items()},
}
GROUPS = (*CONTRACTS, "budget")  # each with one choice in every cell


def names(group: str) -> list[str]:
    """Names in a group, sorted: `names("task")` has "image/digits"."""
    folder = CONF / group
    return sorted(
        path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml")
    )


def complete(group: str) -> list[str]:
    """Names of the choices that can be built as they are: none of their settings must be given."""
    return [name for name in names(group) if MISSING not in read(group, name).values()]


def read(group: str, name: str) -> dict[str, Any]:
    """Return the settings of one choice; raise `InputError` with the known names otherwise."""
    require_one_of(group, names(group), name)
    found = yaml.safe_load((CONF / group / f"{name}.yaml").read_text()) or {}
    return {key: value for key, value in found.items() if key != "defaults"}


def brought(group: str, name: str) -> dict[str, str]:
    """Return what a choice chooses in other groups: `{"start": "related"}` for `fine_tuning`."""
    found = yaml.safe_load((CONF / group / f"{name}.yaml").read_text()) or {}
    entries = [entry for default in found.get("defaults", ()) for entry in default.items()]
    return {
        key.rpartition(".")[2]: value for key, value in entries
    }  # override /start@_global_.start


def modules(group: str) -> dict[str, ModuleType]:
    """Import the files that declare a group's classes, and return them by their names."""
    home = import_module(HOMES[group])
    found = sorted(module.name for module in iter_modules(getattr(home, "__path__", ())))
    return {name: import_module(f"{home.__name__}.{name}") for name in found} or {"": home}


@cache
def choices() -> dict[str, str]:
    """Return the default choice of each group: `{"method": "backprop", ...}`."""
    entries = yaml.safe_load((CONF / "config.yaml").read_text())["defaults"]
    chosen = {
        key: value for entry in entries if isinstance(entry, dict) for key, value in entry.items()
    }
    return {group: name for group, name in chosen.items() if " " not in group}


def belongs(group: str, choice: object) -> bool:
    """Say whether a class, or an object of it, is one of a group."""
    return all(hasattr(choice, name) for name in CONTRACTS.get(group, ()))


def build(settings: Any, group: str = "") -> Any:
    """Make what settings describe: call the class `_target_` with the other keys, depth first.

    Raises `InputError` for a class that is not made by `beyond.settings`, whose package is not
    declared (see above), or which is none of the `group`: before anything is called, or imported
    from elsewhere.
    """
    if isinstance(settings, list):
        return [build(item) for item in settings]
    if not isinstance(settings, Mapping):
        return settings
    for key, value in settings.items():
        if value == MISSING:
            raise InputError(f"{group or 'setting'}.{key} must be given")
    made = _class(settings["_target_"], group) if "_target_" in settings else dict
    return made(**{str(key): build(value) for key, value in settings.items() if key != "_target_"})


def load(group: str, name: str, /, **overrides: Any) -> Any:
    """Build one choice with other settings: `load("task", "image/digits", shots=5)`."""
    return build({**read(group, name), **overrides}, group)


def require_declared(setting: str, target: object) -> tuple[str, str]:
    """Return module and name of what `target` names, not imported; `InputError` if it may not."""
    module, _, name = str(target).replace(":", ".").rpartition(".")
    if not _is_declared(module):
        raise _refused(setting, target)
    return module, name


def find(setting: str, target: object) -> Any:
    """Import what `target`, `package.module.name` or `package.module:name`, names, if it may."""
    module, name = require_declared(setting, target)
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"{setting} must be package.module.name, got {target!r} ({error})"
        ) from error
    # a module of ours has names of others' in it
    if not _is_declared(getattr(found, "__module__", "")):
        raise _refused(setting, target)
    return found


def _class(target: object, group: str) -> type:
    # pydantic comes with it, and `beyond --help` has no need of that
    from beyond.settings import is_settings

    found = find("_target_", target)
    if not is_settings(found):
        raise InputError(f"_target_ must be a class made by beyond.settings, got {target!r}")
    if not belongs(group, found):
        raise InputError(
            f"_target_ must be {'an' if group[0] in 'aeiou' else 'a'} {group}, got {target!r}"
        )
    return found


def _is_declared(module: str) -> bool:
    package = module.partition(".")[0]
    named = os.environ.get(VARIABLE, "").replace(",", " ").split()
    if package in (*OURS, *named):
        return True
    from importlib.metadata import entry_points  # slow to import, and `beyond --help` asks for none

    modules = [entry.value.partition(":")[0] for entry in entry_points(group="beyond.plugins")]
    return package in {name.partition(".")[0] for name in modules}


def _refused(setting: str, target: object) -> InputError:
    allowed = f"in {', '.join(OURS)} or a package that {VARIABLE} declares"
    return InputError(f"{setting} must be {allowed}, got {target!r}")
