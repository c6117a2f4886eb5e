"""Seeds crossed with examples: where a score's variance comes from, and an interval for both.

    y_se = mu + a_s + b_e + c_se        score of seed s on example e

a is what sets a repetition apart (weights and order; with its own split, also what it was trained
on), b how hard an example is for the arm whatever the seed, c the rest: which examples this
network, of all of that arm, gets right. Whatever is not in a seed's test part is NaN: the crossing
need be neither complete nor balanced.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from analysis.statistics.inference import LEVEL, Array, cumulants_of_mean, reach


@dataclass(frozen=True)
class Components:
    """Variances of a_s, b_e and c_se; NaN where the table cannot tell (see `components`)."""

    seed: float
    example: float
    residual: float
    rest: float  # example + residual together: known even where no example occurs at two seeds


def components(scores: ArrayLike) -> Components:
    """Variance components of crossed random effects, one observation a cell, by moments.

    Three sums of squares (within seeds, within examples, in all) have expectations that are linear
    in the components; their solution is unbiased and, in a complete crossing, the classical
    analysis of variance. As there, an estimate can be negative: it is of a component near 0.

    A component is not identified, and NaN, where its part cannot be told from another's: `seed`
    with one seed, `example` and `residual` where no example occurs at two seeds.

    Source: Gao & Owen (2017), Electronic Journal of Statistics 11, 1235, whose U-statistics these
    are.

    Parameters
    ----------
    scores : array of shape (S, E)
    """
    scores = np.asarray(scores, float)
    known = np.isfinite(scores)
    y = np.where(known, scores, 0)
    n = known.sum()
    of_seed, of_example = known.sum(1), known.sum(0)
    n_seeds, n_examples = (of_seed > 0).sum(), (of_example > 0).sum()
    total = (y**2).sum()
    squares = np.array(
        [
            total - (y.sum(1) ** 2 / np.maximum(of_seed, 1)).sum(),
            total - (y.sum(0) ** 2 / np.maximum(of_example, 1)).sum(),
            total - y.sum() ** 2 / max(n, 1),
        ]
    )
    expected = np.array(
        [
            [0, n - n_seeds, n - n_seeds],
            [n - n_examples, 0, n - n_examples],
            [n - (of_seed**2).sum() / max(n, 1), n - (of_example**2).sum() / max(n, 1), n - 1],
        ]
    )
    solution = np.linalg.pinv(expected) @ squares
    told = np.linalg.pinv(expected) @ expected  # the identity where all three are identified

    def estimate(*which: float) -> float:
        return float(np.dot(which, solution)) if np.allclose(np.dot(which, told), which) else np.nan

    return Components(estimate(1, 0, 0), estimate(0, 1, 0), estimate(0, 0, 1), estimate(0, 1, 1))


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and examples, its standard error, degrees of freedom and interval."""

    mean: float
    error: float
    freedom: float
    low: float
    high: float


def two_way(scores: ArrayLike, level: float = LEVEL) -> Estimate:
    """Mean score with an interval for new seeds and new examples, by resampling both: a jackknife.

    The components of the variance add up to that of the mean, in a complete crossing a / S + b / E
    + c / (S E); it is never less than what leaving out a seed, or leaving out an example, says by
    itself. (A bootstrap that draws seeds and examples counts c three times: Owen, 2007, Annals of
    Applied Statistics 1, 386.) Degrees of freedom by Satterthwaite's formula: close to S - 1 where
    seeds matter most, to E - 1 where examples do; of fewer than one the interval makes one. Third
    cumulants add up as variances do, and the interval reaches as every other (`statistics.reach`),
    at no end less far than it would for new seeds alone.

    Parameters
    ----------
    scores : array of shape (S, E)
        NaN where seed and example do not meet.

    Returns
    -------
    Estimate
        Error and interval are NaN with fewer than two seeds or examples.
    """
    scores = np.asarray(scores, float)
    known = np.isfinite(scores)
    n = known.sum()
    if not n:
        return Estimate(*[np.nan] * 5)
    mean = scores[known].mean()
    deviations = np.where(known, scores - mean, 0) / n
    seeds, examples = known.any(1).sum(), known.any(0).sum()
    if min(seeds, examples) < 2:
        return Estimate(float(mean), *[np.nan] * 4)
    by_seed, skew_by_seed = cumulants_of_mean(deviations.sum(1), seeds)
    by_example, skew_by_example = cumulants_of_mean(deviations.sum(0), examples)
    variance = max(_variance_of_mean(scores, known), by_seed, by_example)
    if variance == 0:
        return Estimate(float(mean), 0.0, np.nan, float(mean), float(mean))
    freedom = variance**2 / (by_seed**2 / (seeds - 1) + by_example**2 / (examples - 1))
    ends = [_ends(variance, skew_by_seed + skew_by_example, max(freedom, 1), level)]
    if by_seed > 0:
        ends.append(_ends(by_seed, skew_by_seed, seeds - 1, level))
    below, above = np.max(ends, axis=0)
    return Estimate(
        float(mean),
        float(np.sqrt(variance)),
        float(freedom),
        float(mean - below),
        float(mean + above),
    )


def _ends(variance: ArrayLike, third: Array, freedom: float, level: float) -> Array:
    """How far an interval reaches below and above a mean with this variance and third cumulant."""
    error = np.sqrt(variance)
    return error * np.array(reach(freedom, third / error**3, level))


def _variance_of_mean(scores: Array, known: NDArray[np.bool_]) -> float:
    found, n = components(scores), known.sum()
    of_seeds = found.seed * (known.sum(1) ** 2).sum() / n**2
    if np.isnan(found.example):  # no example twice
        return of_seeds + found.rest / n
    return of_seeds + found.example * (known.sum(0) ** 2).sum() / n**2 + found.residual / n


@dataclass(frozen=True)
class Shares:
    """Shares of the variance of one replica's score, which add up to 1; NaN where not identified.

    `seed_low` and `seed_high` bound the seed's share.
    """

    seed: float
    example: float
    residual: float
    seed_low: float
    seed_high: float


def shares(scores: ArrayLike, level: float = LEVEL) -> Shares:
    """Where the variance of a replica's mean score over n examples comes from: a, b / n, c / n.

    Negative components count as 0. The interval of the seed's share follows from that of the
    variance over seeds (chi-squared with S - 1 degrees of freedom), less the examples' part, which
    is known from many more of them.

    Parameters
    ----------
    scores : array of shape (S, E)
    """
    scores = np.asarray(scores, float)
    scores = scores[np.isfinite(scores).any(1)]
    found, n_seeds = components(scores), len(scores)
    if np.isnan(found.seed):
        return Shares(*[np.nan] * 5)
    n = np.isfinite(scores).sum() / n_seeds
    seed, example, residual, rest = np.maximum(
        [found.seed, found.example, found.residual, found.rest], 0
    )
    of_examples = (rest if np.isnan(example) else example + residual) / n
    if seed + of_examples == 0:
        return Shares(*[np.nan] * 5)
    spread = np.nanmean(scores, 1).var(ddof=1)
    tails = stats.chi2.ppf([(1 + level) / 2, (1 - level) / 2], n_seeds - 1)
    bounds = np.maximum((n_seeds - 1) * spread / tails - (spread - found.seed), 0)
    parts = np.array([seed, example / n, residual / n]) / (seed + of_examples)
    return Shares(*map(float, (*parts, *bounds / (bounds + of_examples))))
