"""A page of a study with known numbers: quantities, verdicts, figure; a changed number is found."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.collections import LineCollection
from scipy.stats import norm

from analysis import paper, verify
from analysis.figures.looks import CONTROL, distinct, looks, of_series
from analysis.figures.paper import _curves as drawn_curves
from analysis.figures.paper import _histogram as drawn_histogram
from analysis.figures.paper import _map as drawn_map
from analysis.page.paper import measured_rows
from analysis.runs import is_amount
from analysis.statistics import inference as statistics
from analysis.summaries import quantities
from analysis.summaries.expressions import RANGE
from analysis.tables import TableError, load

FAULTS = [
    ("analysis/paper.py", 're.search(r"\\{\\w+\\}", str(entry))', "None"),
    ("analysis/figures/looks.py", "            turns[method] += 1\n    return found\n\n\ndef distinct", "    return found\n\n\ndef distinct"),
    ("analysis/summaries/quantities.py", '"name": str(_filled(entry["name"], labels))', '"name": str(_filled(entry["name"], values))'),
    ("analysis/summaries/expressions.py", "signature(_FUNCTIONS[name]).bind(*given)", "pass"),
    ("analysis/summaries/quantities.py", "column == column.max()", "column == column.iloc[-1]"),
    ("analysis/summaries/quantities.py", "**reduced) * times + plus", "**reduced) + plus"),
    ("analysis/paper.py", 'take.get("column", "value"), *told]', 'take.get("column", "value")]'),
    ("analysis/paper.py", 'if str(place) not in places]', "if False]"),
    ("analysis/figures/paper.py", "[mean - bounds[:, 0], bounds[:, 1] - mean]", "[bounds[:, 1] - mean, mean - bounds[:, 0]]"),
    ("analysis/figures/paper.py", "variance**0.5", "variance"),
    ("analysis/summaries/quantities.py", "if count > 1", "if count > 2"),
    ("analysis/summaries/quantities.py", "scaled((low, high), times, plus)", "scaled((low, high), times)"),
    ("analysis/page/paper.py", "n = values.notna().sum()", "n = len(values)"),
    ("analysis/paper.py", "        *chain.from_iterable(tables_of(paper, quantities)),\n", ""),
    ("analysis/summaries/quantities.py", 'if f"{{{name}}}" in found[1]}', "}"),
    ("analysis/page/paper.py", 'if any(row[column] != "-" for row in rows)', 'if all(row[column] != "-" for row in rows)'),
    ("analysis/summaries/quantities.py", "_require_known(user, chain.from_iterable(map(names, expressions)), known)", "pass"),
    ("analysis/figures/paper.py", "if 10 <= abs(value) < 10_000", "if 1e3 <= abs(value)"),
    ("analysis/figures/paper.py", "0.6 + 0.085 * max(map(len, map(str, frame.index)))", "1.6"),
    ("analysis/figures/paper.py", "frame.replace(-np.inf, low)", "frame"),
    ("analysis/paper.py", "if page and (index.parent / page[1]).exists():", "if page:"),
    ("analysis/paper.py", "            rows[page[1]] = line\n", "            pass\n"),
    ("analysis/summaries/expressions.py", "proportion_ci(LEVEL)", "proportion_ci(0.9)"),
    ("analysis/summaries/expressions.py", "1.0 * at_least(value, level)", "1.0 * at_least(level, value)"),
    ("analysis/summaries/quantities.py", '    if reduced == "sum":', "    if False:"),
    ("analysis/summaries/quantities.py", "_within(value, range_of(expression, measured))", "value"),
    ("analysis/summaries/quantities.py", "if len(limits) == 1 else UNBOUNDED", "if limits else UNBOUNDED"),
    ("analysis/runs.py", '"gradient_norm", "rise", "distance"', '"gradient_norm"'),
    ("analysis/summaries/quantities.py", 'any("values" in one for one in series)', 'series and "values" in series[0]'),
    ("analysis/summaries/expressions.py", "mean_interval(values.to_numpy(), values.attrs.get(RANGE, UNBOUNDED))", "mean_interval(values.to_numpy())"),
    ("analysis/summaries/quantities.py", 'told(found[1], quantities, equals), line)', 'told(found[1], {}, equals), line)'),
    ("analysis/paper.py", '        *(f"- {line}" for line in answers(paper, quantities)),\n', ""),
    ("analysis/summaries/quantities.py", "if len(found) != 1:", "if len(found) > 1:"),
    ("analysis/summaries/quantities.py", "    about(paper)  # one that is of neither kind is refused\n", ""),
    ("analysis/summaries/quantities.py", "rows[rows[key].isin(others)]", "rows[~rows[key].isin(others)]"),
    ("analysis/summaries/quantities.py", 'str(_filled(points, {"along": value}))', 'str(_filled(points, {"along": place}))'),
]  # fmt: skip

COSINE = {"table": "layers", "column": "update_cosine", "depth": 1, "checkpoint": 0}
PAPER = yaml.safe_load(
    """
