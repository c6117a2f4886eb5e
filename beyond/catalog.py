"""What there is to choose from: the YAML files below `conf/`, and the objects they describe."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import yaml

from beyond.errors import require_one_of

CONF = Path(__file__).resolve().parent.parent / "conf"


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


def build(settings: Any) -> Any:
    """Turn settings into what they describe: `_target_` is imported and called with the other keys, depth first."""
    if isinstance(settings, list):
        return tuple(build(item) for item in settings)
    if not isinstance(settings, Mapping):
        return settings
    arguments = {key: build(value) for key, value in settings.items() if key != "_target_"}
    return resolve_name(settings["_target_"])(**arguments) if "_target_" in settings else arguments


def load(group: str, name: str, **overrides: Any) -> Any:
    """Build one choice, with some of its settings replaced: `load("task", "image/digits", shots=5)`."""
    return build({**read(group, name), **overrides})
