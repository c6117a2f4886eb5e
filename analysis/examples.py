"""What every replica made of every test example, as arrays that analyses of single examples start from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.statistics import Array
from analysis.tables import Frame, TableError, Tables


@dataclass(frozen=True)
class Outcomes:
    """The selected checkpoints of one task's replicas, example by example; A arms, S seeds, E examples.

    Attributes
    ----------
    task : str
    classes : bool
        Whether the targets are classes; otherwise they are values.
    arms, seeds, examples : sequences of length A, S, E
        Sorted. An example bears its number in the task's source, so it is the same one at every seed.
    scores : array of shape (A, S, E)
        What an example adds to a replica's headline score, which is the mean over its examples: 1 or 0 for a class that
        is right or wrong, 1 - squared error / variance of the replica's targets for values (their R2). NaN where the
        example is not in the test part of that seed, or the arm has no checkpoint there.
    errors : array of shape (A, S, E * n_outputs)
        1 where a class is wrong and 0 where it is right; for values the residual, prediction minus target.
    """

    task: str
    classes: bool
    arms: list[str]
    seeds: NDArray[np.int64]
    examples: NDArray[np.int64]
    scores: Array
    errors: Array


def outcomes(tables: Tables) -> Iterator[Outcomes]:
    """Give the outcomes of each task that has predictions, in the order of the tasks.

    Raises
    ------
    TableError
        If a replica lists an example twice.
    """
    for task in tables.tasks:
        own = tables.predictions[tables.predictions["task"] == task]
        if len(own):
            yield _outcomes(task, own)


def _outcomes(task: str, own: Frame) -> Outcomes:
    (arm, arms), (seed, seeds), (example, examples), (output, outputs) = (
        pd.factorize(own[name], sort=True) for name in ("arm", "seed", "example", "output")
    )
    shape = (len(arms), len(seeds), len(examples), len(outputs))
    place = np.ravel_multi_index((arm, seed, example, output), shape)
    if len(np.unique(place)) < len(place):
        raise TableError(f"a replica on {task} predicts the same example twice")
    target, prediction = np.full((2, *shape), np.nan)
    target.flat[place] = own["target"].to_numpy(float)
    prediction.flat[place] = own["prediction"].to_numpy(float)
    classes = bool(own["confidence"].notna().any())
    if classes:
        scores = np.where(np.isnan(target), np.nan, prediction == target).mean(-1)
        errors = 1 - scores
    else:
        scores = r2_parts(target, prediction).mean(-1)
        errors = (prediction - target).reshape(*shape[:2], -1)
    names = [str(name) for name in arms]
    return Outcomes(task, classes, names, np.asarray(seeds), np.asarray(examples), scores, errors)


def r2_parts(targets: Array, predictions: Array) -> Array:
    """Split a replica's R2 into one part an example, of which it is the mean.

    A part is 1 - squared error / variance of the targets. Targets that do not vary count 1 in every part where all are
    met exactly and 0 otherwise, as in the score itself.

    Parameters
    ----------
    targets, predictions : arrays of shape (..., E, n_outputs)
        NaN where an example is not in a replica's test part.
    """
    known = ~np.isnan(targets)
    count = np.maximum(known.sum(-2, keepdims=True), 1)
    deviation = targets - np.where(known, targets, 0).sum(-2, keepdims=True) / count
    variance = np.where(known, deviation**2, 0).sum(-2, keepdims=True) / count
    squares = (predictions - targets) ** 2
    varies = np.nanmax(targets, -2, initial=-np.inf, keepdims=True) > np.nanmin(
        targets, -2, initial=np.inf, keepdims=True
    )
    met = np.where(known, squares == 0, True).all(-2, keepdims=True)
    parts = np.where(varies, 1 - squares / np.where(varies, variance, 1), met.astype(float))
    return np.where(known, parts, np.nan)
