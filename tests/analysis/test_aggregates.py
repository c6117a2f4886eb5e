"""Arms over tasks, against rliable 1.2.0 and bencheval 0.1.0 on the same table, and enumeration."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from analysis.statistics.inference import stream
from analysis.summaries.aggregates import (
    improvements,
    interquartile_means,
    iqm,
    normalised,
    resampled,
    scale,
)

FAULTS = [
    ("analysis/summaries/aggregates.py", "{name: values.clip(0, 1) for name, values in found.items()}", "found"),
    ("analysis/summaries/aggregates.py", "cut = n // 4", "cut = (n + 3) // 4"),
    # strata: tasks are mixed
    ("analysis/summaries/aggregates.py", "[values[rng.integers(0, len(values), (draws, len(values)))] for values in strata]", "[np.hstack(strata)[rng.integers(0, len(np.hstack(strata)), (draws, len(values)))] for values in strata]"),
    # direction
    ("analysis/summaries/aggregates.py", "sign = 1 if higher_is_better(tables.score(task)) else -1", "sign = 1"),
    ("analysis/summaries/aggregates.py", "known.get(\"ceiling\", hard.iloc[0] if len(hard) else np.nan)", "known.get(\"ceiling\", 1.0)"),
    # ties
    ("analysis/summaries/aggregates.py", "+ 0.5 * (scores[:, :, None, None] == scores)", "+ 0.0 * (scores[:, :, None, None] == scores)"),
    ("analysis/summaries/aggregates.py", "value=merged((sign * runs[RESULT]).where(done, -np.inf))", "value=(sign * runs[RESULT]).where(done, -np.inf)"),
    # missing rows
    ("analysis/summaries/aggregates.py", ".where(best != chance)).where(done, 0.0)", ".where(best != chance)).where(done, np.nan)"),
    ("analysis/summaries/aggregates.py", "drawn += np.where(there[:, None], resamples, 0)", "drawn += resamples"),
    ("analysis/summaries/aggregates.py", "n = np.maximum(known, 1)", "n = np.maximum(len(tables.tasks), 1) + 0 * known"),
    ("analysis/summaries/aggregates.py", 'runs = tables.runs[tables.runs["status"] != "skipped"]\n    scales', "runs = tables.runs\n    scales"),
    # pairing of resamples with an arm
    ("analysis/summaries/aggregates.py", 'rng = stream("improvement", task, arm)', 'rng = stream("improvement", task, str(place))'),
    ("analysis/summaries/aggregates.py", 'stream("iqm", str(arm))', 'stream("iqm", str(len(rows)))'),
    ("analysis/summaries/aggregates.py", '"dbj,dbj->bd", ahead, weights[:, place + 1 :]', '"dbj,dbj->bd", ahead, weights[:, :-1][:, place:]'),
]  # fmt: skip

# five runs of two arms on three tasks
X = {
    "t0": [0.91, 0.93, 0.90, 0.95, 0.91],
    "t1": [0.40, 0.55, 0.45, 0.50, 0.35],
    "t2": [0.71, 0.70, 0.68, 0.74, 0.66],
}
Y = {
    "t0": [0.92, 0.91, 0.89, 0.93, 0.90],
    "t1": [0.30, 0.45, 0.25, 0.40, 0.45],
    "t2": [0.71, 0.75, 0.70, 0.72, 0.77],
}


def improvement(values, others):
    """Mann and Whitney's U over the number of pairs, by counting them."""
    pairs = list(product(values, others))
    return sum((x > y) + 0.5 * (x == y) for x, y in pairs) / len(pairs)


@pytest.fixture
def plain(monkeypatch):
    """Scores as they are: a scale from 0 to 1."""
    monkeypatch.setattr("analysis.summaries.aggregates.scale", lambda _tables, _task: (0.0, 1.0))


def both(tables_of, **more):
    return tables_of({task: {"x": X[task], "y": Y[task], **more} for task in X})


def test_the_interquartile_mean_is_scipys(rng):
    for n in range(1, 14):
        values = rng.standard_normal((3, n))
        np.testing.assert_allclose(iqm(values), stats.trim_mean(values, 0.25, axis=1))


