"""A table in a file: what its columns are, and the numbers that a network sees of them.

    number     standardised; where some are missing they become the mean, and a column says which
    truth      0 or 1
    category   a column of 0 and 1 for each text; one that is rare in the training part has none
    date       days, standardised, and where in the year and in the week it lies, on a circle

What is learnt from data (means, spreads, which texts are frequent enough, which columns vary at
all) is learnt from the training part of each replica. There is one copy of the numbers: a scale
turns off, by an infinite spread, what a replica's training part knows nothing of.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from math import inf, pi
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from beyond.data.given import (
    FileTask,
    Stamp,
    Targets,
    counted,
    first_line,
    listed,
    of_classes,
    of_values,
    stamp,
)
from beyond.data.splits import NOISE, Column, Scale, Scaling, Served
from beyond.errors import InputError, require_one_of
from beyond.settings import Text, settings

Frame = Any  # of pandas, whose types are too wide to be of use
DELIMITERS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
SUFFIXES = (*DELIMITERS, ".parquet", ".xlsx", ".xls")
MOST_COLUMNS = 10_000
MOST_CATEGORIES = 100  # a column of more different texts is of names, or prose
NUMERIC = 0.9  # a column of texts of which this share are numbers is one of numbers, with errors
FEW = 20  # a target of so many different whole numbers, or fewer, is of classes
TRUTHS = ({"true", "false"}, {"yes", "no"}, {"t", "f"}, {"y", "n"})
DATE = re.compile(r"\d{4}[-/]\d{1,2}[-/]\d{1,2}([ T]\d.*)?")
PLURALS = {"number": "numbers", "truth": "truth values", "category": "texts", "date": "dates"}
YEAR, WEEK = 365.2425, 7.0  # days


@dataclass(frozen=True)
class Reading:
    """How a file is read; each is a setting of `task=table`."""

    path: str
    delimiter: str | None = None
    encoding: str = "utf-8"
    missing: tuple[str, ...] = ()

    @property
    def file(self) -> Path:
        return Path(self.path).expanduser()


@dataclass(frozen=True)
class Feature:
    """A column of the file, as k columns of numbers.

    Attributes
    ----------
    kind : {"number", "truth", "category", "date"}
    values : array of shape (N, k), float64
        NaN where a number is missing.
    standardised : tuple of k bool
        The others are 0 or 1, and stay so.
    """

    name: str
    kind: str
    values: np.ndarray
    standardised: tuple[bool, ...]


@dataclass(frozen=True)
class Inputs(Column):
    """Inputs (N, F) of a table, unscaled.

    Attributes
    ----------
    standardised, listed : Tensor of shape (F,), bool
        Which columns are standardised; which stand for one text among others.
    rare : int
        A text with fewer training examples than this has no column.
    """

    standardised: Tensor
    listed: Tensor
    rare: int

    @property
    def known(self) -> np.ndarray:
        """The numbers, 0 where one is missing."""
        return self.values.nan_to_num(0.0).numpy()

    def fitted(self, rows: Tensor, scaling: Scaling, shared: bool) -> Served:
        """Scaled by the training rows (S, n) of each split; what is constant there is off."""
        means, stds = zip(*(self._moments_of(self.values[part]) for part in rows), strict=True)
        scale = Scale(torch.stack(means).unsqueeze(1), torch.stack(stds).unsqueeze(1))
        return Filled(self.values, scale)

    def _moments_of(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and spread (F,) of training examples (n, F), without those that are missing."""
        known = ~values.isnan()
        count = known.sum(0).clamp(min=1)
        first = torch.where(known, values, -inf).amax(0)  # a value: large numbers lose no digits
        first = torch.where(first.isinf(), 0.0, first)
        mean = first + torch.where(known, values - first, 0.0).sum(0) / count
        variance = torch.where(known, values - mean, 0.0).square().sum(0) / count
        std = variance.sqrt()
        precision = torch.finfo(values.dtype).eps
        varies = std > NOISE * precision * mean.abs()
        varies &= ~self.listed | (values.nan_to_num(0.0).sum(0) >= self.rare)
        std = torch.where(self.standardised, std, 1.0)
        mean = torch.where(self.standardised, mean, 0.0)
        return mean, torch.where(varies, std, inf)


@dataclass(frozen=True)
class Filled(Served):
    """Numbers of which some are missing: they become the mean."""

    def at(self, rows: Tensor) -> Tensor:
        return super().at(rows).nan_to_num_(0.0)