name: toy
scale: fast
title: A toy result
citation: Somebody (2026).
departures: [a port]
findings: [it rained]
measure:
  "{method}_test":
    for: {method: [backprop, genetic, pepita]}
    where: {method: "{method}"}
    take: final_test_score
    times: 100
  "gradient_{depth}":
    for: {depth: [1, 2]}
    where: {method: backprop, seeds: 5}
    take: {table: layers, column: gradient_norm, depth: "{depth}", checkpoint: 0}
  lowest:
    where: {method: backprop}
    take: {table: curves, split: validation, metric: accuracy_score, reduce: min}
  last:
    where: {method: backprop}
    take: {table: curves, split: train, metric: accuracy_score, checkpoint: last}
  epochs_to_80:
    where: {method: backprop}
    take: {table: curves, column: epochs, split: train, metric: accuracy_score,
           value: ">= 0.8", reduce: min}
  error: {where: {method: backprop}, take: final_test_score, times: -100, plus: 100}
claims:
  - {id: T.a, says: much better, holds: backprop_test - genetic_test >= 20, how: read,
     source: table 1, published: "40", why: half of it}
  - {id: T.b, says: falls, holds: gradient_2 < gradient_1, how: exact, source: by make}
  - {id: T.c, says: not there, holds: pepita_test > 0, how: recalled, source: memory}
figures:
  - title: Scores
    x: method
    y: test accuracy, %
    series:
      - name: ours
        points: {backprop: backprop_test, genetic: genetic_test}
        reference: {backprop: 95}
  - title: Scatter
    x: test accuracy, %
    y: density
    reference: normal
    series:
      - {name: backprop, values: 2 * backprop_test, normal: [180, 4]}
      - {name: pepita, values: pepita_test, normal: [0, 1]}
"""
)


@pytest.fixture
def runs(study):
    """The folder of a paper's runs."""
    for method in ("backprop", "genetic"):
        run_id = study.cell(method)
        manifest = study.folder / run_id.replace("/", "-") / "manifest.json"
        settings = {**json.loads(manifest.read_text()), "identity": {"method": method}}
        manifest.write_text(json.dumps(settings))
    (study.folder / quantities.SETTINGS).write_text(json.dumps(PAPER))
    return study.folder


def test_quantities_are_columns_by_seed(runs):
    measured = quantities.measure(PAPER, load(runs))
    tests = {f"{m}_test" for m in ("backprop", "genetic", "pepita")}
    curves = {"gradient_1", "gradient_2", "lowest", "last", "epochs_to_80", "error"}
    assert set(measured) == tests | curves
    assert list(measured["backprop_test"].index) == [0, 1, 2, 3, 4]
    assert measured["backprop_test"].mean() == pytest.approx(90, abs=3)
    assert measured["pepita_test"].empty
    assert (measured["lowest"] < measured["last"]).all()


def test_a_quantity_may_be_of_pairs_of_runs_each_by_its_settings(runs):
    ids = sorted(path.parent.name for path in runs.glob("*/manifest.json"))
    rows = [
        {
            "run_id": ids[a],
            "seed": seed,
            "other_run_id": ids[b],
            "x": x,
            "loss": 100 * a + 10 * b + x,
        }
        for a, b in ((0, 1), (1, 0), (0, 0))
        for seed in (0, 1)
        for x in (0.0, 0.5, 1.0)
    ]
    pd.DataFrame(rows).to_parquet(runs / "landscape.parquet")
    pattern = {
        "{one}_{other}_{place}": {
            "for": {
                "one": {"b": {"method": "backprop"}, "g": {"method": "genetic"}},
                "other": {"b": {"method": "backprop"}, "g": {"method": "genetic"}},
                "place": {"start": 0.0, "end": 1.0},
            },
            "where": "{one}",
            "take": {
                "table": "landscape",
                "column": "loss",
                "other_run_id": "{other}",
                "x": "{place}",
            },
        }
    }
    found = quantities.measure({"measure": pattern}, load(runs))
    means = {name: values.mean() for name, values in found.items() if len(values) == 2}
    assert means == {
        "b_g_start": 10, "b_g_end": 11, "g_b_start": 100, "g_b_end": 101, "b_b_start": 0, "b_b_end": 1,
    }  # fmt: skip
    assert found["g_g_start"].empty


def test_points_may_be_a_pattern_over_places():
    figure = {"title": "t", "along": {0.5: 50, 1.0: 100}}
    series = {"name": "s", "points": "loss_{along}"}
    assert quantities.points_of(figure, series) == {0.5: "loss_50", 1.0: "loss_100"}
    assert quantities.points_of({**figure, "along": [1, 2]}, series) == {1: "loss_1", 2: "loss_2"}
    assert quantities.drawn({**figure, "series": [series]}) == ["loss_50", "loss_100"]


def test_a_page_says_which_of_its_cells_are_stale(runs):
    assert "stale" not in paper.write(runs)[2].read_text()
    first, second = sorted(path.parent.name for path in runs.glob("*/manifest.json"))
    (runs / "stale.json").write_text(
        json.dumps({first: ["loop.py", "a.py"], "elsewhere": ["b.py"]})
    )
    page = paper.write(runs)[2].read_text()
    assert "\n\n1 of them is stale: what made it has changed since (a.py, loop.py).\n\n" in page
    (runs / "stale.json").write_text(json.dumps({first: ["loop.py"], second: ["its data"]}))
    page = paper.write(runs)[2].read_text()
    assert "2 of them are stale: what made them has changed since (its data, loop.py)." in page


