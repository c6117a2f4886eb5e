"""A file of a table, as pandas reads it, or one clear line with file, line and column."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from beyond.data.given import FileTask, Stamp, first_line, stamp
from beyond.errors import InputError, require_one_of
from beyond.files import expanded
from beyond.settings import Text, settings

Frame = Any  # of pandas, whose types are too wide to be of use
DELIMITERS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
SUFFIXES = (*DELIMITERS, ".parquet", ".xlsx", ".xls")
MOST_COLUMNS = 10_000


@dataclass(frozen=True)
class Reading:
    """How a file is read; each is a setting of `task=table`."""

    path: str
    delimiter: str | None = None
    encoding: str = "utf-8"
    missing: tuple[str, ...] = ()

    @property
    def file(self) -> Path:
        return expanded(self.path)


def read_table(reading: Reading) -> Frame:
    """Read a file; raise `InputError` with file, line and column for one that cannot be read."""
    file = reading.file
    require_one_of("the ending of task.path", SUFFIXES, file.suffix.lower())
    return _read(reading, stamp(file))


@lru_cache(maxsize=4)
def _read(reading: Reading, changed: Stamp) -> Frame:  # noqa: ARG001
    """Read a file, once for a time of its last change and a size."""
    import pandas as pd

    frame: Frame
    file, suffix = reading.file, reading.file.suffix.lower()
    markers: dict[str, Any] = {"na_values": list(reading.missing)} if reading.missing else {}
    try:
        if suffix in DELIMITERS:
            delimiter = reading.delimiter or DELIMITERS[suffix]
            _check_header(reading, delimiter)
            frame = pd.read_csv(
                file, sep=delimiter, encoding=reading.encoding, low_memory=False, **markers
            )
        elif suffix == ".parquet":
            frame = pd.read_parquet(file)
        else:
            frame = pd.read_excel(file, **markers)
    except InputError:  # a ValueError, which says what is wrong
        raise
    except pd.errors.EmptyDataError:
        raise InputError(f"{file} is empty") from None
    except pd.errors.ParserError as error:
        raise InputError(f"{file}{_fields(str(error))}") from None
    except UnicodeDecodeError as error:
        line = file.read_bytes()[: error.start].count(b"\n") + 1
        raise InputError(
            f"{file}, line {line}: not {reading.encoding} "
            f"(byte 0x{error.object[error.start]:02x}); task.encoding names another, as latin-1"
        ) from None
    except ImportError as error:  # as pandas has it, of the module that it lacks
        package = getattr(error.__cause__, "name", None) or error.name
        raise InputError(
            f"{file} needs the library {package}, which the extra excel brings: "
            "pip install 'beyond-backprop[excel]'"
        ) from None
    except (OSError, ValueError, LookupError) as error:
        raise InputError(f"{file} cannot be read: {first_line(error)}") from None
    if not len(frame):
        raise InputError(f"{file} has a header and no row")
    if len(frame.columns) > MOST_COLUMNS:
        raise InputError(f"{file} has {len(frame.columns):,} columns; at most {MOST_COLUMNS:,}")
    return frame.rename(columns=str)


def _check_header(reading: Reading, delimiter: str) -> None:
    """Refuse a header with a name twice, or one column where another delimiter gives several."""
    file = reading.file
    with file.open(encoding=reading.encoding, newline="") as lines:
        header = next(csv.reader(lines, delimiter=delimiter), [])
    seen: set[str] = set()
    for name in header:
        if name in seen:
            raise InputError(f"{file}, line 1: two columns are named {name!r}")
        seen.add(name)
    if len(header) == 1:
        others = [other for other in ",;\t|" if other != delimiter and other in header[0]]
        if others:
            raise InputError(
                f"{file}, line 1: one column between delimiters {delimiter!r}; "
                f"task.delimiter={others[0]!r} gives {header[0].count(others[0]) + 1}"
            )


def _fields(said: str) -> str:
    """What a parser says of a line, in our words."""
    found = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", said)
    return f", line {found[2]}: {found[3]} fields instead of {found[1]}" if found else f": {said}"


@settings(kw_only=True)
class TableFile(FileTask):
    """Data in a file of a table.

    Parameters
    ----------
    path : str
        The file; its ending says what it is: .csv, .tsv, .txt, .parquet, .xlsx, .xls.
    delimiter : str, optional
        Between the columns of a text file; None: a comma, or a tab in .tsv and .txt.
    encoding : str
        Of a text file.
    missing : tuple of str
        Entries that stand for nothing, besides those usual (empty, NA, NaN, null).
    """

    delimiter: Text | None = None
    encoding: Text = "utf-8"
    missing: tuple[str, ...] = ()

    @property
    def _frame(self) -> Frame:
        return read_table(Reading(self.path, self.delimiter, self.encoding, self.missing))
