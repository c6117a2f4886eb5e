"""Kendall's tau between rankings, against scipy."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.summaries.ranking import rankings
from analysis.summaries.stability import kendall, orders, rank_stability

FAULTS = [
    (
        "analysis/summaries/stability.py",
        "for cost in CURRENCIES if cost in known",
        "for cost in CURRENCIES",
    ),
    ("analysis/summaries/stability.py", "both = (short @ np.swapaxes(short, -1, -2))", "both = np.abs(short @ np.swapaxes(short, -1, -2))"),
    # ties: tau-a
    ("analysis/summaries/stability.py", "return both / np.sqrt(told[..., :, None] * told[..., None, :])", "return both / short.shape[-1]"),
    ("analysis/summaries/stability.py", "> RESOLUTION * np.maximum(np.abs(one), np.abs(other))", "> 0"),
    ("analysis/summaries/stability.py", "apart |= np.isinf(one) != np.isinf(other)", "apart |= np.isinf(one) | np.isinf(other)"),
    # direction
    ("analysis/summaries/stability.py", 'to {level}", -spent', 'to {level}", spent'),
    ("analysis/summaries/stability.py", 'yield "test score", sign * scores', 'yield "test score", scores'),
    ("analysis/summaries/stability.py", "np.maximum.accumulate(sign * table[..., 0], axis=1)", "np.maximum.accumulate(table[..., 0], axis=1)"),
    # pairing of rows with their arm and seed
    ("analysis/summaries/stability.py", '.loc[arms].dropna(axis=1)', '.iloc[::-1].dropna(axis=1)'),
    ("analysis/summaries/stability.py", 'runs = runs.set_index(["arm", "seed"]).loc[replicas]', 'runs = runs.set_index(["arm", "seed"]).iloc[::-1]'),
    # the grid
    ("analysis/summaries/stability.py", "after = np.minimum((paid < amount).sum(axis=1), last)", "after = np.full(len(paid), last)"),
    ("analysis/summaries/stability.py", "best[row, before] + share * (best[row, after] - best[row, before])", "best[row, before]"),
    # missing values: a miss is infinite, and its median
    ("analysis/summaries/stability.py", 'fillna(np.inf).to_numpy', 'fillna(0).to_numpy'),
    ("analysis/summaries/stability.py", '-spent.reshape(scores.shape), _median', '-spent.reshape(scores.shape), _mean'),
    ("analysis/summaries/stability.py", 'spends = ~(runs["spent"] < 0.5)', 'spends = runs["spent"] >= 0'),
]  # fmt: skip


def tau(first, second):
    return kendall(orders(np.array([first, second])))[0, 1]


def test_tau_is_scipys_with_ties_too(rng):
    for _ in range(50):
        first, second = rng.integers(0, 6, (2, 9)).astype(float)
        assert tau(first, second) == pytest.approx(stats.kendalltau(first, second).statistic)
    assert tau([1.0, 2.0, 3.0], [3.0, 2.0, 1.0]) == -1
    assert np.isnan(tau([1.0, 1.0, 1.0], [3.0, 2.0, 1.0]))


def test_what_misses_is_last_and_tied(rng):
    first, second = [1.0, 2.0, 9.0, 9.0], [2.0, 1.0, 4.0, 3.0]
    missed = [1.0, 2.0, np.inf, np.inf]
    assert tau(missed, second) == pytest.approx(stats.kendalltau(first, second).statistic)
    below = np.negative(missed)
    assert tau(below, np.negative(second)) == pytest.approx(tau(missed, second))


def test_scores_that_rounding_tells_apart_are_tied():
    near = float(np.float32(0.9))
    assert orders([0.9, near, 0.8]).tolist() == [0, 1, 1]


def study(tables_of, metric="accuracy_score", **more):
    """Arms that rank 1, 2, 3, 4 by score; the better, the dearer their seconds."""
    sign = 1 if metric == "accuracy_score" else -1
    tops, grid = {"a": 0.9, "b": 0.8, "c": 0.7, "d": 0.6}, np.array([0.0, 10, 100, 1000])
    share = np.array([0.0, 0.5, 0.8, 1.0])
    parts, scores = [], {}
    for place, (arm, top) in enumerate(tops.items()):
        scores[arm] = [top if sign == 1 else 1 - top] * 3
        for seed in range(3):
            value = top * share
            rows = pd.DataFrame({"checkpoint": range(4), "flops": grid, "steps": grid})
            rows = rows.assign(run_id=f"t/{arm}", seed=seed, split="validation", metric=metric)
            value = value if sign == 1 else 1 - value
            seconds = grid * 100.0 ** (4 - place)
            parts.append(rows.assign(value=value, headline_metric=metric, seconds=seconds))
    return tables_of({"t": scores}, metric, pd.concat(parts, ignore_index=True), **more)


def table(made):
    found = rank_stability(made, rankings(made))
    return found.set_index(["first", "second"])


@pytest.mark.parametrize("metric", ["accuracy_score", "top_error"])
def test_the_order_by_operations_is_kept_and_that_by_seconds_turned(tables_of, metric):
    found = table(study(tables_of, metric))["tau"]
    assert found["test score", "validation score at all of the flops that every arm has spent"] == 1
    assert found["test score", "validation score at 0.1 of the flops that every arm has spent"] == 1
    # in the seconds that `d` needs for all of it, `c` gets to 10 steps, and `a` nowhere
    assert (
        found["test score", "validation score at all of the seconds that every arm has spent"] == -1
    )


def test_between_checkpoints_scores_are_on_the_line(tables_of):
    made = study(tables_of)
    of_d = made.curves["run_id"] == "t/d"
    made.curves.loc[of_d, "flops"] = 3 * [0.0, 0.01, 0.02, 1000.0]  # 0.8 of 0.6 at once
    found = table(made)["tau"]
    # at 10: 0.45, 0.4, 0.35 of the others; at 100 it has 0.492, between its last two, of 0.72, ...
    at = "validation score at {} of the flops that every arm has spent"
    assert found["test score", at.format("0.01")] == pytest.approx(0)
    assert found["test score", at.format("0.1")] == 1
    made.curves.loc[of_d, "flops"] = 3 * [0.0, 5.0, 20.0, 1000.0]
    # at 10 it has 0.36, a third of the way from 0.3 to 0.48: more than c's 0.35
    assert table(made)["tau"]["test score", at.format("0.01")] == pytest.approx(4 / 6)


def test_an_arm_that_ended_early_sets_no_budget(tables_of):
    made = study(tables_of)
    of_d = made.curves["run_id"] == "t/d"
    made.curves.loc[of_d, "flops"] /= 1e6
    made.runs.loc[made.runs["arm"] == "d", "spent"] = 1e-6
    found = table(made)["tau"]
    at = "validation score at {} of the flops that every arm has spent"
    assert found["test score", at.format("all")] == 1
    assert found["test score", at.format("0.01")] == pytest.approx(0)  # its 0.6 beats them all


def test_costs_rank_by_their_median_and_a_miss_is_last(tables_of):
    made = study(tables_of)
    spent = {
        "a": [1.0, 2.0, 99.0],
        "b": [3.0, 3.0, 3.0],
        "c": [np.nan, np.nan, 4.0],
        "d": [5.0] * 3,
    }
    made.runs["flops_to_easy"] = [cost for arm in "abcd" for cost in spent[arm]]
    made.runs["seconds_to_easy"] = np.nan  # nobody
    found = table(made)["tau"]
    assert found["test score", "flops to easy"] == pytest.approx(4 / 6)  # c and d change places
    assert ("test score", "seconds to easy") not in found.index


def test_intervals_hold_what_seeds_can_turn(tables_of, rng):
    far = {"a": [0.9, 0.91, 0.92], "b": [0.5, 0.51, 0.52], "c": [0.1, 0.11, 0.12]}
    made = tables_of({"t": far}, flops_to_easy=1.0)
    made.runs["flops_to_easy"] = [1.0, 1, 1, 2, 2, 2, 3, 3, 3]
    made.runs["seconds_to_easy"] = [1.0, 9, 1, 2, 1, 2, 3, 3, 3]
    found = table(made)
    assert found.loc[("test score", "flops to easy"), ["tau", "low", "high"]].tolist() == [1, 1, 1]
    row = found.loc[("test score", "seconds to easy")]
    assert row["tau"] == row["high"] == 1
    assert row["low"] < 0.5  # where the second seed is drawn twice


def test_arms_that_are_not_ranked_have_no_part(tables_of):
    made = study(tables_of)
    made.runs.loc[(made.runs["arm"] == "c") & (made.runs["seed"] == 1), "status"] = "failed"
    assert table(made)["n_arms"].unique().tolist() == [3]
    one = tables_of({"t": {"a": [0.1] * 3}})
    assert rank_stability(one, rankings(one)).empty


def test_a_currency_that_older_tables_lack_ranks_nothing_and_spoils_nothing(tables_of):
    made = study(tables_of)
    whole = table(made)
    made.curves["bytes_moved"] = made.curves["flops"].where(made.curves["run_id"] != "t/d")
    pd.testing.assert_frame_equal(table(made), whole)
    made.curves["bytes_moved"] = made.curves["flops"]
    at = "validation score at all of the bytes_moved that every arm has spent"
    assert table(made)["tau"]["test score", at] == 1