def test_labels_name_a_quantity_and_values_fill_the_rest():
    entry = {
        "for": {"method": ["backprop"], "rate": {"slow": 0.01, "fast": 0.1}},
        "where": {"method": "{method}", "optimizer.learning_rate": "{rate}"},
        "take": "final_test_score",
    }
    found = quantities.quantities_of({"measure": {"{method}_{rate}": entry}})
    assert {
        name: quantity["where"]["optimizer.learning_rate"] for name, quantity in found.items()
    } == {
        "backprop_slow": 0.01,
        "backprop_fast": 0.1,
    }


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (
            {"claims": [{**PAPER["claims"][0], "holds": "backprop_tset > 0"}]},
            "claim T.a names .*: backprop_tset",
        ),
        (
            {
                "figures": [
                    {**PAPER["figures"][0], "series": [{"name": "s", "points": {1: "lowst"}}]}
                ]
            },
            "figure 'Scores' names .*: lowst",
        ),
    ],
)
def test_a_name_that_is_not_measured_is_refused(part, message):
    with pytest.raises(TableError, match=message):
        quantities.claims_of({**PAPER, **part})


def test_a_claim_that_nothing_measures_is_not_run(runs):
    beyond_us = {
        "id": "T.d",
        "says": "elsewhere",
        "holds": [],
        "how": "recalled",
        "source": "memory",
        "why": "no such task",
    }
    (runs / quantities.SETTINGS).write_text(
        json.dumps({**PAPER, "claims": [*PAPER["claims"], beyond_us]})
    )
    _, judged, page = paper.write(runs)
    assert judged[-1].verdict == "not run"
    assert "**T.d** is not measured. no such task" in page.read_text()


def test_a_quantity_may_be_of_the_whole_network(runs):
    entry = {
        "where": {"method": "backprop"},
        "take": {"table": "networks", "column": "n_weights", "checkpoint": "last"},
    }
    found = quantities.measure({"measure": {"whole": entry}}, load(runs))["whole"]
    assert found.to_dict() == dict.fromkeys(range(5), 2036)


def test_a_row_is_chosen_by_a_bound(runs):
    tables = load(runs)
    found = quantities.measure(PAPER, tables)["epochs_to_80"]
    curves = tables.curves[tables.curves["run_id"].str.startswith("backprop")]
    curves = curves[(curves["split"] == "train") & (curves["metric"] == "accuracy_score")]
    for seed, epochs in found.items():
        curve = curves[curves["seed"] == seed]
        before = curve[curve["epochs"] < epochs]["value"].max()
        assert before < 0.8 <= curve[curve["epochs"] == epochs]["value"].item()


def test_the_last_checkpoint_is_the_largest_wherever_its_row_stands(runs):
    tables = load(runs)
    entry = {
        "where": {"method": "backprop"},
        "take": {"table": "curves", "split": "train", "metric": "accuracy_score", "checkpoint": "last"},
    }  # fmt: skip
    found = quantities.measure({"measure": {"end": entry}}, tables)["end"]
    turned = replace(tables, curves=tables.curves[::-1])
    again = quantities.measure({"measure": {"end": entry}}, turned)["end"]
    assert len(found) == 5
    pd.testing.assert_series_equal(found, again)


def test_a_crossing_is_scaled_and_moved(runs):
    tables = load(runs)
    entry = {
        "where": {"method": "backprop"},
        "take": {
            "table": "curves", "split": "train", "metric": "accuracy_score",
            "reduce": {"level": 0.5, "at": "epochs"},
        },
    }  # fmt: skip
    plain = quantities.measure({"measure": {"at": entry}}, tables)["at"]
    moved = quantities.measure({"measure": {"at": entry | {"times": 3, "plus": 1}}}, tables)["at"]
    pd.testing.assert_series_equal(moved, 3 * plain + 1)


def test_bars_reach_from_the_mean_to_each_end_of_its_interval():
    values = pd.Series([1.0, 1.1, 1.2, 9.0])  # skewed, and so is its interval
    figure = {**FIGURE, "series": [{"name": "s", "points": {1: "a"}}]}
    (axes,) = drawn_curves(figure, {"a": values}, distinct(["s"])).axes
    ((low, high),) = (
        collection.get_segments()[0][:, 1]
        for collection in axes.collections
        if isinstance(collection, LineCollection)
    )
    np.testing.assert_allclose([low, high], statistics.mean_interval(values.to_numpy()))


def test_the_law_that_values_should_follow_has_its_variance():
    figure = {**FIGURE, "reference": "law"}
    figure["series"] = [{"name": "s", "values": "a", "normal": [1.0, 4.0]}]
    (axes,) = drawn_histogram(
        figure, {"a": pd.Series(np.linspace(-4.0, 6.0, 50))}, distinct(["s"])
    ).axes
    at, density = axes.lines[-1].get_data()
    np.testing.assert_allclose(density, norm(1, 2).pdf(at))


