"""Tomorrow's direction of the S&P 500, from the returns of past days.

Source      Daily prices of the index from 4 January 1999 to 31 December 2018, 5,031 days, as
            shipped with the package `arch` (`arch.data.sp500`), from Yahoo Finance.
Licence     The package is NCSA; the authors of the prices state none.
Examples    Days x 23: the last 20 (or `n_lags`) daily returns, 100 times the difference of the
            logarithms of adjusted closes, the latest last; and their standard deviation over the
            last 5, 20 and 60 days. All are known at the close of the day before. Two classes: the
            index closes higher that day, or not (lower, and three days the same). Inputs are scaled
            to mean 0 and standard deviation 1 over the training part.
Splits      3,394 train (1999 to 2012), 728 validation (2012 to 2015), 728 test (2016 to 2018), in
            the order of time, with 60 days left out before validation and before test, so that no
            window reaches into an earlier split. They are the same for every seed.
Chance      Answering "up" always: 0.528 of training, 0.544 of validation and 0.541 of test days; a
            balanced accuracy of 0.5.
Reference   Measured here, on the test split: logistic regression 0.538, with a standard error of
            0.018; it is 0.003 below always answering "up", with one of 0.011. The default network
            trained by backpropagation for 20 epochs reaches 0.54 on the validation split, and no
            more than that on the test split (means of 3 seeds). What is much better has been told
            the future.

Source task `nasdaq`: the same of the NASDAQ Composite, on the same days.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import ClassVar

import numpy as np

from beyond.architectures.mlp import MLP
from beyond.contracts import TargetKind, TaskSpec
from beyond.data.arrays import ArrayTask, Examples
from beyond.data.drawn import Metrics
from beyond.data.series import in_order, windows
from beyond.settings import PositiveInt, settings

SPANS = (5, 20, 60)  # days, of which a standard deviation is told


@settings(kw_only=True)
class SP500(ArrayTask):
    """Tell whether the index will close higher.

    Parameters
    ----------
    n_lags : int, >= 1
        Past returns that are inputs.
    """

    PACKAGES: ClassVar = ("arch",)

    metrics: Metrics = ("balanced_accuracy_score",)
    n_lags: PositiveInt = 20

    @property
    def spec(self) -> TaskSpec:
        return TaskSpec(
            name="finance/sp500",
            input_shape=(self.n_lags + len(SPANS),),
            n_outputs=2,
            target_kind=TargetKind.CLASSES,
            network=MLP(hidden=(16,)),
            score="accuracy_score",
            levels=(0.55, 0.565, 0.58),
        )

    @property
    def classes(self) -> tuple[str, ...]:
        return ("not up", "up")

    def examples(self) -> Examples:
        return _examples("sp500", self.n_lags)

    def related(self) -> Mapping[str, Callable[[], Examples]]:
        return {"nasdaq": partial(_examples, "nasdaq", self.n_lags)}


def told(closes: np.ndarray, n_lags: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (N, n_lags + 3) and classes (N,) of all days with a window of returns before them.

    Parameters
    ----------
    closes : array of shape (D,)
    """
    returns = 100 * np.diff(np.log(closes))
    before = windows(returns, window(n_lags))
    stds = [before[:, -span:].std(1) for span in SPANS]
    classes = (np.diff(closes)[before.shape[1] :] > 0).astype(np.int64)
    return np.column_stack([before[:, -n_lags:], *stds]), classes


def window(n_lags: int) -> int:
    """Days before a day that its inputs depend on."""
    return max(n_lags, *SPANS)


def _examples(index: str, n_lags: int) -> Examples:
    inputs, classes = told(_closes(index), n_lags)
    days, n_validation, n_test = in_order(len(classes), window(n_lags))
    return Examples(inputs[days], classes[days], n_test, n_validation=n_validation)


def _closes(index: str) -> np.ndarray:
    """Adjusted closes (5031,) of an index."""
    from arch.data import nasdaq, sp500

    prices = {"sp500": sp500, "nasdaq": nasdaq}[index].load()
    return prices["Adj Close"].to_numpy(float)
