"""What every replica made of every test example, as arrays for analyses of single examples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.runs import Frame
from analysis.statistics.inference import Array
from analysis.tables import TableError, Tables


@dataclass(frozen=True)
class Outcomes:
    """A task's finished replicas at their selected checkpoints, A arms, S seeds, E examples.

    Attributes
    ----------
    task : str
    classes : bool
        Whether the targets are classes; otherwise they are values.
    arms, seeds, examples : sequences of length A, S, E
        Sorted. An example bears its number in the task's source, so it is the same one at every
        seed.
    scores : array of shape (A, S, E)
        What an example adds to a replica's headline score, the mean over its examples: 1 or 0 for a
        class that is right or wrong, a part of R2 for values (`r2_parts`), the log-density of a
        predicted distribution (in the task's units, the score's but for a constant). NaN where the
        example is not in the test part of that seed, or the arm has no checkpoint there.
    errors : array of shape (A, S, E * n_outputs)
        1 where a class is wrong and 0 where it is right; for values the residual, prediction minus
        target.
    """

    task: str
    classes: bool
    arms: list[str]
    seeds: NDArray[np.int64]
    examples: NDArray[np.int64]
    scores: Array
    errors: Array


def recorded(tables: Tables) -> Iterator[tuple[str, Frame]]:
    """Give each task that has predictions with those of its finished replicas, as scores count.

    An episode that was played has a return, and no target that it could miss: it is none of them.
    """
    found = tables.predictions
    finished = found[(found["status"] == "finished") & found["target"].notna()]
    for task in tables.tasks:
        predictions = finished[finished["task"] == task]
        if len(predictions):
            yield task, predictions


def outcomes(task: str, predictions: Frame) -> Outcomes:
    """Arrange one task's predictions by arm, seed and example.

    Raises
    ------
    TableError
        If a replica lists an example twice.
    """
    (arm, arms), (seed, seeds), (example, examples), (output, outputs) = (
        pd.factorize(predictions[name], sort=True) for name in ("arm", "seed", "example", "output")
    )
    shape = (len(arms), len(seeds), len(examples), len(outputs))
    place = np.ravel_multi_index((arm, seed, example, output), shape)
    if len(np.unique(place)) < len(place):
        raise TableError(f"a replica on {task} predicts the same example twice")
    target, prediction = np.full((2, *shape), np.nan)
    target.flat[place] = predictions["target"].to_numpy(float)
    prediction.flat[place] = predictions["prediction"].to_numpy(float)
    classes = bool(predictions["confidence"].notna().any())
    if classes:
        scores = np.where(np.isnan(target), np.nan, prediction == target).mean(-1)
        errors = 1 - scores
    else:
        scores = r2_parts(target, prediction).mean(-1)
        if predictions["log_density"].notna().any():
            density = np.full(shape, np.nan)
            density.flat[place] = predictions["log_density"].to_numpy(float)
            scores = density.sum(-1)
        errors = (prediction - target).reshape(*shape[:2], -1)
    names = [str(name) for name in arms]
    return Outcomes(task, classes, names, np.asarray(seeds), np.asarray(examples), scores, errors)


def r2_parts(targets: Array, predictions: Array) -> Array:
    """Split a replica's R2 into one part per example, of which it is the mean.

    With squared errors e, squared deviations d of the targets from their mean, and R2 = 1 - mean(e)
    / mean(d), a part is R2 + ((1 - R2) d - e) / mean(d): R2 is a ratio, and an example far from the
    mean weighs in both of its sums (its influence function). Targets that do not vary count 1 in
    every part where all are met exactly and 0 otherwise, as in the score itself.

    Parameters
    ----------
    targets, predictions : arrays of shape (..., E, n_outputs)
        NaN where an example is not in a replica's test part.
    """
    known = ~np.isnan(targets)
    n = np.maximum(known.sum(-2, keepdims=True), 1)

    def mean(values: Array) -> Array:
        return np.where(known, values, 0).sum(-2, keepdims=True) / n

    deviations, errors = (targets - mean(targets)) ** 2, (predictions - targets) ** 2
    top, bottom = np.where(known, targets, -np.inf), np.where(known, targets, np.inf)
    varies = top.max(-2, keepdims=True) > bottom.min(-2, keepdims=True)
    spread = np.where(varies, mean(deviations), 1)
    r2 = 1 - mean(errors) / spread
    parts = np.where(varies, r2 + ((1 - r2) * deviations - errors) / spread, mean(errors) == 0)
    return np.where(known, parts, np.nan)
