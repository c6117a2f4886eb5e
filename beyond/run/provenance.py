"""Where a result comes from: the source files that decide it, the packages, and the machine."""

from __future__ import annotations

import ast
import hashlib
import os
import platform
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from inspect import getdoc, getfile, getsourcelines
from pathlib import Path
from textwrap import dedent
from types import FunctionType
from typing import Any

from beyond import installed
from beyond.catalog import ADDED, is_plugin
from beyond.errors import InputError
from beyond.installed import working_folder

MAIN = "__main__"
TYPED = f"{MAIN}."  # before the name of a definition that is in no module
OURS = ("beyond", "methods", "tasks")
DATA = "its data"  # beside files, what decides a result
LOOP = "beyond.run.loop"  # what trains; not imported, since to look at a study needs no torch
PACKAGES = ("torch", "numpy", "scipy", "pandas", "scikit-learn", "deap", "gymnasium", "hydra-core")
# a file's paragraph on its source: `Source: ...` of a method, `Source      ...` of a task
CITED = re.compile(r"^Source(?:: | {2,})(.*?)(?=^[A-Z][a-z]+(?:: | {2,})|^$|\Z)", re.M | re.S)
# a value that says where to import something from, `package.module:function`
NAMED = re.compile(r"([\w.]+):[\w.]+")


def sources(*built: object) -> dict[str, str]:
    """Find the source files that decide what these objects do in the training loop, and hash each.

    They are those of the objects' classes and of the loop, and all that these import: ours, a
    user's modules, and of installed packages the plug-ins. Of what was typed in a notebook, or in
    the script that runs, they are the definitions that the objects' classes use. What changes
    nothing does not count: comments, docstrings, layout, imports for types alone.

    Returns
    -------
    dict of str to str
        "methods/genetic.py", or "__main__.Rule", and 12 hex digits.

    Raises
    ------
    InputError
        For a class typed where its source cannot be read.
    """
    begun = frozenset(name for one in built for name in _modules(one))
    return dict(sorted({**_typed(built), **_reached(begun | {LOOP})}.items()))


@cache
def _reached(modules: frozenset[str]) -> dict[str, str]:
    """Files of modules and of all that they import, and a hash each."""
    found, waiting, seen = dict[str, str](), set(modules), set[str]()
    while waiting:
        name = waiting.pop()
        seen.add(name)
        if (present := _present(name)) is not None:
            path, found[path], imported = present
            waiting |= {*imported, name.rpartition(".")[0]} - seen - {""}
    return found


def digest(files: Mapping[str, str]) -> str:
    """Return one hash, 12 hex digits, of what `sources` found."""
    return short_hash(repr(sorted(files.items())))


def short_hash(text: str, n_digits: int = 12) -> str:
    """Return the first hex digits of a text's SHA-256: a name for what the text describes."""
    return hashlib.sha256(text.encode()).hexdigest()[:n_digits]


