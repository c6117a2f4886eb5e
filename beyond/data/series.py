"""Days of a series in splits that follow one another in time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from beyond.errors import require


class InOrder(NamedTuple):
    """Which days are used, in their order, and how many of them end as validation and test."""

    days: np.ndarray
    n_validation: int
    n_test: int


def in_order(n_days: int, gap: int, share: float = 0.15) -> InOrder:
    """Train, then validation, then test, with `gap` days before each of these two left out.

    A day that is told the `gap` days before it then shares none of them with an earlier split.

    Parameters
    ----------
    n_days : int
    gap : int
    share : float
        Of the days that are used, for validation and for test each.
    """
    used = n_days - 2 * gap
    n_held = round(share * used)
    allowed = f"so few that days are left, of {n_days} in all"
    require("the days between splits", allowed, gap, n_held >= 1 and used > 2 * n_held)
    starts = np.cumsum([0, used - 2 * n_held + gap, n_held + gap])
    sizes = (used - 2 * n_held, n_held, n_held)
    days = [np.arange(start, start + size) for start, size in zip(starts, sizes, strict=True)]
    return InOrder(np.concatenate(days), n_held, n_held)


def windows(values: np.ndarray, length: int) -> np.ndarray:
    """The `length` values before each but the first `length`, (N - length, length), in order."""
    return np.lib.stride_tricks.sliding_window_view(values, length)[:-1]
