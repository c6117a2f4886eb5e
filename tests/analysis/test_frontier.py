"""The first picture: costs with pre-training, the Pareto front, levels, names that do not collide."""

import json
from dataclasses import replace
from itertools import combinations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from scipy.optimize import minimize

from analysis.figures import canvas, colours, labels
from analysis.figures.frontier import pareto
from analysis.figures.levels import levels_told
from analysis.figures.looks import looks
from analysis.study import Study
from analysis.summaries.frontier import best_known, front, levels, points
from analysis.tables import load

FAULTS = [
    ("analysis/figures/frontier.py", 'where="post"', 'where="pre"'),
    ("analysis/summaries/frontier.py", "scores[order] > best[:-1]", "scores[order] >= best[:-1]"),
    (
        "analysis/summaries/frontier.py",
        "to_numpy(float) + before, (0.0, most))",
        "to_numpy(float) + before, (0.0, np.inf))",
    ),
    ("analysis/summaries/frontier.py", "(same & kept).any(axis=1)", "kept"),
    (
        "analysis/summaries/frontier.py",
        '["flops_to_best"].to_numpy(float) + before',
        '["flops_to_best"]',
    ),
    ("analysis/summaries/frontier.py", 'sign * table["score"])\n', 'table["score"])\n'),
    (
        "analysis/summaries/frontier.py",
        'counts.groupby("seed").max()',
        'counts.groupby("seed").min()',
    ),
    ("analysis/summaries/frontier.py", 'if known["score"] == score', "if score"),
    ("analysis/summaries/frontier.py", 'sign * known["value"]', 'known["value"]'),
    ("analysis/figures/levels.py", "not in within(known, limits)", "in within(known, limits)"),
    ("analysis/figures/labels.py", "blocks[-1][0] >= mean", "blocks[-1][0] > mean + 1"),
    ("analysis/figures/labels.py", "boxes.append(found[chosen])", "pass"),
    ("analysis/figures/labels.py", " + _STRAYED * strayed", ""),
    ("analysis/figures/labels.py", "< gaps[:, index]", "< gaps[:, 0]"),
    (
        "analysis/figures/labels.py",
        "axis=1), taken])\n    boxes = [*marks]",
        "axis=1)])\n    boxes = [*marks, *taken]",
    ),
    # from the far side of what is below or at the left; along the axes
    ("analysis/figures/labels.py", "- others[None, :, 2:]", "- others[None, :, :2]"),
    ("analysis/figures/labels.py", "return np.hypot(*np", "return np.add(*np"),
    ("analysis/figures/labels.py", "np.stack([spot, near])", "np.stack([spot, corner])"),
    ("analysis/figures/labels.py", "> 2 * (_MARK + _APART)", "> 4 * (_MARK + _APART)"),
]
TASK = "image/digits"


def test_the_front_is_what_an_enumeration_finds(rng):
    for _ in range(200):
        n = int(rng.integers(1, 9))
        costs, scores = rng.integers(0, 4, n).astype(float), rng.integers(0, 4, n).astype(float)
        beaten = [
            any(
                costs[j] <= costs[i]
                and scores[j] >= scores[i]
                and (costs[j] < costs[i] or scores[j] > scores[i])
                for j in range(n)
            )
            for i in range(n)
        ]
        assert front(costs, scores).tolist() == [not lost for lost in beaten]


def test_costs_run_to_the_selected_checkpoint_and_have_pre_training_in_them(study):
    for method in ("backprop", "last_layer", "genetic"):
        study.cell(method)
    tables = load(study.folder)
    rows = points(tables, TASK).set_index("arm")
    runs = tables.runs.set_index("arm")
    for arm in rows.index:
        spent = runs.loc[arm, "flops_to_best"] + runs.loc[arm, "pretraining_flops"]
        assert rows.loc[arm, "flops"] == pytest.approx(spent.mean())
        assert rows.loc[arm, "flops_low"] <= spent.mean() <= rows.loc[arm, "flops_high"]
    assert rows.loc["last_layer", "before"] == 1e8
    assert rows["score"].is_monotonic_decreasing


def test_no_interval_of_operations_is_beyond_what_was_spent(study):
    cell = study.folder / study.cell("backprop", seeds=range(2))
    runs = pd.read_parquet(cell / "runs.parquet")
    runs.assign(flops=1e9, flops_to_best=[1e7, 9e8]).to_parquet(cell / "runs.parquet")
    row = points(load(study.folder), TASK).iloc[0]
    assert row["flops_low"] == 0
    assert row["flops_high"] == 1e9 + row["before"]


