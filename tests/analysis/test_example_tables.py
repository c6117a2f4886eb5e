import json

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, recall_score

from analysis.figures import examples as figures
from analysis.figures.looks import distinct as looks
from analysis.summaries.example_tables import example_tables
from analysis.tables import load
from analysis.words import example_columns as shown

FAULTS = [
    # the names of one arm's classes, whatever the others' are
    ("analysis/tables.py", "if len(told) == 1 else []", "if told else []"),
    (
        "analysis/summaries/example_tables.py",
        "names[int(code)] if names",
        "names[-1 - int(code)] if names",
    ),
    (
        "analysis/summaries/example_tables.py",
        "two_way(scores - found.scores[at])",
        "two_way(scores)",
    ),
    ("analysis/summaries/example_tables.py", '("same", same, 1, {})', '("same", same, 2, {})'),
    (
        "analysis/summaries/example_tables.py",
        'stream("calibration", task, str(arm))',
        'stream("calibration", task, str(len(predictions)))',
    ),
    (
        "analysis/figures/examples.py",
        "below = np.tri(len(arms), k=-1, dtype=bool)",
        "below = np.tri(len(arms), dtype=bool)",
    ),
    (
        "analysis/figures/examples.py",
        "distance = 1 - np.nan_to_num(value)",
        "distance = 1 + np.nan_to_num(value)",
    ),
    ("analysis/words/example_columns.py", '(known["low"] > 0).sum()', '(known["high"] > 0).sum()'),
]


@pytest.fixture
def predicted(study):
    """Three arms on two tasks; genetic is the weaker one."""
    return {
        (method, task): study.predict(study.cell(method, task), skill=skill)
        for method, skill in (("backprop", 0.9), ("genetic", 0.5), ("last_layer", 0.85))
        for task in ("image/digits", "regression/friedman")
    }


@pytest.fixture
def made(study, predicted):
    return example_tables(load(study.folder))


def test_a_study_without_predictions_has_no_tables(study):
    study.cell("backprop")
    assert example_tables(load(study.folder)) == {}


def test_means_agree_with_the_predictions(predicted, made):
    rows = predicted["genetic", "image/digits"]
    right = rows["target"] == rows["prediction"]
    row = made["variance"].set_index(["task", "arm"]).loc["image/digits", "genetic"]
    assert row["mean"] == pytest.approx(right.mean())
    assert row["low"] < row["mean"] < row["high"]
    assert (row["n_seeds"], row["n_test"]) == (5, 40)
    classes = made["classes"].set_index(["arm", "target"])
    of_seed = [
        recall_score(t["target"], t["prediction"], average=None) for _, t in rows.groupby("seed")
    ]
    assert classes.loc["genetic", "recall"].to_numpy() == pytest.approx(np.mean(of_seed, axis=0))
    calibration = made["calibration"].set_index("arm").loc["genetic"]
    assert calibration["brier"] == pytest.approx(rows["brier"].astype(float).mean())
    assert calibration["overconfidence"] > 0.1


def test_differences_are_to_the_reference(predicted, made):
    table = made["example_differences"].set_index(["task", "arm"])
    assert set(table["reference"]) == {"backprop"}
    scores = [
        (t["target"] == t["prediction"]).mean()
        for t in (predicted[arm, "image/digits"] for arm in ("genetic", "backprop"))
    ]
    row = table.loc["image/digits", "genetic"]
    assert row["mean"] == pytest.approx(scores[0] - scores[1])
    assert row["high"] < 0
    assert row["only_arm"] - row["only_reference"] == pytest.approx(row["mean"] * 200)
    assert made["mcnemar"].groupby("arm")["only_arm"].sum()["genetic"] == row["only_arm"]
    assert table.loc["regression/friedman", "only_arm"].isna().all()


def test_consistency_of_every_pair(predicted, made):
    table = made["error_consistency"]
    counts = table.groupby(["task", "seeds", "measure"]).size().to_dict()
    assert counts == {
        ("image/digits", "same", "kappa"): 3,
        ("image/digits", "other", "kappa"): 6,
        ("regression/friedman", "same", "correlation"): 3,
        ("regression/friedman", "other", "correlation"): 6,
    }
    kappas, weights = [], []
    for seed in range(5):
        first, second = (
            (t["target"] != t["prediction"])[t["seed"] == seed]
            for t in (predicted[arm, "image/digits"] for arm in ("backprop", "genetic"))
        )
        p, q = first.mean(), second.mean()
        kappas.append(cohen_kappa_score(first, second))
        weights.append(p + q - 2 * p * q)
    pair = table[
        (table["seeds"] == "same") & (table["arm"] == "backprop") & (table["other"] == "genetic")
    ]
    assert pair["value"].iloc[0] == pytest.approx(np.average(kappas, weights=weights))


def test_an_arm_s_numbers_do_not_move_when_another_is_added(study, made):
    study.predict(study.cell("decoupled_greedy"))
    more = example_tables(load(study.folder))
    for name in ("variance", "calibration", "classes", "reliability"):
        kept = more[name][more[name]["arm"] != "decoupled_greedy"].reset_index(drop=True)
        assert kept.equals(made[name]), name


