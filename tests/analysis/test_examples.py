from itertools import starmap

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, r2_score

from analysis.summaries.examples import outcomes, r2_parts, recorded
from analysis.tables import TableError, load

FAULTS = [
    (
        "analysis/summaries/examples.py",
        "(1 - r2) * deviations - errors",
        "(1 - r2) * spread - errors",
    ),
    (
        "analysis/summaries/examples.py",
        "if len(np.unique(place)) < len(place)",
        "if len(np.unique(place)) > len(place)",
    ),
    ("analysis/summaries/examples.py", '== "finished"', '!= "skipped"'),
    ("analysis/summaries/examples.py", ' & found["target"].notna()', ""),
    ("analysis/summaries/examples.py", "mean(errors) == 0)", "1.0)"),
    (
        "analysis/summaries/examples.py",
        "scores = density.sum(-1)",
        "scores = np.exp(density.sum(-1))",
    ),
]


def test_an_older_study_has_no_predictions(study):
    study.cell("backprop")
    tables = load(study.folder)
    assert tables.predictions.empty
    assert list(recorded(tables)) == []


def test_predictions_are_read_as_recorded_beside_their_arm(study):
    recorded = study.predict(study.cell("backprop"))
    study.predict(study.cell("genetic", "regression/friedman"))
    predictions = load(study.folder).predictions
    predictions = predictions[predictions["arm"] == "backprop"]
    assert set(predictions["task"]) == {"image/digits"}
    for column in ("seed", "example", "target", "prediction"):
        assert (predictions[column].to_numpy() == recorded[column].to_numpy()).all()
    for column in ("probability", "confidence", "brier"):
        assert (predictions[column].to_numpy() == recorded[column].to_numpy(np.float32)).all()


def test_the_score_of_a_predicted_distribution_is_its_log_density(study):
    table = study.predict(study.cell("genetic", "regression/friedman"))
    (path,) = study.folder.glob("*/predictions.parquet")
    table["log_density"] = np.linspace(-3, 1, len(table)).astype(np.float32)
    table.to_parquet(path, index=False)
    (found,) = starmap(outcomes, recorded(load(study.folder)))
    for seed, replica in table.groupby("seed"):
        scores = found.scores[0, found.seeds.tolist().index(seed)]
        assert np.nanmean(scores) == pytest.approx(replica["log_density"].mean(), rel=1e-5)


def test_returns_of_episodes_miss_no_target(study):
    table = study.predict(study.cell("genetic", "regression/friedman"))
    (path,) = study.folder.glob("*/predictions.parquet")
    table.assign(target=np.float32(np.nan)).to_parquet(path, index=False)
    assert len(load(study.folder).predictions)
    assert list(recorded(load(study.folder))) == []


def test_the_score_of_a_replica_is_the_mean_over_its_examples(study):
    classes, values = (
        study.predict(study.cell("backprop")),
        study.predict(study.cell("genetic", "regression/friedman")),
    )
    study.predict(study.cell("reinforce"), seeds=range(1, 4))
    digits, friedman = starmap(outcomes, recorded(load(study.folder)))
    assert (digits.arms, digits.classes, friedman.classes) == (
        ["backprop", "reinforce"],
        True,
        False,
    )
    assert digits.seeds.tolist() == [0, 1, 2, 3, 4]
    assert np.isnan(digits.scores[1, 0]).all()  # no checkpoint at that seed
    for found, table, score in ((digits, classes, accuracy_score), (friedman, values, r2_score)):
        for seed, replica in table.groupby("seed"):
            tested = np.isin(found.examples, replica["example"])
            scores = found.scores[0, seed]
            assert np.isfinite(scores).tolist() == tested.tolist()
            assert np.nanmean(scores) == pytest.approx(
                score(*replica[["target", "prediction"]].to_numpy(float).T)
            )
    assert np.nanmax(np.abs(friedman.errors)) > 20


def test_a_replica_that_did_not_finish_does_not_count(study):
    study.predict(study.cell("reinforce", status="diverged"))
    _, predictions = next(recorded(load(study.folder)))
    assert sorted(predictions["seed"].unique()) == [0, 1, 2, 3]


def test_parts_of_r2_for_several_outputs_and_missing_examples(rng):
    targets, predictions = rng.normal(size=(2, 4, 30, 3))
    missing = rng.random((4, 30)) < 0.3
    targets[missing] = np.nan
    parts = r2_parts(targets, predictions)
    for replica in range(4):
        kept = ~missing[replica]
        expected = r2_score(targets[replica, kept], predictions[replica, kept])
        assert parts[replica, kept].mean() == pytest.approx(expected)
        assert np.isnan(parts[replica, ~kept]).all()


@pytest.mark.parametrize(
    ("predicted", "expected"), [([[0.1, 1.0], [0.1, 2.0]], 1.0), ([[0.11, 1.0], [0.11, 2.0]], 0.5)]
)
def test_targets_that_do_not_vary_count_as_met_or_not(predicted, expected):
    assert r2_parts(
        np.array([[0.1, 1.0], [0.1, 2.0]]), np.array(predicted)
    ).mean() == pytest.approx(expected)


def test_parts_of_r2_vary_as_its_jackknife(rng):
    n = 400
    targets = rng.normal(size=(n, 1))
    for predictions in (targets + 0.5 * rng.normal(size=targets.shape), np.full_like(targets, 2)):
        without = [
            r2_score(np.delete(targets, i, 0), np.delete(predictions, i, 0)) for i in range(n)
        ]
        jackknife = np.sqrt((n - 1) ** 2 / n * np.var(without, ddof=1))
        assert r2_parts(targets, predictions).std(ddof=1) / np.sqrt(n) == pytest.approx(
            jackknife, rel=0.04
        )


def test_an_example_twice_in_one_replica_is_refused(study):
    run_id = study.cell("backprop")
    table = study.predict(run_id)
    pd.concat([table, table.tail(1)]).to_parquet(
        study.folder / run_id.replace("/", "-") / "predictions.parquet"
    )
    with pytest.raises(
        TableError, match="a replica on image/digits predicts the same example twice"
    ):
        outcomes(*next(recorded(load(study.folder))))
