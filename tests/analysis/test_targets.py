"""Costs to reach a score, against curves whose crossing is known in closed form."""

import numpy as np
import pandas as pd
import pytest

from analysis.runs import COSTS, LEVELS
from analysis.statistics.targets import between, between_checkpoints, first_reaching
from analysis.summaries.results import cost_to_target
from analysis.tables import load
from beyond.run.loop import GRID

FAULTS = [
    ("analysis/statistics/targets.py", "share = (middle - low) / (high - low)", "share = 0 * middle"),
    # the first checkpoint, as it was recorded
    ("analysis/statistics/targets.py", "share = (middle - low) / (high - low)", "share = 1 + 0 * middle"),
    ("analysis/statistics/targets.py", "(curve[after - 1] == curve[after])", "(after > 0)"),
    ("analysis/statistics/targets.py", "np.unique(curve[hits], return_index=True)", "np.unique(curve[hits][::-1], return_index=True)"),
    ("analysis/statistics/targets.py", 'values, spent = up * rows["value"]', 'values, spent = rows["value"]'),
    ("analysis/statistics/targets.py", 'rows = curves[curves["split"] == "validation"]', 'rows = curves[curves["split"] == "train"]'),
    ("analysis/statistics/targets.py", '.sort_values(["row", "checkpoint"])', '.sort_values(["row"])'),
    ("analysis/statistics/targets.py", "np.where(measured, np.inf, runs[name]", "np.where(True, np.inf, runs[name]"),
    ("analysis/statistics/targets.py", "np.divide(late - early, late,", "np.divide(late - early, late + early,"),
    ("analysis/tables.py", "if higher_is_better(score) else -1 for score in", "if True else -1 for score in"),
]  # fmt: skip

# how far a curve has come on its way to 1, and when it has come so far
LAWS = {
    "exponential": (lambda t: 1 - np.exp(-t), lambda y: -np.log(1 - y)),
    "hyperbola": (lambda t: t / (1 + t), lambda y: y / (1 - y)),
    "power law": (lambda t: 1 - (1 + t) ** -0.5, lambda y: (1 - y) ** -2 - 1),
    "logistic": (lambda t: 1 / (1 + 99 * np.exp(-t)), lambda y: np.log(99 * y / (1 - y))),
}


def replicas(curves, levels, grid, metric="accuracy_score"):
    """Runs and curves of replicas, (n, checkpoints) each, that have one level each."""
    n, points = np.shape(curves)
    known = {"run_id": "a", "seed": np.arange(n)}
    runs = pd.DataFrame({**known, "headline_metric": metric, "target_easy": levels})
    shown = {
        "run_id": "a",
        "seed": np.repeat(np.arange(n), points),
        "checkpoint": np.tile(np.arange(points), n),
        "split": "validation",
        "metric": metric,
        "value": np.ravel(curves),
        "epochs": np.tile(grid, n),
    }
    return runs.assign(epochs_to_easy=7.0), pd.DataFrame(shown)


@pytest.mark.parametrize("law", LAWS)
def test_costs_are_within_five_per_cent_of_the_true_ones_on_the_grid_of_a_run(law):
    """The first checkpoint is late by up to a fifth and more, wherever the curve lies on it."""
    rises, inverse = LAWS[law]
    grid = 1000 * np.array([0, *GRID])
    pace, level = np.meshgrid(np.geomspace(20, 150, 60), [0.1, 0.3, 0.5, 0.7, 0.9, 0.95])
    true = (pace * inverse(level)).ravel()
    inside = (true > grid[1]) & (true < grid[-1])
    curves = rises(grid / pace.reshape(-1, 1))[inside]
    runs, shown = replicas(curves, level.ravel()[inside], grid)
    found = between_checkpoints(runs, shown, np.ones(len(runs)), ["epochs"], ["easy"])
    off = found["epochs_to_easy"] / true[inside] - 1
    assert off.abs().max() < 0.05
    late = grid[(curves >= runs[["target_easy"]].to_numpy()).argmax(axis=1)] / true[inside] - 1
    assert late.max() > 0.2
    assert late.mean() > 0.1
    assert found["bracket_easy"].max() == pytest.approx(1 - 10**-0.1)  # nor could it be off by more


def test_rows_between_which_a_curve_gets_there():
    curve = np.array([0, 0, 0, 1, 1, 2, 2, 2])
    reached = np.array([0, 1, 1, 0, 0, 1, 0, 1], bool)
    which, before, after = first_reaching(curve, reached)
    assert which.tolist() == [0, 2]  # the second never does
    assert before.tolist() == [0, 5]
    assert after.tolist() == [1, 5]  # the third begins there, whatever came before it


