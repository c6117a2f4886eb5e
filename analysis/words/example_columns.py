"""Tables of single examples as a reader sees them, and what can be said of them in a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from analysis.runs import Frame
from analysis.tables import Tables
from analysis.words.columns import NONE, interval, number

_TESTS = (
    "Only it, only the other is right: examples over all seeds. McNemar's p: each example's "
    "difference over all seeds flipped as one, corrected over the arms of this table (Holm); it "
    "speaks of these networks on new examples, while whether the methods differ is decided by the "
    "p of the paired differences above."
)
_SPLIT_PER_SEED = (
    "The seed: its split of the data, initial weights and order, which one split per seed cannot "
    "separate."
)
_ONE_SPLIT = (
    "The seed: initial weights and order; the training data are the same, and the interval is for "
    "them."
)
_CONSISTENCY = {
    "kappa": ("Error consistency", ""),
    "correlation": (
        "Correlation of residuals",
        "All arms meet the same noise in the targets, which by itself makes them correlate.",
    ),
}


def section(tables: Tables, found: Mapping[str, Frame], task: str) -> dict[str, Any] | None:
    """All that the page says of one task's examples; None where no predictions were recorded.

    Parameters
    ----------
    found : dict of str to DataFrame
        From `example_tables.example_tables`.
    """
    of_task = {name: table[table["task"] == task] for name, table in found.items()}
    of_task = {name: table for name, table in of_task.items() if not table.empty}
    if "variance" not in of_task:
        return None
    splits = set(tables.runs.loc[tables.runs["task"] == task, "split"])
    apart = splits & {"own", "source test", "source pools"}
    title, caution = _CONSISTENCY[of_task["error_consistency"]["measure"].iloc[0]]
    differences, calibration = of_task.get("example_differences"), of_task.get("calibration")
    return {
        "variance": variance_columns(of_task["variance"]),
        "seed_covers": _SPLIT_PER_SEED if apart else _ONE_SPLIT,
        "differences": None if differences is None else difference_columns(differences),
        "reference": None if differences is None else differences["reference"].iloc[0],
        "tests": "" if calibration is None else _TESTS,
        "consistency_title": title,
        "consistency": " ".join(
            filter(None, [consistency_sentence(of_task["error_consistency"]), caution])
        ),
        "calibration": None if calibration is None else calibration_columns(calibration),
    }


def variance_columns(variance: Frame) -> Frame:
    """Scores for new examples, and shares of the variance, of one task."""
    bounds = variance[["mean", "low", "high"]].to_numpy()
    seed = variance[["seed_share", "seed_share_low", "seed_share_high"]].to_numpy()
    return pd.DataFrame(
        {
            "arm": variance["arm"],
            "seeds": variance["n_seeds"].map(str),
            "examples per seed": variance["n_test"].map("{:,.0f}".format),
            "different examples": variance["n_examples"].map("{:,.0f}".format),
            "mean [95 %, new seeds and examples]": [interval(*row) for row in bounds],
            "share of the seed [95 %]": [_percent(row[0]) + _bounds(*row[1:]) for row in seed],
            "of the examples": variance["example_share"].map(_percent),
            "of the rest": variance["residual_share"].map(_percent),
        }
    )


def difference_columns(differences: Frame) -> Frame:
    """Differences to the reference, for new examples, of one task."""
    bounds = differences[["mean", "low", "high"]].to_numpy()
    columns = {
        "arm": differences["arm"],
        "difference [95 %, new seeds and examples]": [interval(*row) for row in bounds],
    }
    if "only_arm" in differences and differences["only_arm"].notna().all():
        columns["only it is right"] = differences["only_arm"].map("{:.0f}".format)
        columns["only the other"] = differences["only_reference"].map("{:.0f}".format)
        columns["McNemar's p (these networks)"] = differences["p_examples_holm"].map(_p)
    return pd.DataFrame(columns)


def calibration_columns(calibration: Frame) -> Frame:
    """Calibration of one task."""
    shown = {"arm": calibration["arm"], "seeds": calibration["n_seeds"].map(str)}
    for name, head in (
        ("confidence", "confidence"),
        ("overconfidence", "confidence - accuracy"),
        ("ece", "calibration error"),
        ("ece_if_calibrated", "if calibrated"),
        ("brier", "Brier score"),
    ):
        shown[head] = [
            interval(*row) for row in calibration[[name, f"{name}_low", f"{name}_high"]].to_numpy()
        ]
    return pd.DataFrame(shown)


def consistency_sentence(consistency: Frame) -> str:
    """Say how many pairs of arms of one task fail alike, as far as their intervals tell."""
    parts = []
    for seeds, where in (("same", "at the same seed"), ("other", "at different seeds")):
        pairs = consistency[
            (consistency["seeds"] == seeds) & (consistency["arm"] != consistency["other"])
        ]
        known = pairs[pairs["low"].notna()]
        if known.empty:
            continue
        above, below = (known["low"] > 0).sum(), (known["high"] < 0).sum()
        parts.append(
            f"{where}, the interval lies above 0 for {above} of {len(known)} pairs "
            f"and below 0 for {below}"
        )
    if not parts:
        return "No pair of arms has an interval."
    sentence = "; ".join(parts)
    chance = "Were all independent, one pair in forty would lie on either side by chance."
    known = consistency[consistency["beside_own_low"].notna()]
    apart = (known["beside_own_high"] < 0).sum()
    yardstick = (
        f" In {apart} of {len(known)} pairs the two arms fail less alike than two seeds of one of "
        "them do (the interval of that gap lies below 0); arms whose error rates differ cannot "
        "fail wholly alike."
    )
    return f"{sentence[0].upper()}{sentence[1:]}. {chance}{yardstick if len(known) else ''}"


def _p(value: float) -> str:
    """Write a p value; 0 is what a float makes of the smallest ones."""
    return "< 1e-300" if value == 0 else number(value)


def _percent(share: float) -> str:
    return NONE if pd.isna(share) else f"{100 * share:.0f} %"


def _bounds(low: float, high: float) -> str:
    return "" if pd.isna(low) or pd.isna(high) else f" [{100 * low:.0f}, {100 * high:.0f}]"