@dataclass(frozen=True)
class Table:
    """What is understood of a file.

    Attributes
    ----------
    frame : DataFrame
        Every column of the file.
    features : list of Feature
    dropped : dict of str to str
        Columns that no network sees, and why.
    """

    frame: Frame
    features: list[Feature]
    dropped: dict[str, str] = field(default_factory=dict)

    @cached_property
    def inputs(self) -> np.ndarray:
        """All features side by side, (N, F) float64."""
        return np.concatenate([feature.values for feature in self.features], 1)

    def columns(self, rare: int) -> Inputs:
        """Return the inputs as splits take them."""
        standardised = [one for feature in self.features for one in feature.standardised]
        listed = [
            feature.kind == "category" for feature in self.features for _ in feature.standardised
        ]
        return Inputs(
            torch.from_numpy(self.inputs), torch.tensor(standardised), torch.tensor(listed), rare
        )

    def told(self) -> Iterator[str]:
        """Say what the columns are, a line a kind, and what was dropped and why."""
        kinds = dict.fromkeys(feature.kind for feature in self.features)
        for kind in kinds:
            names = [feature.name for feature in self.features if feature.kind == kind]
            width = sum(len(f.standardised) for f in self.features if f.kind == kind)
            columns, inputs = counted(len(names), "column"), counted(width, "input")
            yield f"{columns} of {PLURALS[kind]}, {inputs}: {listed(names)}"
        for name, reason in self.dropped.items():
            yield f"dropped {name}: {reason}"


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
    except ImportError as error:
        raise InputError(f"{file}: {error.name or error} is needed to read it") from None
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


def understand(frame: Frame, where: str, names: Sequence[str]) -> Table:
    """Turn columns into features; `InputError` with row and column for one of two kinds."""
    features: list[Feature] = []
    dropped: dict[str, str] = {}
    for name in names:
        column = frame[name]
        if not of_entries(column):
            dropped[name] = "lists, no single entries"
            continue
        different = column.nunique()
        if different < 2 and not column.isna().any():
            dropped[name] = "every row has the same"
        elif not different:
            dropped[name] = "every row lacks it"
        else:
            made = _feature(name, column, where)
            if isinstance(made, str):
                dropped[name] = made
            else:
                features.append(made)
    if not features:
        left = f": {listed(list(dropped))}" if dropped else " besides those set aside"
        raise InputError(f"{where} has no column to learn from{left}")
    return Table(frame, features, dropped)


def of_entries(column: Any) -> bool:
    """Say whether a column has a number, a text or the like in each row; parquet may have lists."""
    return all(isinstance(entry, Hashable) for entry in column.dropna().head(1))


def understand_target(
    name: str,
    column: Any,
    kind: str | None,
    where: str,
    fixed: Sequence[int | None] = (),
) -> Targets:
    """Take a column as classes or values; `InputError` with the row for one that cannot be."""
    from pandas.api import types

    if (gaps := np.flatnonzero(column.isna())).size:
        raise InputError(f"{place(where, int(gaps[0]), name)}: the target is missing")
    numeric = types.is_numeric_dtype(column) and not types.is_bool_dtype(column)
    few = numeric and bool((column % 1 == 0).all()) and column.nunique() <= FEW
    if kind == "values" and not numeric:
        raise InputError(
            f"task.kind must be classes for the column {name!r} of {where}: it has texts"
        )
    if kind == "values" or (kind is None and numeric and not few):
        return of_values(_number(name, column, [], where).values, f"{where}, column {name!r}")
    labels: Any = column.astype("category").cat.remove_unused_categories().cat
    codes = labels.codes.to_numpy(np.int64, copy=True)
    hint = "; task.kind=values predicts the number" if numeric else ""
    place_named = f"{where}, column {name!r}"
    return of_classes(codes, map(str, labels.categories), place_named, fixed, hint=hint)


def labelled(codes: Any, names: Sequence[str]) -> Any:
    """Take a column of codes as classes by their names, in that order; below 0 it is missing."""
    import pandas as pd

    whole = codes.fillna(-1).astype(int)
    return pd.Series(pd.Categorical.from_codes(whole.where(whole >= 0, -1), names))


