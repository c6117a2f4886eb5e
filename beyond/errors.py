"""What goes wrong before any work starts: one clear line each."""

from collections.abc import Iterable
from difflib import get_close_matches

LONGEST = 200  # characters of a value that was got
GLANCE = 6  # names that are seen at once; of more, those are first that may be meant
ALIKE = 0.7  # share of two names that is the same, where one may be meant by the other
STRANGE = (Exception, SystemExit)  # what a stranger's code may raise


class InputError(ValueError):
    """A parameter outside its range, or an unknown name. The message is one line."""


class MissingDataError(InputError):
    """Data that a task needs are not on this machine. The message is one line: how to get them."""


class BusyError(InputError):
    """Another process is at it. The message is one line."""


class UnsupportedError(Exception):
    """A method cannot serve this task or network. The message says why, in one line."""


def unwritable(folder: object, error: OSError) -> InputError:
    """What to raise where nothing can be written into a folder of runs."""
    allowed = f"runs must be a folder that can be written, got {str(folder)!r}"
    return InputError(f"{allowed} ({error.strerror})")


def require(name: str, allowed: str, value: object, ok: bool) -> None:
    """Raise `InputError` naming parameter, allowed range and value got, unless `ok`."""
    if not ok:
        raise InputError(f"{name} must be {allowed}, got {shown(value)}")


def require_one_of(name: str, known: Iterable[str], value: object) -> None:
    """Raise `InputError` listing the known names, unless `value` is among them."""
    names = list(known)
    if value not in names:
        known = ", ".join(nearest_first(str(value), names))
        raise InputError(f"{name} must be one of {known}; got {shown(value)}")


def nearest_first(typed: str, known: Iterable[str]) -> list[str]:
    """Known names as they are; of many those first that are like what was typed."""
    names = list(known)
    near = get_close_matches(typed, names, cutoff=ALIKE) if len(names) > GLANCE else []
    return list(dict.fromkeys([*near, *names]))


def shown(value: object) -> str:
    """Write a value that was got in one line, cut where it is long."""
    text = " ".join(repr(value).splitlines())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


def said(error: BaseException) -> str:
    """What an error is and says, in one line: "ValueError: math domain error"."""
    first = (str(error).splitlines() or [""])[0]
    return ": ".join(filter(None, (type(error).__name__, first)))
