import re
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from analysis.figures import canvas, colours, gradients, learning, results, training
from analysis.figures.looks import INK, Look, distinct
from analysis.figures.looks import looks as looks_of
from analysis.figures.plots import _slug
from analysis.files import write
from analysis.runs import COSTS
from analysis.summaries.ranking import rankings
from analysis.summaries.results import cost_to_target, summary
from analysis.summaries.trajectories import WINDOW, Band, gap_bands, gradient_bands, score_bands
from analysis.tables import load

FAULTS = [
    ("analysis/figures/canvas.py", "if len(found) < 2:", "if False:"),
    ("analysis/figures/gradients.py", 'origin="lower"', 'origin="upper"'),
    ("analysis/figures/canvas.py", '    "pdf.fonttype": 42,', "    #"),
    ("analysis/figures/canvas.py", "    figure.set_dpi(DPI)\n", ""),
    (
        "analysis/figures/canvas.py",
        "not np.isfinite(limits_of(score)).all()",
        'score != "accuracy_score"',
    ),
    ("analysis/files.py", "{path.name}.{token_hex(4)}.part", "{path.name}.part"),
    ("analysis/figures/canvas.py", "x[marked], band.low[marked]", "x[marked], band.mean[marked]"),
    ("analysis/figures/canvas.py", "% max(1, len(whole)) :: n]", "% max(1, len(whole)) :: 5]"),
    ("analysis/figures/canvas.py", "Quantize.MEDIANCUT", "Quantize.FASTOCTREE"),
    ("analysis/figures/canvas.py", "places[inked] = np", "places[~inked] = 0; places[inked] = np"),
    ("analysis/figures/colours.py", "(bright + 0.05) > (bright", "(bright + 0.2) > (bright"),
    ("analysis/figures/canvas.py", "> inch * _apart(name, known)", "> 0"),
    ("analysis/figures/results.py", "plot([low, high]", "plot([mean, high]"),
    ("analysis/figures/results.py", "for arm in arms), ends]", "for arm in arms)]"),
    ("analysis/figures/training.py", "(band.low < limits[0])", "(band.high < limits[0])"),
    ("analysis/figures/learning.py", "return not low <= 0 <= high", "return True"),
    ("analysis/figures/learning.py", "].median()", "].max()"),
    ("analysis/figures/gradients.py", "band.mean - at", "band.mean"),
    ("analysis/figures/training.py", "and not above.any()", ""),
    (
        "analysis/figures/training.py",
        "if index % columns == columns - 1 or panel is row[-1]:",
        "if row:",
    ),
    ("analysis/figures/training.py", "axis.place(bands[arm].cost)[known[-1]]", "axis.right"),
]

TASK = "regression/friedman"


@pytest.fixture(scope="module")
def tables(small):
    return load(small)


@pytest.fixture
def looks(tables):
    return looks_of(tables.runs)


def texts(figure):
    return "\n".join(text.get_text() for text in figure.findobj(mpl.text.Text))


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


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.01, "0.01"), (500, "500"), (1e6, "10⁶"), (2e-5, "2 · 10⁻⁵"), (1.25e9, "1.25 · 10⁹")],
)
def test_ticks(value, text):
    assert canvas.short(value) == text


@pytest.mark.parametrize("ratio", [1.3, 2.1, 40, 1e9])
@pytest.mark.parametrize("least", [1.05e8, 3.7])
def test_a_cost_has_two_places_that_are_named_unless_costs_are_all_alike(least, ratio):
    axis = canvas.CostAxis([least, least * ratio])
    _, (axes,) = canvas.panels(1, 1, 3, "", "")
    axis.dress(axes)
    names = [text.get_text() for text in axes.texts]
    assert len({*names} - {"0"}) >= 2, names


def test_far_scores_do_not_blow_up_an_axis():
    near = np.linspace(0, 0.9, 100)
    assert canvas.score_limits(np.append(near, -1e6), "r2_score") == pytest.approx((-0.556, 0.956))
    low, high = canvas.score_limits(np.append(near, 1e6), "some_loss")
    assert low < 0 < high < 3
    assert canvas.score_limits(np.array([0.1, 0.9]), "accuracy_score") == pytest.approx(
        (0.068, 0.932)
    )
    assert canvas.score_limits(np.array([np.nan]), "accuracy_score") == (0, 1)
    for share in ("accuracy_score", "balanced_accuracy_score", "macro_f1_score"):
        assert canvas.score_limits(np.append(near / 100, 0.8), share)[1] > 0.8