def test_a_series_has_the_look_of_its_method_and_its_for_is_written_out():
    figure = {
        "along": [1, 2],
        "series": [
            {
                "for": {"rule": {"evolution": "genetic", "backpropagation": "backprop"}},
                "name": "{rule}, tuned",
                "method": "{rule}",
                "points": "{rule}_{along}",
            },
            {"name": "no rule", "points": {1: "other"}},
        ],
    }
    series = quantities.series_of(figure)
    assert series == [
        {"name": "evolution, tuned", "method": "genetic", "points": "genetic_{along}"},
        {"name": "backpropagation, tuned", "method": "backprop", "points": "backprop_{along}"},
        {"name": "no rule", "points": {1: "other"}},
    ]
    assert quantities.drawn(figure) == [
        "genetic_1",
        "genetic_2",
        "backprop_1",
        "backprop_2",
        "other",
    ]
    signals = {"genetic": "loss", "backprop": "gradient"}
    methods = {one["name"]: one.get("method", "") for one in series}
    found = of_series({**methods, "again": "genetic", "straight": "linear"}, signals)
    arms = ["genetic", "genetic [b]", "backprop"]
    rows = {
        "arm": arms, "method": [arm.split()[0] for arm in arms], "network": "mlp",
        "signal": [signals[arm.split()[0]] for arm in arms], "default_network": "mlp",
    }  # fmt: skip
    there = looks(pd.DataFrame(rows))
    for name, arm in (
        ("evolution, tuned", arms[0]),
        ("again", arms[1]),
        ("backpropagation, tuned", arms[2]),
    ):
        assert replace(there[arm], arm="") == found[name]
    assert found["straight"].colour == CONTROL
    assert found["no rule"] == distinct(["no rule"])["no rule"]


def test_a_quantity_is_scaled_and_moved(runs):
    measured = quantities.measure(PAPER, load(runs))
    assert (measured["error"] + measured["backprop_test"]).to_numpy() == pytest.approx(100)


def test_no_name_is_cut_in_a_narrow_terminal(runs, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "48")
    paper.publish(runs)
    assert "…" not in capsys.readouterr().out


def test_the_page_has_the_command_that_was_typed(runs):
    (runs / quantities.SETTINGS).write_text(
        json.dumps({**PAPER, "commands": ["beyond +paper=toy", "beyond +paper=toy x=1"]})
    )
    assert (
        "`beyond +paper=toy && beyond +paper=toy x=1` at commit" in paper.write(runs)[2].read_text()
    )


def test_the_page_has_verdicts_figure_departures_and_provenance(runs):
    _, judged, page = paper.write(runs)
    assert [one.verdict for one in judged] == ["reproduced", "relation holds", "not run"]
    text = page.read_text()
    for part in (
        "Somebody (2026).",
        "beyond +paper=toy",
        "0123abc",
        "| 40 |",
        "a port",
        "half of it",
        "figure-1.png",
        "3 claims: 1 reproduced, 1 relation holds, 1 not run.",
        "and why\n\n- it rained\n",
    ):
        assert part in text
    assert (page.parent / "figure-1.svg").exists()
    assert paper.write(runs)[2].read_text() == text


def test_a_wrong_constant_turns_the_verdict(runs):
    wrong = json.loads(json.dumps(PAPER).replace(">= 20", ">= 60"))
    (runs / quantities.SETTINGS).write_text(json.dumps(wrong))
    assert paper.write(runs)[1][0].verdict == "not reproduced"


@pytest.mark.parametrize(
    ("take", "limits"),
    [
        ("flops_to_easy", (0, np.inf)),
        ({"table": "curves", "column": "flops", "split": "train", "reduce": "sum"}, (0, np.inf)),
        (
            {"table": "curves", "split": "train", "metric": "accuracy_score", "reduce": "sum"},
            (0, np.inf),
        ),
        (
            {"table": "curves", "split": "train", "checkpoint": 1, "reduce": "mean"},
            (-np.inf, np.inf),
        ),
        (
            {
                "table": "curves",
                "split": "train",
                "metric": "accuracy_score",
                "reduce": {"level": 0.8, "at": "epochs"},
            },
            (0, np.inf),
        ),
    ],
)
def test_what_a_quantity_cannot_leave(take, limits, runs):
    """Amounts are not negative, nor are sums of scores; of several scores nothing is known."""
    asked = {"x": {"where": {"method": "backprop"}, "take": take}, "y": {"equals": "1 - x"}}
    tables = load(runs)
    mixed = tables.curves.assign(
        metric=[
            "r2_score" if place % 2 else "accuracy_score" for place in range(len(tables.curves))
        ]
    )
    if isinstance(take, dict) and "metric" not in take and "column" not in take:
        tables = replace(tables, curves=mixed)
    measured = quantities.measure({**PAPER, "measure": asked}, tables)
    assert measured["x"].attrs[RANGE] == limits
    assert measured["y"].attrs[RANGE] == (1 - limits[1], 1 - limits[0])


@pytest.mark.parametrize(
    "column", ["rise", "distance", "gradient_norm", "pretraining_flops", "seconds_to_best"]
)
def test_an_amount_is_never_below_nothing(column):
    assert is_amount(column)
    assert not is_amount("loss")
    assert not is_amount("target_easy")


def test_error_bars_stay_within_what_scores_can_be():
    scores = pd.Series([0.9, 1.0, 1.0, 1.0])
    scores.attrs[RANGE] = (0.0, 1.0)
    spec = {"title": "", "x": "", "y": "", "series": [{"name": "a", "points": {1: "a"}}]}
    figure = drawn_curves(spec, {"a": scores}, distinct(["a"]))
    bars = [line for line in figure.axes[0].collections if isinstance(line, LineCollection)]
    ends = np.concatenate([bar.get_segments()[0][:, 1] for bar in bars])
    assert ends.max() == 1


