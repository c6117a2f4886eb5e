"""A file of a table, as pandas reads it, or one clear line with file, line and column."""

from __future__ import annotations

import csv
import re
import sys
from codecs import BOM_UTF16_BE, BOM_UTF16_LE, getincrementaldecoder
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Len

from beyond.data.given import FileTask, Stamp, counted, first_line, stamp
from beyond.errors import InputError, require_one_of
from beyond.files import expanded
from beyond.settings import Says, Text, settings

Frame = Any  # of pandas, whose types are too wide to be of use
DELIMITERS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
NEWLINE = "\n"
Character = Annotated[str, Len(1, 1), Says("one character")]
SUFFIXES = (*DELIMITERS, ".parquet", ".xlsx", ".xls")
MOST_COLUMNS = 10_000
BLOCK = 1 << 20  # bytes that are decoded at once
SIGNATURES = {b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip", b"PAR1": "Parquet"}  # of what is no text


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
            _check_text(reading)
            _check_header(reading, delimiter)
            frame = pd.read_csv(
                file, sep=delimiter, encoding=reading.encoding, low_memory=False, **markers
            )
            # it takes what is over in the first row as an index, and what is not there as missing
            lacks = bool(frame.iloc[:, -1].isna().any())
            _check_fields(reading, delimiter, None if lacks else 2)
        elif suffix == ".parquet":
            from pyarrow.parquet import read_schema

            _require_distinct(file, read_schema(file).names)
            frame = _marked(pd.read_parquet(file), reading.missing)
        else:
            header: Any = pd.read_excel(file, header=None, nrows=1)
            _require_distinct(file, header.iloc[0].dropna() if len(header) else [])
            frame = pd.read_excel(file, **markers)
    except InputError:  # a ValueError, which says what is wrong
        raise
    except pd.errors.EmptyDataError:
        raise InputError(f"{file} is empty") from None
    except pd.errors.ParserError as error:
        raise InputError(f"{file}{_fields(str(error))}") from None
    except ImportError as error:  # as pandas has it, of the module that it lacks
        package = getattr(error.__cause__, "name", None) or error.name
        raise InputError(
            f"{file} needs the library {package}, which the extra excel brings: "
            "pip install 'beyond-backprop[excel]'"
        ) from None
    except Exception as error:  # each library has its errors
        raise InputError(f"{file} cannot be read: {first_line(error)}") from None
    if not len(frame):
        raise InputError(f"{file} has a header and no row")
    if len(frame.columns) > MOST_COLUMNS:
        raise InputError(f"{file} has {len(frame.columns):,} columns; at most {MOST_COLUMNS:,}")
    return named(frame)


def named(frame: Frame) -> Frame:
    """Return a DataFrame whose columns' names are texts, as a user types them."""
    return frame.set_axis([str(name) for name in frame.columns], axis=1)


def _check_text(reading: Reading) -> None:
    """Refuse, with the line, what is no text in its encoding: pandas has a byte, or reads it."""
    file, line = reading.file, 1
    decoder = getincrementaldecoder(reading.encoding)()
    with file.open("rb") as contents:
        start = contents.read(4)
        for signature, kind in SIGNATURES.items():
            if start.startswith(signature):
                raise InputError(f"{file} is no text but {kind}")
        utf16 = start.startswith((BOM_UTF16_LE, BOM_UTF16_BE))
        contents.seek(0)
        at_end = False
        while not at_end:
            block = contents.read(BLOCK)
            at_end = not block
            try:
                text, wrong = decoder.decode(block, at_end), None
            except UnicodeDecodeError as error:
                text = error.object[: error.start].decode(reading.encoding, "replace")
                wrong = error.object[error.start]
            if "\0" in text:
                text, wrong, utf16 = text.partition("\0")[0], 0, True
            line += text.count(NEWLINE)
            if wrong is not None:
                raise InputError(
                    f"{file}, line {line}: not {reading.encoding} (byte 0x{wrong:02x}); "
                    f"task.encoding names another, as {'utf-16' if utf16 else 'latin-1'}"
                )


@contextmanager
def _rows(reading: Reading, delimiter: str) -> Iterator[Any]:
    """The lines of a text file as a `csv.reader` has them, however long an entry is."""
    limit = csv.field_size_limit(sys.maxsize)
    try:
        with reading.file.open(encoding=reading.encoding, newline="") as lines:
            yield csv.reader(lines, delimiter=delimiter)
    finally:
        csv.field_size_limit(limit)


def _check_fields(reading: Reading, delimiter: str, n_lines: int | None) -> None:
    """Refuse one of so many lines, or of all, of more or fewer fields than the header has.

    Blank lines are none.
    """
    with _rows(reading, delimiter) as rows:
        n_fields = 0
        for row in islice((row for row in rows if "".join(row).strip()), n_lines):
            n_fields = n_fields or len(row)
            if len(row) != n_fields:
                told = f"{counted(len(row), 'field')} instead of {n_fields}"
                raise InputError(f"{reading.file}, line {rows.line_num}: {told}")


def _require_distinct(file: Path, names: Iterable[str]) -> None:
    """Raise `InputError` for a header with a name twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InputError(f"{file}, line 1: two columns are named {name!r}")
        seen.add(name)


def _marked(frame: Frame, missing: tuple[str, ...]) -> Frame:
    """Take entries away that stand for nothing, be they texts or numbers."""
    import pandas as pd

    if not missing:
        return frame
    numbers: Any = pd.to_numeric(pd.Series(missing), errors="coerce")
    markers = [*missing, *numbers.dropna()]
    return frame.apply(lambda column: column.mask(column.isin(markers)))


def _check_header(reading: Reading, delimiter: str) -> None:
    """Refuse a header with a name twice, or one column where another delimiter gives several."""
    file = reading.file
    with _rows(reading, delimiter) as rows:
        header = next(rows, [])
    _require_distinct(file, header)
    if len(header) == 1:
        others = [other for other in ",;\t|" if other != delimiter and other in header[0]]
        if others:
            raise InputError(
                f"{file}, line 1: one column between delimiters {delimiter!r}; "
                f"task.delimiter={others[0]!r} gives {header[0].count(others[0]) + 1}"
            )


def _fields(said: str) -> str:
    """What a parser says of a line, in our words."""
    if found := re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", said):
        return f", line {found[2]}: {found[3]} fields instead of {found[1]}"
    if found := re.search(r"EOF inside string starting at row (\d+)", said):
        return f", row {found[1]}: a quote is not closed"
    return f": {said}"


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

    delimiter: Character | None = None
    encoding: Text = "utf-8"
    missing: tuple[str, ...] = ()

    @property
    def _frame(self) -> Frame:
        return read_table(Reading(self.path, self.delimiter, self.encoding, self.missing))
