"""What is typed and Hydra's grammar does not know is a text: `task.path=data (1).csv`."""

from __future__ import annotations

import re
from contextlib import suppress
from functools import cache

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException


@cache  # a sweep has few arguments, each in many of its cells
def quoted(argument: str) -> str:
    """Return an override that Hydra reads: with its value in quotes, where it must be."""
    key, sign, value = argument.partition("=")
    if not sign or argument.startswith("-"):
        return argument
    escaped = value.replace('"', '\\"')
    for typed in (argument, f'{key}="{escaped}"'):
        with suppress(HydraException):
            OverridesParser.create().parse_override(typed)
            return typed
    return argument


def requoted(override: str) -> str:
    """The same for one of a sweep, whose quotes Hydra has taken and which it has escaped."""
    plain = re.sub(r"\\(.)", r"\1", override)
    return override if quoted(override) == override else quoted(plain)