def test_over_tasks_it_is_rliables(plain, tables_of):
    table = interquartile_means(both(tables_of)).set_index("arm")
    assert table["iqm"].to_dict() == pytest.approx(
        {"x": 0.7055555555555556, "y": 0.7044444444444445}
    )
    assert table[["n_tasks", "n_runs", "unfinished"]].to_numpy().tolist() == [[3, 15, 0]] * 2
    # percentiles of 200,000 resamples that numpy drew within each task
    assert table.loc["x", ["low", "high"]].tolist() == pytest.approx([0.68, 0.7211], abs=0.002)
    assert table.loc["y", ["low", "high"]].tolist() == pytest.approx([0.68, 0.7178], abs=0.002)


def test_resamples_stay_within_their_stratum(rng):
    drawn = resampled([np.array([1.0, 2.0]), np.array([10.0, 20.0, 30.0])], rng, 4000)
    assert drawn.shape == (4000, 5)
    assert set(np.unique(drawn[:, :2])) == {1, 2}
    assert set(np.unique(drawn[:, 2:])) == {10, 20, 30}
    assert drawn[:, 2:].mean() == pytest.approx(20, abs=0.4)


def test_the_bootstrap_is_that_of_all_resamples(tables_of, plain):
    values = [0.1, 0.2, 0.6, 0.9]
    every = [iqm(chosen) for chosen in product(values, repeat=4)]
    found = interquartile_means(tables_of({"t": {"a": values}})).iloc[0]
    low, high = np.quantile(every, [0.025, 0.975], method="inverted_cdf")
    assert found["low"] == pytest.approx(low, abs=0.03)
    assert found["high"] == pytest.approx(high, abs=0.03)


def test_chance_is_0_and_the_most_there_is_1(tables_of):
    scores = {"constant": [0.1] * 3, "a": [0.55, 1.0, "failed"]}
    made = tables_of({"t": scores})
    assert scale(made, "t") == pytest.approx((0.1, 1.0))
    found = normalised(made).set_index(["arm", "seed"])
    assert found.loc["a", "value"].tolist() == pytest.approx([0.5, 1.0, 0.0])
    assert found.loc["a", "done"].tolist() == [True, True, False]
    assert interquartile_means(made).set_index("arm").loc["a", "unfinished"] == 1


def test_an_error_has_its_hard_level_for_the_most_there_is(tables_of):
    scores = {"constant": [0.9] * 3, "a": [0.5, 0.1, 0.3]}
    made = tables_of({"t": scores}, metric="top_error", target_hard=0.1)
    assert scale(made, "t") == pytest.approx((0.9, 0.1))
    assert normalised(made).set_index("arm").loc["a", "value"].tolist() == pytest.approx(
        [0.5, 1, 0.75]
    )
    assert improvements(made)["improvement"].tolist() == [1.0]  # a, of less error, over constant


def test_a_task_of_which_no_chance_is_known_is_left_out(tables_of):
    made = tables_of({"t": {"a": [0.5] * 3}}, metric="log_likelihood_score", target_hard=-1.0)
    assert interquartile_means(made).empty


def test_what_an_arm_was_not_tried_on_is_neither_good_nor_bad(plain, tables_of):
    made = tables_of(
        {"t": {"a": [0.5] * 4, "b": [0.5] * 4}, "u": {"a": [0.9] * 4, "b": ["skipped"] * 4}}
    )
    table = interquartile_means(made).set_index("arm")
    assert table["n_tasks"].to_dict() == {"a": 2, "b": 1}
    assert table["iqm"].to_dict() == pytest.approx({"a": 0.7, "b": 0.5})
    assert list(table.index) == ["a", "b"]


@pytest.mark.parametrize(("task", "expected"), [("t0", 0.64), ("t1", 0.74), ("t2", 0.2)])
def test_improvement_is_rliables_and_mann_and_whitneys(task, expected):
    assert improvement(X[task], Y[task]) == pytest.approx(expected)
    u = stats.mannwhitneyu(X[task], Y[task]).statistic
    assert improvement(X[task], Y[task]) == pytest.approx(u / 25)
    assert improvement(Y[task], X[task]) == pytest.approx(1 - expected)


