import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from analysis.summaries.calibration import (
    bins,
    by_class,
    calibration,
    confusion,
    expected_calibration_error,
    reliability,
)

FAULTS = [
    (
        "analysis/summaries/calibration.py",
        'count(predictions, "prediction")',
        'count(predictions, "target")',
    ),
    (
        "analysis/summaries/calibration.py",
        'groupby(["arm", "target"]',
        'groupby(["arm", "prediction"]',
    ),
    (
        "analysis/summaries/calibration.py",
        "np.abs((np.asarray(right, float) - confidence) @ member)",
        "np.abs(np.asarray(right, float) - confidence) @ member",
    ),
    (
        "analysis/summaries/calibration.py",
        'np.asarray(confidence).astype(np.float16), side="left")',
        'np.asarray(confidence).astype(np.float16), side="right")',
    ),
    ("analysis/summaries/calibration.py", "/ n_bins).astype(np.float16)", "/ n_bins)"),
    ("analysis/summaries/calibration.py", "< confidence).astype(float)", "< 0.5).astype(float)"),
    (
        "analysis/summaries/calibration.py",
        "confidence, chance).mean()",
        "confidence, chance).max()",
    ),
    (
        "analysis/summaries/calibration.py",
        "found / called.where(called > 0)",
        "found / called.clip(1)",
    ),
    (
        "analysis/summaries/calibration.py",
        'np.union1d(predictions["target"], predictions["prediction"])',
        'np.unique(predictions["target"])',
    ),
]


