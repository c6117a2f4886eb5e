"""Console scripts: what each imports takes a second or more, in which it may be interrupted.

Packages beside this one are taken from where they are: a file in the working folder may have their
name.
"""

from __future__ import annotations

import sys


def program() -> None:
    """Console script `beyond`."""
    _run("beyond", "beyond.run.main")


def check() -> None:
    """Console script `beyond-check`."""
    _run("beyond-check", "beyond.testing.command")


def compare() -> None:
    """Console script `beyond-compare`."""
    _run("beyond-compare", "analysis.report", "compare")


def data() -> None:
    """Console script `beyond-data`."""
    _run("beyond-data", "beyond.run.data")


def new() -> None:
    """Console script `beyond-new`."""
    _run("beyond-new", "beyond.skeletons.command")


def report() -> None:
    """Console script `beyond-report`."""
    _run("beyond-report", "analysis.report")


def verify() -> None:
    """Console script `beyond-verify`."""
    _run("beyond-verify", "analysis.verify")


def _run(script: str, module: str, name: str = "main") -> None:
    """Import what a script is, and run it; interrupted, end with a line and exit status 130."""
    try:
        from beyond.errors import InputError
        from beyond.installed import imported

        try:
            main = getattr(imported(module), name)
        except InputError as error:
            sys.exit(f"{script}: {error}")
        main()
    except KeyboardInterrupt:
        sys.stderr.write(f"{script}: interrupted by SIGINT\n")
        sys.exit(130)
