"""`beyond-check method=mine`: what a method, a task or a network promises, tried and told."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from time import perf_counter
from typing import Any

import torch
from rich.console import Console

from beyond import catalog
from beyond.errors import InputError, UnsupportedError
from beyond.run.display import say
from beyond.run.typed import typed
from beyond.testing.checks import Check
from beyond.testing.methods import method_checks
from beyond.testing.networks import network_checks
from beyond.testing.tasks import task_checks

USAGE = "usage: beyond-check method=NAME|task=NAME|network=NAME [GROUP.SETTING=VALUE ...]"


def main() -> None:
    """Console script `beyond-check`: exit status 1 if anything does not hold."""
    arguments = sys.argv[1:] or ["--help"]
    if {"--help", "-h"}.intersection(arguments):
        print(f"{__doc__}\n\n{USAGE}")  # noqa: T201
        return
    logging.disable(logging.CRITICAL)  # a run that fails is told in one line
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    try:
        group, name, made = typed(arguments, "method", "task", "network")
        failed = told(f"{group} {name}", _checks(group, name, made))
    except (InputError, AssertionError) as error:
        sys.exit(f"beyond-check: {error}")
    except Exception as error:
        if place := catalog.blame(error):
            sys.exit(f"beyond-check: {place}")
        raise
    sys.exit(failed > 0)


def _checks(group: str, name: str, made: Any) -> Iterable[Check]:
    if group == "method":
        return method_checks(made, name)
    return task_checks(made) if group == "task" else network_checks(made)


def told(subject: str, checks: Iterable[Check]) -> int:
    """Try checks, print a line for each, and return how many do not hold."""
    console, clock = Console(), perf_counter()
    held, refused, failed = 0, 0, 0
    for check in checks:
        try:
            measured = check()
        except UnsupportedError as refusal:
            refused += 1
            say(console, f"refused  {check}: {refusal}")
        except AssertionError as error:
            failed += 1
            say(console, f"FAILS    {check}: {error}")
        else:
            held += 1
            say(console, f"holds    {check}{f': {measured}' if measured else ''}")
    seconds = perf_counter() - clock
    say(console, f"{subject}: {held} hold, {refused} refused, {failed} fail, {seconds:.0f} s")
    return failed


if __name__ == "__main__":
    main()
