"""Texts as symbols, of which each replica knows those of its training part.

    0    nothing: behind the end of a text
    1    unknown: what the training part has fewer than `rare` times, or is not among its `most`
    2 .. what the training part has, the most frequent first, then in order of the alphabet

There is one copy of the texts, as places in the alphabet of all; each replica has a table of the
symbols that these are to it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from beyond.data.given import Seen, counted
from beyond.data.splits import Column, Scaling, Served, take
from beyond.errors import InputError, require, require_one_of
from beyond.settings import PositiveInt, settings

Unit = Literal["words", "characters"]
NOTHING, UNKNOWN, FIRST = 0, 1, 2
WORD = re.compile(r"\w+(?:['\u2019]\w+)*")  # don't is one word, however it is typeset
LONGEST = 64  # units of texts whose length is not set
MOST_CUT = 5  # percent of them


@settings(kw_only=True)
class TextSettings:
    """How texts become symbols.

    Parameters
    ----------
    unit : {"words", "characters"}
        What a symbol stands for.
    length : int, >= 1, optional
        Units of a text; None: of the 95th percentile, at most 64.
    most : int, >= 1
        What is not among so many, the most frequent of the training part, is unknown.
    """

    unit: Unit = "words"
    length: PositiveInt | None = None
    most: PositiveInt = 2000


@dataclass(frozen=True)
class Encoded:
    """Texts as places in the alphabet of all their units that a training part could know.

    Attributes
    ----------
    values : array of shape (N, length) int64
        NOTHING, UNKNOWN, or FIRST + a place in the alphabet.
    unit : {"words", "characters"}
    alphabet : tuple of str
        Words or characters, sorted; without those that all texts together have too rarely.
    n_different : int
        Those too.
    shortest, longest : int
        Units of a text before it was cut.
    """

    values: np.ndarray
    unit: Unit
    alphabet: tuple[str, ...]
    n_different: int
    shortest: int
    longest: int

    def of(self, texts: Sequence[str]) -> np.ndarray:
        """Return other texts as such values."""
        return _placed(
            [units(text, self.unit) for text in texts], self.alphabet, self.values.shape[1]
        )


@dataclass(frozen=True)
class Symbols(Column):
    """Texts (N, length), as `Encoded` has them.

    Attributes
    ----------
    n_places : int
        Entries of the alphabet, with NOTHING and UNKNOWN.
    rare, most : int
        See the head of this file.
    n_read : int, optional
        Words are learnt from so many of the training rows, the first ones; None: from all.
    """

    n_places: int
    rare: int
    most: int
    n_read: int | None = None

    @property
    def known(self) -> np.ndarray:
        """Symbols to one who has read nothing."""
        return self.values.clamp(max=UNKNOWN).numpy()

    def fitted(self, rows: Tensor, scaling: Scaling, shared: bool) -> Served:
        """As each replica reads them that has read its training rows (S, n)."""
        read = torch.stack([self._read(self.values[part[: self.n_read]]) for part in rows])
        return Read(self.values, symbols=read)

    def _read(self, values: Tensor) -> Tensor:
        """Symbol of each place (n_places,), for one who has read these texts (n, length)."""
        counts = torch.bincount(values.flatten(), minlength=self.n_places)
        counts[:FIRST] = 0
        frequent = counts.argsort(descending=True, stable=True)[: self.most]
        frequent = frequent[counts[frequent] >= self.rare]
        symbols = torch.full((self.n_places,), UNKNOWN)
        symbols[NOTHING] = NOTHING
        symbols[frequent] = FIRST + torch.arange(len(frequent))
        return symbols


@dataclass(frozen=True)
class Read(Served):
    """Places of every text, and the symbols (S, n_places) that these are to each replica."""

    symbols: Tensor = field(kw_only=True)

    def at(self, rows: Tensor) -> Tensor:
        n_replicas, n_places = self.symbols.shape
        starts = n_places * torch.arange(n_replicas, device=rows.device).view(-1, 1, 1)
        return self.symbols.take(take(self.values, rows) + starts)

    def of(self, values: Tensor) -> Tensor:
        n_places = self.symbols.shape[1]
        inside = not values.numel() or (values.min() >= 0 and values.max() < n_places)
        require("texts", f"places in an alphabet, in [0, {n_places})", values.shape, bool(inside))
        return super().of(values)

    @property
    def _n_splits(self) -> int:
        return len(self.symbols)


def units(text: str, unit: Unit) -> list[str]:
    """Words or characters of a text, lower-cased: "Don't -  stop" has two words, 12 characters.

    A word is a run of letters, digits and underscores, apostrophes inside included; what is between
    words is not kept. Of characters all are, white space as one blank.
    """
    lower = text.lower()
    return WORD.findall(lower) if unit == "words" else list(" ".join(lower.split()))


def see_texts(name: str, column: Any, where: str, how: TextSettings, rare: int) -> Seen:
    """Take a column of texts, one that is missing as empty; `InputError` for what has none."""
    from pandas.api import types

    here = f"{where}, column {name!r}"
    if not (types.is_string_dtype(column) or types.is_object_dtype(column)):
        raise InputError(f"{here} has no texts but {column.dtype}; task=table learns from those")
    texts = _texts(column, name)
    encoded, unit = encode(texts, how.unit, how.length, rare), how.unit
    n_known, length = len(encoded.alphabet), encoded.values.shape[1]
    if not n_known:
        raise InputError(
            f"{here}: none of {encoded.n_different:,} {unit} is there "
            f"{counted(rare, 'time')} (task.rare)"
        )
    told = [
        f"text {name}: {encoded.shortest:,} to {encoded.longest:,} {unit}, of which "
        f"{length} are read; {n_known:,} of {encoded.n_different:,} different ones "
        f"are there {counted(rare, 'time')} or more"
    ]
    if n_empty := int((encoded.values == NOTHING).all(1).sum()):
        told.append(f"empty: {counted(n_empty, 'text')} without {unit}")
    return Seen(
        encoded.values,
        tuple(told),
        lambda rows: encoded.of(_texts(rows, name)),
        "none",
        Symbols(torch.from_numpy(encoded.values), FIRST + n_known, rare, how.most),
        FIRST + min(how.most, n_known),
        (np.array("\n".join(encoded.alphabet)),),
    )


def encode(texts: Sequence[str], unit: Unit, length: int | None, rare: int) -> Encoded:
    """Cut texts to a length, by default one that few exceed, and number what is in them."""
    split = [units(text, unit) for text in texts]
    lengths = [len(text) for text in split]
    if length is None:
        length = max(1, min(LONGEST, ceil(np.percentile(lengths, 100 - MOST_CUT))))
    counts = Counter(word for text in split for word in text[:length])
    alphabet = sorted(word for word, count in counts.items() if count >= rare)
    values = _placed(split, alphabet, length)
    return Encoded(values, unit, tuple(alphabet), len(counts), min(lengths), max(lengths))


def _placed(split: Sequence[Sequence[str]], alphabet: Iterable[str], length: int) -> np.ndarray:
    places = {word: place for place, word in enumerate(alphabet, start=FIRST)}
    values = np.full((len(split), length), NOTHING)
    for row, text in zip(values, split, strict=True):
        row[: len(text)] = [places.get(word, UNKNOWN) for word in text[:length]]
    return values


def _texts(given: Any, name: str) -> list[str]:
    """Texts of a column, or of the column of that name in a frame, one that is missing as empty."""
    import pandas as pd

    if isinstance(given, str):
        raise InputError(f"inputs must be texts, or rows with the column {name!r}, got one text")
    if isinstance(given, pd.DataFrame):
        require_one_of("the column of texts", given.columns, name)
        given = given[name]
    return pd.Series(given).fillna("").astype(str).tolist()
