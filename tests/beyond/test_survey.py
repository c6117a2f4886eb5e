"""The landscape of a study: what its rows say, of the runs' weights; and what is refused."""

import numpy as np
import pandas as pd
import pytest
import torch

from beyond import catalog
from beyond.contracts import Batch
from beyond.errors import InputError, UnsupportedError
from beyond.problem import Problem
from beyond.run.cell import Cell
from beyond.run.landscape import Surface, matched
from beyond.run.runner import run_cell
from beyond.run.survey import TABLE, Survey
from beyond.run.tables import LANDSCAPE
from beyond.run.trained import Trained
from beyond.streams import Stream

FAULTS = [
    ("beyond/run/survey.py", "losses[there].flip(1)]", "losses[there]]"),
    ("beyond/run/survey.py", "of=self.other, other=self.of,", "of=self.of, other=self.other,"),
    ("beyond/run/survey.py", "(seeds.index(seed) + 1)", "(seeds.index(seed) + 2)"),
    ("beyond/run/survey.py", '[Line("start", end, None, drawn, end.weights)', '[Line("start", end, None, end.weights, drawn)'),
    ("beyond/run/survey.py", "found[0], found[1:]", "found[1], found[1:]"),
    ("beyond/run/survey.py", 'Stream("landscape", [0])', 'Stream("landscape", [seed])'),
    ("beyond/run/survey.py", 'splits.batch("train"', 'splits.batch("validation"'),
    ("beyond/run/survey.py", "known(note) == {**origin, \"table\": hash_of(table)}", "True"),
    ("beyond/run/survey.py", "place = repr((arm.task, arm.architecture, arm.hardware))", 'place = ""'),
    ("beyond/run/survey.py", "arms.setdefault(run.arm.id, {})", "arms.setdefault(run_id, {})"),
    ("beyond/run/survey.py", "return replace(self, last=last, is_matched=True)", "return replace(self, is_matched=True)"),
    ("hydra_plugins/beyond_cells/sweeper.py", "                survey.record(folder)", "                pass"),
]  # fmt: skip
SETTINGS = Survey(n_examples=7, n_points=3, n_across=3, radius=0.5)
SEEDS = [0, 4, 7]


@pytest.fixture
def trained(composed):
    """Return what trains some steps of a method and keeps its weights; its cell."""

    def train(method="backprop", seeds=SEEDS, steps=20, **others):
        task = {**catalog.read("task", "image/digits"), "split_seed": 0, "train_size": 40}
        described = {"task": task, "budget": {"steps": steps}, "keep_weights": True, **others}
        cell = Cell.of(composed(method, seeds=seeds, **described), method)
        run_cell(cell, keep_skipped=True, shown=False, quiet=True)
        return cell

    return train


def recorded(study):
    return pd.read_parquet(study / TABLE)


def examples(task, seed=0):
    """All training examples, in another order."""
    splits = task.at([seed])
    batch = splits.batch("train", torch.arange(splits.size("train"))[None])
    return Batch(batch.inputs.double(), batch.targets)


def loss(cell, weights):
    """Of weights on the training examples."""
    task = cell.arm.task
    problem = Problem(cell.arm.architecture.build(task.spec), task.spec)
    return float(problem.loss(weights[None], examples(task)))


def test_rows_are_of_the_weights_that_the_runs_keep(trained):
    first, second = trained(), trained("evolution_strategy")
    study = first.study
    Survey(n_examples=10**6, n_points=3, n_across=3, radius=0.5).record(study)
    table = recorded(study)
    assert list(table.columns) == [column.name for column in LANDSCAPE.columns]
    weights = {}
    for cell in (first, second):
        states = Trained.load(cell.folder).states
        for seed, state in states.items():
            weights[cell.run_id, seed] = cell.arm.method.params(state)[0].double()
    network = first.arm.architecture.build(first.arm.task.spec)

    paths = table.groupby(["path", "matched"]).size()
    # 3 places; a line to each solution; pairs of arms both ways, of an arm with the next seed
    assert paths.to_dict() == {
        ("pair", False): 3 * 3 * (2 + 2),
        ("pair", True): 3 * 3 * (2 + 2),
        ("plane", False): 9 * 6,
        ("start", False): 3 * 6,
    }
    pairs = table[(table["path"] == "pair") & (table["x"] == 0) & ~table["matched"]]
    same = pairs[pairs["run_id"] == pairs["other_run_id"]]
    assert set(zip(same["seed"], same["other_seed"], strict=True)) == {(0, 4), (4, 7), (7, 0)}
    other = pairs[pairs["run_id"] != pairs["other_run_id"]]
    assert (other["seed"] == other["other_seed"]).all()

    middles = table[(table["x"] == 0.5) & (table["path"] != "plane")]
    for row in middles.itertuples():
        ours = weights[row.run_id, row.seed]
        if row.path == "start":
            here, there = network.init(Stream("init", [row.seed]))[0].double(), ours
        else:
            here, there = ours, weights[row.other_run_id, row.other_seed]
        if row.matched and ours is here:
            there = matched(network, here, there)
        ends, middle = [loss(first, here), loss(first, there)], loss(first, (here + there) / 2)
        assert row.loss == pytest.approx(middle, rel=1e-9)
        assert row.excess == pytest.approx(middle - np.mean(ends), rel=1e-6, abs=1e-9)
        assert row.rise == pytest.approx(max(0, middle - ends[0]), rel=1e-6, abs=1e-9)
        assert row.distance == pytest.approx(float((there - here).norm()) / 2)

    ends = table[(table["path"] == "start") & (table["x"] == 1)].set_index(["run_id", "seed"])
    plane = table[(table["path"] == "plane") & (table["distance"] == 0)]
    for row in plane.itertuples():
        assert (row.x, row.y) == (0, 0)
        assert row.loss == pytest.approx(ends.loc[(row.run_id, row.seed), "loss"], rel=1e-12)
    assert table[table["path"] == "plane"]["x"].unique().tolist() == [-0.5, 0, 0.5]
    sharp = table[table["sharpness"].notna()]
    assert set(sharp["path"]) == {"start"}
    assert sorted(sharp["x"].unique()) == [0, 1]
    starts = sharp[sharp["x"] == 0].groupby("seed")["sharpness"].nunique()
    assert starts.tolist() == [1, 1, 1]  # the arms start from the same weights
    assert len(sharp) == 12
    row = sharp[(sharp["x"] == 0) & (sharp["seed"] == 4)].iloc[0]
    start = network.init(Stream("init", [4])).double()
    surface = Surface(network, first.arm.task.spec, examples(first.arm.task, 4))
    found = surface.sharpness(start, torch.ones_like(start))
    assert row["sharpness"] == pytest.approx(float(found), rel=0.01)