def in_order(name: str, column: Any, where: str) -> np.ndarray:
    """Rows in order of time; raise `InputError` for a column that has none, or lacks some."""
    from pandas.api import types

    if (gaps := np.flatnonzero(column.isna())).size:
        raise InputError(f"{place(where, int(gaps[0]), name)}: the time is missing")
    if not (types.is_numeric_dtype(column) or types.is_datetime64_any_dtype(column)):
        dates = _dates(column)
        if dates is None:
            raise InputError(
                f"task.time must be a column of numbers, or of dates as 2026-11-26; {name!r} of "
                f"{where} has {column.iloc[0]!r}"
            )
        column = dates
    return np.argsort(column.to_numpy(), kind="stable")


def _dates(column: Any) -> Any:
    """Texts such as 2026-11-26 as dates; None if they are not."""
    import pandas as pd

    missing = column.isna()
    if not column[~missing].astype(str).str.strip().str.fullmatch(DATE).all():
        return None
    dates: Any = pd.to_datetime(column, format="mixed", errors="coerce", utc=True)
    return dates if (dates.isna() == missing).all() else None


def _feature(name: str, column: Any, where: str) -> Feature | str:
    """Return what a column becomes, or why it is dropped."""
    import pandas as pd
    from pandas.api import types

    missing = column.isna().to_numpy()
    gaps = [missing.astype(float)] if missing.any() else []
    if types.is_bool_dtype(column):
        return _of_columns(name, "truth", [column.to_numpy(float)], gaps, scaled=0)
    if types.is_numeric_dtype(column):
        return _number(name, column, gaps, where)
    if types.is_datetime64_any_dtype(column):
        return _date(name, column, gaps)
    texts: Any = column[~missing].astype(str).str.strip()
    if set(texts.str.lower().unique()) in TRUTHS:
        true = column.astype(str).str.strip().str.lower().isin(["true", "yes", "t", "y"])
        return _of_columns(name, "truth", [true.to_numpy(float)], gaps, scaled=0)
    if isinstance(column.dtype, pd.CategoricalDtype):  # said by the source, whatever they look like
        return _categories(name, column, texts, missing, gaps)
    if (dates := _dates(column)) is not None:
        return _date(name, dates, gaps)
    numbers: Any = pd.to_numeric(texts, errors="coerce")
    if numbers.notna().all():
        return _number(name, pd.to_numeric(column, errors="coerce"), gaps, where)
    if numbers.notna().mean() >= NUMERIC:
        row = int(numbers.index[numbers.isna()][0])
        raise InputError(
            f"{place(where, row, name)}: {texts[row]!r} is no number, as the others are; "
            f"task.missing=[{texts[row]!r}] takes it as missing"
        )
    return _categories(name, column, texts, missing, gaps)


def _categories(
    name: str, column: Any, texts: Any, missing: np.ndarray, gaps: list[np.ndarray]
) -> Feature | str:
    categories = sorted(texts.unique())
    if len(categories) > MOST_CATEGORIES:
        return f"{len(categories):,} different texts: names or prose"
    filled = column.astype(str).str.strip()
    shown = [((filled == text) & ~missing).to_numpy(float) for text in categories]
    return _of_columns(name, "category", shown, gaps, scaled=0)


def _number(name: str, column: Any, gaps: list[np.ndarray], where: str) -> Feature:
    values = column.to_numpy(float, na_value=np.nan)
    infinite = np.flatnonzero(np.isinf(values) | (np.abs(values) > np.finfo(np.float32).max))
    if len(infinite):
        row = int(infinite[0])
        raise InputError(f"{place(where, row, name)}: {values[row]} is no finite number")
    return _of_columns(name, "number", [values], gaps, scaled=1)


def _date(name: str, column: Any, gaps: list[np.ndarray]) -> Feature:
    import pandas as pd

    moments: Any = pd.to_datetime(column, utc=True)
    days = ((moments - pd.Timestamp("2000-01-01", tz="UTC")) / pd.Timedelta(days=1)).to_numpy(float)
    angles = [2 * pi * days / period for period in (YEAR, WEEK)]
    circles = [turn(angle) for angle in angles for turn in (np.sin, np.cos)]
    return _of_columns(name, "date", [days, *circles], gaps, scaled=5)


def _of_columns(
    name: str, kind: str, columns: list[np.ndarray], gaps: list[np.ndarray], scaled: int
) -> Feature:
    """Columns side by side, the first `scaled` standardised, then the missing ones'."""
    every = [*columns, *gaps]
    standardised = tuple(index < scaled for index in range(len(every)))
    return Feature(name, kind, np.stack(every, 1), standardised)


def place(where: str, row: int, column: str) -> str:
    """Say where a cell is; rows are counted below the header, from 1."""
    return f"{where}, row {row + 1}, column {column!r}"
