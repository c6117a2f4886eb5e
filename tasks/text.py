"""Texts of one's own: a file with a column of texts and one of what is to be said of them.

Source      A file that `task=table` reads: CSV, TSV, Parquet or Excel.
Examples    A row each. The text is taken as words (lower-cased runs of letters and digits, with
            apostrophes inside; what is between them is left out) or as characters (lower-cased,
            white space as one blank). It is cut, or padded with 0, to one length: by default that
            of the 95th percentile, at most 64. Each becomes a symbol: which ones have one of their
            own is learnt from the training part alone, see `beyond/data/texts.py`. A missing text
            is an empty one. The target is taken as in `task=table`.
Splits      70 % train, 15 % validation, 15 % test: drawn by seed and stratified by class.
Chance      The share of the most frequent class; R2 = 0.
Network     Recurrent, so that a word counts wherever it stands. On 1,500 texts of 11 to 40 words
            out of 600, one or two of them from the 40 that decide the class, backpropagation
            reaches 0.86 in 20 epochs, and 0.53 with fully connected layers, `network=mlp`;
            these serve methods that refuse recurrence.
"""

from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
import torch

from beyond.architectures.gru import Recurrent
from beyond.contracts import TaskSpec
from beyond.data.arrays import Examples
from beyond.data.given import Targets, counted, listed
from beyond.data.tables import TableFile, understand_target, understand_texts
from beyond.data.texts import FIRST, Encoded, Symbols, Unit, encode
from beyond.errors import InputError, require, require_one_of
from beyond.settings import PositiveInt, Text, settings


@settings(kw_only=True)
class TextTask(TableFile):
    """Predict one column of a table from a text in another.

    Parameters
    ----------
    text, target : str
        Names of the columns.
    kind : {"classes", "values"}, optional
        What the target is; None: texts, truth values and up to 20 whole numbers are classes.
    unit : {"words", "characters"}
        What a symbol stands for.
    length : int, >= 1, optional
        Units of a text; None: of the 95th percentile, at most 64.
    rare : int, >= 1
        What the training part has fewer times than this is unknown.
    most : int, >= 1
        What is not among so many, the most frequent of the training part, is unknown too.
    """

    PACKAGES: ClassVar = ("pandas",)

    text: Text
    target: Text
    kind: Literal["classes", "values"] | None = None
    unit: Unit = "words"
    length: PositiveInt | None = None
    rare: PositiveInt = 2
    most: PositiveInt = 2000

    def __post_init__(self) -> None:
        columns = list(self._frame.columns)
        for setting, name in (("text", self.text), ("target", self.target)):
            require_one_of(f"task.{setting}", columns, name)
        require("task.target", "another than task.text", self.target, self.target != self.text)
        _ = self._texts, self._targets  # refused now if they cannot be used
        super().__post_init__()

    @property
    def spec(self) -> TaskSpec:
        shape = self._texts.values.shape[1:]
        n_symbols = FIRST + min(self.most, len(self._texts.alphabet))
        network = Recurrent()
        return self._targets.spec(f"text/{self._file.stem}", shape, network, n_symbols)

    def examples(self) -> Examples:
        texts = self._texts
        n_places = FIRST + len(texts.alphabet)
        column = Symbols(torch.from_numpy(texts.values), n_places, self.rare, self.most)
        return Examples(texts.values, self._targets.values, scaling="none", column=column)

    def _told(self) -> list[str]:
        frame, texts = self._frame, self._texts
        length = texts.values.shape[1]
        lines = [
            f"{self._file}: {len(frame):,} rows, {len(frame.columns):,} columns",
            f"text {self.text}: {texts.shortest:,} to {texts.longest:,} {self.unit}, of which "
            f"{length} are read; {len(texts.alphabet):,} of {texts.n_different:,} different ones "
            f"are there {counted(self.rare, 'time')} or more",
        ]
        if n_empty := int((texts.values == 0).all(1).sum()):
            lines.append(f"empty: {counted(n_empty, 'text')} without {self.unit}")
        if others := [name for name in frame.columns if name not in (self.text, self.target)]:
            lines.append(f"dropped {listed(others)}: only the text is read")
        return [*lines, f"target {self.target}: {self._targets.told()}"]

    def _further(self) -> list[np.ndarray]:
        return [*super()._further(), np.array("\n".join(self._texts.alphabet))]

    @cached_property
    def _texts(self) -> Encoded:
        where = f"{self._file}, column {self.text!r}"
        texts = understand_texts(self._frame[self.text], where)
        encoded = encode(texts, self.unit, self.length, self.rare)
        if not encoded.alphabet:
            raise InputError(
                f"{where}: none of {encoded.n_different:,} {self.unit} is there "
                f"{counted(self.rare, 'time')} (task.rare)"
            )
        return encoded

    @cached_property
    def _targets(self) -> Targets:
        return understand_target(self.target, self._frame[self.target], self.kind, self._where)
