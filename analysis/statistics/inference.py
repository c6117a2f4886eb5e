"""What few repetitions can tell: intervals, paired tests and ranks, as pure functions of arrays.

Equal numbers count as equal: scores may have passed through float32, so that two are told apart
only beyond its rounding, which follows their magnitude and not that of their difference. Randomness
is an argument, drawn where an enumeration is out of reach from a stream named for what it serves:
no number moves because another was asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student

Array = NDArray[np.float64]

LEVEL = 0.95
# of two float32 numbers, relative to the larger: half a unit in the last place each
RESOLUTION = 2.0**-23
DRAWS = 10_000
EXACT = 30  # pairs; up to here all 2^n signs are counted
MIN_SEEDS = 3  # below, a ranking is refused
UNBOUNDED = (-np.inf, np.inf)
INTERVAL = "95 % interval (Student's t, corrected for skewness)"  # its name, wherever one is shown


def stream(*names: str) -> Generator:
    """Make the generator that serves whatever has these names, and nothing else."""
    return np.random.default_rng(list(sha256("\n".join(names).encode()).digest()))


def rounding(*scores: ArrayLike) -> Array:
    """How far a difference or sum of float32 scores can be off, element by element."""
    sizes = np.abs(np.broadcast_arrays(*[np.asarray(values, float) for values in scores]))
    return RESOLUTION * np.where(np.isfinite(sizes), sizes, 0).max(axis=0)


def at_least(value: ArrayLike, level: ArrayLike) -> NDArray[np.bool_]:
    """Say where a value reaches a level, 243 of 270 in float32 that of 0.9 included."""
    return np.asarray(value, float) >= np.asarray(level, float) - rounding(value, level)


def mean_interval(
    values: ArrayLike,
    limits: tuple[float, float] = UNBOUNDED,
    resolution: ArrayLike | None = None,
    level: float = LEVEL,
) -> tuple[Array, Array]:
    """Student's t interval of a mean, longer towards a long tail: `reach` standard errors.

    Values without skewness have the textbook interval, and none has a shorter one. `python -m
    benchmarks.coverage` measures how often it holds the mean.

    Parameters
    ----------
    values : array of shape (n,) or (n, m)
        n repetitions of m quantities; whatever is not finite is left out.
    limits : (float, float)
        What no mean can leave, such as 0 and 1 of an accuracy: cutting there costs no coverage.
    resolution : float or array of shape (m,)
        Values that vary by less are equal, and their interval is a point; default: their rounding.

    Returns
    -------
    low, high : arrays of shape () or (m,)
        NaN where fewer than two values are left.
    """
    values = np.asarray(values, float)
    table = np.where(np.isfinite(values), values, np.nan).reshape(
        len(values), int(np.prod(values.shape[1:]))
    )
    if resolution is None:
        resolution = rounding(0, *table)
    low, high = np.full((2, table.shape[1]), np.nan)
    known = np.isfinite(table).sum(axis=0) > 1
    units = table[:, known]
    n = np.isfinite(units).sum(axis=0)
    mean = np.nansum(units, axis=0) / n
    variance, third = cumulants_of_mean(np.nan_to_num(units - mean) / n, n)
    varies = np.sqrt(variance * (n - 1)) > np.broadcast_to(resolution, known.shape)[known]
    error = np.where(varies, np.sqrt(variance), 0)
    below, above = reach(n - 1, np.where(varies, third / np.where(varies, error, 1) ** 3, 0), level)
    low[known] = np.clip(mean - below * error, *limits)
    high[known] = np.clip(mean + above * error, *limits)
    return low.reshape(values.shape[1:]), high.reshape(values.shape[1:])


def cumulants_of_mean(influence: Array, n: ArrayLike) -> tuple[Array, Array]:
    """Variance and third cumulant of a mean, from what each of n units adds: (y - mean) / n.

    Without bias of small samples; 0 units among the n may stand for missing ones. Two values have
    no skewness.

    Parameters
    ----------
    influence : array of shape (units,) or (units, m)
    n : int or array of shape (m,)
    """
    n = np.asarray(n, float)
    second, third = ((influence**power).sum(axis=0) for power in (2, 3))
    return second * n / (n - 1), third * n**2 / ((n - 1) * np.maximum(n - 2, 1))


def reach(freedom: ArrayLike, skewness: ArrayLike, level: float = LEVEL) -> tuple[Array, Array]:
    """Standard errors by which an interval reaches below and above a mean: more into a long tail.

    A mean over its estimated error is skewed the other way than the mean itself, for the two go
    together: with t its quantile without skewness, that of either end moves by skewness (t^2 + 1/2)
    / 3. Only the longer end follows: few values tell too little of a tail to shorten the other.

    Parameters
    ----------
    freedom : float or array
        Degrees of freedom of the error.
    skewness : float or array
        Of the mean: that of single values over sqrt(n).

    References
    ----------
    N. J. Johnson (1978), Modified t tests and confidence intervals for asymmetrical populations,
    J. Am. Stat. Assoc. 73, 536-544.
    """
    t = student.ppf((1 + level) / 2, freedom)
    longer = np.asarray(skewness) * (t**2 + 0.5) / 3
    return t + np.maximum(-longer, 0), t + np.maximum(longer, 0)


def sign_flip_p(
    differences: ArrayLike, rng: Generator, slack: float = 0.0, draws: int = DRAWS
) -> float:
    """Two-sided p of the mean difference: the share of sign patterns with a sum as far from 0.

    Exact up to 30 pairs: the sums of either half are sorted, and what reaches the observed sum
    together is counted. Beyond, from `draws` random patterns and the observed one.

    Parameters
    ----------
    slack : float
        Two sums that are no further apart are equal.
    """
    differences = np.asarray(differences, float)
    n = len(differences)
    if not n:
        return np.nan
    observed = abs(differences.sum()) - max(slack, 1e-12 * np.abs(differences).sum())
    if observed <= 0:
        return 1.0
    if n <= EXACT:
        first, second = (
            sign_patterns(len(half)) @ half for half in np.split(differences, [n // 2])
        )
        above = len(second) - np.searchsorted(np.sort(second), observed - first, side="left")
        return float(2 * above.sum() / 2.0**n)  # as many lie below minus the observed sum
    signs = 1 - 2 * rng.integers(0, 2, (draws, n))
    return float(((np.abs(signs @ differences) >= observed).sum() + 1) / (draws + 1))


def sign_patterns(n: int) -> Array:
    """All 2^n rows of n signs; the first is all plus, and the second half mirrors the first."""
    return 1.0 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)


def smallest_p(n: int, draws: int = DRAWS) -> float:
    """Return the smallest p that `sign_flip_p` can give for n pairs: 2/2^n while it is exact."""
    if n < 1:
        return np.nan
    return 2.0 ** (1 - n) if n <= EXACT else 1 / (draws + 1)


def holm(p: ArrayLike) -> Array:
    """Holm's step-down correction for a family of tests, (m,); NaN is not a member of it."""
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
        Mean difference and its interval.
    p, smallest_p : float
        Of the sign-flip test, and the smallest it could have given.
    d_z : float
        Mean over standard deviation of the differences; NaN if they vary by no more than rounding.
    """

    n: int
    mean: float
    low: float
    high: float
    p: float
    smallest_p: float
    d_z: float


def paired(values: ArrayLike, reference: ArrayLike, rng: Generator) -> Paired:
    """Compare two arrays of shape (n,) by element; pairs that are not finite are left out."""
    values, reference = np.asarray(values, float), np.asarray(reference, float)
    known = np.isfinite(values) & np.isfinite(reference)
    values, reference = values[known], reference[known]
    differences, off = values - reference, rounding(values, reference)
    n = len(differences)
    if not n:
        return Paired(0, *[np.nan] * 6)
    low, high = mean_interval(differences, resolution=off.max())
    deviation = differences.std(ddof=1) if n > 1 else 0.0
    mean = float(differences.mean())
    return Paired(
        n=n,
        mean=mean,
        low=float(low),
        high=float(high),
        p=sign_flip_p(differences, rng, slack=2 * off.sum()),
        smallest_p=smallest_p(n),
        d_z=mean / deviation if deviation > off.max() else np.nan,
    )


def merged(values: ArrayLike) -> Array:
    """Give one value to numbers that rounding alone tells apart: the smallest of such a chain."""
    values = np.asarray(values, float)
    distinct = np.unique(values[np.isfinite(values)])
    if not len(distinct):
        return values
    begins = np.concatenate([[True], ~at_least(distinct[:-1], distinct[1:])])
    levels = distinct[begins][np.cumsum(begins) - 1]
    found = np.searchsorted(distinct, values).clip(0, len(distinct) - 1)
    return np.where(np.isfinite(values), levels[found], values)


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
    scores = merged(np.nan_to_num(np.asarray(scores, float), nan=-np.inf))
    each, other = scores[:, None], scores[None]  # places of `each` against each `other`
    return (1 + (other > each).sum(1) + ((other == each).sum(1) - 1) / 2).mean(-1)
