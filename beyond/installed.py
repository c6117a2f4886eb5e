"""Where this project is, a checkout or an installed package, and which version and commit of it.

Its packages beside this one have names that anyone's file may have, such as `tasks`: they are taken
from where they are, whatever stands first on Python's path.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from beyond.errors import InputError

PACKAGE = Path(__file__).resolve().parent
ROOT = PACKAGE.parent  # of all our packages
# a wheel has the configuration in the package: `conf` is no name to take from everyone
IN_CHECKOUT = not (PACKAGE / "conf").is_dir()
CONF = (ROOT if IN_CHECKOUT else PACKAGE) / "conf"
BESIDE = ("methods", "tasks", "analysis")
# in a checkout, what decides how it runs
DECISIVE = ("beyond", "conf", "hydra_plugins", "pyproject.toml", *BESIDE)
STAMP = PACKAGE / "built_from.json"  # `commit()` where the package was built


@cache
def version() -> str:
    """Version of this code, which `pyproject.toml` alone states: "0.1.0"."""
    if IN_CHECKOUT:  # what was once installed from it may be older
        from tomllib import loads

        return loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    from importlib.metadata import version as installed  # slow to import

    return installed("beyond-backprop")


def commit() -> dict[str, Any]:
    """Commit of this code, "" if unknown, and whether files that decide what it does differ.

    An installed package may lie in a repository, a user's, that has nothing to do with it: it has
    the commit that it was built from.
    """
    if IN_CHECKOUT and (ROOT / ".git").exists():
        differing = _git("status", "--porcelain", "--", *DECISIVE)
        return {"commit": _git("rev-parse", "HEAD"), "dirty": bool(differing)}
    return json.loads(STAMP.read_bytes()) if STAMP.exists() else {"commit": "", "dirty": None}


def take(package: str) -> None:
    """Import one of the packages beside this one, from there.

    Raises
    ------
    InputError
        If another module of that name was imported before.
    """
    ours = ROOT / package
    if (found := sys.modules.get(package)) is None:
        spec = PathFinder.find_spec(package, [str(ROOT)])
        if spec is None or spec.loader is None:
            raise InputError(f"no package {str(ours)!r}: install beyond-backprop again")
        sys.modules[package] = module = module_from_spec(spec)
        spec.loader.exec_module(module)
    elif ours not in [Path(folder).resolve() for folder in getattr(found, "__path__", ())]:
        theirs = getattr(found, "__file__", None) or package
        raise InputError(
            f"rename {theirs!r}, which was imported as {package}: that is the name of {str(ours)!r}"
        )


def imported(module: str) -> ModuleType:
    """Import a module, those of this project from where it is; `InputError` as of `take`."""
    if (package := module.partition(".")[0]) in BESIDE:
        take(package)
    return import_module(module)


@contextmanager
def working_folder() -> Iterator[None]:
    """Look for modules in the working folder too, after all others.

    What a user declares may lie there, and a command does not look, as `python -m` does.
    """
    here = str(Path.cwd())
    if here in sys.path:
        yield
        return
    sys.path.append(here)
    try:
        yield
    finally:
        sys.path.remove(here)


def _git(*arguments: str) -> str:
    # a hook sets GIT_DIR, of whichever repository it runs in
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            encoding="utf-8",
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()