def test_improvements_over_tasks_are_rliables(tables_of):
    table = improvements(both(tables_of)).set_index("task")
    found = table["improvement"].to_dict()
    # and bencheval's rate of wins, where every run of one meets every run of the other
    assert found == pytest.approx(
        {"t0": 0.64, "t1": 0.74, "t2": 0.2, "mean of 3 tasks": 0.5266666667}
    )
    assert table["n_tasks"].tolist() == [1, 1, 1, 3]
    assert ((table["low"] < table["improvement"]) & (table["improvement"] < table["high"])).all()


def test_scores_that_went_through_float32_are_equal(tables_of):
    right = np.array([240, 250, 260])
    scores = {"a": list(right / 270), "b": [float(np.float32(value / 270)) for value in right]}
    assert improvements(tables_of({"t": scores}))["improvement"].tolist() == [0.5]


def test_the_interval_is_that_of_all_resamples_of_both(tables_of):
    x, y = [0.1, 0.4, 0.8], [0.2, 0.4, 0.5, 0.6]
    pairs = product(product(x, repeat=3), product(y, repeat=4))
    every = [improvement(one, other) for one, other in pairs]
    found = improvements(tables_of({"t": {"a": x, "b": y}})).iloc[0]
    low, high = np.quantile(every, [0.025, 0.975])
    assert (found["low"], found["high"]) == pytest.approx((low, high), abs=0.06)
    alike = improvements(tables_of({"t": {"a": [0.0, 1.0], "b": [0.0, 1.0]}})).iloc[0]
    assert (alike["low"], alike["high"]) == (0, 1)  # either may draw its better run twice


def test_a_run_that_did_not_finish_is_worse_than_all_that_did(tables_of):
    made = tables_of({"t": {"a": [0.1, "failed"], "b": [-9.0, "diverged"], "c": ["skipped"]}})
    table = improvements(made)
    # a's 0.1 beats both of b's; its failure loses to -9 and draws with the other failure
    assert table[["arm", "other", "improvement"]].to_numpy().tolist() == [["a", "b", 2.5 / 4]]


def test_a_probability_is_one_at_most_whatever_rounding_does(tables_of):
    runs = {"better": 2.0 + np.arange(7) / 7, "worse": np.arange(7) / 7}
    table = improvements(tables_of({f"task {n}": runs for n in range(3)}))
    assert table[["improvement", "low", "high"]].to_numpy().max() <= 1


def test_pairs_are_averaged_over_the_tasks_that_both_have(tables_of):
    one, two = {"a": [1.0, 2.0], "b": [0.0, 0.5], "c": [3.0, 4.0]}, {"a": [0.0], "b": [1.0]}
    three = {"a": [1.0, 1.0], "c": [1.0, 0.0]}
    table = improvements(tables_of({"t": one, "u": two, "v": three}))
    table = table.set_index(["task", "arm", "other"])
    over = table.loc["mean of 3 tasks"]
    assert over["n_tasks"].to_dict() == {("a", "b"): 2, ("a", "c"): 2}  # b and c share one
    assert over["improvement"].to_dict() == {("a", "b"): 0.5, ("a", "c"): 0.375}
    assert np.isfinite(over.loc[("a", "c"), "low"])
    assert np.isnan(table.loc[("u", "a", "b"), "low"])  # one run each


def test_no_number_of_an_arm_moves_because_another_was_added(plain, tables_of, rng):
    scores = {task: {arm: list(rng.random(6)) for arm in ("b", "c", "a", "d")} for task in "tu"}
    fewer = {task: {arm: arms[arm] for arm in ("b", "c")} for task, arms in scores.items()}
    many, few = tables_of(scores), tables_of(fewer)
    one, other = (
        interquartile_means(made).set_index("arm").loc[["b", "c"]] for made in (many, few)
    )
    assert one.equals(other)
    key = ["task", "arm", "other"]
    one, other = (improvements(made).set_index(key) for made in (many, few))
    np.testing.assert_allclose(one.loc[other.index], other, rtol=1e-6)


def test_streams_are_of_their_names():
    assert stream("iqm", "a").random() != stream("iqm", "b").random()
