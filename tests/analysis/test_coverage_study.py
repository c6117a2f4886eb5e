import numpy as np
import pandas as pd
import pytest

from analysis.coverage import coverage, publish, share
from analysis.statistics.inference import mean_interval
from analysis.tables import load

FAULTS = [
    # against the mean of all seeds, its part of which a group has itself
    (
        "analysis/coverage.py",
        "(scores.sum() - groups.sum(axis=0)) / max(len(scores) - size, 1)",
        "np.full(groups.shape[1], scores.mean())",
    ),
]


@pytest.fixture
def written(study):
    cell = study.folder / study.cell("backprop", seeds=range(25))
    runs = pd.read_parquet(cell / "runs.parquet").sample(frac=1, random_state=0)
    runs["best_test_score"] = np.random.default_rng(0).normal(0.5, 0.1, 25)[runs["seed"]]
    runs.to_parquet(cell / "runs.parquet")
    return study.folder


def test_groups_by_hand(written):
    scores = np.random.default_rng(0).normal(0.5, 0.1, 25)
    held = 0
    for group in (range(10), range(10, 20)):
        low, high = mean_interval(scores[group])
        held += low <= np.delete(scores, group).mean() <= high
    (row,) = coverage(load(written)).to_dict("records")
    assert (row["arm"], row["groups"], row["held"]) == ("backprop", 2, held)
    assert row["mean"] == pytest.approx(scores.mean())


def test_a_shift_between_groups_is_seen(written):
    path = next(written.glob("*/runs.parquet"))
    runs = pd.read_parquet(path)
    runs["best_test_score"] += np.where(runs["seed"] < 10, 0.4, 0)
    runs.to_parquet(path)
    assert coverage(load(written))["held"].sum() == 0


def test_an_interval_is_held_against_the_other_seeds_alone(written):
    """They reach 0.075 to either side: to the mean of all, 0.05 away, but not to the others'."""
    path = next(written.glob("*/runs.parquet"))
    runs = pd.read_parquet(path).query("seed < 20")
    runs["best_test_score"] = 0.4 + 0.2 * (runs["seed"] % 2) + 0.1 * (runs["seed"] // 10)
    _, high = mean_interval(np.tile([0.4, 0.6], 5))
    assert 0.55 < high < 0.6
    runs.to_parquet(path)
    (row,) = coverage(load(written)).to_dict("records")
    assert (row["groups"], row["held"]) == (2, 0)


def test_replicas_that_did_not_finish_are_left_out(written):
    path = next(written.glob("*/runs.parquet"))
    runs = pd.read_parquet(path)
    runs.assign(status=np.where(runs["seed"] < 10, "diverged", "finished")).to_parquet(path)
    assert coverage(load(written))["groups"].tolist() == [1]


def test_what_is_printed(written, capsys):
    publish(written)
    printed = capsys.readouterr().out
    assert "of 2 (" in printed
    assert "of the 95 % intervals of 10 repetitions hold" in printed
    assert share(19, 20) == "19 of 20 (95.0 %)"
    with pytest.raises(SystemExit, match=r"^beyond: no such folder"):
        publish(written / "nowhere")
