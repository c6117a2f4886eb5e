"""One line for an error of the command line: what was typed, and what may be."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import fields
from fnmatch import fnmatchcase
from typing import Any

from yaml import MarkedYAMLError

from beyond import catalog
from beyond.errors import InputError, nearest_first

GROUPS = (*catalog.GROUPS, "study", "paper", "tune")
OPEN = ("network.settings.",)  # below these, keys are whatever the user's function knows


def opened(arguments: Iterable[str]) -> list[str]:
    """Let Hydra add the keys that no YAML can know: it takes others for mistakes."""
    return [f"++{one}" if one.startswith(OPEN) else one for one in arguments]


def refuse_twice(arguments: Sequence[str]) -> None:
    """Raise `InputError` for a key that is given twice: one of its values would be lost."""
    given: dict[str, str] = {}
    for key, value in _pairs(arguments):
        if key in given:
            raise InputError(f"{key} must be given once, got {given[key]} and {value}")
        given[key] = value


def explain(error: Exception, arguments: Sequence[str]) -> str:
    """One line for an error that `arguments` led to; with the known names where one was unknown."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror if error.filename is None else f"{error.strerror}: {error.filename!r}"
    if isinstance(error, MarkedYAMLError) and (mark := error.problem_mark) is not None:
        return f"{mark.name}, line {mark.line + 1}: {error.problem}"
    if (refused := _refused(error)) is not None:
        return str(refused)
    text = " ".join(str(error).split())
    if nameless := re.match(r"Error parsing override '(.*)' missing EQUAL at", text):
        commands = "plan, status or merge in the first place"
        return f"an argument must be setting=value, or {commands}, got {nameless[1]!r}"
    if missing := re.match(r"Missing mandatory value: .*full_key: ([\w.]+)", text):
        return f"{missing[1]} must be given"
    if raised := re.match(
        r"InputError raised while resolving interpolation: (.*?)( full_key: .*)?$", text
    ):
        return raised[1]
    if unknown := re.search(rf"Could not find '({'|'.join(GROUPS)})/([^']*)'", text):
        group, name = unknown.groups()
        return f"unknown {group} {name!r}; known: {_listed(name, catalog.names(group))}"
    if needed := re.search(r"Could not find 'hydra/launcher/(submitit_\w+)'", text):
        return (
            f"hydra/launcher={needed[1]} needs the package hydra-submitit-launcher: "
            "pip install 'beyond-backprop[slurm]'"
        )
    if unknown := re.search(
        r"Could not find '(.+)/([^/']*)' Available options in '\1': (.*) Config search path", text
    ):
        group, name, known = unknown.groups()
        return f"unknown {group} {name!r}; known: {_listed(name, known.split())}"
    if merging := re.match(r"Error merging override (\S+)$", text):
        reason = str(error.__cause__ or "it cannot be read").splitlines()[0]
        return f"{merging[1]}: {reason}"
    if unknown := re.search(r"Could not override '([^']*)'", text) or re.search(
        r"Key '([\w.]+)' is not in struct", text
    ):
        if unknown[1].startswith("hydra."):
            return _unknown_to_hydra(unknown[1], error)
        return _unknown_key(unknown[1], arguments)
    return text


def _unknown_to_hydra(key: str, error: Exception) -> str:
    """Say which keys Hydra has in place of one, or one of its classes, such as a launcher."""
    there = getattr(error.__cause__, "parent_node", None) or {}
    name = str(there.get("_target_", "Hydra")).rpartition(".")[2]
    known = ", ".join(sorted(str(one) for one in there if one != "_target_"))
    line = f"unknown key {key!r} of {name}; known: {known or 'none'}"
    return line + "; hydra/launcher=joblib takes n_jobs" * (name == "BasicLauncher")


def _refused(error: BaseException | None) -> InputError | None:
    """What of ours Hydra has wrapped: a refusal of one of its plug-ins' settings."""
    while error is not None and not isinstance(error, InputError):
        error = error.__cause__
    return error


def _unknown_key(key: str, arguments: Sequence[str]) -> str:
    """Say which choices lack a key, and which keys or choices there are."""
    group, _, path = key.partition(".")
    chosen = catalog.choices()
    if group == "tune":
        from beyond.run.sampling import Tuning

        names = [one.name for one in fields(Tuning)]
        if path in names:
            return f"{key} must be left out without +tune=equal"
        return f"unknown key {key!r}; known: {_listed(path, names)}"
    if group not in chosen or not path:
        from beyond.settings import RunSettings

        known = sorted([*chosen, *(field.name for field in fields(RunSettings))])
        return f"unknown key {key!r}; known: {_listed(group, known)}"
    names = _matching(group, dict(_pairs(arguments)).get(group, chosen[group])) or [chosen[group]]
    lacking = next(
        (name for name in names if path not in _paths(catalog.read(group, name))), names[0]
    )
    paths, parent, siblings = _paths(catalog.read(group, lacking)), path, list[str]()
    while parent and not siblings:
        parent = parent.rpartition(".")[0]
        siblings = [inner for inner in paths if inner.rpartition(".")[0] == parent]
    having = [name for name in catalog.names(group) if path in _paths(catalog.read(group, name))]
    known = _listed(path, sorted(siblings)) or "none"
    line = f"unknown key {key!r} of {group} {lacking}; known: {known}"
    if having:
        line += f"; it is a key of {', '.join(having)}"
    if group in catalog.PARTS and lacking == "default":
        line += f"; method.{key} tunes the method's own"
    return line


def _listed(typed: str, names: Iterable[str]) -> str:
    """Names in a line, first those that may be meant."""
    return ", ".join(nearest_first(typed, names))


def _pairs(arguments: Iterable[str]) -> list[tuple[str, str]]:
    """Keys and values of overrides: `+a.b=1` has the key `a.b`."""
    split = [
        argument.lstrip("+").partition("=")
        for argument in arguments
        if not argument.startswith("-")
    ]
    return [(key, value) for key, sign, value in split if sign]


def _matching(group: str, typed: str) -> list[str]:
    """Choices that a value of a group stands for: one, several with commas, or a pattern."""
    patterns = re.sub(r"^(?:glob|choice)\((.*)\)$", r"\1", typed).split(",")
    return [
        name
        for name in catalog.names(group)
        if any(fnmatchcase(name, pattern.strip()) for pattern in patterns)
    ]


def _paths(settings: Any, prefix: str = "") -> list[str]:
    """Keys of nested settings, dotted; each level too."""
    if not isinstance(settings, dict):
        return []
    keys = [key for key in settings if key != "_target_"]
    return [
        path
        for key in keys
        for path in (f"{prefix}{key}", *_paths(settings[key], f"{prefix}{key}."))
    ]
