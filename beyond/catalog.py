"""What can be chosen: the YAML below `conf/`, what it describes, and whose code it may name.

A YAML can come from a stranger, and what it names (`_target_`) is imported and called. So only this
project's packages may be named, and those that the user declared, where no YAML can: in the
environment, `BEYOND_PLUGINS=mine,yours`, or by an installed package with an entry point in the
group `beyond.plugins`.

Folders named in `BEYOND_PATH=/my/rules`, and the packages that these entry points name, add
further choices: each file in their `methods/`, `tasks/` and `networks/` is one, named after the
file and described by its class alone; so is each YAML in their `studies/` and `papers/`.
"""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import MISSING as NO_DEFAULT
from dataclasses import fields
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

import yaml

from beyond.errors import STRANGE, InputError, require_one_of, said
from beyond.files import expanded
from beyond.installed import BESIDE, CONF, imported, take, working_folder

PARTS = {  # of a method, each in its field of that name: where the classes are, and what tells one
    "optimizer": ("beyond.kits.optimizers", "update"),
    "selection": ("beyond.kits.selection", "choose"),
    "crossover": ("beyond.kits.variation", "mate"),
    "mutation": ("beyond.kits.variation", "mutate"),
    "baseline": ("beyond.kits.policies", "expected"),
    "plasticity": ("beyond.kits.plasticity", "timing"),
}
CONTRACTS = {  # what tells a class of each group
    "task": ("spec", "score"),
    "method": ("signal", "step"),
    "network": ("build",),
    "start": ("on",),
    **{part: (member,) for part, (_, member) in PARTS.items()},
}
OURS = ("beyond", *BESIDE)
PATH = "BEYOND_PATH"
ADDED = "beyond_path"  # the package that files in these folders are modules of
FOLDERS = {"method": "methods", "task": "tasks", "network": "networks"}
SHEETS = {"study": "studies", "paper": "papers"}  # of YAML
VARIABLE = "BEYOND_PLUGINS"
ENTRY_POINTS = "beyond.plugins"
MISSING = "???"  # in a YAML, what must be given
NAME, TYPED = "[A-Za-z0-9_][A-Za-z0-9_-]*", "of letters, digits, - and _"  # what can be typed
HOMES = {
    "task": "tasks",
    "method": "methods",
    "network": "beyond.architectures",
    **{part: home for part, (home, _) in PARTS.items()},
}
GROUPS = (*CONTRACTS, "budget")  # each with one choice in every cell
for _package in BESIDE:
    with suppress(InputError):  # raised where it is needed
        take(_package)


def names(group: str) -> list[str]:
    """Names in a group, sorted: `names("task")` has "image/digits"."""
    return sorted([*_written(group), *added().get(group, ()), *sheets().get(group, ())])


def _written(group: str) -> list[str]:
    """Names of the choices that have a YAML; `InputError` if there is no configuration at all."""
    if not CONF.is_dir():
        raise InputError(f"no configuration in {str(CONF)!r}: install beyond-backprop again")
    return _listed(CONF / group)


@cache
def _listed(folder: Path) -> list[str]:
    paths = folder.rglob("*.yaml")
    return [path.relative_to(folder).with_suffix("").as_posix() for path in paths]


def complete(group: str) -> list[str]:
    """Names of the choices that can be built as they are: none of their settings must be given."""
    return [name for name in names(group) if MISSING not in read(group, name).values()]


def read(group: str, name: str) -> dict[str, Any]:
    """Return the settings of one choice; raise `InputError` with the known names otherwise."""
    require_one_of(group, names(group), name)
    if name in (mine := added().get(group, {})):
        return deepcopy(mine[name])
    return {key: value for key, value in _page(group, name).items() if key != "defaults"}


def known_settings() -> dict[str, set[str]]:
    """Names of all settings of a run, each with those inside: of a group, of any choice of it."""
    plain = _parsed(CONF / "config.yaml").keys() - {"defaults", "hydra"}
    return {name: set[str]() for name in plain} | {
        group: set(chain.from_iterable(read(group, name) for name in names(group)))
        for group in GROUPS
    }


def brought(group: str, name: str) -> dict[str, str]:
    """Return what a choice chooses in other groups: `{"start": "related"}` for `fine_tuning`."""
    if name in added().get(group, {}):
        return {}
    defaults = _page(group, name).get("defaults", ())
    entries = [entry for default in defaults for entry in default.items()]
    # override /start@_global_.start
    return {key.rpartition(".")[2]: value for key, value in entries}


def _page(group: str, name: str) -> dict[str, Any]:
    """Return the YAML of one choice as it stands."""
    return deepcopy(_parsed(CONF / group / f"{name}.yaml"))


