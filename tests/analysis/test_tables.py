import hashlib
import json

import numpy as np
import pandas as pd
import pytest

from analysis.tables import TableError, higher_is_better, limits_of, load

FAULTS = [
    ("analysis/runs.py", 'runs["default_network"] | one_network', 'runs["default_network"]'),
    ("analysis/runs.py", '        "settings": of_task,\n', ""),
    ("analysis/runs.py", '"budget": amounts.where(runs["budget"].notna()),', ""),
    ("analysis/runs.py", "and part not in shared", ""),
    (
        "analysis/tables.py",
        '[["run_id", "seed", "task", "arm", "status", "network", "headline_metric"]]',
        '[["run_id", "seed", "arm", "status", "network", "headline_metric"]]',
    ),
    ("analysis/runs.py", 'transform("nunique") > 1)', 'transform("nunique") > 2)'),
    # the budget names an arm, so that no arm is the same one at two budgets
    ("analysis/runs.py", 'startswith(("task.", "budget."))\n    }', 'startswith("task.")\n    }'),
    ("analysis/runs.py", '"{:.15g}".format)', '"{:.4g}".format)'),
    ("analysis/runs.py", 'runs["pretraining_forward"] + 2 *', 'runs["pretraining_forward"] +'),
    ("analysis/runs.py", "if apart > RESOLUTION", "if apart > 0"),
    ("analysis/runs.py", "if apart > RESOLUTION", "if not apart < RESOLUTION"),
    ("analysis/tables.py", "return -np.inf, 1.0 if score", "return 0.0, 1.0 if score"),
    ("analysis/tables.py", '"balanced_accuracy_score", "macro_f1_score")', ")"),
]


def test_load_stacks_cells_in_a_fixed_order(study):
    study.cell("genetic", seeds=[1, 0])
    study.cell("backprop", seeds=[0, 1])
    tables = load(study.folder)
    assert tables.study == "synthetic"
    assert tables.tasks == ["image/digits"]
    assert tables.runs[["arm", "seed"]].to_numpy().tolist() == [
        ["backprop", 0],
        ["backprop", 1],
        ["genetic", 0],
        ["genetic", 1],
    ]
    assert tables.curves["arm"].is_monotonic_increasing
    assert len(tables.manifests) == 2
    assert tables.score("image/digits") == "accuracy_score"


def test_examples_count_a_backward_pass_twice(study):
    change(
        study, study.cell("backprop", seeds=[0]), pretraining_forward=3.0, pretraining_backward=2.0
    )
    tables = load(study.folder)
    assert tables.runs["pretraining_examples"].tolist() == [7.0]
    for frame in (tables.curves, tables.runs):
        assert (frame["examples"] == frame["forward"] + 2 * frame["backward"]).all()
    assert (tables.runs["examples_to_easy"] == 3 * tables.runs["forward_to_easy"]).all()


def test_layers_have_the_costs_of_their_checkpoint(study):
    study.cell("backprop", seeds=[0, 1])
    tables = load(study.folder)
    key = ["seed", "checkpoint"]
    costs = tables.curves.drop_duplicates(key).set_index(key)["seconds"]
    layers = tables.layers.set_index(key)
    assert len(layers) == 2 * 32 * 3
    assert (layers["seconds"] == costs.reindex(layers.index)).all()


def test_the_whole_network_is_no_layer(study):
    cell = study.folder / study.cell("backprop", seeds=[0, 1])
    tables = load(study.folder)
    assert tables.layers["depth"].unique().tolist() == [1, 2, 3]
    assert tables.networks["layer"].unique().tolist() == ["network"]
    assert len(tables.networks) == 2 * 32
    assert tables.networks["seconds"].notna().all()
    recorded = pd.read_parquet(cell / "layers.parquet")
    recorded[recorded["depth"] > 0].to_parquet(cell / "layers.parquet")  # as older tables are
    older = load(study.folder)
    pd.testing.assert_frame_equal(older.layers, tables.layers)
    assert older.networks.empty
    assert older.networks.columns.equals(tables.networks.columns)


def test_arms_are_named_by_what_differs(study):
    study.cell("backprop")
    study.cell("backprop", variant="optimizer=adam")
    study.cell("backprop", network="cnn", default_network=False)
    study.cell("genetic", variant="method.population_size=9")
    study.cell("genetic", "text/languages", network="cnn", default_network=False, variant="a=1")
    study.cell("genetic", "text/languages", network="cnn", default_network=False, variant="a=2")
    arms = load(study.folder).runs.groupby("task")["arm"].unique().map(list).to_dict()
    assert arms == {
        "image/digits": [
            "backprop",
            "backprop (cnn)",
            "backprop [optimizer=adam]",
            "genetic [method.population_size=9]",
        ],
        "text/languages": ["genetic [a=1]", "genetic [a=2]"],
    }


def test_settings_that_all_arms_share_name_none(study):
    study.cell("backprop", variant="task.train_size=200, network.hidden=[64, 64]")
    study.cell(
        "genetic", variant="method.population_size=9, network.hidden=[64, 64], task.train_size=200"
    )
    tables = load(study.folder)
    assert tables.arms == ["backprop", "genetic [method.population_size=9]"]
    assert set(tables.runs["settings"]) == {"network.hidden=[64, 64], task.train_size=200"}


