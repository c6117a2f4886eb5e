"""One choice as it is typed: `task=table task.path=my.csv`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from beyond.errors import InputError, require
from beyond.run.chosen import chosen
from beyond.run.explain import refuse_twice


def typed(arguments: Sequence[str], *groups: str) -> tuple[str, str, Any]:
    """Group, name and object of `GROUP=NAME GROUP.SETTING=VALUE ...`, of one of the groups.

    Raises `InputError` for anything else, an unknown name or setting, or a value out of range.
    """
    forms = " or ".join(f"{group}=NAME" for group in groups)
    allowed = f"{forms} or {' or '.join(f'{group}.SETTING=VALUE' for group in groups)}"
    # without a name the known ones are listed
    names = {groups[0]: ""} if len(groups) == 1 else {}
    given = dict[str, dict[str, Any]]()
    refuse_twice(arguments)
    for argument in arguments:
        key, sign, value = argument.partition("=")
        group, *path = key.split(".")
        if not sign or group not in groups:
            raise InputError(f"arguments must be {allowed}, got {argument!r}")
        if not path:
            names[group] = value
            continue
        settings = given.setdefault(group, {})
        for part in path[:-1]:
            settings = settings.setdefault(part, {})
            require(key, "no setting of a value", value, isinstance(settings, dict))
        try:
            settings[path[-1]] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise InputError(f"{key} must be a value as in YAML, got {value!r}") from None
    if len(names) != 1 or not set(given) <= set(names):
        raise InputError(f"one choice must be given, {forms}, got {' '.join(arguments) or 'none'}")
    group, name = next(iter(names.items()))
    return group, name, chosen(group, {"name": name, **given.get(group, {})})