def test_a_figure_is_of_densities_where_any_series_has_values():
    assert quantities.kind_of({"series": [{"points": "a"}, {"values": "a"}]}) == "densities"
    assert quantities.kind_of({"series": [{"points": "a"}]}) == "curves"
    assert quantities.kind_of({"map": "a"}) == "map"
    assert quantities.kind_of({}) == "curves"


def test_a_score_knows_what_it_cannot_leave(runs):
    measured = quantities.measure(PAPER, load(runs))
    limits = {name: values.attrs.get(RANGE) for name, values in measured.items()}
    assert limits["backprop_test"] == limits["error"] == (0, 100)
    assert limits["lowest"] == (0, 1)
    assert limits["gradient_1"] == limits["epochs_to_80"] == (0, np.inf)
    cosine = {"where": {"method": "backprop"}, "take": COSINE}
    measured = quantities.measure({**PAPER, "measure": {"cosine": cosine}}, load(runs))
    assert measured["cosine"].attrs[RANGE] == (-np.inf, np.inf)


def test_a_row_has_the_replicas_with_a_value_and_no_impossible_interval():
    bounded = pd.Series([0.9, 1.0, 1.0, np.nan, 1.0])
    bounded.attrs[RANGE] = (0.0, 1.0)
    none = pd.Series([np.nan, np.nan])
    rows = measured_rows({"a": bounded, "b": bounded.dropna(), "c": none})[2:]
    assert rows == [
        "| a | 0.975 | 4 of 5 |",
        "| b | 0.975 [0.8069, 1] | 4 |",
        "| c | no value | 0 of 2 |",
    ]


def test_a_number_changed_on_the_page_is_found(runs):
    _, _, page = paper.write(runs)
    assert paper.differences(page, runs) == []
    text = page.read_text()
    row = next(line for line in text.splitlines() if line.startswith("| genetic_test"))
    page.write_text(
        text.replace(
            row, row.replace("|", "| ", 1).replace("| genetic_test | ", "| genetic_test | 9")
        )
    )
    assert len(paper.differences(page, runs)) == 2
    with pytest.raises(SystemExit) as stopped:
        verify.main([str(page)])
    assert stopped.value.code == 1


def test_what_is_no_page_is_said_to_be_none(runs):
    _, _, page = paper.write(runs)
    page.write_bytes(page.read_bytes() + b"\xff")
    with pytest.raises(TableError, match=r"index\.md is no page: .*can't decode byte 0xff"):
        paper.differences(page, runs)


def test_a_page_without_its_runs_is_one_line(tmp_path):
    page = tmp_path / "index.md"
    page.touch()
    with pytest.raises(
        SystemExit, match=r"no runs of a paper in .*paper\.json; --runs names their folder$"
    ):
        verify.main([str(page)])


def test_a_quantity_of_several_rows_a_seed_is_refused(runs):
    loose = {
        **PAPER,
        "measure": {
            "x": {"where": {"method": "backprop"}, "take": {"table": "layers", "column": "depth"}}
        },
    }
    with pytest.raises(TableError, match="more than one row per seed"):
        quantities.measure(loose, load(runs))


def test_the_index_counts_the_verdicts_of_every_paper(runs, capsys):
    paper.publish_index(runs.parent)
    row = next(
        line
        for line in (runs.parent / "index.md").read_text().splitlines()
        if "A toy result" in line
    )
    assert row == f"| [A toy result]({runs.name}/page/index.md) | fast | 1 | 1 | 0 | 1 |"
    assert row in capsys.readouterr().out


def test_pages_are_collected_without_tables_and_of_two_scales_the_full_one(runs, tmp_path):
    full = runs.parent / "toy-full"
    shutil.copytree(runs, full)
    (full / quantities.SETTINGS).write_text(json.dumps({**PAPER, "scale": "full"}))
    paper.collect(runs.parent, tmp_path / "out")
    found = sorted(
        path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*")
    )
    assert found == ["README.md", "toy/figure-1.png", "toy/figure-2.png", "toy/index.md"]
    assert "scale=full" in (tmp_path / "out" / "toy" / "index.md").read_text()
    assert (
        "| [A toy result](toy/index.md) | full | 1 | 1 | 0 | 1 |"
        in (tmp_path / "out" / "README.md").read_text()
    )


def test_an_index_keeps_the_rows_of_pages_that_were_run_elsewhere(runs, tmp_path):
    out = tmp_path / "out"
    (out / "other").mkdir(parents=True)
    (out / "other" / "index.md").write_text("# Another\n")
    there, gone = (
        f"| [A page]({name}/index.md) | full | 0 | 2 | 0 | 0 |" for name in ("other", "x")
    )
    (out / "README.md").write_text(f"# Published results\n\n{there}\n{gone}\n")
    paper.collect(runs.parent, out)
    rows = [line for line in (out / "README.md").read_text().splitlines() if "index.md" in line]
    assert rows == [there, "| [A toy result](toy/index.md) | fast | 1 | 1 | 0 | 1 |"]
    before = (out / "README.md").read_bytes()
    paper.collect(tmp_path / "nothing", out)
    assert (out / "README.md").read_bytes() == before


def test_studies_have_an_index_with_their_verdicts(runs, tmp_path):
    (runs / quantities.SETTINGS).write_text(json.dumps(ASKED))
    paper.collect(runs.parent, tmp_path / "out")
    title, *_, head, _, row = (tmp_path / "out" / "README.md").read_text().splitlines()
    assert title == "# Studies"
    assert head.startswith("| study | scale | as expected | not as expected | undecided |")
    assert row == "| [A toy result](toy/index.md) | fast | 1 | 1 | 0 | 0 | 0 | 0 |"