def test_the_name_of_a_network_stands_for_what_it_is(study):
    study.cell("backprop")
    study.cell(
        "backprop", network="linear", default_network=False, variant="network.hidden=[], rate=2"
    )
    for width in (8, 16):
        study.cell(
            "backprop",
            network="cnn",
            default_network=False,
            variant=f"network.width={width}, network.depth=3",
        )
    assert load(study.folder).arms == [
        "backprop",
        "backprop (cnn) [network.width=16]",
        "backprop (cnn) [network.width=8]",
        "backprop (linear) [rate=2]",
    ]


def change(study, run_id, manifest=None, **columns):
    cell = study.folder / run_id.replace("/", "-")
    pd.read_parquet(cell / "runs.parquet").assign(**columns).to_parquet(cell / "runs.parquet")
    path = cell / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | (manifest or {})))


def seeds_of(tables):
    return {key: rows["seed"].tolist() for key, rows in tables.runs.groupby(["task", "arm"])}


def test_runs_of_other_budgets_or_splits_are_not_compared(study):
    for seeds, variant, changed in (
        ([0, 1, 2], "", {}),
        ([3, 4, 5], "budget.epochs=50", {"budget": 50.0}),
        ([6, 7, 8], "", {"split": "0"}),
    ):
        change(study, study.cell("backprop", seeds=seeds, variant=variant), **changed)
    tables = load(study.folder)
    assert seeds_of(tables) == {
        ("image/digits, 300 epochs, split=0", "backprop"): [6, 7, 8],
        ("image/digits, 300 epochs, split=own", "backprop"): [0, 1, 2],
        ("image/digits, 50 epochs", "backprop"): [3, 4, 5],
    }
    assert tables.tasks[0] == "image/digits, 50 epochs"  # numbers in the order of their size
    assert set(tables.runs["task_name"]) == {"image/digits"}
    for frame in (tables.curves, tables.layers, tables.networks):
        assert set(frame["task"]) == set(tables.tasks)


def test_budgets_differ_by_as_little_as_one(study):
    for seeds, amount in (([0, 1, 2], 123_456.0), ([3, 4, 5], 123_457.0)):
        change(study, study.cell("backprop", seeds=seeds), budget=amount)
    assert load(study.folder).tasks == [
        "image/digits, 123456 epochs",
        "image/digits, 123457 epochs",
    ]


def test_what_arms_share_sets_no_task_apart(study):
    for method in ("backprop", "genetic"):
        change(
            study, study.cell(method, variant="task.train_size=200, budget.epochs=50"), budget=50.0
        )
    tables = load(study.folder)
    assert tables.tasks == ["image/digits"]
    assert set(tables.runs["settings"]) == {"budget.epochs=50, task.train_size=200"}


def test_runs_of_other_settings_of_the_task_are_not_compared(study):
    for noise in ("", ", task.label_noise=0.2", ", task.label_noise=0.4"):
        study.cell("backprop", variant=f"task.train_size=200{noise}")
        study.cell("genetic", variant=f"method.population_size=9, task.train_size=200{noise}")
    tables = load(study.folder)
    arms = ["backprop", "genetic [method.population_size=9]"]
    assert list(seeds_of(tables)) == [
        (f"image/digits{noise}", arm)
        for noise in ("", ", label_noise=0.2", ", label_noise=0.4")
        for arm in arms
    ]
    noisy = tables.runs[tables.runs["task"] == "image/digits, label_noise=0.2"]
    assert set(noisy["settings"]) == {"task.label_noise=0.2, task.train_size=200"}


def test_runs_of_other_data_are_not_compared(study):
    runs = [study.cell(method) for method in ("backprop", "constant", "genetic")]
    change(study, runs[0], {"data_sha256": "aaaaaaaaaaaa"})
    assert load(study.folder).tasks == ["image/digits"]  # what is not known sets nothing apart
    change(study, runs[1], {"data_sha256": "bbbbbbbbbbbb"})
    assert load(study.folder).tasks == [
        "image/digits",
        "image/digits, data aaaaaaaa",
        "image/digits, data bbbbbbbb",
    ]


def test_skipped_runs_stand_where_they_were_asked_for(study):
    study.cell("backprop")
    study.cell("genetic", status="skipped")  # of an unknown budget
    assert load(study.folder).tasks == ["image/digits"]


def test_seeds_of_one_arm_may_come_from_two_runs(study):
    study.cell("backprop", seeds=[0, 1])
    study.cell("backprop", seeds=[2, 3])
    tables = load(study.folder)
    assert tables.runs["seed"].tolist() == [0, 1, 2, 3]
    assert tables.repeated == ()