def test_values_off_the_axis_are_counted():
    values = {"a": np.array([0.0, 1.0]), "b": np.array([-9.0, -8.0, np.nan])}
    assert canvas.off_axis(values, (-1, 1), "seeds") == "2 of 5 seeds lie off the axis: b."
    assert canvas.off_axis(values, (-9, 1), "seeds") == ""


def test_labels_break_where_they_may():
    assert (
        canvas.wrapped("backprop [method.learning_rate=0.01]", 1.6)
        == "backprop [method.\nlearning_rate=0.01]"
    )
    # numbers stay whole
    assert canvas.wrapped("genetic [mutation_rate=0.01]", 1.6) == "genetic [mutation_\nrate=0.01]"


def test_convergence_has_a_picture_for_each_currency_laid_out_alike(tables, looks):
    pictures = [learning.convergence(tables, TASK, looks, cost) for cost in COSTS]
    places = {tuple(panel.get_position().bounds) for p in pictures for panel in p.figure.axes}
    limits = {panel.get_ylim() for picture in pictures for panel in picture.figure.axes}
    assert len(places) == len(limits) == 1
    assert limits.pop()[0] > -0.6  # genetic starts at -3
    assert [picture.name for picture in pictures] == [f"convergence-{cost}" for cost in COSTS]
    for picture, label in zip(
        pictures, ("backprop epochs", "examples", "FLOPs", "step seconds"), strict=True
    ):
        shown = texts(picture.figure)
        for part in (
            label,
            "95 % interval (Student's t, corrected for skewness) of the mean over 5 seeds",
            "off the axis: genetic",
            "a replica diverged",
            "Thin: training score.",
        ):
            assert part in shown
        names = [text.get_text() for text in picture.figure.axes[0].texts]
        assert [name for name in names if name in tables.arms] == [
            "backprop",
            "constant",
            "genetic",
            "reinforce",
        ]


def test_the_selected_checkpoint_is_ringed_where_the_mean_is_then(tables, looks):
    (axes,) = learning.convergence(tables, TASK, looks, "flops").figure.axes
    rings = {
        line.get_markeredgecolor(): (line.get_xdata()[0], line.get_ydata()[0])
        for line in axes.lines
        if line.get_markersize() == 8
    }
    band = score_bands(tables, TASK, "flops")["backprop"]
    runs = tables.runs[(tables.runs["arm"] == "backprop") & (tables.runs["task"] == TASK)]
    x, y = rings[looks["backprop"].colour]
    assert 10**x == pytest.approx(runs["flops_to_best"].median())
    assert y == pytest.approx(np.interp(x, np.log10(band.cost[1:]), band.mean[1:]))


def test_a_gap_within_its_noise_is_not_drawn(study):
    for method in ("backprop", "genetic"):
        study.cell(method)
    cell = study.folder / "genetic-image-digits-mlp--0"
    curves = pd.read_parquet(cell / "curves.parquet")
    noise = np.random.default_rng(1).standard_normal(len(curves))
    curves.assign(value=0.5 + 0.01 * noise).to_parquet(cell / "curves.parquet")
    tables = load(study.folder)
    figure = learning.generalisation_gap(tables, "image/digits", looks_of(tables.runs)).figure
    assert "its interval holds 0 at the end of training: genetic." in texts(figure)
    assert [text.get_text() for text in figure.axes[0].texts if text.get_text() in tables.arms] == [
        "backprop"
    ]


def test_an_arm_that_spends_nothing_is_a_level_line(study):
    study.cell("backprop")
    cell = study.folder / study.cell("constant")
    curves = pd.read_parquet(cell / "curves.parquet")
    curves[curves["checkpoint"] == 0].to_parquet(cell / "curves.parquet")
    tables = load(study.folder)
    figure = learning.convergence(tables, "image/digits", looks_of(tables.runs)).figure
    grey = looks_of(tables.runs)["constant"].colour
    across = [line for line in figure.axes[0].lines if list(line.get_xdata()) == [0, 1]]
    levels = [line for line in across if line.get_color() == grey]
    start = curves[(curves["checkpoint"] == 0) & (curves["split"] == "validation")]
    mean = start.loc[start["metric"] == "accuracy_score", "value"].mean()
    assert [line.get_ydata()[0] for line in levels] == [pytest.approx(mean)]


