"""Tables made from single examples: one row per arm, pair of arms, class or bin of each task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd

from analysis.runs import Frame
from analysis.statistics.consistency import beside_own, other_seeds, same_seed
from analysis.statistics.crossed import components, shares, two_way
from analysis.statistics.inference import holm, mean_interval, stream
from analysis.statistics.mcnemar import mcnemar, over_seeds
from analysis.summaries.calibration import by_class, calibration, confusion, reliability
from analysis.summaries.examples import Outcomes, outcomes, recorded
from analysis.summaries.results import reference_arm
from analysis.tables import Tables, limits_of

UNIT = (0.0, 1.0)
_CALIBRATION = {
    "accuracy": UNIT,
    "confidence": UNIT,
    "overconfidence": (-1.0, 1.0),
    "ece": UNIT,
    "ece_if_calibrated": UNIT,
    "brier": (0.0, 2.0),
}
_CONSISTENCY = ("value", "low", "high", "n_seeds", "observed", "expected")


def example_tables(tables: Tables, reference: str | None = None) -> dict[str, Frame]:
    """Make the tables of all tasks; a study without predictions has none.

    variance : arm; score, interval for new seeds and examples, variance components and shares
    error_consistency : pair of arms, at the same seed and at other seeds
    example_differences : arm; score less the reference's, interval for new seeds and examples,
    tests over seeds
    mcnemar : arm and seed, against the reference; tasks of classes, as those below
    calibration, reliability, classes : arm; arm and bin; arm and class. Means and intervals over
    seeds
    confusion : arm, class and prediction, over all seeds
    `target_class` and `prediction_class` are names, `target` and `prediction` their codes.
    """
    made: dict[str, list[Frame]] = {}
    for task, predictions in recorded(tables):
        found = outcomes(task, predictions)
        parts = {
            "variance": variance(found, tables.score(task)),
            "error_consistency": error_consistency(found),
        }
        name = reference_arm(tables, task, reference or "backprop")
        if name in found.arms:
            parts["example_differences"] = differences(found, name)
        if name in found.arms and found.classes:
            parts["mcnemar"] = at_each_seed(found, name)
        if found.classes:
            arms = predictions.groupby("arm", observed=True)
            replicas = pd.concat(
                [calibration(rows, stream("calibration", task, str(arm))) for arm, rows in arms]
            )
            parts["calibration"] = over_seeds_of(replicas, _CALIBRATION)
            parts["reliability"] = by_bin(predictions)
            parts["classes"] = over_seeds_of(
                by_class(predictions), {"recall": UNIT, "precision": UNIT}, ["target"]
            )
            parts["confusion"] = confusion(predictions)
            names = tables.classes(task)
            for rows, columns in (("classes", ["target"]), ("confusion", ["target", "prediction"])):
                for column in columns:
                    parts[rows][f"{column}_class"] = _names(parts[rows][column], names)
        for table, part in parts.items():
            part.insert(0, "task", task)
            made.setdefault(table, []).append(part)
    return {table: pd.concat(parts, ignore_index=True) for table, parts in made.items()}


def _names(codes: pd.Series, names: Sequence[str]) -> list[str]:
    """Names of classes; their codes, where nothing names them."""
    return [names[int(code)] if names else str(int(code)) for code in codes]


def variance(found: Outcomes, score: str) -> Frame:
    """Score of each arm for new seeds and examples, and where one replica's variance comes from.

    `n_test` examples per replica, `n_examples` different ones in all. `seed_variance`,
    `example_variance` and `residual_variance` are the components of one example's score
    (`crossed.components`), the shares those of a replica's mean (`crossed.shares`). Empty: not
    identified.
    """
    rows = []
    for arm, scores in zip(found.arms, found.scores, strict=True):
        tested = np.isfinite(scores)
        whole, parts, split = two_way(scores), components(scores), shares(scores)
        low, high = np.clip([whole.low, whole.high], *limits_of(score))
        row = {
            "arm": arm,
            "n_seeds": int(tested.any(1).sum()),
            "n_test": tested.sum() / max(tested.any(1).sum(), 1),
        }
        row |= {
            "n_examples": int(tested.any(0).sum()),
            "mean": whole.mean,
            "low": low,
            "high": high,
        }
        row |= {
            f"{name}_variance": getattr(parts, name) for name in ("seed", "example", "residual")
        }
        row |= {f"{name}_share": getattr(split, name) for name in ("seed", "example", "residual")}
        rows.append(row | {"seed_share_low": split.seed_low, "seed_share_high": split.seed_high})
    return pd.DataFrame(rows)


def differences(found: Outcomes, reference: str) -> Frame:
    """Score of each arm less the reference's, on shared examples; for new seeds and examples.

    For classes also McNemar's tests over seeds (`mcnemar.over_seeds`); Holm's correction is over
    the arms of the task.
    """
    rows = []
    at = found.arms.index(reference)
    for arm, scores in zip(found.arms, found.scores, strict=True):
        if arm == reference:
            continue
        whole = two_way(scores - found.scores[at])
        row = {
            "arm": arm,
            "reference": reference,
            "mean": whole.mean,
            "low": whole.low,
            "high": whole.high,
        }
        rows.append(row | (asdict(over_seeds(scores, found.scores[at])) if found.classes else {}))
    table = pd.DataFrame(rows)
    for name in ("p_seeds", "p_examples"):
        if name in table:
            table[f"{name}_holm"] = holm(table[name])
    return table.rename(columns={"first": "only_arm", "second": "only_reference"})


def at_each_seed(found: Outcomes, reference: str) -> Frame:
    """McNemar's test of each arm against the reference at each seed."""
    at, rows = found.arms.index(reference), []
    for arm, scores in zip(found.arms, found.scores, strict=True):
        for seed, first, second in zip(found.seeds, scores, found.scores[at], strict=True):
            if arm != reference and np.isfinite(first + second).any():
                rows.append(
                    {
                        "arm": arm,
                        "reference": reference,
                        "seed": seed,
                        **asdict(mcnemar(first, second)),
                    }
                )
    return pd.DataFrame(rows).rename(columns={"first": "only_arm", "second": "only_reference"})