def changed(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Files that are not what they were, or are in one only."""
    return sorted(name for name in {*before, *now} if before.get(name) != now.get(name))


def outdated(files: Mapping[str, str]) -> list[str]:
    """Files that are not what they were when `sources` found and hashed them, or gone.

    Of what was typed in another session nothing is known.
    """
    kept = {name: digest for name, digest in files.items() if not name.startswith(TYPED)}
    modules = (
        name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in kept
    )
    return changed(
        kept, {present[0]: present[1] for module in modules if (present := _present(module))}
    )


def written(definition: Any) -> tuple[str, str, int]:
    """Source of a class or function, where it is, and how many lines stand above it there.

    Raises `OSError`, or `TypeError`, where it cannot be read.
    """
    try:
        lines, first = getsourcelines(definition)
        return dedent("".join(lines)), getfile(definition), first - 1
    except OSError:  # a class of a notebook's has no file, as far as Python knows
        name, script = definition.__qualname__, vars(sys.modules[MAIN])
        if script.get(name) is not definition:  # it has been defined again since
            raise
        for number, cell in reversed([*enumerate(script.get("In", ()))]):
            for node in _definitions(cell):
                if node.name == name:
                    above = (
                        min([node, *node.decorator_list], key=lambda part: part.lineno).lineno - 1
                    )
                    text = "\n".join(cell.splitlines()[above : node.end_lineno])
                    return text, f"cell {number}", above
        raise


def cited(**built: object) -> dict[str, dict[str, str]]:
    """What the files of these objects' classes say they are, and where it was published.

    Returns
    -------
    dict of str to dict
        By the names given: `title`, the first paragraph of the file's docstring, and `source`, that
        on its source; empty where it has none.
    """
    told = {}
    for name, one in built.items():
        text = getdoc(sys.modules[_definition(one).__module__]) or ""
        source = CITED.search(text)
        parts = {"title": text.split("\n\n")[0], "source": source[1] if source else ""}
        told[name] = {part: " ".join(said.split()) for part, said in parts.items()}
    return told


def packages(further: Iterable[str] = ()) -> dict[str, str]:
    """Versions of Python, and of the packages that make or decide results."""
    return {
        "python": platform.python_version(),
        **{name: _version(name) for name in sorted({*PACKAGES, *further})},
    }


# what was loaded, and asking takes milliseconds
_version, _commit = cache(version), cache(installed.commit)


def machine() -> dict[str, Any]:
    """Say which version and commit of the code ran, and on what."""
    return {
        "version": installed.version(),
        **_commit(),
        "processor": _processor(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "peak_memory_bytes": _peak_memory(),
    }


def _modules(value: object) -> Iterator[str]:
    """Modules of an object's class, of the objects in it, and of those its texts name."""
    for part in _parts(value):
        if isinstance(part, str):
            named = NAMED.fullmatch(part)
            yield from [named[1]] if named else []
        else:
            yield _definition(part).__module__


def _parts(value: object) -> Iterator[object]:
    """An object of settings, and those, the texts, functions and classes in it."""
    if is_dataclass(value) and not isinstance(value, type):
        yield value
        for field in fields(value):
            yield from _parts(getattr(value, field.name))
    elif isinstance(value, str | type | FunctionType):
        yield value
    elif isinstance(value, Mapping | Sequence):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _parts(inner)


def _definition(part: object) -> Any:
    """The class of an object; a class or a function itself."""
    return part if isinstance(part, type | FunctionType) else type(part)


def _typed(built: Iterable[object]) -> dict[str, str]:
    """Definitions of the running script, or notebook, that classes of objects use, and a hash each.

    Those are the classes themselves, and what the names in them stand for: classes and functions of
    there, numbers and texts, lists and dictionaries of them.
    """
    script = vars(sys.modules[MAIN])
    waiting: list[Any] = [_definition(part) for one in built for part in _parts(one)]
    waiting = [cls for cls in waiting if cls.__module__ == MAIN]
    found: dict[str, str] = {}
    while waiting:
        definition = waiting.pop()
        name = f"{TYPED}{definition.__qualname__}"
        if name in found:
            continue
        try:
            source = written(definition)[0]
        except (OSError, TypeError) as error:
            raise InputError(
                f"{definition.__qualname__} must be defined where its source can be read, as in a "
                "file or a notebook"
            ) from error
        tree = _Bare().visit(ast.parse(source))
        found[name] = short_hash(ast.unparse(tree))
        for used in {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}:
            value = script.get(used)
            if isinstance(value, type | FunctionType) and value.__module__ == MAIN:
                waiting.append(value)
            elif value is not None and _is_plain(value):
                found[f"{TYPED}{used}"] = short_hash(repr(value))
    return found


def _is_plain(value: object) -> bool:
    """Whether what a value is written as says all of it."""
    if isinstance(value, Mapping):
        return all(_is_plain(part) for pair in value.items() for part in pair)
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, int | float | str)


def _definitions(cell: str) -> Iterator[ast.ClassDef | ast.FunctionDef]:
    with suppress(SyntaxError):
        for node in ast.parse(cell).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                yield node


def _present(module: str) -> tuple[str, str, frozenset[str]] | None:
    """Path, hash and imports of a module that is ours or a user's; None for any other."""
    file = _file(module)
    if file is None:
        return None
    package = file.name == "__init__.py"
    path = module.replace(".", "/") + ("/__init__.py" if package else ".py")
    return path, *_read(file, module if package else module.rpartition(".")[0])


@cache
def _file(name: str) -> Path | None:
    """File of a module that is ours, a plug-in's or a user's; None if it is any other, or none."""
    top, *rest = name.split(".")
    if top == ADDED:
        file = getattr(sys.modules.get(name), "__file__", None)
        return None if file is None else Path(file)
    root = _root(top)
    if root is None:
        return None
    folder = root.parent if root.name == "__init__.py" else root.with_suffix("")
    place = folder.joinpath(*rest)
    candidates = [place / "__init__.py", place.with_suffix(".py")] if rest else [root]
    return next((file for file in candidates if file.is_file()), None)


@cache
def _root(top: str) -> Path | None:
    """File of a module, or a package's `__init__.py`, be there one or not."""
    try:
        with working_folder():
            spec = find_spec(top)
    except (ImportError, ValueError):  # the running script has none
        return None
    if spec is None:
        return None
    folders = list(spec.submodule_search_locations or ())
    file = (Path(folders[0], "__init__.py") if folders else Path(spec.origin or "")).resolve()
    if file.suffix != ".py":
        return None
    installed = {"site-packages", "dist-packages"}.intersection(file.parts)
    standard = file.is_relative_to(Path(sysconfig.get_path("stdlib")).resolve())
    ours = top in OURS or is_plugin(top)
    return file if ours or not (installed or standard) else None


@cache
def _read(file: Path, package: str) -> tuple[str, frozenset[str]]:
    """Hash of what a file does, and names it may import, `.part` as of its package."""
    tree = _Bare().visit(ast.parse(file.read_bytes()))
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            module = ".".join([*above, *filter(None, [node.module])])
            names |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return short_hash(ast.unparse(tree)), frozenset(names)


class _Bare(ast.NodeTransformer):
    """Take away docstrings, and what only type checkers read."""

    def visit_If(self, node: ast.If) -> Any:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return None
        return self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> Any:
        is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_text else node


def _peak_memory() -> int:
    """Of this process, in bytes."""
    try:
        from resource import RUSAGE_SELF, getrusage
    except ImportError:  # Windows
        from psutil import Process  # pyright: ignore[reportMissingModuleSource, reportMissingImports]

        return Process().memory_info().peak_wset
    return getrusage(RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@cache
def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.machine(),
    )
