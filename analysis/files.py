"""Files that the analysis leaves."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from secrets import token_hex

ALSO = ("png", "pdf")  # formats that a report's figures may have besides SVG


def write(path: Path, content: bytes | str) -> None:
    """Write a file by write-then-rename: no reader sees half of it, nor of another's.

    An `OSError` names it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{token_hex(4)}.part")
    try:
        part.write_bytes(content if isinstance(content, bytes) else content.encode())
        os.replace(part, path)  # noqa: PTH105  atomic, and named as such
    except BaseException as error:
        with suppress(OSError):  # the one that we have says more
            part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise type(error)(error.errno, error.strerror, str(path)) from error
        raise
