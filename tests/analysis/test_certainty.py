"""When a mean is past a target, against a published record, Student's t and simulation."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.statistics.inference import at_least
from analysis.summaries.certainty import bound, margin, mean_to_target

FAULTS = [
    ("analysis/summaries/certainty.py", "np.asarray(c, float) / np.sqrt(n)", "np.asarray(c, float)"),
    ("analysis/summaries/certainty.py", "student.ppf(LEVEL,", "student.ppf((1 + LEVEL) / 2,"),
    ("analysis/summaries/certainty.py", "bound(mean, n, margins)", "bound(mean, n**2, margins)"),
    ("analysis/summaries/certainty.py", "squares / np.maximum(n - 1, 1)", "squares / n"),
    # direction
    ("analysis/summaries/certainty.py", "1.0 if higher_is_better(score) else -1.0", "1.0"),
    # missing rows: a run that was lost, one that ended, one that did not begin
    ("analysis/summaries/certainty.py", "table[ended & (", "table[False & ("),
    ("analysis/summaries/certainty.py", '(runs["status"] != "finished").to_numpy()', '(runs["status"] != "").to_numpy()'),
    ("analysis/summaries/certainty.py", 'isin(["skipped", "untrained"])', 'isin(["skipped"])'),
    ("analysis/summaries/certainty.py", "np.isfinite(target) & measured", "np.isfinite(target)"),
    # the grid
    ("analysis/summaries/certainty.py", "share = np.where(np.isfinite(past[before]), share, 1.0)", "share = np.where(np.isfinite(past[before]), 0 * share, 1.0)"),
    ("analysis/statistics/targets.py", "np.take_along_axis(table, np.maximum(last, 0)[..., None], axis=1)", "table"),
    # pairing of arms with their curves
    ("analysis/summaries/certainty.py", 'runs = runs.sort_values(["task", "arm", "seed"], ignore_index=True)', "runs = runs[::-1].reset_index(drop=True)"),
]  # fmt: skip


def curves(run_id, values, metric="accuracy_score", grid=None):
    """Rows of curves from (seeds, checkpoints); what is not finite has no row."""
    values = np.asarray(values, float)
    grid = 10.0 * np.arange(values.shape[1]) if grid is None else np.asarray(grid)
    seed, point = (axis.ravel() for axis in np.indices(values.shape))
    rows = pd.DataFrame({"run_id": run_id, "seed": seed, "checkpoint": point})
    rows = rows.assign(split="validation", metric=metric, headline_metric=metric)
    costs = {name: grid[point] * 2.0**place for place, name in enumerate(("steps", "epochs"))}
    rows = rows.assign(value=values.ravel(), **costs, examples=0.0, flops=0.0, seconds=0.0)
    return rows[np.isfinite(rows["value"])]


def is_past(mean, target, n, c):
    """Whether (mean - target) sqrt(n) >= c."""
    return at_least(bound(mean, n, c), target)


def test_a_record_counts_from_where_its_report_says():
    """A record of the optimizer track of modded-nanogpt: ten runs, target 3.28, c = 0.004."""
    steps = [3100, 3125, 3150, 3175, 3200]
    means = np.array([3.27877, 3.27752, 3.27641, 3.27569, 3.27534])
    passed = is_past(-means, -3.28, 10, 0.004)
    assert dict(zip(steps, passed.tolist(), strict=True)) == {
        3100: False, 3125: True, 3150: True, 3175: True, 3200: True
    }  # fmt: skip
    # what the rule asks of one run, of four, of eight
    for n, most in ((1, 3.276), (4, 3.278), (8, 3.28 - 0.004 / np.sqrt(8))):
        assert is_past(-most, -3.28, n, 0.004)
        assert not is_past(-most - 1e-6, -3.28, n, 0.004)


def test_without_c_the_rule_is_students_one_sided_test(rng):
    for _ in range(200):
        values = rng.normal(0.3, 1, 6)
        p = stats.ttest_1samp(values, 0, alternative="greater").pvalue
        assert is_past(values.mean(), 0, 6, margin(values.std(ddof=1), 6)) == (p <= 0.05)
    assert margin(1.0, 10) == pytest.approx(1.833, abs=0.001)
    assert np.isinf(margin(1.0, 1))


def test_at_one_look_an_arm_at_the_target_passes_in_one_of_twenty(rng):
    values = rng.standard_normal((20_000, 10))
    passed = is_past(values.mean(1), 0, 10, margin(values.std(1, ddof=1), 10))
    assert passed.mean() == pytest.approx(0.05, abs=0.005)


@pytest.mark.parametrize(("metric", "sign"), [("accuracy_score", 1), ("top_error", -1)])
def test_costs_are_where_the_bound_of_the_mean_crosses(tables_of, metric, sign):
    apart = np.array([[-0.1], [0.0], [0.1]])
    scores = np.array([0.0, 0.2, 0.6, 1.0]) + apart
    value = scores if sign == 1 else 1 - scores
    made = tables_of({"t": {"a": [0.5] * 3}}, metric, curves("t/a", value, metric), target_hard=0.5)
    row = mean_to_target(made).iloc[0]
    c = 0.1 * stats.t.ppf(0.95, 2)
    assert row[["level", "n", "c"]].tolist() == ["hard", 3, pytest.approx(c)]
    at = 0.5 + c / np.sqrt(3)  # where the mean is then
    assert row["steps"] == pytest.approx(np.interp(at, [0.6, 1.0], [20, 30]))
    assert row["epochs"] == pytest.approx(2 * row["steps"])
    fixed = mean_to_target(made, c=0.0).iloc[0]
    assert fixed["steps"] == pytest.approx(17.5)  # where the mean itself crosses


def test_runs_that_are_lost_end_the_claim_and_runs_that_stop_do_not(tables_of):
    rising = np.array([0.0, 0.3, 0.6, 0.9])
    value = np.stack([rising, rising, rising])
    value[2, 2:] = np.nan
    steps = {}
    for status in ("finished", "diverged", "untrained"):
        scores = {"t": {"a": [0.5, 0.5, 0.5 if status == "finished" else status]}}
        made = tables_of(scores, curves=curves("t/a", value), target_easy=0.25, target_hard=0.65)
        table = mean_to_target(made).set_index("level")
        steps[status] = table["steps"].to_dict()
        assert table["n"].unique().tolist() == [2 if status == "untrained" else 3]
    assert steps["diverged"] == {"easy": pytest.approx(25 / 3), "hard": np.inf}
    assert steps["untrained"]["hard"] == pytest.approx(20 + 10 * 0.05 / 0.3)
    assert np.isinf(steps["finished"]["hard"])  # the mean ends at 0.7, too unsure with one at 0.3
    fixed = mean_to_target(
        tables_of({"t": {"a": [0.5] * 3}}, curves=curves("t/a", value), target_hard=0.65), c=0.0
    )
    # three quarters of the way from 20, 20 and 10 steps to 30, 30 and 10
    assert fixed["steps"].tolist() == [pytest.approx((50 + 0.75 * 20) / 3)]


def test_a_checkpoint_that_a_long_step_skips_has_the_last_score(tables_of):
    dense = curves("t/a", np.tile(np.linspace(0, 1, 11), (2, 1)))
    made = curves("t/b", np.tile(np.linspace(0, 1, 11), (2, 1)))
    sparse = made[made["checkpoint"] % 5 == 0]
    tables = tables_of(
        {"t": {"b": [0.5] * 2, "a": [0.5] * 2}},
        curves=pd.concat([sparse, dense]),
        target_hard=0.55,
    )
    found = mean_to_target(tables).set_index("arm")["steps"]
    assert found.to_dict() == pytest.approx({"a": 55, "b": 55})


def test_arms_keep_their_curves_and_their_numbers(tables_of, rng):
    made = {arm: curves(f"t/{arm}", rng.random((3, 5)).cumsum(axis=1)) for arm in "cab"}
    scores = {"t": {arm: [0.5] * 3 for arm in made}}
    whole = tables_of(scores, curves=pd.concat(list(made.values())), target_easy=1.0)
    table = mean_to_target(whole).set_index("arm")
    for arm, rows in made.items():
        alone = mean_to_target(
            tables_of({"t": {arm: [0.5] * 3}}, curves=rows, target_easy=1.0)
        ).set_index("arm")
        assert alone.loc[arm].equals(table.loc[arm])


def test_an_arm_without_curves_is_not_said_to_miss(tables_of):
    scores = {"t": {"a": [0.5] * 2, "published": [0.5] * 2}}
    made = tables_of(scores, curves=curves("t/a", [[0.0, 1.0]] * 2), target_easy=0.5)
    assert mean_to_target(made)["arm"].tolist() == ["a"]
    assert mean_to_target(tables_of(scores, target_easy=0.5)).empty


def test_one_run_alone_is_never_certain(tables_of):
    made = tables_of({"t": {"a": [0.5]}}, curves=curves("t/a", [[0.0, 1.0]]), target_easy=0.5)
    assert np.isinf(mean_to_target(made)["steps"]).all()
    assert mean_to_target(made, c=0.1)["steps"].tolist() == pytest.approx([6])