def test_figures_order_arms_and_show_what_the_table_says(made):
    picture = figures.error_consistency(made, "image/digits")
    numbers = [text.get_text() for text in picture.figure.axes[0].texts]
    assert sum(number.lstrip("-").replace("1", ".1", 1).startswith(".") for number in numbers) == 9
    assert figures.reliability(made, "image/digits", looks(["backprop", "genetic", "last_layer"]))
    assert figures.recall(made, "image/digits")
    for name in ("reliability", "classes"):
        assert "regression/friedman" not in set(made[name]["task"])
    assert figures.recall(made, "regression/friedman") is None


def test_calibration_and_recall_drawn_are_those_of_the_tables(made):
    table = made["reliability"]
    arms = sorted(table["arm"].unique())
    for panel, arm in zip(
        figures.reliability(made, "image/digits", looks(arms)).figure.axes, arms, strict=True
    ):
        bins = table[(table["arm"] == arm) & (table["n"] >= figures.FEWEST)]
        (drawn,) = (line for line in panel.lines if line.get_marker() == "o")
        assert [*drawn.get_xdata()] == bins["confidence"].tolist()
        assert [*drawn.get_ydata()] == bins["accuracy"].tolist()
        edge = panel.collections[0].get_paths()[0].vertices
        interval = bins[["accuracy_low", "accuracy_high"]].dropna().to_numpy()
        assert np.isin(interval, edge[:, 1]).all()
        heights = [bar.get_height() for bar in panel.patches]
        assert heights == pytest.approx(bins["n"] / table.loc[table["arm"] == arm, "n"].sum())
    shown_recall = [
        text.get_text() for text in figures.recall(made, "image/digits").figure.axes[0].texts
    ]
    for value in made["classes"]["recall"]:
        assert f"{value:.2f}" in shown_recall


def test_classes_have_the_names_that_all_manifests_give_them(study, predicted):
    paths = [path for path in study.folder.glob("*/manifest.json") if "digits" in path.read_text()]

    def read(*names):
        for path, given in zip(paths, names, strict=True):
            path.write_text(json.dumps({**json.loads(path.read_text()), "classes": given}))
        return example_tables(load(study.folder))

    made = read(*[["dog", "a very long name", "cat"]] * 3)
    confused = made["confusion"].query("target == 2 and prediction == 0").iloc[0]
    assert (confused["target_class"], confused["prediction_class"]) == ("cat", "dog")
    drawn = figures.recall(made, "image/digits").figure.axes[0].texts
    assert {"dog", "a very lon\u2026", "cat"} <= {text.get_text() for text in drawn}
    made = read(["dog", "cow", "cat"], ["dog", "cow", "cat"], ["cat", "cow", "dog"])
    assert set(made["classes"]["target_class"]) == {"0", "1", "2"}


def test_arms_that_fail_alike_stand_together():
    value = np.eye(4)
    value[0, 2] = value[2, 0] = value[1, 3] = value[3, 1] = 0.9
    order = figures._order(value)
    assert {frozenset(order[:2]), frozenset(order[2:])} == {frozenset((0, 2)), frozenset((1, 3))}


def test_half_of_the_matrix_is_of_the_same_seed(made):
    table = made["error_consistency"].copy()
    table.loc[table["seeds"] == "same", ["value", "low", "high"]] = 0.5
    table.loc[table["seeds"] == "other", ["value", "low", "high"]] = 0.25
    texts = (
        figures.error_consistency({"error_consistency": table}, "image/digits").figure.axes[0].texts
    )
    places = {
        (int(t.get_position()[1]), int(t.get_position()[0])): t.get_text()
        for t in texts
        if t.get_text()[0] == "."
    }
    assert places == {(i, j): ".50" if i > j else ".25" for i in range(3) for j in range(3)}


def test_what_a_reader_sees(made):
    of_task = {name: table[table["task"] == "image/digits"] for name, table in made.items()}
    variance = shown.variance_columns(of_task["variance"])
    assert variance["share of the seed [95 %]"].str.match(r"(\d+ % \[\d+, \d+\]|-)$").all()
    told = [
        name
        for name in shown.difference_columns(of_task["example_differences"])
        if "p" in name.split()
    ]
    # whether methods differ is told once, by the paired differences
    assert told == ["McNemar's p (these networks)"]
    values = made["example_differences"]
    assert list(shown.difference_columns(values[values["task"] == "regression/friedman"])) == [
        "arm",
        "difference [95 %, new seeds and examples]",
    ]
    assert len(shown.calibration_columns(of_task["calibration"])) == 3
    table = of_task["error_consistency"].assign(low=-0.1, high=0.1)
    assert "above 0 for 0 of 3 pairs and below 0 for 0" in shown.consistency_sentence(table)
    table = table.assign(beside_own_low=-0.3, beside_own_high=[-0.1] * (len(table) - 1) + [0.1])
    assert (
        f"{len(table) - 1} of {len(table)} pairs the two arms fail less alike"
        in shown.consistency_sentence(table)
    )
    assert (
        shown.consistency_sentence(table.assign(low=np.nan)) == "No pair of arms has an interval."
    )
