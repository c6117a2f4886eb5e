"""Error consistency: do two arms fail on the same examples, beyond what their accuracies imply?

For two networks on the same n examples, with a, b in {0, 1} saying which are wrong,

    agreement of independent errors    e = p q + (1 - p)(1 - q)    p, q shares of wrong examples
    kappa = (agreement - e) / (1 - e) = cov(a, b) / ((p (1 - q) + q (1 - p)) / 2)

Cohen's kappa: 0 where the errors are independent, 1 where they are the same. For values the
residuals take the place of a and b, and the standard deviations' product that of the denominator:
Pearson's correlation. Over many pairs of networks both are the sum of n cov over the sum of n
denominators, so that pairs with few errors weigh little.

Two arms at one seed share split, initial weights and order. Two seeds of one arm share none of
these: their consistency is the yardstick, and the one to hold beside it is that of two arms at
different seeds, on the examples that both test parts contain.

Source: Geirhos, Meding & Wichmann (2020), Beyond accuracy: quantifying trial-by-trial behaviour of
CNNs and humans by measuring error consistency, NeurIPS 33. Departures: sums over seeds, a jackknife
over seeds instead of a bootstrap over examples; n - 1 nowhere, as there.
Check: scikit-learn's cohen_kappa_score, scipy's pearsonr (tests/analysis/test_consistency.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from analysis.statistics.inference import LEVEL, MIN_SEEDS, Array


@dataclass(frozen=True)
class Matrix:
    """Consistency of each pair of A arms: arrays (A, A), symmetric; NaN where it is not defined.

    Attributes
    ----------
    value, low, high : arrays
        Over all pairs of networks, with its interval over seeds: a jackknife and Student's t,
        within [-1, 1]. Where the test part is the same at all seeds, it is for new seeds on these
        examples. No interval with fewer than three seeds, or where leaving one out leaves no error.
    n_seeds : array
        Seeds that take part.
    observed, expected : arrays
        Mean agreement, and that of independent errors; NaN for values.
    without : array of shape (A, A, S)
        Values that leave out one seed; NaN for a seed that takes no part.
    """

    value: Array
    low: Array
    high: Array
    n_seeds: Array
    observed: Array
    expected: Array
    without: Array


def same_seed(errors: ArrayLike, classes: bool) -> Matrix:
    """Consistency of two arms at the same seed; the diagonal is an arm with itself, 1.

    Parameters
    ----------
    errors : array of shape (A, S, E)
        `examples.Outcomes.errors`; NaN where not tested.
    classes : bool
        Cohen's kappa of errors 0 and 1, or Pearson's correlation of residuals.
    """
    errors = np.asarray(errors, float)
    # (5, A, A) each
    of_seed = [_sums(errors[:, seed], errors[:, seed], classes) for seed in range(errors.shape[1])]
    sums = np.stack(of_seed, axis=-1)
    return _matrix(sums.sum(-1), sums, classes)


def other_seeds(errors: ArrayLike, classes: bool) -> Matrix:
    """Consistency of arms at different seeds, where both test; on the diagonal within an arm.

    Parameters are those of `same_seed`.
    """
    errors = np.asarray(errors, float)
    n_arms, n_seeds, _ = errors.shape
    every = errors.reshape(n_arms * n_seeds, -1)
    sums = _sums(every, every, classes).reshape(5, n_arms, n_seeds, n_arms, n_seeds)
    seeds = np.arange(n_seeds)
    sums[:, :, seeds, :, seeds] = 0
    of_seed = np.moveaxis(sums.sum(4), 2, -1) + sums.sum(2)
    return _matrix(sums.sum((2, 4)), of_seed, classes)


def _sums(first: Array, second: Array, classes: bool) -> Array:
    """Sums n cov, n denominator, n agreement, n expected agreement, n of `first` with `second`.

    From (F, E) and (G, E) to (5, F, G). Sums of zeros and ones are exact, so that an error rate of
    0 or 1 gives 0.
    """
    known, other_known = np.isfinite(first).astype(float), np.isfinite(second).astype(float)
    a, b = np.where(known, first, 0), np.where(other_known, second, 0)
    n, p, q, both = known @ other_known.T, a @ other_known.T, known @ b.T, a @ b.T
    share = 1 / np.maximum(n, 1)
    covariance = (n * both - p * q) * share
    if classes:
        scale = (p * (n - q) + q * (n - p)) * share
        return np.stack([covariance, scale / 2, n - scale + 2 * covariance, n - scale, n])
    squares = n * (a**2 @ other_known.T) - p**2, n * (known @ (b**2).T) - q**2
    scale = np.sqrt(np.maximum(squares[0], 0) * np.maximum(squares[1], 0)) * share
    return np.stack([covariance, scale, np.full_like(n, np.nan), np.full_like(n, np.nan), n])


def _matrix(totals: Array, of_seed: Array, classes: bool) -> Matrix:
    """Divide the sums over all seeds, (5, A, A), and without each of them, (5, A, A, S)."""
    value = _ratio(totals[0], totals[1])
    left = totals[:2, ..., None] - of_seed[:2]
    rest = _ratio(left[0], left[1], at_least=1e-9 * totals[1][..., None])
    taking_part = of_seed[4] > 0
    low, high = _jackknife(value, np.where(taking_part, rest, 0), taking_part)
    observed, expected = (
        _ratio(totals[index], totals[4]) if classes else value * np.nan for index in (2, 3)
    )
    bounds = np.clip([low, high], -1, 1)
    return Matrix(
        value,
        bounds[0],
        bounds[1],
        taking_part.sum(-1),
        observed,
        expected,
        np.where(taking_part, rest, np.nan),
    )


def beside_own(found: Matrix) -> tuple[Array, Array, Array]:
    """Consistency of two arms less the mean of each with itself: value, low and high.

    Below 0 the two fail less alike than two seeds of one of them do. Error rates that differ keep
    kappa below 1, so that a weaker arm fails less like a better one than like itself, too.
    """
    within, within_without = (
        np.einsum("ii...->i...", values) for values in (found.value, found.without)
    )
    value = found.value - (within[:, None] + within[None]) / 2
    without = found.without - (within_without[:, None] + within_without[None]) / 2
    low, high = _jackknife(value, without, np.ones(without.shape, bool))
    return value, low, high


def _jackknife(value: Array, without: Array, taking_part: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Student's t interval from the values without one seed, (..., S), of those that take part."""
    n_seeds = taking_part.sum(-1)
    n = np.maximum(n_seeds, 1)
    spread = np.where(taking_part, without - (without.sum(-1) / n)[..., None], 0)
    error = np.sqrt((spread**2).sum(-1) * (n - 1) / n)
    reach = stats.t.ppf((1 + LEVEL) / 2, np.maximum(n_seeds - 1, 1)) * np.where(
        n_seeds >= MIN_SEEDS, error, np.nan
    )
    return value - reach, value + reach


def _ratio(numerator: Array, denominator: Array, at_least: Array | float = 0.0) -> Array:
    return np.divide(
        numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator > at_least
    )