def test_of_a_score_that_goes_down_the_least_is_on_the_front(study):
    for method in ("backprop", "genetic"):
        cell = study.folder / study.cell(method)
        runs = pd.read_parquet(cell / "runs.parquet")
        score = {"backprop": 2.0, "genetic": 1.0}[method]
        runs = runs.assign(headline_metric="some_loss", best_test_score=score, flops_to_best=5)
        runs.to_parquet(cell / "runs.parquet")
    rows = points(load(study.folder), TASK)
    assert rows[["arm", "is_front"]].to_numpy().tolist() == [["genetic", True], ["backprop", False]]


def test_levels_are_those_that_the_tables_know(study):
    study.cell("backprop")
    assert levels(load(study.folder), TASK) == {"ceiling": 1}
    made = study.predict(study.cell("genetic"))
    shares = made.groupby("seed")["target"].agg(
        lambda codes: codes.value_counts().max() / len(codes)
    )
    assert levels(load(study.folder), TASK)["chance"] == pytest.approx(shares.mean())
    study.cell("constant")
    study.cell("backprop", network="linear", default_network=False)
    tables = load(study.folder)
    found, means = levels(tables, TASK), tables.runs.groupby("arm")["best_test_score"].mean()
    assert found["chance"] == pytest.approx(means["constant"])
    assert found["linear"] == pytest.approx(means["backprop (linear)"])
    study.cell("backprop", "regression/friedman")
    assert levels(load(study.folder), "regression/friedman") == {"chance": 0, "ceiling": 1}


def known(study, cell, value, score="accuracy_score"):
    """Let a cell's manifest state a best known score."""
    path = study.folder / cell / "manifest.json"
    stated = {"value": value, "score": score, "source": "Someone (1990)"}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"best_known": stated}))


def test_the_best_known_score_is_of_the_tasks_metric_and_the_best_of_several(study):
    cells = [study.cell(method) for method in ("backprop", "genetic", "reinforce")]
    assert best_known(load(study.folder), TASK) == {}
    for cell, *stated in zip(cells, (0.97, 0.98, 0.99), ("", "", "macro_f1_score"), strict=True):
        known(study, cell, *filter(None, stated))
    tables = load(study.folder)
    assert best_known(tables, TASK)["value"] == levels(tables, TASK)["best"] == 0.98
    loss = tables.runs.assign(headline_metric="some_loss")
    for cell, value in zip(cells[:2], (0.2, 0.1), strict=True):
        known(study, cell, value, "some_loss")
    assert levels(replace(load(study.folder), runs=loss), TASK)["best"] == 0.1


def test_every_figure_of_scores_has_the_levels_or_says_where_they_are(study):
    study.cell("constant")
    for rate in (0.1, 0.2, 0.3):
        known(study, study.cell("backprop", variant=f"method.rate={rate}"), 0.97)
    made = Study(study.folder)
    for figure in ("pareto", "final_scores", "convergence", "settings"):
        (first, *_) = axes = getattr(made.plot, figure)()
        texts = [text.get_text() for text in (*first.figure.texts, *axes[0].texts)]
        said = " ".join(" ".join(texts).split())
        assert "best known 0.97" in said
        assert "Best known: 0.97, Someone (1990)." in said
        assert ("Off the axis: chance" in said) is (figure == "settings")
        plt.close(first.figure)
    assert levels_told(made.tables, TASK, (0.9, 0.95)).splitlines()[1:] == [
        f"Off the axis: chance {levels(made.tables, TASK)['chance']:.3g}, best known 0.97.",
        "Best known: 0.97, Someone (1990).",
    ]


def test_names_are_moved_no_more_than_they_must(rng):
    for _ in range(20):
        wanted = rng.uniform(0, 1, 5)
        rooms = rng.uniform(0.1, 0.19, 5)
        placed, order = labels.spread(wanted, rooms, 0, 1), np.argsort(wanted)
        needed = (rooms[order][1:] + rooms[order][:-1]) / 2
        assert (np.diff(placed[order]) > needed - 1e-9).all()
        assert (placed - rooms / 2).min() > -1e-9
        assert (placed + rooms / 2).max() < 1 + 1e-9
        constraints = [
            {"type": "ineq", "fun": lambda at, i=i, gap=gap: at[i + 1] - at[i] - gap}
            for i, gap in enumerate(needed)
        ]
        best = minimize(
            lambda at, aim=wanted[order]: ((at - aim) ** 2).sum(),
            np.linspace(0, 1, 5),
            bounds=[(room / 2, 1 - room / 2) for room in rooms[order]],
            constraints=constraints,
        )
        assert ((placed - wanted) ** 2).sum() == pytest.approx(best.fun, abs=1e-5)
    crowded = labels.spread(np.zeros(5), 0.5, 0, 1)
    np.testing.assert_allclose(crowded, [0.1, 0.3, 0.5, 0.7, 0.9])