def test_it_is_recorded_once_and_anew_where_weights_or_settings_changed(trained):
    cell = trained(seeds=[0, 1], steps=2)
    study = cell.study
    SETTINGS.record(study)
    before = recorded(study)
    (study / TABLE).unlink()
    SETTINGS.record(study)
    pd.testing.assert_frame_equal(recorded(study), before)
    stamp = (study / TABLE).stat().st_mtime_ns
    SETTINGS.record(study)
    assert (study / TABLE).stat().st_mtime_ns == stamp
    Survey(n_points=4, n_across=3).record(study)
    assert recorded(study)["x"].nunique() > before["x"].nunique()
    trained(seeds=[2], steps=2)  # the study goes on: one arm, in two runs
    SETTINGS.record(study)
    table = recorded(study)
    pairs = table[(table["path"] == "pair") & ~table["matched"]]
    assert set(zip(pairs["seed"], pairs["other_seed"], strict=True)) == {(0, 1), (1, 2), (2, 0)}
    # all seeds have one split, so all are measured on the same seven examples
    ends = table[(table["path"] == "start") & (table["x"] == 1)].set_index("seed")["loss"]
    theirs = pairs[pairs["x"] == 1].set_index("other_seed")["loss"]
    np.testing.assert_allclose(theirs[ends.index], ends, rtol=1e-12)


def test_networks_of_another_kind_are_no_pair_and_may_have_units_that_cannot_change_places(
    trained,
):
    trained(seeds=[0], steps=2)
    normed = catalog.read("network", "mlp") | {"layer_norm": True, "hidden": [4]}
    trained(seeds=[0, 1], steps=2, network=normed)
    SETTINGS.record(trained(seeds=[0], steps=2).study)
    table = recorded(trained(seeds=[0], steps=2).study)
    assert not table["matched"].any()
    assert (
        table[table["path"] == "pair"]["run_id"] == table[table["path"] == "pair"]["other_run_id"]
    ).all()
    assert len(table[table["path"] == "start"]) == 9


@pytest.mark.parametrize(
    ("method", "others", "message"),
    [
        ("backprop", {"keep_weights": False}, "keep_weights must be true where a landscape is recorded, got False"),
        ("forward_forward", {}, "has no landscape: forward_forward predicts by more than its network's outputs"),
        ("backprop", {"network": {"norm": "batch"}}, "has no landscape: cnn-16-32 keeps statistics, which are of no point between two others"),
        ("backprop", {"start": "related"}, "has no landscape: it starts from weights that it learns elsewhere"),
        ("maml", {"task": "regression/sinusoids"}, "has no landscape: regression/sinusoids has no fixed examples"),
        ("reinforce", {"task": "control/cartpole"}, "has no landscape: control/cartpole has no fixed examples"),
    ],
)  # fmt: skip
def test_what_has_no_landscape_is_refused_in_one_line(method, others, message, composed):
    others = {"keep_weights": True, **others}
    if "network" in others:
        others["network"] = catalog.read("network", "cnn") | others["network"]
    for group in {"start", "task"} & set(others):
        others[group] = catalog.read(group, others[group])
    cell = Cell.of(composed(method, **others), method)
    with pytest.raises((InputError, UnsupportedError)) as refused:
        SETTINGS.require([(cell.arm, cell.run.keep_weights)])
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_sweep_refuses_before_it_trains_and_records_before_it_reports(beyond, tmp_path):
    command = ("-m", "method=backprop,node_perturbation", "seeds=1", "budget=steps")
    command += ("budget.steps=2", "task.train_size=40", "+landscape.n_points=3")
    cheap = "hydra.sweeper.publish=analysis.paper.publish_index"  # of no page
    study = tmp_path / "runs" / "adhoc"
    status, told, _ = beyond(*command)
    refused = "beyond: keep_weights must be true where a landscape is recorded, got False"
    assert (status, told.splitlines()[-1]) == (1, refused)
    assert not study.exists()
    for _ in range(2):  # all is there but the landscape
        status, told, _ = beyond(*command, cheap, "keep_weights=true", "+landscape.n_across=3")
        assert status == 0, told
        assert recorded(study)["path"].value_counts().to_dict() == {
            "plane": 18,
            "pair": 12,
            "start": 6,
        }
        (study / TABLE).unlink()