def test_a_claim_compares_across_budgets_what_the_report_does_not(study):
    for budget, variant, end in ((20.0, "budget.epochs=20", 0.5), (300.0, "", 0.9)):
        cell = study.folder / study.cell("backprop", variant=variant).replace("/", "-")
        runs = pd.read_parquet(cell / "runs.parquet").assign(budget=budget, final_test_score=end)
        runs.to_parquet(cell / "runs.parquet")
        manifest = json.loads((cell / "manifest.json").read_text()) | {
            "settings": {"budget": {"epochs": budget}}
        }
        (cell / "manifest.json").write_text(json.dumps(manifest))
    names = {"little": 20.0, "much": 300.0}
    measure = {
        name: {"where": {"budget.epochs": budget}, "take": "final_test_score"}
        for name, budget in names.items()
    }
    claim = {
        "id": "B",
        "says": "more is better",
        "holds": "much - little >= 0.3",
        "how": "exact",
        "source": "here",
    }
    tables = load(study.folder)
    assert len(tables.tasks) == 2
    found = quantities.measure({"measure": measure}, tables)
    (judged,) = quantities.judge_all({"measure": measure, "claims": [claim]}, found)
    assert (judged.verdict, judged.n_seeds) == ("relation holds", 5)


ASKED = {
    **{key: value for key, value in PAPER.items() if key not in ("citation", "findings")},
    "question": "Which is better, and by how much?",
    "claims": [
        {"id": "Q.a", "says": "better", "holds": "backprop_test > genetic_test",
         "how": "expected", "source": "experience"},
        {"id": "Q.b", "says": "worse", "holds": "backprop_test < genetic_test",
         "how": "expected", "source": "nothing"},
    ],
    "answers": [
        "By {backprop_test - genetic_test} points; {pepita_test}.",
        "Of its repetitions {mean(reached(backprop_test, 0))} are at 0 or more.",
    ],
    "figures": [
        {"title": "Scores", "x": "of", "y": "method", "value": "test accuracy, %", "scale": "log",
         "map": "{row}_{column}", "rows": ["backprop", "pepita"], "columns": ["test"]},
    ],
}  # fmt: skip


def test_a_study_answers_a_question_in_sentences_with_intervals(runs):
    (runs / quantities.SETTINGS).write_text(json.dumps(ASKED))
    _, judged, page = paper.write(runs)
    assert [one.verdict for one in judged] == ["as expected", "not as expected"]
    text = page.read_text()
    assert "Which is better, and by how much?\n\n`beyond +study=toy` at commit" in text
    measured = quantities.measure(ASKED, load(runs))
    gap = measured["backprop_test"] - measured["genetic_test"]
    low, high = statistics.mean_interval(gap.to_numpy())
    assert f"- By {gap.mean():.4g} [{low:.4g}, {high:.4g}] points; not run.\n" in text
    # Clopper and Pearson: all of five, and 0.025 = low^5
    assert f"- Of its repetitions 1 [{0.025**0.2:.4g}, 1] are at 0 or more.\n" in text
    assert "## Limits\n\n- a port\n" in text
    assert (page.parent / "figure-1.png").exists()
    assert paper.differences(page, runs) == []
    page.write_text(text.replace("- By ", "- By about "))
    assert [line.split(": ", 1)[0] for line in paper.differences(page, runs)] == [
        "recomputed, not on the page"
    ]


def test_a_map_has_an_expression_for_each_row_and_column():
    (figure,) = ASKED["figures"]
    assert quantities.map_of(figure, "map") == {
        "backprop": {"test": "backprop_test"},
        "pepita": {"test": "pepita_test"},
    }
    wrong = {**ASKED, "figures": [{**figure, "rows": ["backpop"]}]}
    with pytest.raises(TableError, match=r"figure 'Scores' names .*: backpop_test"):
        quantities.claims_of(wrong)


def test_a_map_writes_numbers_that_can_be_read_and_names_that_are_whole():
    spec = {
        **{"title": "Scores", "x": "depth", "y": "a rule", "value": "log10", "limits": [-3, 0]},
        **{"map": "log10(mean({row}_{column}))", "columns": [1, 2]},
        "rows": {"a name that is longer than most": "a", "b": "b"},
    }
    found = {
        "a_1": pd.Series([1e100] * 2),
        "a_2": pd.Series([0.0] * 2),
        "b_1": pd.Series([0.1, 0.1]),
    }
    with np.errstate(divide="ignore"):
        figure = drawn_map(spec, found | {"b_2": pd.Series(dtype=float)})
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == ["100", "-∞", "-1"]
    assert "-∞: of what is nothing" in "".join(text.get_text() for text in figure.texts)
    figure.canvas.draw()
    boxes = [label.get_window_extent() for label in axes.get_yticklabels()]
    assert min(box.x0 for box in boxes) > axes.yaxis.label.get_window_extent().x1
    assert axes.yaxis.label.get_window_extent().x0 >= 0


@pytest.mark.parametrize("about", [{}, {"citation": "Somebody", "question": "What?"}])
def test_a_page_is_about_a_source_or_a_question(about):
    settings = {key: value for key, value in ASKED.items() if key != "question"} | about
    with pytest.raises(TableError, match="paper must have one of citation, question; got"):
        paper.require_sound(settings, {"runs": {"final_test_score": "float64"}}, {"method": ()})