def test_intervals_beyond_the_axis_are_said():
    one, nothing = np.ones(2), np.zeros(2)
    narrow = Band(one, one, one - 0.1, one + 0.1, nothing, 5)
    wide = Band(one, one, np.array([-9, 0.9]), np.array([0.95, 1.1]), nothing, 5)
    assert training.beyond({"a": narrow}, (0, 2)) == ""
    assert (
        training.beyond({"a": narrow, "b": wide}, (0, 2))
        == "\nSome intervals go on beyond the axis."
    )
    assert training.beyond({"a": narrow}, (1.05, 2)).startswith(
        "2 of 2 points of the means lie off the axis: a."
    )


def bars(axes):
    """What the vertical bars of a panel span: (x, low, high), by colour."""
    lines = [
        line
        for line in axes.collections
        if isinstance(line, mpl.collections.LineCollection) and line.zorder > 0
    ]
    return {
        mpl.colors.to_hex(line.get_colors()[0]): [
            (x, low, high) for (x, low), (_, high) in line.get_segments()
        ]
        for line in lines
    }


def test_arms_that_share_a_panel_take_turns_at_showing_their_intervals(tables, looks):
    bands = gap_bands(tables, TASK, "epochs")
    figure = learning.generalisation_gap(tables, TASK, looks).figure
    axis = canvas.CostAxis(np.concatenate([band.cost for band in bands.values()]))
    shown = bars(figure.axes[0])
    for arm, band in bands.items():
        drawn = shown.pop(looks[arm].colour)
        whole = {
            (axis.place(band.cost)[i], band.low[i], band.high[i])
            for i in np.flatnonzero(band.lost == 0)
        }
        assert drawn
        assert set(drawn) <= whole
    assert not shown
    one = Band(np.arange(20.0), np.ones(20), np.zeros(20), np.full(20, 2.0), np.zeros(20), 5)
    marked = []
    for place in range(6):
        axes = mpl.figure.Figure().add_subplot()
        canvas.draw_bars(axes, one.cost, one, Look("#000000", "-", "o"), place, 6)
        marked.append({x for x, _, _ in bars(axes)["#000000"]})
    assert sorted(x for points in marked for x in points) == list(range(20))


def test_text_stands_out_from_its_background():
    shades = np.stack([np.linspace(0, 1, 101)] * 3, axis=-1)
    linear = np.where(shades <= 0.04045, shades / 12.92, ((shades + 0.055) / 1.055) ** 2.4)[:, 0]
    dark = ((34 / 255 + 0.055) / 1.055) ** 2.4
    white = colours.ink(shades) == "white"
    assert (np.diff(white.astype(int)) <= 0).all()  # white on the dark ones
    contrast = np.where(white, 1.05 / (linear + 0.05), (linear + 0.05) / (dark + 0.05))
    other = np.where(white, (linear + 0.05) / (dark + 0.05), 1.05 / (linear + 0.05))
    assert (contrast >= other).all()
    assert contrast.min() > 3.9


def test_pale_colours_and_white_are_kept_in_a_png(tmp_path):
    figure, (axes,) = canvas.panels(1, 1, 2, "a title", "a note")
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.axhspan(0.2, 0.8, color="#bbbbbb", alpha=0.18, lw=0)
    for index, look in enumerate(distinct([str(i) for i in range(8)]).values()):
        axes.axhspan(
            0.2 + index * 0.01, 0.8, color=look.colour, alpha=0.18, lw=0, xmin=0.5 + 0.05 * index
        )
    _, (_, path) = canvas.save(figure, tmp_path / "figure", ["png"])
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels.shape[1::-1] == tuple(np.round(figure.get_size_inches() * canvas.DPI))
    x, y = axes.transData.transform((0.25, 0.5)).round().astype(int)
    expected = round(255 - 0.18 * (255 - 0xBB))
    assert np.abs(pixels[len(pixels) - y, x] - expected).max() <= 2