@pytest.fixture
def predictions(rng):
    n = 400
    target = rng.integers(0, 4, n)
    table = pd.DataFrame(
        {"arm": np.repeat(["a", "b"], n // 2), "seed": np.tile([0, 1], n // 2), "target": target}
    )
    table["prediction"] = np.where(rng.random(n) < 0.6, target, rng.integers(0, 3, n))
    table["confidence"] = rng.uniform(0.3, 1, n).astype(np.float16)
    table["brier"] = rng.uniform(0, 2, n).astype(np.float16)
    return table


def test_recall_and_precision_equal_scikit_learn_s(predictions):
    found = by_class(predictions)
    for (arm, seed), replica in predictions.groupby(["arm", "seed"]):
        precision, recall, _, n = precision_recall_fscore_support(
            replica["target"], replica["prediction"], zero_division=np.nan
        )
        mine = found[(found["arm"] == arm) & (found["seed"] == seed)]
        assert mine["target"].tolist() == [0, 1, 2, 3]
        np.testing.assert_allclose(mine["recall"], recall)
        np.testing.assert_allclose(mine["precision"], precision)
        assert mine["n"].tolist() == n.tolist()


def test_a_class_that_nothing_is_of_or_is_called_has_no_recall_or_precision():
    table = pd.DataFrame({"arm": "a", "seed": 0, "target": [0, 0, 1], "prediction": [0, 2, 2]})
    found = by_class(table)
    assert found["target"].tolist() == [0, 1, 2]
    np.testing.assert_equal(found["recall"].to_numpy(), [0.5, 0, np.nan])
    np.testing.assert_equal(found["precision"].to_numpy(), [1, np.nan, 0])


def test_the_error_if_calibrated_is_the_mean_over_coins(rng):
    """Two in one bin: |right - 0.75| is 0.75, 0.25 or 0.25 with probability 1/16, 6/16, 9/16."""
    table = pd.DataFrame(
        {"arm": "a", "seed": np.repeat(np.arange(100), 2), "target": 0, "prediction": 0}
    )
    found = calibration(table.assign(confidence=0.75, brier=0.0), rng)["ece_if_calibrated"]
    assert found.mean() == pytest.approx(
        0.75 / 16 + 0.25 * 15 / 16, abs=4 * 0.13 / np.sqrt(100 * 200)
    )


def test_confusion_equals_scikit_learn_s(predictions):
    found = confusion(predictions)
    for arm, rows in predictions.groupby("arm"):
        mine = found[found["arm"] == arm].set_index(["target", "prediction"])
        every = pd.MultiIndex.from_product([range(4), range(4)])
        counts = mine["n"].reindex(every, fill_value=0).to_numpy().reshape(4, 4)
        assert (counts == confusion_matrix(rows["target"], rows["prediction"])).all()
        assert mine.groupby("target")["share"].sum().to_numpy() == pytest.approx(1)


def test_bins_contain_their_upper_edge():
    assert bins([0.0, 0.05, 0.1, 0.11, 0.5, 1.0]).tolist() == [0, 0, 0, 1, 4, 9]


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_a_confidence_equal_to_an_edge_has_its_bin_whatever_it_was_rounded_to(kind):
    """In 16 bits 3/10, 6/10 and 7/10 are a little more; in 32 bits 1/10, 2/10 and others are."""
    for n in (3, 10, 15):
        assert bins((np.arange(1, n + 1) / n).astype(kind), n).tolist() == list(range(n))


def test_a_constant_confidence_is_one_bin_with_all_examples():
    table = pd.DataFrame({"arm": "constant", "seed": [0, 1] * 50, "target": 0, "prediction": 0})
    for tenth in range(1, 11):
        found = reliability(table.assign(confidence=np.float16(tenth / 10)))
        assert found["bin"].tolist() == [tenth - 1] * 2
        assert found["n"].tolist() == [50, 50]


def test_expected_calibration_error_by_hand():
    confidence, right = [0.55, 0.58, 0.95, 0.91], [1, 0, 1, 1]
    expected = 0.5 * abs(0.5 - 0.565) + 0.5 * abs(1 - 0.93)
    assert expected_calibration_error(confidence, right) == pytest.approx(expected)
    assert expected_calibration_error(confidence, [right, right]) == pytest.approx(
        np.full(2, expected)
    )


def test_reliability_equals_scikit_learn_s(predictions):
    edges = (np.arange(11) / 10).astype(np.float16)  # scikit-learn's are not rounded
    predictions = predictions[~np.isin(predictions["confidence"].to_numpy(), edges)]
    found = reliability(predictions)
    for (arm, seed), replica in predictions.groupby(["arm", "seed"]):
        right = replica["target"] == replica["prediction"]
        accuracy, confidence = calibration_curve(
            right, replica["confidence"].astype(float), n_bins=10
        )
        mine = found[(found["arm"] == arm) & (found["seed"] == seed)]
        np.testing.assert_allclose(mine["accuracy"], accuracy)
        np.testing.assert_allclose(mine["confidence"], confidence)
        assert mine["n"].sum() == len(replica)


def test_a_calibrated_network_errs_as_expected_and_an_overconfident_one_more(rng):
    n = 2000
    confidence = rng.uniform(0.5, 1, n)
    right = rng.random((2, n)) < np.stack([confidence, confidence - 0.2])
    table = pd.DataFrame(
        {"arm": np.repeat(["calibrated", "overconfident"], n), "seed": 0, "target": 0, "brier": 0.5}
    )
    table["prediction"], table["confidence"] = 1 - right.ravel(), np.tile(confidence, 2)
    one, two = calibration(table, rng).to_dict("records")
    assert abs(one["overconfidence"]) < 0.03
    assert one["ece"] < 2 * one["ece_if_calibrated"]
    assert two["overconfidence"] == pytest.approx(0.2, abs=0.03)
    assert two["ece"] > 5 * two["ece_if_calibrated"]
    assert one["brier"] == 0.5


def test_half_precision_costs_no_more_than_is_said(rng):
    confidence = rng.uniform(0.5, 1, 1000)
    assert np.abs(confidence.astype(np.float16) - confidence).max() <= 0.00025
    brier = rng.uniform(0, 2, 1000)
    assert np.abs(brier.astype(np.float16) - brier).max() <= 0.0005