@pytest.mark.parametrize("about", [{}, {"citation": "Somebody", "question": "What?"}])
def test_runs_of_neither_a_source_nor_a_question_are_one_line(runs, about):
    settings = {key: value for key, value in ASKED.items() if key != "question"} | about
    (runs / quantities.SETTINGS).write_text(json.dumps(settings))
    with pytest.raises(TableError, match="paper must have one of citation, question; got"):
        quantities.read(runs)


FAMILIES = {
    **ASKED,
    "measure": {
        "{method}_test": PAPER["measure"]["{method}_test"],
        "{method}_over_genetic": {
            "for": {"method": ["backprop", "genetic"]},
            "equals": "{method}_test / genetic_test",
        },
        "best": {
            "over": {"method": ["backprop", "genetic"], "unused": [1, 2]},
            "equals": "max(*[{method}_test])",
        },
    },
    "claims": [
        {
            **ASKED["claims"][0],
            "holds": [
                {"for": {"rule": {"BP": "backprop", "GA": "genetic"}}, "each": "{rule}_test > 0"},
                "mean(best - backprop_test) >= 0",
            ],
        }
    ],
    "answers": ["Best {best}."],
    "tables": [
        {
            "title": "Tests",
            "about": "In %.",
            "rows": {"backpropagation": "backprop", "PEPITA": "pepita"},
            "columns": {"accuracy": "test"},
            "cell": "mean({row}_{column})",
        }
    ],
}


def test_quantities_may_follow_from_others_and_a_claim_have_a_family(runs):
    (runs / quantities.SETTINGS).write_text(json.dumps(FAMILIES))
    measured = quantities.measure(FAMILIES, load(runs))
    backprop, genetic = measured["backprop_test"], measured["genetic_test"]
    pd.testing.assert_series_equal(measured["backprop_over_genetic"], backprop / genetic)
    assert measured["best"].tolist() == np.maximum(backprop, genetic).tolist()
    _, (judged,), page = paper.write(runs)
    assert judged.claim.holds == (
        "backprop_test > 0",
        "genetic_test > 0",
        "mean(best - backprop_test) >= 0",
    )
    assert judged.measured.startswith(f"{{rule}}_test: BP {backprop.mean():.4g} [")
    assert f"], GA {genetic.mean():.4g} [" in judged.measured
    text = page.read_text()
    assert (
        "holds if `{rule}_test > 0` for rule BP, GA and `mean(best - backprop_test) >= 0`." in text
    )
    assert (
        "- `{method}_over_genetic` is `{method}_test / genetic_test` for method backprop, genetic"
        in text
    )
    assert "| claim | how it is known |" in text  # nothing was published
    low, high = statistics.mean_interval(backprop.to_numpy())
    row = f"| backpropagation | {backprop.mean():.4g} [{low:.4g}, {high:.4g}] |"
    assert (
        f"**Tests**\n\nIn %.\n\n|  | accuracy |\n|---|---|\n{row}\n| PEPITA | not run |\n" in text
    )
    assert paper.differences(page, runs) == []
    page.write_text(text.replace("| PEPITA | not run |", "| PEPITA | 99 |"))
    assert [line.split(": ")[-1] for line in paper.differences(page, runs)] == [
        "| PEPITA | not run |",
        "| PEPITA | 99 |",
    ]


FIGURE = {"title": "F", "x": "x", "y": "y", "series": [{"name": "s", "points": {"a": "best"}}]}


