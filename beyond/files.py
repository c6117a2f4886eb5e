"""Files: written so that no reader sees half of one."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from beyond.errors import InputError, require

PART = ".part"  # ends the name of what is not written whole yet


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` make a file beside `path`, then give it that name: write-then-rename.

    An `OSError` names it.
    """
    part = path.with_name(path.name + PART)
    try:
        write(part)
        os.replace(part, path)  # noqa: PTH105  atomic, and named as such
    except BaseException as error:
        with suppress(OSError):  # the one that we have says more
            part.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.strerror:  # the system does not say where
            raise type(error)(error.errno, error.strerror, str(path)) from error
        raise


def write_whole_text(path: Path, text: str) -> None:
    """Write a text, whole; see `write_whole`."""
    write_whole(path, lambda part: part.write_text(text, encoding="utf-8"))


def expanded(path: str) -> Path:
    """Return a path, of which `~` is the home folder; `InputError` for what can be none."""
    require("a path", "without the character 0", path, "\0" not in path)
    try:
        return Path(path).expanduser()
    except RuntimeError as error:  # nobody's home
        raise InputError(f"{path!r}: {error}") from None