def test_shares_of_the_way():
    assert between([0.2, 0.9], 0.5, [0.8, 0.1]).tolist() == pytest.approx([0.5, 0.5])
    assert between(1.0, 10.0, 100.0, np.log10) == pytest.approx(0.5)
    assert between(0.0, 0.25, 1.0, np.log10) == 0.25  # as it is: 0 has no logarithm
    assert between(0.5, 0.9, np.nextafter(np.float32(0.9), np.float32(0))) == 1
    assert between(0.3, 0.1, 0.3) == 1


@pytest.mark.parametrize(("metric", "sign"), [("accuracy_score", 1), ("top_error", -1)])
def test_a_level_is_reached_from_the_side_of_the_score(metric, sign):
    grid = np.array([0, 10.0, 20.0, 40.0])
    rises = np.array([[0.1, 0.3, 0.5, 0.9]])
    curves = rises if sign == 1 else 1 - rises
    runs, shown = replicas(curves, [0.4 if sign == 1 else 0.6], grid, metric)
    shuffled = shown.sample(frac=1, random_state=1)
    found = between_checkpoints(runs, shuffled, [sign], ["epochs"], ["easy"])
    assert found["epochs_to_easy"].tolist() == pytest.approx([15])
    assert found["bracket_easy"].tolist() == [0.5]


def test_a_level_met_at_the_start_costs_nothing_and_one_never_met_is_infinite():
    curves = [[0.6, 0.7], [0.1, 0.2]]
    runs, shown = replicas(curves, [0.5, 0.5], np.array([0.0, 10.0]))
    found = between_checkpoints(runs, shown, [1, 1], ["epochs"], ["easy"])
    assert found["epochs_to_easy"].tolist() == [0, np.inf]
    assert found["bracket_easy"].tolist() == pytest.approx([0, np.nan], nan_ok=True)


def test_a_study_has_costs_between_the_checkpoints_that_were_recorded(study):
    path = study.folder / study.cell("backprop", seeds=[0, 1, 2]) / "runs.parquet"
    recorded, tables = pd.read_parquet(path), load(study.folder)
    curve = tables.curves.query("split == 'validation' and metric == 'accuracy_score'")
    for level in LEVELS:
        late = recorded[f"epochs_to_{level}"].to_numpy()
        found = tables.runs[f"epochs_to_{level}"].to_numpy()
        assert (found < late).all()
        assert (found > late * 10**-0.1 - 1e-9).all()
        for seed, cost in enumerate(found):
            rows = curve[curve["seed"] == seed]
            line = np.interp(cost, rows["epochs"], rows["value"])
            assert line == pytest.approx(recorded[f"target_{level}"][0])
    flops = (tables.runs["flops_to_hard"] / tables.runs["epochs_to_hard"]).to_numpy()
    np.testing.assert_allclose(flops, 6e6)  # every currency is of the same moment
    table = cost_to_target(tables)
    assert table["how"].unique().tolist() == ["interpolated"]
    assert table["bracket"].tolist() == pytest.approx([1 - 10**-0.1] * 3)


def test_an_error_that_falls_costs_what_the_score_that_rises_does(study):
    cell = study.folder / study.cell("backprop", seeds=[0, 1, 2])
    up = load(study.folder).runs
    runs, curves = (pd.read_parquet(cell / f"{name}.parquet") for name in ("runs", "curves"))
    of_score = curves["metric"] == "accuracy_score"
    curves = curves.assign(value=np.where(of_score, 1 - curves["value"], curves["value"]))
    curves = curves.assign(metric=curves["metric"].replace("accuracy_score", "top_error"))
    curves.to_parquet(cell / "curves.parquet")
    targets = {f"target_{level}": 1 - runs[f"target_{level}"] for level in LEVELS}
    runs.assign(headline_metric="top_error", **targets).to_parquet(cell / "runs.parquet")
    down = load(study.folder).runs
    for level in LEVELS:
        np.testing.assert_allclose(down[f"epochs_to_{level}"], up[f"epochs_to_{level}"])


def test_without_its_curve_a_replica_has_the_cost_that_was_recorded(study):
    cell = study.folder / study.cell("backprop", seeds=[0, 1, 2])
    curves = pd.read_parquet(cell / "curves.parquet")
    curves[curves["seed"] > 0].to_parquet(cell / "curves.parquet")
    recorded, runs = pd.read_parquet(cell / "runs.parquet"), load(study.folder).runs
    for cost in (cost for cost in COSTS if cost != "examples"):
        assert runs[f"{cost}_to_easy"][0] == recorded[f"{cost}_to_easy"][0]
        assert runs[f"{cost}_to_easy"][1] < recorded[f"{cost}_to_easy"][1]
    assert runs["bracket_easy"].isna().tolist() == [True, False, False]
    assert cost_to_target(load(study.folder))["how"].tolist() == ["checkpoint"] * 3