def test_a_seed_counts_once_in_an_arm(study):
    """As after `seeds=2`, then `seeds=4`."""
    study.cell("backprop", seeds=[1, 2])
    more = study.cell("backprop", seeds=[0, 1, 2, 3])
    tables = load(study.folder)
    assert tables.runs["seed"].tolist() == [0, 1, 2, 3]
    assert (
        set(tables.runs["run_id"])
        == set(tables.curves["run_id"])
        == set(tables.layers["run_id"])
        == {more}
    )
    assert tables.repeated == (
        "image/digits: 2 seeds of backprop were trained in 2 runs, with equal scores; each counts "
        f"once, in the run with the most seeds ({more}).",
    )
    path = study.folder / more / "runs.parquet"
    runs = pd.read_parquet(path)
    runs.assign(best_test_score=runs["best_test_score"] - 0.02).to_parquet(path)
    assert "whose scores differ by up to 0.02;" in load(study.folder).repeated[0]
    # as far as float32 can tell; and lost in either run
    for none in (runs["best_test_score"] + 1e-8, np.nan):
        for run_id in tables.manifests:
            table = pd.read_parquet(study.folder / run_id / "runs.parquet")
            scores = none if run_id == more or none is np.nan else table["best_test_score"]
            table.assign(best_test_score=scores).to_parquet(study.folder / run_id / "runs.parquet")
        assert "with equal scores;" in load(study.folder).repeated[0]


def test_the_share_of_the_budget_is_known_in_its_currency(study):
    cell = study.folder / study.cell("backprop", seeds=[0])
    runs = pd.read_parquet(cell / "runs.parquet").assign(
        flops=30.0, budget=40.0, budget_currency="flops"
    )
    runs.to_parquet(cell / "runs.parquet")
    assert load(study.folder).runs["spent"].tolist() == [0.75]


def test_a_folder_without_tables_is_one_clear_line(tmp_path):
    with pytest.raises(TableError, match=r"^no such folder: .*nowhere$"):
        load(tmp_path / "nowhere")
    with pytest.raises(
        TableError,
        match=r"^no finished run in .*: no <cell>/manifest\.json there that fits the tables beside it$",
    ):
        load(tmp_path)


def test_missing_columns_are_named(study):
    cell = study.folder / study.cell("backprop", seeds=[0])
    runs = pd.read_parquet(cell / "runs.parquet")
    runs.drop(columns=["signal", "headline_metric"]).to_parquet(cell / "runs.parquet")
    with pytest.raises(
        TableError, match=r"^the runs tables lack the columns signal, headline_metric$"
    ):
        load(study.folder)


def test_a_broken_file_is_named(study):
    cell = study.folder / study.cell("backprop", seeds=[0])
    (cell / "curves.parquet").write_bytes(b"not a table")
    with pytest.raises(TableError, match=r"^cannot read .*curves\.parquet: "):
        load(study.folder)


def test_skipped_cells_have_no_curves_and_unfinished_ones_are_told_apart(study):
    study.cell("genetic", status="skipped")
    tables = load(study.folder)
    assert tables.curves.empty
    assert tables.runs["status"].tolist() == ["skipped"] * 5
    (study.folder / "begun").mkdir()
    (study.folder / "begun" / "lock").touch()
    assert load(study.folder).unfinished == ("begun",)


def test_a_cell_counts_only_if_it_has_a_manifest_and_the_tables_that_this_names(study):
    study.cell("backprop")
    cell = study.folder / study.cell("genetic")
    (cell / "lock").touch()
    path = cell / "manifest.json"
    manifest = json.loads(path.read_text())
    hashes = {
        name: hashlib.sha256((cell / f"{name}.parquet").read_bytes()).hexdigest()
        for name in ("curves", "runs")
    }
    for text, arms in (
        (json.dumps(manifest | {"tables": hashes}), ["backprop", "genetic"]),
        (json.dumps(manifest | {"tables": hashes | {"runs": "0"}}), ["backprop"]),
        # there is none
        (json.dumps(manifest | {"tables": hashes | {"predictions": "0"}}), ["backprop"]),
        ("{", ["backprop"]),
        ("", ["backprop"]),
        ("[]", ["backprop"]),
        (json.dumps(manifest | {"identity": "hello"}), ["backprop"]),
        (json.dumps(manifest | {"wall_seconds": "long"}), ["backprop"]),
        (json.dumps(manifest | {"status": None}), ["backprop"]),
    ):
        path.write_text(text)
        tables = load(study.folder)
        assert (tables.arms, tables.damaged) == (arms, () if "genetic" in arms else (cell.name,))
        assert tables.unfinished == ()
    path.unlink()
    tables = load(study.folder)
    assert (tables.arms, tables.unfinished, tables.damaged) == (["backprop"], (cell.name,), ())


def test_direction_is_in_the_name():
    assert higher_is_better("accuracy_score")
    assert not higher_is_better("squared_error_loss")
    assert not higher_is_better("classification_error")


def test_what_a_score_cannot_leave_is_in_the_name():
    for share in ("accuracy_score", "balanced_accuracy_score", "macro_f1_score"):
        assert limits_of(share) == (0, 1)
    assert limits_of("r2_score") == (-np.inf, 1)  # worse than the mean of the targets, without end
    assert limits_of("squared_error_loss") == (-np.inf, np.inf)