def test_each_file_is_of_the_format_in_its_name_and_a_pdf_has_letters(tmp_path):
    begins = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF-"}
    with canvas.style():
        figure, _ = canvas.panels(1, 1, 2, "a title", "a note")
        alone, _ = canvas.save(figure, tmp_path / "figure")
        shown, paths = canvas.save(figure, tmp_path / "figure", ["png", "pdf"])
    assert sorted(path.suffix[1:] for path in paths) == sorted(begins)
    content = {path.suffix[1:]: path.read_bytes() for path in paths}
    assert all(content[kind].startswith(start) for kind, start in begins.items())
    assert alone == shown == content["svg"]
    assert b"/FontFile2" in content["pdf"]  # TrueType, where Type 3 has drawings of letters
    assert b"/Type3" not in content["pdf"]


def test_gradient_maps_have_a_row_for_each_layer_and_one_scale(tables):
    figure = gradients.gradient_norms(tables, TASK).figure
    assert len(figure.axes) == 4  # the skipped arm has none
    (shown,) = figure.axes[0].images
    values = shown.get_array()
    assert shown.origin == "lower"  # and its first row is the first layer's
    assert figure.axes[0].get_ylim() == (0.5, 3.5)
    assert len(values) == 3  # the whole of the network is no layer
    bands = gradient_bands(tables, TASK, "epochs")["backprop"]
    np.testing.assert_allclose(values[:, 0], [bands[depth].mean[0] for depth in (1, 2, 3)])
    np.testing.assert_allclose(values[:, -1], [bands[depth].mean[-1] for depth in (1, 2, 3)])
    assert len({(axes.images[0].norm.vmin, axes.images[0].norm.vmax) for axes in figure.axes}) == 1
    ratios = gradients.gradient_ratios(tables, TASK).figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(ratios, values - values[2])
    assert gradients.gradient_norms(tables, TASK, "train_gradient_norm") is None  # not recorded


def test_gradients_that_vanish_and_explode_are_named(study):
    cell = study.folder / study.cell("backprop")
    layers = pd.read_parquet(cell / "layers.parquet")
    norms = {1: 1e-5, 2: 1.0, 3: 1e3}
    layers = layers.assign(gradient_norm=layers["depth"].map(norms), train_gradient_norm=1.0)
    layers.to_parquet(cell / "layers.parquet")
    tables = load(study.folder)
    figure = gradients.gradient_norms(tables, "image/digits").figure
    image = figure.axes[0].images[0]
    below, _, above = image.cmap(image.norm(image.get_array()[:, 0]))
    assert (mpl.colors.to_hex(below), mpl.colors.to_hex(above)) == gradients._ENDS
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert shown == [
        "vanishing: < 10⁻⁴",
        "10⁻⁴",
        "0.001",
        "0.01",
        "0.1",
        "1",
        "10",
        "100",
        "exploding: > 100",
    ]
    train = gradients.gradient_norms(tables, "image/digits", "train_gradient_norm")
    assert (train.name, train.figure.legends[0].get_texts()[0].get_text()) == (
        "train-gradient-norm",
        "1",
    )


def test_an_arm_that_descends_within_the_stripe_is_named(study, rng):
    study.cell("backprop")  # above the stripe, so that it need not be said
    cell = study.folder / study.cell("genetic")
    layers = pd.read_parquet(cell / "layers.parquet")
    of_mean = 0.9 * 1.96 / np.sqrt(5 * WINDOW * layers["n_weights"])
    layers.assign(update_cosine=of_mean.where(layers["checkpoint"] > 0)).to_parquet(
        cell / "layers.parquet"
    )
    tables = load(study.folder)
    shown = texts(training.update_cosine(tables, "image/digits", looks_of(tables.runs)).figure)
    errors = 0.9 * 1.96 * np.sqrt(31 / WINDOW)
    assert f"standard errors of random directions: genetic ({errors:.0f})." in shown.replace(
        "\n", " "
    )


def test_cosine_panels_name_their_null_line_and_the_arms_left_out(tables, looks):
    figure = training.update_cosine(tables, TASK, looks).figure
    shown = texts(figure)
    assert len(figure.axes) == 3
    assert "650 weights\nnull: ±0.015" in shown
    assert "No update was measured: constant." in shown
    assert "2,036 weights" not in shown  # of the whole network, which is no layer


