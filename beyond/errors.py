"""What goes wrong before any work starts: one clear line each."""

from collections.abc import Iterable

LONGEST = 200  # characters of a value that was got
STRANGE = (Exception, SystemExit)  # what a stranger's code may raise


class InputError(ValueError):
    """A parameter outside its range, or an unknown name. The message is one line."""


class MissingDataError(InputError):
    """Data that a task needs are not on this machine. The message is one line: how to get them."""


class BusyError(InputError):
    """Another process is at it. The message is one line."""


class UnsupportedError(Exception):
    """A method cannot serve this task or network. The message says why, in one line."""


def require(name: str, allowed: str, value: object, ok: bool) -> None:
    """Raise `InputError` naming parameter, allowed range and value got, unless `ok`."""
    if not ok:
        raise InputError(f"{name} must be {allowed}, got {shown(value)}")


def require_one_of(name: str, known: Iterable[str], value: object) -> None:
    """Raise `InputError` listing the known names, unless `value` is among them."""
    names = list(known)
    if value not in names:
        raise InputError(f"{name} must be one of {', '.join(names)}; got {shown(value)}")


def shown(value: object) -> str:
    """Write a value that was got in one line, cut where it is long."""
    text = " ".join(repr(value).splitlines())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


def said(error: BaseException) -> str:
    """What an error is and says, in one line: "ValueError: math domain error"."""
    first = (str(error).splitlines() or [""])[0]
    return ": ".join(filter(None, (type(error).__name__, first)))
