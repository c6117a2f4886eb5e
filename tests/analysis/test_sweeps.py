"""Sweeps of a number: which arms make a curve, and what is drawn of it."""

import json

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection

from analysis.figures import canvas
from analysis.figures.looks import looks
from analysis.figures.sweeps import settings
from analysis.summaries.sweeps import sweeps
from analysis.tables import load

FAULTS = [
    ("analysis/figures/sweeps.py", "x, one.low, one.high", "x, one.mean, one.high"),
    ("analysis/summaries/sweeps.py", "if len(arms) >= FEWEST", "if len(arms) > FEWEST"),
    ("analysis/summaries/sweeps.py", 'rows["best_validation_score"].mean()', "rows[RESULT].mean()"),
    ("analysis/summaries/sweeps.py", 'part.partition("=")[0] != name', "True"),
    ("analysis/summaries/sweeps.py", "sorted(arms)", "list(arms)"),
    ("analysis/figures/sweeps.py", "x[one.best], one.mean[one.best]", "x[0], one.mean[0]"),
]
TASK = "image/digits"


def made(study):
    """A sweep of a rate by two methods, of which the best by validation is not that by test."""
    test, validation = {1: 0.5, 2: 0.8, 10: 0.7}, {1: 0.5, 2: 0.7, 10: 0.8}
    for method in ("genetic", "backprop"):
        for rate in test:
            more = ", activation=tanh" if method == "backprop" else ""
            cell = study.folder / study.cell(method, variant=f"optimizer.rate={rate}{more}")
            runs = pd.read_parquet(cell / "runs.parquet")
            scores = test[rate] + 0.01 * np.arange(len(runs))
            runs = runs.assign(best_test_score=scores, best_validation_score=validation[rate])
            runs.to_parquet(cell / "runs.parquet")
    study.cell("genetic", variant="optimizer.rate=high")
    study.cell("reinforce", variant="optimizer.rate=0.1")
    study.cell("reinforce", variant="optimizer.rate=0.2")
    return load(study.folder)


def test_arms_that_differ_in_one_number_make_a_curve(study):
    tables = made(study)
    found = {sweep.name: sweep for sweep in sweeps(tables, TASK)}
    assert set(found) == {"genetic", "backprop [activation=tanh]"}  # two numbers are no curve
    one = found["genetic"]
    assert one.values.tolist() == [1, 2, 10]
    assert one.arms[0] == "genetic [optimizer.rate=1]"
    np.testing.assert_allclose(one.mean, [0.52, 0.82, 0.72])
    assert (one.low < one.mean).all()
    assert one.best == 2


def test_the_default_is_a_point_where_a_manifest_knows_it(study):
    for rate in (0.1, 0.2):
        study.cell("genetic", variant=f"mutation.rate={rate}")
    run = study.cell("genetic")
    assert sweeps(load(study.folder), TASK) == []
    path = study.folder / run.replace("/", "-") / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["settings"] = {"method": {"mutation": {"rate": 0.05}}}
    path.write_text(json.dumps(manifest))
    (one,) = sweeps(load(study.folder), TASK)
    assert (one.values.tolist(), one.arms[0]) == ([0.05, 0.1, 0.2], "genetic")


def test_curves_have_the_colours_of_their_methods_and_a_ring_at_the_best_by_validation(study):
    tables = made(study)
    look = looks(tables.runs)
    with canvas.style():
        (axes,) = settings(tables, TASK, look).figure.axes
    rings = [line for line in axes.lines if line.get_markersize() == 10]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in rings] == [(1, 0.72)] * 2
    drawn = [
        np.array(collection.get_segments())[:, :, 1]
        for collection in axes.collections
        if isinstance(collection, LineCollection) and collection.get_alpha() == 0.8
    ]
    ends = [np.stack([one.low, one.high], 1) for one in sweeps(tables, TASK)]
    np.testing.assert_allclose(np.concatenate(drawn), np.concatenate(ends))
    colours = {line.get_color() for line in rings}
    assert colours == {
        look[arm].colour for arm in look if arm.split(" ")[0] in ("genetic", "backprop")
    }
    names = [text.get_text() for text in axes.findobj(mpl.text.Text)]
    assert {"genetic", "backprop [activation=tanh]", "optimizer.rate", "10"} <= set(names)


def test_without_a_sweep_there_is_no_figure(study):
    study.cell("backprop")
    tables = load(study.folder)
    assert settings(tables, TASK, looks(tables.runs)) is None
