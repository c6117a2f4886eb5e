"""What there is to choose from: the YAML files below `conf/`, and the objects they describe."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from beyond.errors import InputError, require_one_of
from beyond.plugins import find

CONF = Path(__file__).resolve().parent.parent / "conf"
CONTRACTS = {  # what tells a class of each group
    "task": ("spec", "score"),
    "method": ("signal", "step"),
    "network": ("build",),
    "optimizer": ("update",),
}
GROUPS = (*CONTRACTS, "budget")  # each with one choice in every cell


def names(group: str) -> list[str]:
    """Names in a group, sorted: `names("task")` has "image/digits"."""
    folder = CONF / group
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml"))


def read(group: str, name: str) -> dict[str, Any]:
    """Return the settings of one choice; raise `InputError` listing the known names if there is none such."""
    require_one_of(group, names(group), name)
    return yaml.safe_load((CONF / group / f"{name}.yaml").read_text()) or {}


@cache
def choices() -> dict[str, str]:
    """Return the choice that stands in each group until another is made: `{"method": "backprop", ...}`."""
    entries = yaml.safe_load((CONF / "config.yaml").read_text())["defaults"]
    chosen = {key: value for entry in entries if isinstance(entry, dict) for key, value in entry.items()}
    return {group: name for group, name in chosen.items() if " " not in group}


def build(settings: Any, group: str = "") -> Any:
    """Turn settings into what they describe: the class that `_target_` names, called with the other keys, depth first.

    Raises `InputError` for a class that is not made by `beyond.settings`, whose package is not declared (see
    `beyond.plugins`), or which is none of the `group`: before anything is called, or imported from elsewhere.
    """
    if isinstance(settings, list):
        return [build(item) for item in settings]
    if not isinstance(settings, Mapping):
        return settings
    made = _class(settings["_target_"], group) if "_target_" in settings else dict
    return made(**{str(key): build(value) for key, value in settings.items() if key != "_target_"})


def load(group: str, name: str, **overrides: Any) -> Any:
    """Build one choice, with some of its settings replaced: `load("task", "image/digits", shots=5)`."""
    return build({**read(group, name), **overrides}, group)


def _class(target: object, group: str) -> type:
    from beyond.settings import is_settings  # pydantic comes with it, and `beyond --help` has no need of that

    found = find("_target_", target)
    if not is_settings(found):
        raise InputError(f"_target_ must be a class made by beyond.settings, got {target!r}")
    if not all(hasattr(found, name) for name in CONTRACTS.get(group, ())):
        raise InputError(f"_target_ must be {'an' if group[0] in 'aeiou' else 'a'} {group}, got {target!r}")
    return found
