"""Bring published data into the cache: from where they are published, or from a user's folder.

A download goes to `NAME.part`, goes on from there where it was cut off (HTTP Range, RFC 9110,
section 14), and gets its name only once its contents are those that were published.
"""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from beyond.data.sources import SWAPPED, File, Source, cache
from beyond.errors import InputError
from beyond.files import PART, write_whole
from beyond.run.lock import held, is_held

TRIES = 3  # of each address in turn; each goes on where the last was cut off
PATIENCE = 30.0  # seconds without a byte
CHUNK = 1 << 16  # bytes
AGENT = "beyond-backprop"

Move = Callable[[int], None]  # told the bytes that are there


def bring(source: Source, folder: Path | None, tell: Callable[[str], None]) -> None:
    """Bring what is not there yet of a source's files, from a folder or from the Internet.

    Raises
    ------
    InputError
        If none can be had, or what was had is not what was published.
    OSError
        If it cannot be written.
    """
    place = cache(source.name)
    with _alone(place / ".lock", lambda: tell(f"{source.name}: another process fetches it")):
        for file in source.files:
            if source.lies(file) is None:
                path = place / file.name
                part, label = path.with_name(path.name + PART), f"{source.name}: {file.name}"
                try:
                    contents = _copied(file, folder) if folder else _downloaded(file, part, label)
                except InputError as error:
                    raise InputError(f"{label}: {error}") from None
                write_whole(path, lambda new, held=contents: new.write_bytes(held))


@contextmanager
def _alone(path: Path, wait: Callable[[], None]) -> Iterator[None]:
    """Hold a lock, for which another process may have to be waited for."""
    if is_held(path):
        wait()
    with held(path, patience=-1):
        yield


def _copied(file: File, folder: Path) -> bytes:
    """Contents of a file that lies anywhere below a folder."""
    found = [path for name in file.names for path in sorted(folder.rglob(name))]
    for path in found:
        if (contents := file.contents(path)) is not None:
            return contents
    if found:
        raise InputError(f"{found[0]} {SWAPPED}")
    raise InputError(f"none of {', '.join(file.names)} is below {folder}")


def _downloaded(file: File, part: Path, label: str) -> bytes:
    """Contents of a file, from the first address that has it as published."""
    told = "it has no address"
    for url in file.urls * TRIES:
        try:
            with _bar(label, file.size) as move:
                _continue(url, part, move)
        except (urllib.error.URLError, HTTPException, ConnectionError, TimeoutError) as error:
            told = f"{url}: {getattr(error, 'reason', None) or error}"
            continue
        if (contents := file.contents(part)) is not None:
            return contents
        part.unlink()
        told = f"{url} {SWAPPED}"
    raise InputError(f"it cannot be downloaded: {told}")


def _continue(url: str, part: Path, move: Move) -> None:
    """Write what an address gives from where the part ends; an error if that is cut off."""
    begun = part.stat().st_size if part.exists() else 0
    asked = {"User-Agent": AGENT} | ({"Range": f"bytes={begun}-"} if begun else {})
    try:
        response = urllib.request.urlopen(
            urllib.request.Request(url, headers=asked), timeout=PATIENCE
        )
    except urllib.error.HTTPError as error:
        if begun and error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # nothing is behind what is there
        raise
    with response:
        if response.status != HTTPStatus.PARTIAL_CONTENT:
            begun = 0  # it does not go on, but begins
        there, length = begun, response.headers.get("Content-Length")
        try:
            with part.open("ab" if begun else "wb") as written:
                for chunk in _chunks(response):
                    there += written.write(chunk)
                    move(there)
        except ConnectionError:
            raise
        except OSError as error:  # the system does not say where
            raise OSError(error.errno, error.strerror, str(part)) from error
    if length is not None and there < begun + int(length):
        raise ConnectionError(f"cut off after {there:,} of {begun + int(length):,} bytes")


def _chunks(response: HTTPResponse) -> Iterator[bytes]:
    try:
        while chunk := response.read(CHUNK):
            yield chunk
    except (OSError, HTTPException) as error:
        raise ConnectionError(str(error) or type(error).__name__) from error


@contextmanager
def _bar(label: str, size: int) -> Iterator[Move]:
    """Show on a terminal how much of a download is there."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task_id = bar.add_task(label, total=size)
        yield lambda there: bar.update(task_id, completed=there)