def test_where_arms_are_many_those_told_the_same_signal_share_a_row(tables, looks, monkeypatch):
    monkeypatch.setattr(training, "MANY", 2)
    signals = dict(zip(tables.runs["arm"], tables.runs["signal"], strict=True))
    told = [name for name in ("gradient", "loss", "reward") if name in signals.values()]
    for draw, columns in ((training.update_cosine, 3),):
        figure = draw(tables, TASK, looks).figure
        rows = [
            figure.axes[first : first + columns] for first in range(0, len(figure.axes), columns)
        ]
        assert [row[0].get_title()[:5] for row in rows] == ["told "] * len(told)
        shown = [[text.get_text() for panel in row for text in panel.texts] for row in rows]
        named = [{arm for arm in signals if arm in names} for names in shown]
        assert [{signals[arm] for arm in arms} for arms in named] == [{name} for name in told]
        assert sum(arm in signals for names in shown for arm in names) == len(set().union(*named))
        assert not any(panel.get_legend() for panel in figure.axes)


def test_a_line_ends_where_its_last_value_is():
    axis, nothing = canvas.CostAxis([1, 10, 100]), np.zeros(3)
    arms = {"a": (0.1, 0.2, 0.3), "lost": (0.1, 0.2, np.nan), "never": [np.nan] * 3}
    bands = {
        arm: Band(np.array([1.0, 10, 100]), np.array(mean), nothing, nothing, nothing, 1)
        for arm, mean in arms.items()
    }
    ends = training.line_ends(axis, bands, [*arms, "absent"])
    assert ends == {"a": (2, 0.3), "lost": (1, 0.2)}


def test_final_scores_are_sorted_and_complete(tables, looks):
    figure = results.final_scores(tables, summary(tables, rankings(tables)), TASK, looks).figure
    (axes,) = figure.axes
    rows = [text for text in axes.texts if text.get_text() in tables.arms]
    # the last lost a replica and is not ranked
    assert [row.get_text() for row in rows] == ["backprop", "constant", "genetic", "reinforce"]
    heights = axes.transData.transform([(0, row.get_position()[1]) for row in rows])[:, 1]
    assert heights.tolist() == sorted(heights, reverse=True)
    points = sum(
        len(line.get_xdata()) for line in axes.lines if line.get_marker() not in ("|", "None")
    )
    assert points == 20
    assert "No score: forward_forward." in texts(figure)


def test_intervals_drawn_are_those_of_the_table_and_lie_on_the_axis(tables, looks):
    table = summary(tables, rankings(tables))
    (axes,) = results.final_scores(tables, table, TASK, looks).figure.axes
    finished = table[(table["task"] == TASK) & (table["n_seeds"] > 0)]
    ink = [line for line in axes.lines if line.get_color() == INK]
    intervals = [tuple(line.get_xdata()) for line in ink if line.get_marker() == "None"]
    assert intervals == list(finished[["low", "high"]].itertuples(index=False, name=None))
    means = [line.get_xdata()[0] for line in ink if line.get_marker() == "|"]
    assert means == finished["mean"].tolist()
    rows = pd.DataFrame({"arm": ["few seeds", "another"], "low": [0.2, 0.0], "high": [0.9, 1.0]})
    low, high = results._limits(
        rows, {"few seeds": np.array([0.5, 0.6])}, ["few seeds"], "accuracy_score"
    )
    assert 0.1 < low < 0.2
    assert 0.9 < high < 1


def test_the_better_half_is_shown_closer_where_the_others_leave_it_no_room(study):
    for place, method in enumerate(("backprop", "reinforce", "genetic", "constant")):
        cell = study.folder / study.cell(method)
        runs = pd.read_parquet(cell / "runs.parquet")
        scores = [0.97, 0.96, 0.3, 0.1][place] + 0.002 * np.arange(len(runs))
        runs.assign(best_test_score=scores).to_parquet(cell / "runs.parquet")
    tables = load(study.folder)
    table, looks = summary(tables, rankings(tables)), looks_of(tables.runs)
    whole, closer = results.final_scores(tables, table, "image/digits", looks).figure.axes
    assert whole.get_xlim()[0] < 0.1
    assert 0.9 < closer.get_xlim()[0] < 0.96
    for arm in ("backprop", "reinforce"):
        low, high = table.loc[table["arm"] == arm, ["low", "high"]].to_numpy()[0]
        assert closer.get_xlim()[0] < low < high < closer.get_xlim()[1]
    rows = {round(float(line.get_ydata()[0])) for line in closer.lines if line.get_marker() == "|"}
    assert rows == {0, 1}  # no arm is there in part


