"""What the columns of a table are, and the numbers that a network sees of them.

    number     standardised; where some are missing they become the mean, and a column says which
    truth      0 or 1
    category   a column of 0 and 1 for each text; one that is rare in the training part has none
    date       days, standardised, and where in the year and in the week it lies, on a circle

What is learnt from data (means, spreads, which texts are frequent enough, which columns vary at
all) is learnt from the training part of each replica. There is one copy of the numbers: a scale
turns off, by an infinite spread, what a replica's training part knows nothing of.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import inf, pi
from typing import Any

import numpy as np
import torch
from torch import Tensor

from beyond.data.given import Targets, counted, listed, of_classes, of_values
from beyond.data.splits import NOISE, Column, Scale, Scaling, Served
from beyond.data.tables import Frame, named
from beyond.errors import InputError

MOST_CATEGORIES = 100  # a column of more different texts is of names, or prose
MOST = 0.9  # a column of texts of which this share are numbers, or dates, has errors otherwise
FEW = 20  # a target of so many different whole numbers, or fewer, is of classes
TRUTHS = ({"true", "false"}, {"yes", "no"}, {"t", "f"}, {"y", "n"})
TRUE = ("true", "yes", "t", "y")
DATE = re.compile(r"\d{4}[-/]\d{1,2}[-/]\d{1,2}([ T]\d.*)?")
PLURALS = {"number": "numbers", "truth": "truth values", "category": "texts", "date": "dates"}
MISSING = "; task.missing=[{!r}] takes it as missing"
YEAR, WEEK = 365.2425, 7.0  # days


@dataclass(frozen=True)
class Feature:
    """A column of the table, and the k columns of numbers that a network sees of it.

    Attributes
    ----------
    kind : {"number", "truth", "category", "date"}
    gaps : bool
        Whether the last of the k says where an entry is missing.
    categories : tuple of str
        Texts that have a column each, of the kind "category".
    """

    name: str
    kind: str
    gaps: bool
    categories: tuple[str, ...] = ()

    @property
    def standardised(self) -> tuple[bool, ...]:
        """Which of the k are; the others are 0 or 1, and stay so."""
        widths = {"number": (1, 0), "truth": (0, 1), "date": (5, 0)}
        scaled, plain = widths.get(self.kind, (0, len(self.categories)))
        return (True,) * scaled + (False,) * (plain + self.gaps)

    def values(self, column: Any, where: str) -> np.ndarray:
        """Numbers (N, k) of a column, NaN where a number is missing; `InputError` with the row.

        A text that is none of the categories has 0 in each.
        """
        made = _VALUES[self.kind](self, column, where)
        return np.stack([*made, *([column.isna().to_numpy(float)] if self.gaps else [])], 1)


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
    """What is understood of a table.

    Attributes
    ----------
    frame : DataFrame
        Every column.
    where : str
        What it is called.
    features : list of Feature
    dropped : dict of str to str
        Columns that no network sees, and why.
    """

    frame: Frame
    where: str
    features: list[Feature]
    dropped: dict[str, str] = field(default_factory=dict)

    @cached_property
    def inputs(self) -> np.ndarray:
        """All features side by side, (N, F) float64."""
        return self._of(self.frame, self.where)

    def encode(self, rows: Any) -> np.ndarray:
        """Numbers (N, F) of other rows with these columns, a DataFrame or what becomes one.

        Raises
        ------
        InputError
            If a column is not there, or has an entry of another kind.
        """
        import pandas as pd

        frame: Frame = named(pd.DataFrame(rows).reset_index(drop=True))
        lacking = [feature.name for feature in self.features if feature.name not in frame]
        if lacking:
            raise InputError(f"inputs must have the columns of {self.where}: no {listed(lacking)}")
        return self._of(frame, "inputs")

    def _of(self, frame: Frame, where: str) -> np.ndarray:
        return np.concatenate([one.values(frame[one.name], where) for one in self.features], 1)

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


def understand(frame: Frame, where: str, names: Sequence[str]) -> Table:
    """Take columns for what they are."""
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
            found = _feature(name, column)
            n_texts = len(found.categories)
            if n_texts > MOST_CATEGORIES:
                dropped[name] = f"{n_texts:,} different texts: names or prose"
            else:
                features.append(found)
    if not features:
        left = f": {listed(list(dropped))}" if dropped else " besides those set aside"
        raise InputError(f"{where} has no column to learn from{left}")
    return Table(frame, where, features, dropped)


def of_entries(column: Any) -> bool:
    """Say whether a column has a number, a text or the like in each row; parquet may have lists."""
    return all(isinstance(entry, Hashable) for entry in column.dropna().head(1))


def _feature(name: str, column: Any) -> Feature:
    """Say what a column is."""
    import pandas as pd
    from pandas.api import types

    missing = column.isna()
    gaps = bool(missing.any())
    if types.is_bool_dtype(column):
        return Feature(name, "truth", gaps)
    if types.is_numeric_dtype(column):
        return Feature(name, "number", gaps)
    if types.is_datetime64_any_dtype(column):
        return Feature(name, "date", gaps)
    texts: Any = column[~missing].astype(str).str.strip()
    different = texts.unique()
    if {text.lower() for text in different} in TRUTHS:
        return Feature(name, "truth", gaps)
    categories = Feature(name, "category", gaps, tuple(sorted(different)))
    if isinstance(column.dtype, pd.CategoricalDtype):  # said by the source, whatever they look like
        return categories
    for kind, taken in (("date", _dates), ("number", _numeric)):
        if taken(texts).notna().mean() >= MOST:
            return Feature(name, kind, gaps)
    return categories


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
        return of_values(finite(name, column, where)[:, None], f"{where}, column {name!r}")
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
        if (odd := np.flatnonzero(dates.isna())).size:
            raise InputError(
                f"task.time must be a column of numbers, or of dates as 2026-11-26; {name!r} of "
                f"{where} has {column.iloc[odd[0]]!r}"
            )
        column = dates
    return np.argsort(column.to_numpy(), kind="stable")


def _numbers(feature: Feature, column: Any, where: str) -> list[np.ndarray]:
    return [finite(feature.name, column, where)]


def finite(name: str, column: Any, where: str) -> np.ndarray:
    """Numbers (N,) of a column, NaN where one is missing; `InputError` with the row for others."""
    from pandas.api import types

    numbers: Any = column if types.is_numeric_dtype(column) else _numeric(column)
    _refuse(name, column, numbers.isna(), where, "number", MISSING)
    values = numbers.to_numpy(float, na_value=np.nan, copy=True)
    infinite = np.flatnonzero(np.abs(values) > np.finfo(np.float32).max)
    if infinite.size:
        row = int(infinite[0])
        raise InputError(f"{place(where, row, name)}: {values[row]} is no finite number")
    return values


def _numeric(column: Any) -> Any:
    """Numbers of a column of texts, NaN for what is none."""
    import pandas as pd

    try:
        return pd.to_numeric(column, errors="coerce")
    except OverflowError:  # whole, and longer than any real number
        return column.map(_real)


def _real(entry: object) -> float:
    try:
        return float(str(entry))
    except ValueError:
        return np.nan


def _truths(feature: Feature, column: Any, where: str) -> list[np.ndarray]:
    words: Any = column.astype(str).str.strip().str.lower()
    true, known = words.isin(TRUE), words.isin(set().union(*TRUTHS))
    _refuse(feature.name, column, ~known, where, "truth value")
    return [true.to_numpy(float)]


def _dated(feature: Feature, column: Any, where: str) -> list[np.ndarray]:
    import pandas as pd

    dates = _dates(column)
    _refuse(feature.name, column, dates.isna(), where, "date", MISSING)
    days: Any = (dates - pd.Timestamp("2000-01-01", tz="UTC")) / pd.Timedelta(days=1)
    days = days.to_numpy(float)
    angles = [2 * pi * days / period for period in (YEAR, WEEK)]
    return [days, *(turn(angle) for angle in angles for turn in (np.sin, np.cos))]


def _shown(feature: Feature, column: Any, _: str) -> list[np.ndarray]:
    texts: Any = column.astype(str).str.strip()
    there = column.notna()
    return [((texts == text) & there).to_numpy(float) for text in feature.categories]


_VALUES = {"number": _numbers, "truth": _truths, "date": _dated, "category": _shown}


def _refuse(name: str, column: Any, odd: Any, where: str, noun: str, hint: str = "") -> None:
    """Raise `InputError` for the first entry that is there, and is not what the others are."""
    rows = np.flatnonzero(odd & column.notna())
    if rows.size:
        row = int(rows[0])
        text = str(column.iloc[row]).strip()
        raise InputError(
            f"{place(where, row, name)}: {text!r} is no {noun}, as the others are"
            + hint.format(text)
        )


def _dates(column: Any) -> Any:
    """Moments of a column, NaT for what is none, such as a text unlike 2026-11-26."""
    import pandas as pd
    from pandas.api import types

    if not types.is_datetime64_any_dtype(column):
        texts: Any = column.astype(str).str.strip()
        column = column.where(texts.str.fullmatch(DATE) & column.notna())
    return pd.to_datetime(column, format="mixed", errors="coerce", utc=True)


def place(where: str, row: int, column: str) -> str:
    """Say where a cell is; rows are counted below the header, from 1."""
    return f"{where}, row {row + 1}, column {column!r}"
