"""What few seeds can tell: intervals, paired tests and ranks, as pure functions of arrays.

Randomness is an argument; equal generators give equal numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

LEVEL = 0.95
DRAWS = 10_000
EXACT = 14  # pairs; up to here all 2^n signs are tried
MIN_SEEDS = 3  # below, a ranking is refused


def bootstrap_interval(
    values: ArrayLike, rng: Generator, draws: int = DRAWS, level: float = LEVEL
) -> tuple[Array, Array]:
    """Percentile bootstrap interval of the mean.

    A resample is a vector of counts, so all resampled means are one matrix product.

    Parameters
    ----------
    values : array of shape (n,) or (n, m)
        n replicas of m quantities; whatever is not finite is left out.

    Returns
    -------
    low, high : arrays of shape () or (m,)
        NaN where fewer than two values are left.
    """
    values = np.asarray(values, float)
    table = values.reshape(len(values), -1)
    bounds = np.full((2, table.shape[1]), np.nan)
    present = np.isfinite(table)
    for pattern in np.unique(present, axis=1).T:  # columns that miss the same replicas share their counts
        n = pattern.sum()
        if n < 2:
            continue
        columns = (present == pattern[:, None]).all(axis=0)
        counts = rng.multinomial(n, np.full(n, 1 / n), size=draws)  # (draws, n)
        means = table[pattern][:, columns].T @ (counts.T / n)  # (m, draws)
        bounds[:, columns] = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=1)
    low, high = bounds.reshape(2, *values.shape[1:])
    return low, high


def sign_flip_p(differences: ArrayLike, rng: Generator, draws: int = DRAWS) -> float:
    """Two-sided p of the mean difference: the share of sign patterns whose mean is at least as far from zero.

    Exact up to 14 pairs; beyond, from `draws` random patterns and the observed one.
    """
    differences = np.asarray(differences, float)
    n = len(differences)
    if not n:
        return np.nan
    slack = 1e-12 * np.abs(differences).sum()  # sums of the same numbers in another order
    observed = abs(differences.sum()) - slack
    if n <= EXACT:
        signs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)  # (2^n, n)
        return float((np.abs(signs @ differences) >= observed).mean())
    signs = 1 - 2 * rng.integers(0, 2, (draws, n))
    return float(((np.abs(signs @ differences) >= observed).sum() + 1) / (draws + 1))


def smallest_p(n: int, draws: int = DRAWS) -> float:
    """Return the smallest p that `sign_flip_p` can give for n pairs: 2/2^n while it is exact."""
    if n < 1:
        return np.nan
    return 2.0 ** (1 - n) if n <= EXACT else max(2.0 ** (1 - n), 1 / (draws + 1))


def holm(p: ArrayLike) -> Array:
    """Holm's step-down correction for a family of tests, array of shape (m,); NaN is not a member of the family."""
    p = np.asarray(p, float)
    adjusted = np.full(p.shape, np.nan)
    members = np.flatnonzero(np.isfinite(p))
    order = members[np.argsort(p[members], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(factors * p[order]))
    return adjusted


@dataclass(frozen=True)
class Paired:
    """A difference between two arms at the same seeds.

    Attributes
    ----------
    n : int
        Pairs in which both are known.
    mean, low, high : float
        Mean difference and its bootstrap interval.
    p, smallest_p : float
        Of the sign-flip test, and the smallest it could have given.
    d_z : float
        Mean over standard deviation of the differences; NaN if they do not vary.
    """

    n: int
    mean: float
    low: float
    high: float
    p: float
    smallest_p: float
    d_z: float


def paired(values: ArrayLike, reference: ArrayLike, rng: Generator) -> Paired:
    """Compare two arrays of shape (n,), element by element; pairs that are not finite are left out."""
    differences = np.asarray(values, float) - np.asarray(reference, float)
    differences = differences[np.isfinite(differences)]
    n = len(differences)
    if not n:
        return Paired(0, *[np.nan] * 6)
    low, high = bootstrap_interval(differences, rng)
    deviation = differences.std(ddof=1) if n > 1 else 0.0
    mean = float(differences.mean())
    return Paired(
        n=n,
        mean=mean,
        low=float(low),
        high=float(high),
        p=sign_flip_p(differences, rng),
        smallest_p=smallest_p(n),
        d_z=mean / deviation if deviation > 1e-12 * abs(mean) else np.nan,
    )


def average_ranks(scores: ArrayLike) -> Array:
    """Rank arms within each seed, the largest first, and average over seeds.

    Parameters
    ----------
    scores : array of shape (n_arms, n_seeds)
        NaN (no valid result) ranks last. Ties share the mean of their places.

    Returns
    -------
    array of shape (n_arms,)
    """
    scores = np.nan_to_num(np.asarray(scores, float), nan=-np.inf)
    own, other = scores[:, None], scores[None]  # places of `own` against each `other`
    return (1 + (other > own).sum(1) + ((other == own).sum(1) - 1) / 2).mean(-1)
