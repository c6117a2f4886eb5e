"""Whose code a setting may name.

A YAML can come from a stranger, and what it names (`_target_`) is imported and called. So only this project's packages
may be named, and those that the user declared, where no YAML can: in the environment, `BEYOND_PLUGINS=mine,yours`, or
by an installed package with an entry point in the group `beyond.plugins`.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from beyond.errors import InputError

OURS = ("beyond", "methods", "tasks", "analysis")
VARIABLE = "BEYOND_PLUGINS"


def require_declared(setting: str, target: object) -> tuple[str, str]:
    """Return module and name of what `target` names; raise `InputError` if it may not be. Nothing is imported."""
    module, _, name = str(target).replace(":", ".").rpartition(".")
    if not _is_declared(module):
        raise _refused(setting, target)
    return module, name


def find(setting: str, target: object) -> Any:
    """Import what `target` names, `package.module.name` or `package.module:name`, if it may be named."""
    module, name = require_declared(setting, target)
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"{setting} must be package.module.name, got {target!r} ({error})") from error
    if not _is_declared(getattr(found, "__module__", "")):  # a module of ours has names of others' in it
        raise _refused(setting, target)
    return found


def _is_declared(module: str) -> bool:
    package = module.partition(".")[0]
    named = os.environ.get(VARIABLE, "").replace(",", " ").split()
    if package in (*OURS, *named):
        return True
    from importlib.metadata import entry_points  # slow to import, and `beyond --help` asks for none

    modules = [entry.value.partition(":")[0] for entry in entry_points(group="beyond.plugins")]
    return package in {own.partition(".")[0] for own in modules}


def _refused(setting: str, target: object) -> InputError:
    allowed = f"in {', '.join(OURS)} or a package that {VARIABLE} declares"
    return InputError(f"{setting} must be {allowed}, got {target!r}")
