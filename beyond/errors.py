"""What goes wrong before any work starts: one clear line each."""

from collections.abc import Iterable


class InputError(ValueError):
    """A parameter outside its range, or an unknown name. The message is one line."""


class MissingDataError(InputError):
    """Data that a task needs are not on this machine. The message is one line: how to get them."""


class UnsupportedError(Exception):
    """A method cannot serve this task or network. The message says why, in one line."""


def require(name: str, allowed: str, value: object, ok: bool) -> None:
    """Raise `InputError` naming parameter, allowed range and value got, unless `ok`."""
    if not ok:
        raise InputError(f"{name} must be {allowed}, got {value!r}")


def require_one_of(name: str, known: Iterable[str], value: object) -> None:
    """Raise `InputError` listing the known names, unless `value` is among them."""
    names = list(known)
    if value not in names:
        raise InputError(f"{name} must be one of {', '.join(names)}; got {value!r}")