def test_every_arm_is_named_once_and_no_name_is_on_another(study, rng):
    for index in range(12):
        variant = f"method.rate={index}"
        cell = study.folder / study.cell("genetic", variant=variant)
        runs = pd.read_parquet(cell / "runs.parquet")
        score = (0.3 if index > 7 else 0.9) + 0.005 * rng.standard_normal(len(runs))
        runs.assign(best_test_score=score).to_parquet(cell / "runs.parquet")
    study.cell("constant")
    tables = load(study.folder)
    with canvas.style():
        figure = pareto(tables, TASK, looks(tables.runs)).figure
        figure.canvas.draw()
    whole, closer = figure.axes
    for panel in figure.axes:
        (steps,) = (line for line in panel.lines if line.get_drawstyle() != "default")
        assert steps.get_drawstyle() == "steps-post"  # no score before it is paid for
    assert closer.get_ylim()[0] > 0.8
    for panel in figure.axes:
        names = [text for text in panel.texts if text.get_text() in tables.arms]
        boxes = [text.get_window_extent() for text in names]
        assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
        inside = panel.get_window_extent().padded(1)
        assert all(inside.contains(*box.min) and inside.contains(*box.max) for box in boxes)
    found = [text.get_text() for panel in figure.axes for text in panel.texts]
    assert sorted(name for name in found if name in tables.arms) == tables.arms
    assert "chance" in " ".join(text.get_text() for text in whole.texts)


def test_names_are_dark_enough_to_read():
    for colour in ("#279ed6", "#8a8a8a", "#000000"):
        rgb = np.array(mpl.colors.to_rgb(colours.readable(colour)))
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        assert 1.05 / (linear @ (0.2126, 0.7152, 0.0722) + 0.05) > 4.45


def test_a_name_is_nearer_to_its_point_than_to_another_where_there_is_room():
    """Above as below a point is room, on both sides is none: it goes where no other is near."""
    sides = np.array([[0, 0.95, 1.94, 1.05], [2.06, 0.95, 4, 1.05]])
    size, none = (4.0, 2.0), np.empty((0, 4))
    for other in (0.7, 1.3):
        heap = np.array([[2.0, 1.0], [2.0, other]])
        nameless = [[1.95, other - 0.05, 2.05, other + 0.05]]
        for place in (
            labels.around(heap, ["one", "two"], size, sides, none)[0],
            labels.around(heap[::-1], ["two", "one"], size, sides, none)[1],
            labels.around(heap[:1], ["one"], size, np.append(sides, nameless, 0), none)[0],
        ):
            assert (place[1] < 1) == (other > 1)


def test_gaps_between_boxes_are_those_of_their_nearest_points():
    """Beside, below, across a corner (3, 4, 5), overlapping, and within."""
    box = np.array([[1.0, 2.0, 3.0, 6.0]])
    others = np.array([[5, 3, 6, 4], [1, 0, 2, 1.5], [6, 10, 7, 11], [2, 5, 9, 9], [2, 3, 2, 4]])
    gaps = [2, 0.5, 5, 0, 0]
    np.testing.assert_allclose(labels._gaps(box, others), [gaps])
    np.testing.assert_allclose(labels._gaps(others, box)[:, 0], gaps)


def test_a_name_that_stands_apart_has_a_line_to_its_point(rng):
    """Of twenty points in a heap most names do; one that is alone has none."""
    for heap, some in ((rng.uniform(1.9, 2.1, (20, 2)), True), (np.array([[2.0, 2.0]]), False)):
        figure = mpl.figure.Figure((4, 4))
        axes = figure.add_axes((0, 0, 1, 1))
        names, none = [f"n{index}" for index in range(len(heap))], np.empty((0, 4))
        black = ["#000000"] * len(heap)
        assert labels.name_points(axes, heap, names, black, taken=none, bars=none) == []
        apart, lengths = [], []
        for text, (x, y) in zip(axes.texts, heap, strict=True):
            left, bottom = np.array(text.get_position()) * 4
            right, top = left + labels.width(text.get_text()), bottom + labels.SIZE / 72
            off = np.hypot(max(left - x, x - right, 0), max(bottom - y, y - top, 0))
            apart += [text.get_text()] if off > 0.171 else []
            lengths += [off] if off > 0.171 else []
        assert [line.get_gid() for line in axes.lines] == apart
        for line, length in zip(axes.lines, lengths, strict=True):  # the shortest way
            start, end = line.get_xydata() * 4
            np.testing.assert_allclose(start, heap[names.index(line.get_gid())])
            assert np.hypot(*(end - start)) == pytest.approx(length)
        assert bool(apart) == some
