"""Do two arms get different examples right? McNemar's exact test, at one seed and over seeds.

Between seeds the tests are not independent: every seed trains on data that others train on, and an
example is in the test part of several. So p values of single seeds are not multiplied up (Fisher,
Stouffer); the seeds are combined in two ways, each of which keeps dependent numbers together:

- over seeds: were the two rules alike, then at each seed their names could be exchanged. The sign
  of each seed's difference is flipped; this speaks of the methods, for new seeds.
- over examples: were no example easier for one of the rules, then at each example the names could
  be exchanged, at all seeds together. This speaks of the networks that were trained, for new
  examples (McNemar's test with the example as the cluster; with one seed it is McNemar's test).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from analysis.statistics.inference import Array


@dataclass(frozen=True)
class McNemar:
    """Counts of examples by who is right, and the exact two-sided p."""

    both: int
    first: int
    second: int
    neither: int
    p: float


def mcnemar(first: ArrayLike, second: ArrayLike) -> McNemar:
    """Compare two networks on the same test part.

    Parameters
    ----------
    first, second : arrays of shape (E,)
        1 right, 0 wrong, NaN not tested. Examples that both have count; where there is none, p is
        NaN.

    Source: McNemar (1947), Psychometrika 12, 153; exact by the binomial distribution of the
    discordant examples.
    """
    table = np.stack([np.asarray(first, float), np.asarray(second, float)])
    one, two = table[:, np.isfinite(table).all(0)] == 1
    return McNemar(
        both=int((one & two).sum()),
        first=int((one & ~two).sum()),
        second=int((~one & two).sum()),
        neither=int((~one & ~two).sum()),
        p=sign_flip_counts(one.astype(int) - two.astype(int)),
    )


@dataclass(frozen=True)
class OverSeeds:
    """McNemar's test over seeds.

    Attributes
    ----------
    n_seeds : int
        Seeds at which both arms were tested.
    first, second : int
        Examples, over all seeds, that only the first or only the second gets right.
    clear : int
        Seeds at which the test of that seed alone gives p < 0.05.
    p_seeds, p_examples : float
        Exact two-sided p of flipping the seeds, and the examples; see the module. NaN where no
        example is shared.
    """

    n_seeds: int
    first: int
    second: int
    clear: int
    p_seeds: float
    p_examples: float


def over_seeds(first: ArrayLike, second: ArrayLike) -> OverSeeds:
    """Combine the seeds of two arms, arrays of shape (S, E) as in `mcnemar`."""
    first, second = np.asarray(first, float), np.asarray(second, float)
    shared = np.isfinite(first) & np.isfinite(second)
    differences = np.where(shared, first - second, 0).round().astype(int)
    alone = [mcnemar(*pair) for pair in zip(first, second, strict=True)]
    return OverSeeds(
        n_seeds=int(shared.any(1).sum()),
        first=sum(seed.first for seed in alone),
        second=sum(seed.second for seed in alone),
        clear=sum(seed.p < 0.05 for seed in alone),
        p_seeds=sign_flip_counts(differences.sum(1)[shared.any(1)]),
        p_examples=sign_flip_counts(differences.sum(0)[shared.any(0)]),
    )


def sign_flip_counts(differences: ArrayLike) -> float:
    """Exact two-sided p of a sum of whole numbers: the share of 2^n sign patterns as far from 0.

    Numbers of one size k sum to k (2 B - m), where m is how many there are and B is binomial; the
    sums of all sizes are convolved, so that thousands of numbers are as exact as ten. All 0, p is
    1; of no numbers it is NaN.

    Parameters
    ----------
    differences : integer array of shape (n,)
    """
    differences = np.asarray(differences, int)
    if not len(differences):
        return np.nan
    sizes, counts = np.unique(np.abs(differences[differences != 0]), return_counts=True)
    chances = np.ones(1)  # of the sums -reach, -reach + 2, ..., reach
    for size, count in zip(sizes, counts, strict=True):
        binomial: Array = np.zeros(size * count + 1)
        binomial[::size] = stats.binom.pmf(np.arange(count + 1), count, 0.5)
        chances = np.convolve(chances, binomial)
    reach = len(chances) - 1
    sums = 2 * np.arange(len(chances)) - reach
    return float(min(1.0, chances[np.abs(sums) >= abs(differences.sum())].sum()))
