"""Data that others publish: what they are, where they may lie, and what brings them.

A run reads and never downloads: where files are missing, one line says what is, what brings it, and
under which licence. They are looked for in this order:

1. each folder of BEYOND_DATA, or `~/.cache/beyond-backprop` where that is not set, in a folder of
   the source's name. `beyond-data fetch NAME` writes into the first;
2. the folder of Debian's package, below each of XDG_DATA_DIRS.

What is read is what was published, or it is refused: SHA-256 of the contents decides, however the
file that has them is packed.
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath

from beyond.errors import InputError, MissingDataError, require_one_of
from beyond.files import expanded

FOLDERS = "BEYOND_DATA"  # separated as in PATH
CACHE = "~/.cache/beyond-backprop"  # where these are unless the variable says otherwise
SHARED = "/usr/local/share:/usr/share"  # where a system's are unless XDG_DATA_DIRS says otherwise
SWAPPED = "is not the published file: its SHA-256 is another"
GZIP = b"\x1f\x8b"
MAGIC, FIRST, HEADER = b"!<arch>\n", 8, 60  # of a Debian package: `man 5 deb`, `man 5 ar`
UNREADABLE = (EOFError, OSError, KeyError, ValueError, zlib.error, lzma.LZMAError, tarfile.TarError)


@dataclass(frozen=True)
class File:
    """One file of a source.

    Attributes
    ----------
    name : str
        As it is called in the cache; packages may have it compressed, NAME.gz or NAME.dz.
    sha256 : str
        Of the contents, since packages compress theirs anew.
    size : int
        Bytes of the download.
    urls : tuple of str
        What can be downloaded, tried in this order.
    inside : tuple of str
        Where that is an archive, the path in it; then the path in the archive that this is.
    """

    name: str
    sha256: str
    size: int
    urls: tuple[str, ...] = ()
    inside: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names that a copy may have, as patterns; a Debian package's has its version."""
        archives = [PurePosixPath(url).name for url in self.urls if self.inside]
        packages = [f"{name.partition('_')[0]}_*.deb" for name in archives if name.endswith(".deb")]
        return (self.name, f"{self.name}.gz", f"{self.name}.dz", *archives, *packages)

    def contents(self, path: Path) -> bytes | None:
        """What a copy holds, packed or not; None where that is not what was published."""
        copy = path.read_bytes()
        forms = (lambda: copy, lambda: gzip.decompress(copy), lambda: _dug(copy, self.inside))
        for form in forms:
            try:
                if hashlib.sha256(contents := form()).hexdigest() == self.sha256:
                    return contents
            except UNREADABLE:  # it has another form, or is cut off
                continue
        return None


@dataclass(frozen=True)
class Source:
    """Data as one publisher gives them.

    Attributes
    ----------
    name : str
        What `beyond-data` calls them, and their folder in the cache.
    licence : str
    files : tuple of File
    package, folder : str
        Debian's package that brings them, and where below a folder of XDG_DATA_DIRS.
    """

    name: str
    licence: str
    files: tuple[File, ...]
    package: str = ""
    folder: str = ""

    @property
    def size(self) -> int:
        """Bytes of the downloads: an archive counts once."""
        return sum({file.urls or file.name: file.size for file in self.files}.values())

    @property
    def remedy(self) -> str:
        """The commands that bring the data."""
        fetched = f"beyond-data fetch {self.name}" if self.files[0].urls else ""
        installed = f"apt install {self.package}" if self.package else ""
        return " or ".join(filter(None, (installed, fetched)))

    def find(self, file: File) -> Path | None:
        """Where a copy of a file lies, whatever it holds; None if there is none."""
        return next((copy for place in self._places() if (copy := _copy(file, place))), None)

    def lies(self, file: File) -> Path | None:
        """Where a file lies as published; None if nowhere."""
        copy = self.find(file)
        return copy if copy and file.contents(copy) is not None else None

    def read(self, name: str) -> bytes:
        """Contents of a file.

        Raises
        ------
        MissingDataError
            If there is no copy.
        InputError
            If the first copy holds anything but what was published.
        """
        files = {file.name: file for file in self.files}
        require_one_of(f"file of {self.name}", files, name)
        copy = self.find(files[name])
        if copy is None:
            about = ", ".join(filter(None, (_megabytes(self.size), self.licence)))
            raise MissingDataError(f"{self.name} is not on this machine: {self.remedy} ({about})")
        contents = files[name].contents(copy)
        if contents is None:
            again = self.remedy.replace("apt install", "apt install --reinstall")
            raise InputError(f"{copy} {SWAPPED}; {again}")
        return contents

    def _places(self) -> Iterator[Path]:
        for folder in folders():
            yield folder / self.name
        if self.folder:
            for folder in (os.environ.get("XDG_DATA_DIRS") or SHARED).split(":"):
                yield Path(folder, self.folder)


def folders() -> list[Path]:
    """Folders of BEYOND_DATA, or the user's cache; the first is written into."""
    named = [name for name in os.environ.get(FOLDERS, "").split(os.pathsep) if name]
    return [expanded(name) for name in named or [CACHE]]


def cache(name: str) -> Path:
    """Return the folder for what is brought, or made once, under a name; it is there afterwards.

    An `OSError` names it.
    """
    place = folders()[0] / name
    place.mkdir(parents=True, exist_ok=True)
    return place


def program(name: str, package: str) -> Path:
    """Return where a program is; `MissingDataError` names the Debian package that brings it."""
    found = shutil.which(name)
    if found is None:
        raise MissingDataError(f"{name} is not on this machine: apt install {package}")
    return Path(found)


def _copy(file: File, place: Path) -> Path | None:
    """Return the copy of a file in a folder, if there is one."""
    found = (path for name in file.names for path in sorted(place.glob(name)))
    return next((path for path in found if path.is_file()), None)


def _dug(archive: bytes, inside: tuple[str, ...]) -> bytes:
    """Take a file out of an archive, and what is wanted out of that; uncompressed."""
    for path in inside:
        if archive.startswith(MAGIC):
            archive, path = _data(archive), f"./{path}"
        with tarfile.open(fileobj=BytesIO(archive)) as opened:
            member = opened.extractfile(path)
            archive = member.read() if member else b""
        if archive.startswith(GZIP):
            archive = gzip.decompress(archive)
    return archive


def _data(package: bytes) -> bytes:
    """Return the archive of files that a Debian package holds."""
    at = FIRST
    while at < len(package):
        name, length = package[at : at + 16], int(package[at + 48 : at + 58])
        at += HEADER
        if name.startswith(b"data.tar"):
            return package[at : at + length]
        at += length + length % 2
    raise KeyError("data.tar")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size else ""
