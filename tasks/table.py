"""A table in a file, whose columns are inputs and one target.

Source      A file: CSV, TSV, Parquet or Excel.
Examples    A row each. Columns of numbers, of truth values, of texts and of dates become inputs as
            `beyond/data/features.py` says; the target's column is what is to be predicted: classes
            where it has texts, truth values or a few whole numbers, otherwise a value.
Splits      70 % train, 15 % validation, 15 % test: drawn by seed and stratified by class; or with
            whole groups of rows in one split (`group`); or in order of time, the last rows being
            the test split (`time`), which is the same for every seed.
Chance      The share of the most frequent class; R2 = 0.
"""

from typing import ClassVar

from beyond.architectures.mlp import suited
from beyond.contracts import TaskSpec
from beyond.data.columns import ColumnsTask
from beyond.data.tables import TableFile
from beyond.settings import Text, settings


@settings(kw_only=True)
class TableTask(TableFile, ColumnsTask):
    """Predict one column of a table from the others.

    Parameters
    ----------
    target : str
        Name of the column to predict.
    """

    PACKAGES: ClassVar = ("pandas",)

    target: Text

    @property
    def spec(self) -> TaskSpec:
        return self._spec(f"table/{self._file.stem}", suited(len(self._frame)))

    @property
    def _target(self) -> str:
        return self.target
