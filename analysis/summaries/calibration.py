"""Scores by class, confusion and calibration of every replica of a task of classes.

Each function returns one row per replica (and class, or bin); intervals over seeds are the
caller's.

Confidence, probability and Brier score are recorded in 16 bits: a confidence between 1/2 and 1 to
0.00025, a Brier score of up to 2 to 0.0005. Means over examples are as exact as that, or better.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from analysis.runs import Frame
from analysis.statistics.inference import Array

BINS = 10  # of equal width, of the confidence
DRAWS = 200
_REPLICA = ["arm", "seed"]


def by_class(predictions: Frame) -> Frame:
    """Recall and precision of each class: arm, seed, target, n, recall, precision.

    Recall: share of the class's examples that are recognised; precision: share of the examples
    called so that are of the class. NaN where there is none. Every replica has a row for every
    class of the task.
    """
    classes = np.union1d(predictions["target"], predictions["prediction"]).astype(int)
    replicas = predictions.groupby(_REPLICA, observed=True).size().index
    every = pd.MultiIndex.from_tuples(
        [(*replica, label) for replica in replicas for label in classes],
        names=[*_REPLICA, "target"],
    )
    right = predictions["target"] == predictions["prediction"]

    def count(rows: Frame, column: str) -> Frame:
        return rows.groupby([*_REPLICA, column], observed=True).size().reindex(every, fill_value=0)

    n, called, found = (
        count(predictions, "target"),
        count(predictions, "prediction"),
        count(predictions[right], "target"),
    )
    table = {
        "n": n,
        "recall": found / n.where(n > 0),
        "precision": found / called.where(called > 0),
    }
    return pd.DataFrame(table).reset_index()


def confusion(predictions: Frame) -> Frame:
    """Who is taken for whom over all seeds: arm, target, prediction, n, share; where n > 0.

    share : of the examples of the target's class.
    """
    pair = ["arm", "target", "prediction"]
    whole = predictions.astype({"target": int, "prediction": int})
    counts: Frame = whole.groupby(pair, observed=True).size().rename("n").reset_index()
    of_class = counts.groupby(["arm", "target"], observed=True)["n"].transform("sum")
    return counts.assign(share=counts["n"] / of_class)


def calibration(predictions: Frame, rng: Generator) -> Frame:
    """Calibration of each replica: arm, seed, n, accuracy, confidence, overconfidence, ece,
    ece_if_calibrated, brier.

    overconfidence : mean confidence minus accuracy; 0 on average if calibrated.
    ece : expected calibration error over `BINS` bins; see `expected_calibration_error`. It is never
        negative, so above 0 for a calibrated network, too: `ece_if_calibrated` is its mean over
        examples that are right by chance, each with the probability that its confidence states.
    brier : mean over examples of the squared distance between probabilities and the target, summed
        over classes.
    """
    rows = []
    for (arm, seed), replica in predictions.groupby(_REPLICA, observed=True):
        right = (replica["target"] == replica["prediction"]).to_numpy(float)
        confidence = replica["confidence"].to_numpy(float)
        chance = (rng.random((DRAWS, len(replica))) < confidence).astype(float)
        row = {
            "arm": arm,
            "seed": seed,
            "n": len(replica),
            "accuracy": right.mean(),
            "confidence": confidence.mean(),
        }
        row["overconfidence"] = row["confidence"] - row["accuracy"]
        row["ece"] = float(expected_calibration_error(confidence, right))
        row["ece_if_calibrated"] = float(expected_calibration_error(confidence, chance).mean())
        rows.append(row | {"brier": replica["brier"].to_numpy(float).mean()})
    return pd.DataFrame(rows)


def expected_calibration_error(
    confidence: ArrayLike, right: ArrayLike, n_bins: int = BINS
) -> Array:
    """Mean over bins of |accuracy - mean confidence|, weighted by the examples in each.

    Parameters
    ----------
    confidence : array of shape (n,)
    right : array of shape (..., n)

    Source: Naeini, Cooper & Hauskrecht (2015), AAAI 29; Guo, Pleiss, Sun & Weinberger (2017), ICML
    34, equation 3.
    """
    confidence = np.asarray(confidence, float)
    member = np.eye(n_bins)[bins(confidence, n_bins)]  # (n, n_bins)
    return np.abs((np.asarray(right, float) - confidence) @ member).sum(-1) / len(confidence)


def reliability(predictions: Frame) -> Frame:
    """Means by bin of confidence: arm, seed, bin, accuracy, confidence, n."""
    table = pd.DataFrame(
        {
            "arm": predictions["arm"],
            "seed": predictions["seed"],
            "bin": bins(predictions["confidence"].to_numpy(float)),
            "accuracy": (predictions["target"] == predictions["prediction"]).astype(float),
            "confidence": predictions["confidence"].astype(float),
        }
    )
    grouped: Frame = table.groupby([*_REPLICA, "bin"], observed=True)
    return grouped[["accuracy", "confidence"]].mean().assign(n=grouped.size()).reset_index()


def bins(confidence: ArrayLike, n_bins: int = BINS) -> NDArray[np.int64]:
    """Number each confidence's bin of equal width, with its upper edge: (0, 1/n], (1/n, 2/n], ...

    Edges are rounded as confidence is recorded, so that 3/10 lies at the edge 3/10, not above it.
    """
    edges = (np.arange(1, n_bins) / n_bins).astype(np.float16)
    return np.searchsorted(edges, np.asarray(confidence).astype(np.float16), side="left")
