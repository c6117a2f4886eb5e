import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from analysis import canvas, figures
from analysis import result_figures as results
from analysis import training_figures as training
from analysis.ranking import rankings
from analysis.summaries import cost_to_target, summary
from analysis.tables import load
from analysis.trajectories import Band

TASK = "regression/friedman"


@pytest.fixture(scope="module")
def tables(small):
    return load(small)


@pytest.fixture
def looks(tables):
    return canvas.looks(tables.arms)


def texts(figure):
    return "\n".join(text.get_text() for text in figure.findobj(mpl.text.Text))


def test_forty_arms_look_different():
    looks = canvas.looks([f"arm {i}" for i in range(40)]).values()
    assert len({(look.colour, look.line) for look in looks}) == 40
    assert len({(look.colour, look.marker) for look in looks}) == 40


def test_settings_of_the_user_are_put_back():
    before = dict(mpl.rcParams)
    with canvas.style():
        assert mpl.rcParams["svg.hashsalt"] == "beyond"
    assert dict(mpl.rcParams) == before


def test_the_start_has_a_place_on_a_logarithmic_axis():
    axis = canvas.CostAxis([0, 0.1, 1, 1000, np.inf])
    places = axis.place(np.array([0, 0.1, 1000]))
    np.testing.assert_allclose(places[1:], [-1, 3])
    assert places[0] < -1
    assert canvas.CostAxis([0.0]).place(np.array([0.0])) < 0  # an arm that costs nothing


@pytest.mark.parametrize(("value", "text"), [(0.01, "0.01"), (500, "500"), (1e6, "10⁶"), (2e-5, "2 · 10⁻⁵")])
def test_ticks(value, text):
    assert canvas.short(value) == text


def test_far_scores_do_not_blow_up_an_axis():
    near = np.linspace(0, 0.9, 100)
    assert canvas.score_limits(np.append(near, -1e6), "r2_score") == pytest.approx((-0.556, 0.956))
    low, high = canvas.score_limits(np.append(near, 1e6), "some_loss")
    assert low < 0 < high < 3
    assert canvas.score_limits(np.array([0.1, 0.9]), "accuracy_score") == pytest.approx((0.068, 0.932))
    assert canvas.score_limits(np.array([np.nan]), "accuracy_score") == (0, 1)


def test_values_off_the_axis_are_counted():
    values = {"a": np.array([0.0, 1.0]), "b": np.array([-9.0, -8.0, np.nan])}
    assert canvas.off_axis(values, (-1, 1), "seeds") == "2 of 5 seeds lie off the axis: b."
    assert canvas.off_axis(values, (-9, 1), "seeds") == ""


def test_labels_break_where_they_may():
    assert canvas.wrapped("backprop [method.learning_rate=0.01]", 1.6) == "backprop [method.\nlearning_rate=0.01]"
    assert canvas.wrapped("genetic [mutation_rate=0.01]", 1.6) == "genetic [mutation_\nrate=0.01]"  # numbers stay whole


def test_convergence_has_four_panels_on_one_score_axis(tables, looks):
    figure = training.convergence(tables, TASK, looks).figure
    limits = {panel.get_ylim() for panel in figure.axes}
    assert len(figure.axes) == 4
    assert len(limits) == 1
    assert limits.pop()[0] > -0.6  # genetic starts at -3
    shown = texts(figure)
    for part in ("FLOPs", "seconds", "examples", "epochs"):
        assert part in shown
    for part in (
        "95 % interval (Student's t, corrected for skewness) of the mean over 5 seeds",
        "off the axis: genetic",
        "a replica diverged",
    ):
        assert part in shown


def test_an_arm_that_spends_nothing_is_a_level_line(study):
    study.cell("backprop")
    cell = study.folder / study.cell("constant")
    curves = pd.read_parquet(cell / "curves.parquet")
    curves[curves["checkpoint"] == 0].to_parquet(cell / "curves.parquet")
    tables = load(study.folder)
    figure = training.convergence(tables, "image/digits", canvas.looks(tables.arms)).figure
    levels = [line for line in figure.axes[0].lines if list(line.get_xdata()) == [0, 1]]
    start = curves[(curves["checkpoint"] == 0) & (curves["split"] == "validation")]
    mean = start.loc[start["metric"] == "accuracy_score", "value"].mean()
    assert [line.get_ydata()[0] for line in levels] == [pytest.approx(mean)]


def test_an_interval_wider_than_the_axis_is_named_instead():
    one, nothing = np.ones(2), np.zeros(2)
    narrow = Band(one, one, one - 0.1, one + 0.1, nothing, 5)
    wide = Band(one, one, np.array([-9, 0.9]), np.array([9, 1.1]), nothing, 5)
    fitted, note = training._fitted({"a": narrow, "b": wide}, (0, 2))
    assert note == "\nIntervals wider than the axis are not drawn: b."
    np.testing.assert_array_equal(fitted["a"].low, narrow.low)
    np.testing.assert_array_equal(fitted["b"].low, [np.nan, 0.9])