def measured(**parts):
    return {"more": {"where": {"method": "backprop"}, "take": "final_test_score"} | parts}


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"tables": [{**FAMILIES["tables"][0], "cell": "{row}_tset"}]}, "table 'Tests' names .*: backprop_tset"),
        ({"tables": [{**FAMILIES["tables"][0], "cell": "{row}_test[0]"}]}, "table 'Tests': not allowed"),
        ({"tables": [{"title": "T", "rows": [1], "columns": [2]}]}, "table 'T' must have cell"),
        ({"answers": ["{best[0]}"]}, "answer .*: not allowed in a claim"),
        ({"figures": [{**ASKED["figures"][0], "map": "tau({row}_{column})"}]}, "figure 'Scores': slope and tau"),
        ({"figures": [{"title": "M", "map": "best", "x": "", "y": "", "rows": [1], "columns": [2]}]},
         "figure 'M' must have value"),
        ({"measure": {**FAMILIES["measure"], "more": {"equals": "bset + 1"}}}, "measure.more names .*: bset"),
        ({"measure": {**FAMILIES["measure"], "more": {"equals": "best", "times": 2}}}, "measure.more: unknown key 'times'"),
        ({"claims": [{**ASKED["claims"][0], "holds": [{"every": "best > 1"}]}]}, "claim .*: holds must have each"),
        ({"claims": [{**ASKED["claims"][0], "holds": [{"each": "best > 1", "for": ["a"]}]}]}, r"holds: for must be what .* got \['a'\]"),
        ({"claims": [{**ASKED["claims"][0], "holds": [{"each": "best > {n}", "for": {"n": []}}]}]}, "holds: for must be what .* got {'n': "),
        ({"measure": {**FAMILIES["measure"], "more_{n}": {"equals": "best", "for": {"n": 3}}}}, "measure.more_{n}: for must be what .* got {'n': 3}"),
        ({"measure": {**FAMILIES["measure"], "{n}": {"equals": "best", "for": {"n": ["best"]}}}}, "measure: best is said twice"),
        ({"tables": [{**FAMILIES["tables"][0], "rows": "all"}]}, "table 'Tests': rows must be a list, .* got 'all'"),
        ({"title": 3}, "paper: title must be text in one line, without |; got 3"),
        ({"name": "../evil"}, "paper: name must be letters, .* got '../evil'"),
        ({"measure": {**FAMILIES["measure"], **measured(where={"method": "{rule}"})}}, "measure.more: {rule} is no name of its for"),
        ({"claims": []}, "paper: claims must be a list of mappings, at least one; got"),
        ({"claims": [{**ASKED["claims"][0], "says": "a | b"}]}, "claim Q.a: says must be text in one line, without"),
        ({"claims": [{**ASKED["claims"][0], "holds": "best == 1"}]}, "claim Q.a: a claim must compare by <, .* best == 1"),
        ({"claims": [{**ASKED["claims"][0], "holds": "1 < 2"}]}, "claim Q.a: a claim must name a quantity: 1 < 2"),
        ({"claims": [{**ASKED["claims"][0], "holds": "reached(best) < 2"}]}, "reached.best.: reached has missing a required argument: 'level'"),
        ({"measure": {**FAMILIES["measure"], **measured(take={"column": "final_test_score", "sede": 1})}}, "the table runs has no column 'sede'"),
        ({"figures": [{**FIGURE, "series": [{"name": "s", "points": {1: "best"}, "reference": {2: 0.5}}]}]},
         "series 's': reference has 2, where it has no point"),
        ({"as_tuned": "yes"}, "paper: as_tuned must be true or false; got 'yes'"),
        ({"tables": None}, "paper: tables must be a list of mappings; got None"),
        ({"answers": [1]}, r"paper: answers must be a list of texts; got \[1\]"),
        ({"measure": {"best": 3}}, "paper: measure must be a mapping of names to quantities, at least one; got"),
        ({"measure": {**FAMILIES["measure"], **measured(take=3)}}, "measure.more: take must be a column, or a mapping; got 3"),
        ({"measure": {**FAMILIES["measure"], **measured(where={3: 1})}}, "measure.more: where must be a mapping of settings .* got {3: 1}"),
        ({"measure": {**FAMILIES["measure"], **measured(times="x")}}, "measure.more: times must be a number; got 'x'"),
        ({"measure": {**FAMILIES["measure"], **measured(take={"column": "final_test_score", "reduce": "bogus"})}},
         "measure.more: take: reduce must be one of min, .*, or a mapping; got 'bogus'"),
        ({"measure": {**FAMILIES["measure"], **measured(take={"column": "final_test_score", "reduce": {"at": "steps"}})}},
         "measure.more: reduce must have level"),
        ({"claims": [*FAMILIES["claims"], *FAMILIES["claims"]]}, "claims: the id Q.a is given twice"),
        ({"claims": [{**ASKED["claims"][0], "how": "guessed"}]}, "claim Q.a: how must be one of read, .* got 'guessed'"),
        ({"claims": [{**ASKED["claims"][0], "holds": 3}]}, "claim Q.a: holds must be an expression, .* got 3"),
        ({"figures": [{**FIGURE, "series": []}]}, "figure 'F': series must be a list of mappings, at least one; got"),
        ({"figures": [{**FIGURE, "series": FIGURE["series"] * 2}]}, "series 's': there are several of this name"),
        ({"figures": [{**FIGURE, "series": [{**FIGURE["series"][0], "method": "magic"}]}]},
         "series 's': method must be that of a quantity, or linear; got 'magic'"),
        ({"figures": [{**FIGURE, "x_scale": "cubic"}]}, "figure 'F': x_scale must be one of linear, log; got 'cubic'"),
        ({"figures": [{**FIGURE, "series": [{"name": "s", "points": "best"}]}]}, "series 's': points are a pattern, and the figure has no along"),
        ({"figures": [{**FIGURE, "series": [{"name": "s", "values": "best", "normal": [0]}]}]}, "figure 'F' must have reference"),
        ({"figures": [{**FIGURE, "reference": "r", "series": [{"name": "s", "values": "best", "normal": [0]}]}]},
         "series 's': normal must be a list of two numbers; got"),
        ({"figures": [{**FIGURE, "map": "best", "value": "v", "rows": [1], "columns": [2], "series": []}]}, "figure 'F': unknown key 'series'"),
    ],
)  # fmt: skip
def test_each_part_of_a_page_is_refused_before_its_runs(part, message):
    columns = {name: {"final_test_score": "float64"} for name in ("runs", "layers", "curves")}
    paper.require_sound(FAMILIES, columns, {"method": ()})
    with pytest.raises(TableError, match=message):
        paper.require_sound({**FAMILIES, **part}, columns, {"method": ()})


def test_a_list_is_written_out_over_the_names_in_it_alone():
    over = {"a": [1, 2], "b": {"long": "z", "short": "w"}}
    assert quantities.spread("tau(*[x_{a}], *[y_{a}_{b}], 0)", over) == (
        "tau(x_1, x_2, y_1_z, y_1_w, y_2_z, y_2_w, 0)"
    )