def error_consistency(found: Outcomes) -> Frame:
    """Consistency of each pair of arms at the "same" or "other" `seeds`; within an arm, at other.

    `measure` is "kappa" (Cohen's, of errors) or "correlation" (Pearson's, of residuals).
    `beside_own` is the value at other seeds less the mean of what each of the two arms has with
    itself (`consistency.beside_own`).
    """
    rows = []
    same, other = same_seed(found.errors, found.classes), other_seeds(found.errors, found.classes)
    beside = dict(
        zip(("beside_own", "beside_own_low", "beside_own_high"), beside_own(other), strict=True)
    )
    for seeds, matrix, first, more in (("same", same, 1, {}), ("other", other, 0, beside)):
        columns = {name: getattr(matrix, name) for name in _CONSISTENCY} | more
        for i, j in zip(*np.triu_indices(len(found.arms), first), strict=True):
            row = {"arm": found.arms[i], "other": found.arms[j], "seeds": seeds}
            row["measure"] = "kappa" if found.classes else "correlation"
            rows.append(
                row
                | {
                    name: values[i, j]
                    for name, values in columns.items()
                    if i != j or name not in more
                }
            )
    return pd.DataFrame(rows, columns=["arm", "other", "seeds", "measure", *_CONSISTENCY, *beside])


def by_bin(predictions: Frame) -> Frame:
    """Accuracy and confidence of each arm's bins of confidence, over seeds; `n` over all seeds."""
    replicas = reliability(predictions)
    found = over_seeds_of(replicas, {"accuracy": UNIT, "confidence": UNIT}, ["bin"])
    n = replicas.astype({"arm": str}).groupby(["arm", "bin"])["n"].sum().reset_index()
    return found.merge(n, on=["arm", "bin"], validate="one_to_one")


def over_seeds_of(
    replicas: Frame, limits: Mapping[str, tuple[float, float]], within: Sequence[str] = ()
) -> Frame:
    """Average replicas over seeds, by arm (and `within` it): `name`, `name_low`, `name_high`.

    Parameters
    ----------
    limits : dict of str to (float, float)
        The columns to average, and what they cannot leave. Where a replica has no value, the others
        count.
    """
    key = ["arm", *within]
    wide = replicas.astype({"arm": str}).pivot_table(
        index="seed", columns=key, values=list(limits), observed=True
    )
    columns: dict[str, object] = {"n_seeds": wide[next(iter(limits))].notna().sum()}
    for name, bounds in limits.items():
        values = wide[name]
        low, high = mean_interval(values.to_numpy(float), bounds)
        columns |= {name: values.mean(), f"{name}_low": pd.Series(low, values.columns)}
        columns |= {f"{name}_high": pd.Series(high, values.columns)}
    return pd.DataFrame(columns).rename_axis(key).reset_index()
