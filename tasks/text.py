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
Network     A bag of words, `network=bag`: a word counts wherever it stands, and nearly every rule
            trains it. On 10,605 snippets of film reviews (Hutto and Gilbert, 2014), rated good or
            bad, backpropagation reaches 0.741 in 10 epochs and three repetitions; a recurrent
            network, `network=gru`, 0.737 with 35 times the operations and eight times the
            seconds; fully connected layers, `network=mlp`, 0.591.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import ClassVar

from beyond.architectures.bag import Bag
from beyond.contracts import TaskSpec
from beyond.data.columns import RowsTask
from beyond.data.given import Seen, listed
from beyond.data.tables import TableFile
from beyond.data.texts import TextSettings, see_texts
from beyond.settings import PositiveInt, Text, settings


@settings(kw_only=True)
class TextTask(TextSettings, TableFile, RowsTask):
    """Predict one column of a table from a text in another.

    Parameters
    ----------
    text, target : str
        Names of the columns.
    rare : int, >= 1
        What the training part has fewer times than this is unknown too.
    """

    PACKAGES: ClassVar = ("pandas",)

    text: Text
    target: Text
    rare: PositiveInt = 2

    @property
    def spec(self) -> TaskSpec:
        return self._spec(f"text/{self._file.stem}", Bag())

    @property
    def _target(self) -> str:
        return self.target

    @property
    def _apart(self) -> Mapping[str, tuple[str, ...]]:
        return {"task.text": (self.text,), **super()._apart}

    @cached_property
    def _seen(self) -> Seen:
        frame = self._frame
        seen = see_texts(self.text, frame[self.text], self._where, self, self.rare)
        aside = {self.text, self.target, self.group, self.time}
        others = [name for name in frame.columns if name not in aside]
        dropped = [f"dropped {listed(others)}: only the text is read"] if others else []
        return replace(seen, told=(*seen.told, *dropped))
