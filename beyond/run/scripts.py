"""Console scripts of packages beside this one, which a file in the working folder may shadow."""

from __future__ import annotations

import sys

from beyond.catalog import find
from beyond.errors import InputError


def report() -> None:
    """Console script `beyond-report`."""
    _run("beyond-report", "analysis.report.main")


def compare() -> None:
    """Console script `beyond-compare`."""
    _run("beyond-compare", "analysis.report.compare")


def verify() -> None:
    """Console script `beyond-verify`."""
    _run("beyond-verify", "analysis.paper.verify")


def _run(script: str, target: str) -> None:
    try:
        main = find(script, target)
    except InputError as error:
        sys.exit(f"{script}: {error}")
    main()