def test_misses_stand_apart_and_are_counted(tables, looks):
    figure = results.cost_to_target(tables, cost_to_target(tables), TASK, looks).figure
    for panel in figure.axes:
        texts_of = [text.get_text() for text in panel.texts]
        missing = sum(
            int(text.split("/")[0]) < int(text.split("/")[1]) for text in texts_of if "/" in text
        )
        hollow = [line for line in panel.lines if line.get_markerfacecolor() == "none"]
        assert [len(np.atleast_1d(line.get_xdata())) for line in hollow] == [1] * missing
    shown = texts(figure)
    assert len(figure.axes) == 6
    for part in ("5/5", "0/5", "4/5", "not\nreached", "hard: r2_score ≥ 0.9"):
        assert part in shown


def overlaps(figure):
    """Pairs of texts that lie upon one another."""
    figure.canvas.draw()  # puts legends in their places
    shown = [
        text
        for text in figure.findobj(mpl.text.Text)
        if text.get_text().strip() and text.get_visible()
    ]
    boxes = [(text.get_text(), text.get_window_extent().padded(-1)) for text in shown]
    return [
        (name, other) for (name, one), (other, two) in combinations(boxes, 2) if one.overlaps(two)
    ]


@pytest.mark.parametrize("costs", [(2.5e-4, 0.03), (0.5, 20), (1, 1e9), (2, 2.1)])
def test_ticks_of_a_cost_leave_each_other_room(costs):
    with canvas.style():
        figure, (axes,) = canvas.panels(1, 1, 1, "title", "", left=4, right=4)
        axis = canvas.CostAxis(costs, beyond=0.3)
        axis.dress(axes, lane=axis.high + 0.18 * axis.decades)
    assert overlaps(figure) == []
    assert len(axes.texts) > 2


def test_no_legend_or_text_leaves_the_figure(tables, looks):
    table = summary(tables, rankings(tables))
    with canvas.style():
        for picture in (
            results.overview(table),
            results.final_scores(tables, table, TASK, looks),
            learning.convergence(tables, TASK, looks),
            learning.generalisation_gap(tables, TASK, looks),
            training.update_cosine(tables, TASK, looks),
            gradients.gradient_norms(tables, TASK),
            results.cost_to_target(tables, cost_to_target(tables), TASK, looks),
        ):
            figure = picture.figure
            assert overlaps(figure) == []
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
    looks, table, task = (
        looks_of(tables.runs),
        summary(tables, rankings(tables)),
        "image/digits",
    )
    assert learning.convergence(tables, task, looks) is None
    assert learning.generalisation_gap(tables, task, looks) is None
    assert gradients.gradient_norms(tables, task) is None
    assert training.update_cosine(tables, task, looks) is None
    assert results.final_scores(tables, table, task, looks) is None
    assert results.cost_to_target(tables, cost_to_target(tables), task, looks) is None


def test_tasks_that_differ_in_a_setting_have_separate_files_and_columns(study):
    for value in ("-1", "1", "10", "2"):
        study.cell("backprop", variant=f"task.shift={value}")
    tables = load(study.folder)
    assert len({_slug(task) for task in tables.tasks}) == 4
    panel = results.overview(summary(tables, rankings(tables))).figure.axes[0]
    heads = [text.get_text().replace("\n", "") for text in panel.texts]
    shown = [head.partition("=")[2] for head in heads if "shift=" in head]
    assert shown == ["-1", "1", "2", "10"]


def test_the_overview_colours_a_rank_by_its_place_among_the_arms_of_its_task(study):
    few, many = ("backprop", "genetic"), ("backprop", "genetic", "constant")
    for task, methods in (("image/digits", few), ("text/languages", many)):
        for method in methods:
            study.cell(method, task)
    figure = results.overview(summary(tables := load(study.folder), rankings(tables))).figure
    assert figure.axes[0].collections[0].get_array().compressed().tolist() == [0.5] * 5


def test_what_many_write_at_once_is_whole_and_what_cannot_be_written_is_named(tmp_path):
    path, texts = tmp_path / "figures/a.svg", [str(n % 7) * 10**4 * (n + 1) for n in range(99)]
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda text: write(path, text), texts))
    assert path.read_text() in texts
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match=re.escape(repr(str(tmp_path / "folder")))):
        write(tmp_path / "folder", "")
    assert not list(tmp_path.rglob("*.part"))
