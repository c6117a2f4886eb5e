from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.summaries.trajectories import (
    MAX_POINTS,
    WINDOW,
    alignment,
    band,
    forward_fill,
    gap_bands,
    gradient_bands,
    score_bands,
)
from analysis.tables import load

FAULTS = [
    ("analysis/summaries/trajectories.py", "shares.mean / (shares.n * d)", "shares.mean / d"),
    ("analysis/summaries/trajectories.py", "assign(value=1 / smooth[", "assign(value=0 * smooth["),
    (
        "analysis/summaries/trajectories.py",
        "np.minimum(place + reach + 1, ends[replica])",
        "np.minimum(place + reach + 1, len(rows))",
    ),
    ("analysis/summaries/trajectories.py", 'total["size"] / d)', 'total["size"])'),
]


def test_forward_fill_by_hand():
    filled = forward_fill(
        np.array([0.0, 2.0, 2.0, 5.0]),
        np.array([1.0, 2.0, 3.0, 4.0]),
        np.array([-1, 0, 1, 2, 4, 5, 9]),
    )
    np.testing.assert_array_equal(filled, [np.nan, 1, 1, 3, 3, 4, 4])


def replicas(*curves):
    parts = [
        pd.DataFrame({"seed": i, "status": s, "epochs": c, "value": v})
        for i, (s, c, v) in enumerate(curves)
    ]
    return pd.concat(parts)


def test_band_averages_seeds_on_the_union_of_their_costs():
    found = band(
        replicas(("finished", [0, 2], [0.0, 1.0]), ("finished", [0, 1, 3], [0.0, 2.0, 4.0])),
        "epochs",
    )
    np.testing.assert_array_equal(found.cost, [0, 1, 2, 3])
    np.testing.assert_array_equal(found.mean, [0, 1, 1.5, 2.5])
    half = stats.t.ppf(0.975, 1) / 2  # of two values that are 1 apart
    np.testing.assert_allclose(found.high, [0, 1 + 2 * half, 1.5 + half, 2.5 + 3 * half])
    assert (found.n, found.lost.sum()) == (2, 0)


def test_a_diverged_replica_is_not_carried_on():
    found = band(
        replicas(("diverged", [0, 1], [0.0, 8.0]), ("finished", [0, 1, 2], [0.0, 2.0, 4.0])),
        "epochs",
    )
    np.testing.assert_array_equal(found.mean, [0, 5, 4])
    np.testing.assert_array_equal(found.lost, [0, 0, 1])
    assert np.isnan(found.low[2])


def test_many_points_are_thinned_and_keep_their_ends():
    costs = np.arange(1000.0)
    found = band(replicas(("finished", costs, costs)), "epochs")
    assert len(found.cost) == MAX_POINTS
    assert found.mean[[0, -1]].tolist() == [0, 999]


def test_scores_are_of_the_validation_split_and_gaps_of_both(study):
    study.cell("backprop", seeds=[0])
    study.cell("evolution_strategies", seeds=[0])  # skips checkpoints
    tables = load(study.folder)
    scores, gaps = (bands(tables, "image/digits", "flops") for bands in (score_bands, gap_bands))
    assert list(scores) == list(gaps) == ["backprop", "evolution_strategies"]
    curves = tables.curves[tables.curves["metric"] == "accuracy_score"].set_index(["arm", "split"])[
        "value"
    ]
    for arm in scores:
        train, validation = (
            curves.loc[[(arm, split)]].to_numpy() for split in ("train", "validation")
        )
        np.testing.assert_allclose(scores[arm].mean, validation)
        np.testing.assert_allclose(gaps[arm].mean, train - validation)


def test_gradients_are_averaged_geometrically(study):
    cell = study.folder / study.cell("backprop", seeds=[0, 1])
    layers = pd.read_parquet(cell / "layers.parquet")
    layers["gradient_norm"] = np.where(layers["seed"] == 0, 1.0, 100.0) * (layers["depth"] != 2)
    layers.to_parquet(cell / "layers.parquet")
    bands = gradient_bands(load(study.folder), "image/digits", "epochs")["backprop"]
    assert list(bands) == [1, 2, 3]
    np.testing.assert_allclose(bands[1].mean, 1)  # log10 of 10
    np.testing.assert_allclose(bands[2].mean, -12)  # of zero: the lower end


def test_alignment_has_a_panel_a_layer_and_leaves_out_arms_without_updates(study):
    study.cell("backprop")
    study.cell("constant")
    study.cell("genetic", network="cnn", default_network=False)
    layers = alignment(load(study.folder), "image/digits", "epochs")
    assert [(layer.network, layer.layer) for layer in layers] == [
        (network, f"linear_{depth}") for network in ("cnn", "mlp") for depth in (1, 2, 3)
    ]
    assert [list(layer.bands) for layer in layers[::3]] == [["genetic (cnn)"], ["backprop"]]
    assert layers[0].bands["genetic (cnn)"].cost[0] > 0  # no update at the start


def test_the_null_is_that_of_the_arm_with_the_fewest_seeds(study):
    study.cell("backprop", seeds=range(5))
    study.cell("genetic", seeds=range(3))
    (layer, *_) = alignment(load(study.folder), "image/digits", "epochs")
    assert {arm: band.n for arm, band in layer.bands.items()} == {"backprop": 5, "genetic": 3}
    # fewer checkpoints are averaged at the ends
    counts = np.array([3, 4, *[WINDOW] * (len(layer.null) - 4), 4, 3])
    np.testing.assert_allclose(layer.null, 1.96 / np.sqrt(3 * counts * layer.n_weights))


def test_cosines_are_averaged_over_the_checkpoints_around_each_of_one_seed(study):
    cell = study.folder / study.cell("backprop", seeds=range(3))
    layers = pd.read_parquet(cell / "layers.parquet")
    layers["update_cosine"] = layers["seed"] + layers["checkpoint"].where(layers["checkpoint"] > 0)
    layers.to_parquet(cell / "layers.parquet")
    (layer, *_) = alignment(load(study.folder), "image/digits", "epochs")
    n = layers["checkpoint"].max()
    expected = [1 + np.mean(range(max(1, k - 2), min(n, k + 2) + 1)) for k in range(1, n + 1)]
    np.testing.assert_allclose(layer.bands["backprop"].mean, expected)


def test_random_directions_stay_within_the_null_and_have_errors_of_one(study, rng):
    study.cell("genetic", seeds=range(5))
    tables = load(study.folder)
    inside, errors = [], []
    for _ in range(30):
        draws = rng.standard_normal((len(tables.layers), 20))
        cosines = pd.Series(draws[:, 0] / np.linalg.norm(draws, axis=1))
        cosines = cosines.where(tables.layers["checkpoint"] > 0)
        layers = tables.layers.assign(n_weights=20, update_cosine=cosines)
        for layer in alignment(replace(tables, layers=layers), "image/digits", "epochs"):
            inside.append(np.abs(layer.bands["genetic"].mean) < layer.null)
            errors.append(layer.errors["genetic"])
    assert np.mean(inside) == pytest.approx(0.95, abs=0.02)
    assert np.std(errors) == pytest.approx(1, abs=0.2)