@cache
def _parsed(file: Path) -> dict[str, Any]:
    return yaml.safe_load(file.read_bytes()) or {}


def modules(group: str) -> dict[str, ModuleType]:
    """Import the files that declare a group's classes, and return them by their names."""
    home = imported(HOMES[group])
    found = sorted(module.name for module in iter_modules(getattr(home, "__path__", ())))
    return {name: imported(f"{home.__name__}.{name}") for name in found} or {"": home}


@cache
def plugins() -> dict[str, str]:
    """Modules that installed packages name in `beyond.plugins`, and the names of the entry points.

    Most only declare that their package may be named; one with folders adds choices.
    """
    from importlib.metadata import entry_points  # slow to import

    found = sorted(
        (entry.value.partition(":")[0], entry.name) for entry in entry_points(group=ENTRY_POINTS)
    )
    return dict(found)


@cache
def _roots() -> list[tuple[str, Path]]:
    """Packages that may add choices, each with a folder of it: `beyond_path`, then the plug-ins."""
    named = [name for name in os.environ.get(PATH, "").split(os.pathsep) if name]
    folders = list(dict.fromkeys(expanded(name).resolve() for name in named))
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"{PATH} must be folders, got {str(folder)!r}")
    package = ModuleType(ADDED)
    package.__path__ = list(map(str, folders))
    sys.modules[ADDED] = package
    installed = [(module, place) for module in plugins() for place in _places(module)]
    return [*((ADDED, folder) for folder in folders), *installed]


def _places(module: str) -> list[Path]:
    """Folders of a plug-in's package, which is not imported; none of a module."""
    try:
        spec = find_spec(module)
    except STRANGE as error:  # a package above it is imported
        raise InputError(_refused_plugin(module, _place(error, "") or said(error))) from error
    if spec is None:
        raise InputError(_refused_plugin(module, "it is not installed"))
    return [Path(place).resolve() for place in spec.submodule_search_locations or ()]


def _refused_plugin(module: str, reason: str) -> str:
    return f"{ENTRY_POINTS}: {plugins()[module]} names {module}: {reason}"


def _files(folder: str, ending: str) -> Iterator[tuple[str, Path]]:
    """Packages and files that add choices, of one kind.

    Raises `InputError` for a folder that may not be read, and for a name that cannot be typed.
    """
    for package, root in _roots():
        if not (root / folder).is_dir():
            continue
        try:
            found = sorted((root / folder).iterdir())
        except OSError as error:  # a pattern would match nothing in it, without a word
            raise InputError(f"{root / folder} cannot be read: {error.strerror}") from error
        for file in found:
            if file.suffix != ending or file.name.startswith(("_", ".")):
                continue
            if not re.fullmatch(NAME, file.stem):
                raise InputError(f"the name of {str(file)!r} must be {TYPED}")
            yield package, file


@cache
def added() -> dict[str, dict[str, dict[str, Any]]]:
    """Settings of the choices that classes in added folders describe, by group and name.

    Raises `InputError`, with file and line, for a file that cannot be imported or declares nothing.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {group: {} for group in FOLDERS}
    for group, folder in FOLDERS.items():
        for package, file in _files(folder, ".py"):
            for name, settings in _declared_in(file, f"{package}.{folder}.{file.stem}", group):
                _require_new(file, group, name, found[group])
                found[group][name] = settings
    return found


@cache
def sheets() -> dict[str, dict[str, Path]]:
    """YAML files of the studies and papers in added folders, by group and name."""
    found: dict[str, dict[str, Path]] = {group: {} for group in SHEETS}
    for group, folder in SHEETS.items():
        for _, file in _files(folder, ".yaml"):
            _require_new(file, group, file.stem, found[group])
            found[group][file.stem] = file
    return found


def _require_new(file: Path, group: str, name: str, found: Mapping[str, object]) -> None:
    if not re.fullmatch(rf"{NAME}(/{NAME})*", name):
        raise InputError(f"{file}: the name of a {group} must be {TYPED}, got {name!r}")
    if name in (*_written(group), *found):
        raise InputError(f"{file}: there is a {group} {name} already")


def _declared_in(file: Path, module_name: str, group: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Names and settings of the choices that a file declares: its class, and its `CHOICES`."""
    from beyond.settings import is_settings

    try:
        module = import_module(module_name)
        here = [
            cls for cls in vars(module).values() if getattr(cls, "__module__", "") == module_name
        ]
        made = [cls for cls in here if is_settings(cls)]
        fit = [cls for cls in made if belongs(group, cls)]
        # what others derive from is a part of them
        meant = [cls for cls in fit if not any(issubclass(o, cls) for o in fit if o is not cls)]
        declared = meant[0] if len(meant) == 1 else None
        if declared is not None:
            settings = _settings_of(declared)
            whole = MISSING not in settings.values()
            yield (declared().spec.name if group == "task" and whole else file.stem), settings
        for name, (choice, *_) in getattr(module, "CHOICES", {}).items():
            yield name, _settings_of(choice)
    except STRANGE as error:
        raise InputError(blame(error) or f"{file}, line 1: {said(error)}") from error
    if declared is None:
        lacking = [name for name in CONTRACTS[group] if made and not hasattr(made[0], name)]
        found = f"{made[0].__name__} has no {', no '.join(lacking)}" if made else "it has no class"
        if meant:
            found = f"it has {' and '.join(cls.__name__ for cls in meant)}"
        raise InputError(f"{file} must declare one {group}, a class under @settings; {found}")