def test_gradient_panels_share_an_axis_with_both_zones(tables):
    figure = training.gradient_norms(tables, TASK).figure
    assert len(figure.axes) == 4  # the skipped arm has none
    low, high = figure.axes[-1].get_ylim()
    assert low < -4
    assert high > 2
    shown = texts(figure)
    assert "vanishing: < 10⁻⁴" in shown
    assert "exploding: > 100" in shown
    assert "depth 3: linear_3" in shown
    assert "network" not in shown  # the whole of it is no layer


def test_cosine_panels_name_their_null_line_and_the_arms_left_out(tables, looks):
    figure = training.update_cosine(tables, TASK, looks).figure
    shown = texts(figure)
    assert len(figure.axes) == 3
    assert "650 weights\nnull: ±0.034" in shown
    assert "No update was measured: constant." in shown
    assert "2,036 weights" not in shown  # of the whole network, which is no layer


def test_where_arms_are_many_those_told_the_same_signal_share_a_row(tables, looks, monkeypatch):
    monkeypatch.setattr(training, "MANY", 2)
    signals = dict(zip(tables.runs["arm"], tables.runs["signal"], strict=True))
    told = [name for name in ("gradient", "loss", "reward") if name in signals.values()]
    for draw, columns in ((training.convergence, 2), (training.generalisation_gap, 1), (training.update_cosine, 3)):
        figure = draw(tables, TASK, looks).figure
        rows = [figure.axes[first : first + columns] for first in range(0, len(figure.axes), columns)]
        legends = [[text.get_text() for text in row[-1].get_legend().get_texts()] for row in rows]
        shown = [{arm for arm in signals if arm in names} for names in legends]
        assert [{signals[arm] for arm in arms} for arms in shown] == [{name} for name in told]
        assert len(figure.legends) == 0


def test_arms_that_may_share_a_panel_differ_in_colour(tables, monkeypatch):
    monkeypatch.setattr(training, "MANY", 2)
    order = figures._neighbours(tables)
    signals = dict(zip(tables.runs["arm"], tables.runs["signal"], strict=True))
    assert sorted(order) == tables.arms
    assert [signals[arm] for arm in order] == sorted(signals[arm] for arm in order)


def test_final_scores_are_sorted_and_complete(tables, looks):
    figure = results.final_scores(tables, summary(tables, rankings(tables)), TASK, looks).figure
    (axes,) = figure.axes
    rows = [text for text in axes.texts if text.get_text() in tables.arms]
    assert [row.get_text() for row in rows] == [
        "backprop",
        "constant",
        "genetic",
        "reinforce",
    ]  # the last lost a replica and is not ranked
    assert axes.transData.transform([(0, row.get_position()[1]) for row in rows])[:, 1].tolist() == sorted(
        axes.transData.transform([(0, row.get_position()[1]) for row in rows])[:, 1], reverse=True
    )
    points = sum(len(line.get_xdata()) for line in axes.lines if line.get_marker() not in ("|", "None"))
    assert points == 20
    assert "No score: forward_forward." in texts(figure)


def test_misses_stand_apart_and_are_counted(tables, looks):
    figure = results.cost_to_target(tables, cost_to_target(tables), TASK, looks).figure
    shown = texts(figure)
    assert len(figure.axes) == 6
    for part in ("5/5", "0/5", "4/5", "not\nreached", "hard: r2_score ≥ 0.9"):
        assert part in shown


def test_no_legend_or_text_leaves_the_figure(tables, looks):
    with canvas.style():
        for picture in (training.update_cosine(tables, TASK, looks), training.gradient_norms(tables, TASK),
                        results.cost_to_target(tables, cost_to_target(tables), TASK, looks)):  # fmt: skip
            figure = picture.figure
            renderer = figure.canvas.get_renderer()
            panels = [axes.get_window_extent(renderer) for axes in figure.axes]
            legends = [legend.get_window_extent(renderer) for legend in figure.legends]
            assert not any(panel.overlaps(legend) for panel in panels for legend in legends)
            for axes in figure.axes:
                inside = figure.bbox.padded(1)
                box = axes.get_tightbbox(renderer)
                assert inside.contains(box.x0, box.y0)
                assert inside.contains(box.x1, box.y1)


def test_a_task_without_any_result_has_no_figures(study):
    study.cell("genetic", status="skipped")
    tables = load(study.folder)
    looks, table, task = canvas.looks(tables.arms), summary(tables, rankings(tables)), "image/digits"
    assert training.convergence(tables, task, looks) is None
    assert training.generalisation_gap(tables, task, looks) is None
    assert training.gradient_norms(tables, task) is None
    assert training.update_cosine(tables, task, looks) is None
    assert results.final_scores(tables, table, task, looks) is None
    assert results.cost_to_target(tables, cost_to_target(tables), task, looks) is None
