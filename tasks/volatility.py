"""Volatility of the S&P 500: the distribution of tomorrow's return, from the past ones.

The score of GARCH(1,1) by maximum likelihood (Bollerslev, 1986), whose optimum is known, and a task
that any network may do that answers with a mean and a log-variance.

Source      Daily prices of the index from 4 January 1999 to 31 December 2018, 5,031 days, as
            shipped with the package `arch` (`arch.data.sp500`, `arch.data.nasdaq`), from Yahoo
            Finance. Bollerslev, "Generalized autoregressive conditional heteroskedasticity",
            Journal of Econometrics 31, 307-327, doi:10.1016/0304-4076(86)90063-1.
Licence     The package is NCSA; the authors of the prices state none.
Examples    Days x (2, 151): the last 150 (or `n_lags`) daily returns, 100 times the relative change
            of the adjusted close, the latest last; and a variance for each day that is before what
            is told, 0 elsewhere. That variance is the package's start of the recursion, a mean of
            the first 75 squared deviations of the training part, their weights falling by 0.94 a
            day. The oldest place is always such a day: beyond 150 days it moves the likelihood of
            all 5,030 at the optimum by less than 1e-5. The target is the day's return. Neither is
            scaled, so that the log-likelihood is in the units of the literature.
Splits      3,310 train (1999 to 2012), 710 validation (2012 to 2015), 710 test (2016 to 2018), in
            the order of time, with 150 days left out before validation and before test, so that no
            window reaches into an earlier split; the same for every seed. With `held_out=nasdaq`
            all 5,030 days of the S&P 500 train, and days of the NASDAQ Composite are held out:
            2,515 validate and 2,515 test.
Chance      The log-likelihood a day of one normal distribution for all days: that of the training
            part -1.370 on the validation and -1.391 on the test split; one fitted to the calm
            validation split itself -1.100 there.
Published   On all 5,030 days, as `arch` finds it: log-likelihood -6936.72, at mu 0.0563, omega
            0.0175, alpha 0.1022, beta 0.8852; of a constant variance -8066.71.
Reference   Measured here, a day: `arch` fitted on the training days -1.513 on them, -1.095 on the
            validation and -1.018 on the test split. The default network, GARCH(1,1), trained by
            backpropagation for 20 epochs reaches -1.095 on the validation split (mean of 3
            seeds); with `held_out=nasdaq` backpropagation, CMA-ES, the evolution strategy and the
            genetic algorithm reach the published optimum (`beyond +paper=garch`).

Source task `nasdaq`: the same of the NASDAQ Composite, on the same days; none where its days are
            held out.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import ClassVar, Literal

import numpy as np

from beyond.architectures.garch import GARCH
from beyond.contracts import TargetKind, TaskSpec
from beyond.data.arrays import ArrayTask, Examples
from beyond.data.series import in_order, windows
from beyond.settings import PositiveInt, settings

DECAY, N_START = (
    0.94,
    75,
)  # of the weights that the recursion's start is a mean by, and their number


@settings(kw_only=True)
class Volatility(ArrayTask):
    """Predict mean and variance of the next return of an index.

    Parameters
    ----------
    n_lags : int, >= 1
        Past returns that are inputs.
    held_out : {"later", "nasdaq"}
        What validates and tests: later days of the same index, or another index, while every day
        of this one trains.
    """

    PACKAGES: ClassVar = ("arch",)

    n_lags: PositiveInt = 150
    held_out: Literal["later", "nasdaq"] = "later"

    @property
    def spec(self) -> TaskSpec:
        return TaskSpec(
            name="finance/volatility",
            input_shape=(2, self.n_lags + 1),
            n_outputs=2,
            target_kind=TargetKind.DISTRIBUTIONS,
            network=GARCH(),
            score="log_likelihood_score",
            levels=(-1.099, -1.097, -1.095),
        )

    def examples(self) -> Examples:
        if self.held_out == "later":
            return _in_order("sp500", self.n_lags)
        parts = [told(_returns(index), self.n_lags) for index in ("sp500", "nasdaq")]
        inputs, targets = (np.concatenate(part) for part in zip(*parts, strict=True))
        n_validation, n_test = np.diff(np.linspace(0, len(parts[1][1]), 3).astype(int)).tolist()
        return Examples(inputs, targets, n_test, "none", n_validation, "none")

    def related(self) -> Mapping[str, Callable[[], Examples]]:
        if self.held_out == "nasdaq":
            return {}
        return {"nasdaq": partial(_in_order, "nasdaq", self.n_lags)}


def told(returns: np.ndarray, n_lags: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (D, 2, n_lags + 1) and targets (D, 1) of every day, from returns (D,)."""
    start = first_variance(returns)
    before = np.concatenate([np.zeros(n_lags), returns])
    stand_in = np.concatenate([np.full(n_lags, start), np.zeros(len(returns))])
    oldest = np.zeros(len(returns)), np.full(len(returns), start)
    inputs = [
        np.column_stack([first, windows(values, n_lags)])
        for first, values in zip(oldest, (before, stand_in), strict=True)
    ]
    return np.stack(inputs, 1), returns[:, None]


def first_variance(returns: np.ndarray) -> float:
    """Variance before the first day, as the package `arch` takes it ("backcast")."""
    squares = (returns - returns.mean())[:N_START] ** 2
    weights = DECAY ** np.arange(len(squares))
    return float(weights @ squares / weights.sum())


def _in_order(index: str, n_lags: int) -> Examples:
    inputs, targets = told(_returns(index), n_lags)
    days, n_validation, n_test = in_order(len(targets), n_lags)
    return Examples(inputs[days], targets[days], n_test, "none", n_validation, "none")


def _returns(index: str) -> np.ndarray:
    """Relative changes (5030,) of an index's adjusted close, in percent."""
    from arch.data import nasdaq, sp500

    prices = {"sp500": sp500, "nasdaq": nasdaq}[index].load()
    return 100 * prices["Adj Close"].pct_change().dropna().to_numpy(float)