def blame(error: BaseException) -> str | None:
    """Say in which added file, and where, an error arose; None if in none of them."""
    return _place(error, *(f"{folder}{os.sep}" for _, folder in _roots()))


def _place(error: BaseException, *folders: str) -> str | None:
    """File below one of the folders, and line, where an error arose."""
    if isinstance(error, SyntaxError) and str(error.filename).startswith(folders):
        return f"{error.filename}, line {error.lineno}: {said(error)}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename.startswith(folders) and not frame.filename.startswith("<"):
            return f"{frame.filename}, line {frame.lineno}: {said(error)}"
    return None


def _settings_of(choice: Any) -> dict[str, Any]:
    """Settings that describe an object, or a class by its defaults."""
    from beyond.settings import is_settings

    cls = choice if isinstance(choice, type) else type(choice)
    described: dict[str, Any] = {"_target_": f"{cls.__module__}.{cls.__qualname__}"}
    for field in fields(cls):
        if field.init:
            value = getattr(choice, field.name, NO_DEFAULT)
            if value is NO_DEFAULT and field.default_factory is not NO_DEFAULT:
                value = field.default_factory()
            if value is NO_DEFAULT:
                value = MISSING
            described[field.name] = _settings_of(value) if is_settings(type(value)) else value
    return described


@cache
def choices() -> dict[str, str]:
    """Return the default choice of each group: `{"method": "backprop", ...}`."""
    entries = yaml.safe_load((CONF / "config.yaml").read_bytes())["defaults"]
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
    if group and "_target_" not in settings:
        named = f"{group}.{next(iter(settings), '')}"
        raise InputError(f"{named} needs a choice of {group}, {group}=NAME")
    made = _class(settings["_target_"], group) if "_target_" in settings else dict
    given = {str(key): build(value) for key, value in settings.items() if key != "_target_"}
    if missing := getattr(made, "__abstractmethods__", None):
        raise InputError(f"{settings['_target_']} must define {', '.join(sorted(missing))}")
    return made(**given)


def load(group: str, name: str, /, **overrides: Any) -> Any:
    """Build one choice with other settings: `load("task", "image/digits", shots=5)`."""
    return build({**read(group, name), **overrides}, group)


def require_declared(setting: str, target: object) -> tuple[str, str]:
    """Module and name of what `target` names, not imported; `InputError` if it may not be."""
    module, _, name = str(target).replace(":", ".").rpartition(".")
    if not _is_declared(module):
        raise _refused(setting, target)
    return module, name


def place(definition: Any) -> str:
    """Return what names a function or a class, `package.module:name`: `find` finds it again.

    Raises `InputError` for one that its module has no name for, as a lambda: two would be one.
    """
    name = f"{definition.__module__}:{definition.__qualname__}"
    if "<" in name:
        raise InputError(f"a function must have a name in its module, got {name}")
    return name


def find(setting: str, target: object) -> Any:
    """Import what `target`, `package.module.name` or `package.module:name`, names, if it may."""
    module, name = require_declared(setting, target)
    try:
        with working_folder():
            found = getattr(imported(module), name)
    except InputError:
        raise
    except STRANGE as error:
        reason = blame(error) or said(error)
        raise InputError(
            f"{setting} must be package.module.name, got {target!r} ({reason})"
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
    if package == ADDED:
        _roots()  # makes the package, in a process that has not asked for it
    return package in (*OURS, *named, ADDED) or is_plugin(package)


def is_plugin(package: str) -> bool:
    """Say whether an installed package declares, by an entry point, that its code may be named."""
    return any(module.partition(".")[0] == package for module in plugins())


def _refused(setting: str, target: object) -> InputError:
    allowed = f"in {', '.join(OURS)} or a package that {VARIABLE} declares"
    return InputError(f"{setting} must be {allowed}, got {target!r}")
