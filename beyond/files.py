"""Files: written so that no reader sees half of one; those of the system, checked before use."""

import gzip
import hashlib
import os
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from beyond.errors import InputError, MissingDataError, require

PART = ".part"  # ends the name of what is not written whole yet
SHARED = "/usr/local/share:/usr/share"  # where they are unless XDG_DATA_DIRS says otherwise


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


def unpacked(path: str, sha256: str, package: str) -> bytes:
    """Contents of a gzip file, or `MissingDataError` naming the package that brings it.

    Parameters
    ----------
    path : str
        Below one of the folders in XDG_DATA_DIRS, the first that has it: "datasets/name/file.gz".
    sha256 : str
        Of the contents, since packages compress them anew.
    package : str
        Debian's name for what brings the file.
    """
    folders = (os.environ.get("XDG_DATA_DIRS") or SHARED).split(":")
    found = next((file for folder in folders if (file := Path(folder, path)).is_file()), None)
    if found is None:
        raise MissingDataError(f"{path} is not on this machine: apt install {package}")
    try:
        contents = gzip.decompress(found.read_bytes())
    except (EOFError, gzip.BadGzipFile, zlib.error):
        contents = b""
    if hashlib.sha256(contents).hexdigest() != sha256:
        raise InputError(f"{found} is not the published file: apt install --reinstall {package}")
    return contents


def expanded(path: str) -> Path:
    """Return a path, of which `~` is the home folder; `InputError` for what can be none."""
    require("a path", "without the character 0", path, "\0" not in path)
    try:
        return Path(path).expanduser()
    except RuntimeError as error:  # nobody's home
        raise InputError(f"{path!r}: {error}") from None
