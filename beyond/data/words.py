"""Published texts as sequences of words: what tasks of them have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch

from beyond.data.arrays import ArrayTask, Examples
from beyond.data.texts import FIRST, Encoded, Symbols, encode
from beyond.settings import PositiveInt, settings

Texts = tuple[str, ...]


@settings(kw_only=True)
class WordsTask(ArrayTask):
    """Predict something of a text from its words, of which each replica knows its training part's.

    Parameters
    ----------
    length : int, >= 1
        Words of a text that are read. Of texts that begin with the same ones, the first is kept.
    most : int, >= 1
        What is not among so many words, the most frequent of the training part, is unknown.
    rare : int, >= 1
        What the training part has fewer times than this is unknown too.
    """

    length: PositiveInt = 32
    most: PositiveInt = 5000
    rare: PositiveInt = 2

    @abstractmethod
    def texts(self) -> tuple[Texts, np.ndarray]:
        """Texts, and the class or the values of each."""

    @property
    def n_symbols(self) -> int:
        return FIRST + self.most

    def examples(self) -> Examples:
        texts, targets = self.texts()
        return self.encoded(texts, targets)

    def encoded(self, texts: Texts, targets: np.ndarray, n_read: int | None = None) -> Examples:
        """Return texts with their targets; of training rows, the first `n_read` teach words."""
        encoded, kept = _encoded(texts, self.length)
        values = torch.from_numpy(encoded.values[kept])
        symbols = Symbols(values, FIRST + len(encoded.alphabet), self.rare, self.most, n_read)
        return Examples(values.numpy(), targets[kept], scaling="none", column=symbols)

    def encode(self, inputs: Sequence[str]) -> np.ndarray:
        """Return other texts as an array."""
        return _encoded(self.texts()[0], self.length)[0].of(list(inputs))


@cache
def _encoded(texts: Texts, length: int) -> tuple[Encoded, np.ndarray]:
    """Return all texts as places in the alphabet of their words, and which begin as none before."""
    encoded = encode(texts, "words", length, rare=1)
    _, first = np.unique(encoded.values, axis=0, return_index=True)
    return encoded, np.sort(first)
