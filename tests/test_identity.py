"""What was run, not what was typed: arms and seeds of a study that grows, from the command line."""

import json
from itertools import product

import pandas as pd
import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl

from analysis.study import Study
from analysis.tables import load
from beyond.errors import InputError
from hydra_plugins.beyond_cells.sweeper import combined

FAULTS = [
    (
        "beyond/run/arm.py",
        "int(value) if isinstance(value, float) and value.is_integer() else value",
        "value",
    ),
    # what is tested beside is no part of an arm
    (
        "beyond/run/arm.py",
        "for part in (self.start, self.test_also) if part]",
        "for part in (self.start,) if part]",
    ),
    ("beyond/run/arm.py", "if self.threads != RunSettings().threads:", "if self.threads > 2:"),
    (
        "beyond/run/arm.py",
        "if not field.init or (other is not MISSING and same(one, other)):",
        "if not field.init:",
    ),
    (
        "beyond/run/plan.py",
        "for seed in dict.fromkeys(wanted) if seed not in there]",
        "for seed in dict.fromkeys(wanted)]",
    ),
    ("beyond/run/plan.py", "if seeds and stale:", "if seeds and stale and not seeds:"),
    ("beyond/run/plan.py", 'DATA: manifest["data_sha256"]}', "DATA: cell.data}"),
    (
        "beyond/run/plan.py",
        '{**manifest["sources"], DATA: manifest',
        "{**cell.sources, DATA: manifest",
    ),
    (
        "beyond/run/plan.py",
        'asked = run.rerun in ("all", self.status)',
        'asked = run.rerun == "all" or self.status == "failed"',
    ),
    (
        "beyond/run/plan.py",
        "and self.changed:\n            return True",
        "and self.changed and self.seeds == list(run.seed_list):\n            return True",
    ),
    (
        "beyond/run/plan.py",
        "found |= {before.path.name: before.changed",
        "found |= {before.path.name: []",
    ),
    ("beyond/run/plan.py", 'provenance.outdated(manifest["sources"])', "[]"),
    (
        "beyond/run/plan.py",
        "for seed in todo.seeds if seed not in taken]",
        "for seed in todo.seeds]",
    ),
    ("hydra_plugins/beyond_cells/configuration.py", "    config = deepcopy(config)\n", ""),
    (
        "hydra_plugins/beyond_cells/sweeper.py",
        "lost = {\n            key for key in pairs if key in asked",
        "lost = {\n            key for key in pairs if not key",
    ),
    (
        "hydra_plugins/beyond_cells/sweeper.py",
        "if any(asked.get(key, pairs[key]) != pairs[key]",
        "if any(asked.get(key, 0) == pairs[key]",
    ),
]
QUICK = ("budget=steps", "budget.steps=2")
SILENT = "hydra.sweeper.publish=analysis.tables.load"  # instead of a report, which takes seconds


@pytest.fixture
def arms(tmp_path):
    """Return a function that reads each arm's seeds, by task and arm, as the report does."""

    def read(study="adhoc"):
        runs = load(tmp_path / "runs" / study).runs
        return {key: sorted(group["seed"]) for key, group in runs.groupby(["task", "arm"])}

    return read


def variants(tmp_path, study="adhoc"):
    runs = pd.concat(map(pd.read_parquet, tmp_path.glob(f"runs/{study}/*/runs.parquet")))
    return sorted(set(runs["variant"]))


def test_seeds_that_are_added_give_what_they_give_together(beyond, arms, tmp_path):
    """Backpropagation's replicas are stacked: equal to float rounding, as methods promise."""
    for runs, seeds in (("grown", ["seeds=2", "seeds=4"]), ("whole", ["seeds=4"])):
        for one in seeds:
            assert beyond("method=backprop", "budget.epochs=3", one, f"runs={runs}")[0] == 0
    grown, whole = (load(tmp_path / runs / "adhoc").runs for runs in ("grown", "whole"))
    assert grown["seed"].tolist() == whole["seed"].tolist() == [0, 1, 2, 3]
    assert set(grown["arm"]) == {"backprop"}
    assert grown["best_validation_loss"].tolist() == pytest.approx(
        whole["best_validation_loss"].tolist(), rel=1e-4
    )


@pytest.mark.parametrize(
    ("commands", "labels"),
    [
        ([["-m", SILENT, "method=constant", "budget.epochs=10,100"]], ["", "budget.epochs=10"]),
        (
            [
                ["method=mono_forward", "budget.epochs=1"],
                ["method=mono_forward", "budget.epochs=1", "test_also={prediction:[sum]}"],
            ],
            ["budget.epochs=1", 'budget.epochs=1, test_also={prediction:["sum"]}'],
        ),
        ([["method=constant", "threads=1"], ["method=constant", "threads=2"]], ["", "threads=2"]),
        (
            [
                ["method=constant", "budget=quick", "seeds=[0,1]"],
                ["method=constant", "budget.epochs=50", "seeds=[2,3]"],
            ],
            ["budget.epochs=10", "budget.epochs=50"],
        ),
    ],
)
def test_cells_that_differ_are_not_made_one(commands, labels, beyond, tmp_path):
    for command in commands:
        status, told, _ = (
            beyond(*command, "seeds=2") if "seeds" not in " ".join(command) else beyond(*command)
        )
        assert status == 0, told
    assert variants(tmp_path) == labels
    assert load(tmp_path / "runs" / "adhoc").runs.groupby(["task", "arm"]).size().tolist() == [2, 2]


@pytest.mark.parametrize(
    ("typed", "label"),
    [
        (["method.batch_size=32"], "task.train_size=64"),
        (
            ["network=mlp", "network.hidden=[32]", "threads=1", "task.label_noise=0"],
            "task.train_size=64",
        ),
        (
            ["method.optimizer.learning_rate=3e-3", "budget.epochs=100.0", "time_limit=99"],
            "task.train_size=64",
        ),
        (["optimizer=adam", "optimizer.learning_rate=0.003"], "task.train_size=64"),
        (
            [
                *("budget.epochs=7", "optimizer=sgd", "optimizer.learning_rate=0.2"),
                "method.batch_size=64",
            ],
            "batch_size=64, optimizer=sgd, optimizer.learning_rate=0.2, task.train_size=64, budget.epochs=7",
        ),
        (
            ["method.batch_size=null", "budget.epochs=7"],
            "batch_size=null, task.train_size=64, budget.epochs=7",
        ),
        (
            ["network=linear", "method.optimizer.learning_rate=1"],
            "optimizer.learning_rate=1, network.hidden=[], task.train_size=64",
        ),
    ],
)
def test_a_label_is_of_the_settings_whatever_was_typed(typed, label, beyond, tmp_path):
    assert beyond("method=backprop", "task.train_size=64", "seeds=1", *typed)[0] == 0
    assert variants(tmp_path) == [label]


def test_one_arm_typed_in_two_ways_is_trained_once(beyond, tmp_path):
    assert beyond("method=backprop", "method.batch_size=32", *QUICK, "seeds=1")[0] == 0
    status, told, _ = beyond(
        "-m",
        SILENT,
        "method=backprop",
        "network=default,mlp",
        "budget=steps",
        "budget.steps=2.0",
        "seeds=1",
    )
    assert status == 0
    assert told.count("finished before") == told.count("\n") == 1
    assert len(list(tmp_path.glob("runs/adhoc/*/runs.parquet"))) == 1


def test_a_sweep_composes_once_for_all_cells_with_the_same_choices(beyond, tmp_path, monkeypatch):
    """And its cells are those that single runs have: planning finds each of them again."""
    rates = ["1e-3", "2e-3", "3e-3"]
    for method, rate in product(("backprop", "last_layer"), rates):
        arm = (f"method={method}", f"method.optimizer.learning_rate={rate}", "++task.shots=9")
        assert beyond(*arm, *QUICK, "seeds=1")[0] == 0
    composed, compose = [], ConfigLoaderImpl.load_sweep_config
    monkeypatch.setattr(
        ConfigLoaderImpl, "load_sweep_config", lambda *of: composed.append(of[2]) or compose(*of)
    )
    sweep = [
        "-m",
        SILENT,
        "method=backprop,last_layer",
        f"method.optimizer.learning_rate={','.join(rates)}",
    ]
    status, told, _ = beyond(*sweep, "++task.shots=9", *QUICK, "seeds=1")
    assert (status, told.count("finished before")) == (0, 6)
    assert len(composed) == 2


def test_a_line_of_a_study_leaves_no_setting_to_the_next(beyond, tmp_path):
    lines = 'hydra.sweeper.arms=["method=last_layer method.batch_size=16","method=last_layer"]'
    assert beyond("-m", SILENT, lines, *QUICK, "seeds=1")[0] == 0
    assert variants(tmp_path) == ["batch_size=16, budget.steps=2", "budget.steps=2"]


def test_a_study_does_what_the_user_chooses(beyond, arms, tmp_path):
    chosen = ("+study=comparison", "task=regression/diabetes", "method=constant,last_layer")
    short = ("budget.epochs=1", "hydra/launcher=basic", "seeds=2", SILENT)
    assert beyond(*chosen, "method.optimizer.learning_rate=0.1", *short)[0] == 1
    status, told, _ = beyond(*chosen, *short)
    assert status == 0, told
    assert {arm for _, arm in arms("comparison")} == {"constant", "last_layer"}
    assert set(map(tuple, arms("comparison").values())) == {(0, 1)}
    assert variants(tmp_path, "comparison") == ["budget.epochs=1"]


def test_what_is_typed_takes_the_place_of_what_a_line_says():
    line = ["task=a", "task.train_size=2000", "+method.x=1", "budget=steps", "budget.steps=5"]
    typed = ["task.train_size=50", "budget.epochs=1"]
    assert combined(typed, [line]) == [[*typed, "task=a", "+method.x=1"]]
    assert combined(["method.x=2"], [line]) == [
        ["method.x=2", *(part for part in line if "x=1" not in part)]
    ]
    assert combined(["task=b"], [line, ["task=b", "seeds=3"], []]) == [
        ["task=b", "seeds=3"],
        ["task=b"],
    ]
    with pytest.raises(
        InputError, match="no line of the study has task=c; its lines have task: a, b"
    ):
        combined(["task=c"], [line, ["task=b"]])


def manifest_of(folder):
    return json.loads((folder / "manifest.json").read_text())


@pytest.fixture
def trained(beyond, tmp_path):
    """A finished cell, and what says what happens when the same, or more, is asked for again."""
    command = ("method=genetic", "task=regression/diabetes", *QUICK)
    assert beyond(*command, "seeds=2")[0] == 0
    folder = next(tmp_path.glob("runs/adhoc/*-*"))
    return folder, lambda *more: beyond(*command, *more)


def alter(folder, **parts):
    """Make the manifest say that something else has made the cell."""
    manifest = {**manifest_of(folder), **parts}
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("part", "name"), [("sources", "methods/genetic.py"), ("data_sha256", "its data")]
)
def test_a_cell_is_stale_when_what_made_it_has_changed(part, name, trained):
    folder, again = trained
    fresh = manifest_of(folder)
    before = {"sources": {**fresh["sources"], "methods/genetic.py": "0"}, "data_sha256": "0"}[part]
    alter(folder, **{part: before})
    status, told, _ = again("seeds=2")
    assert status == 0
    assert (
        f"finished before; stale: what made it has changed ({name}); rerun=stale trains it again"
        in told
    )
    assert manifest_of(folder)[part] == before
    status, told, _ = again("seeds=3")
    assert status == 1
    assert told.startswith(
        "beyond: regression/diabetes, 2 steps: genetic: seeds 2 would join seeds 0 to 1, which are"
    )
    assert told.count("\n") == 1
    status, told, _ = again("seeds=2", "rerun=stale")
    assert "before" not in told
    assert manifest_of(folder)[part] == fresh[part]
    alter(folder, **{part: before})
    assert again("seeds=3", "rerun=stale")[0] == 0
    (whole,) = folder.parent.glob("*-*")
    assert manifest_of(whole)["seeds"] == [0, 1, 2]
    assert "finished before, seeds 0 to 2" in again("seeds=1", "rerun=stale")[1]


def test_all_stale_seeds_of_an_arm_are_trained_again_together(trained):
    """Whichever of them are asked for: an arm's seeds are of one code."""
    folder, again = trained
    assert again("seeds=[5]")[0] == 0
    cells = sorted(folder.parent.glob("*-*"))
    for rerun in (["seeds=[0]"], ["seeds=3"], [SILENT, "seeds=[0],[5],[7]", "-m"]):
        for cell in cells:
            alter(cell, sources={**manifest_of(cell)["sources"], "methods/genetic.py": "0"})
        status, told, _ = again("rerun=stale", *rerun)
        assert status == 0, told
        assert "stale" not in told
        cells = sorted(folder.parent.glob("*-*"))
        assert {manifest_of(cell)["sources"]["methods/genetic.py"] for cell in cells} != {"0"}
        assert {0, 1, 5} <= {seed for cell in cells for seed in manifest_of(cell)["seeds"]}


@pytest.mark.parametrize(
    ("part", "name"), [("sources", "methods/genetic.py"), ("data_sha256", "its data")]
)
def test_the_page_tells_which_arms_are_stale_as_the_terminal_does(part, name, trained, beyond):
    folder, again = trained
    study = folder.parent
    assert beyond("method=constant", "task=regression/diabetes", *QUICK, "seeds=2")[0] == 0
    assert load(study).stale == {}
    fresh = manifest_of(folder)
    alter(
        folder,
        **{
            part: {"sources": {**fresh["sources"], "methods/genetic.py": "0"}, "data_sha256": "0"}[
                part
            ]
        },
    )
    told = again("seeds=2")[1]
    assert f"stale: what made it has changed ({name})" in told
    assert load(study).stale == {folder.name: [name]}
    page = Study(study).report().read_text()
    assert (
        f"stale, made by code or data that have changed since: genetic ({name}). rerun=stale trains them again."
        in page
    )
    among_others = "Some arms were made by older code or data than others (see Caveats)."
    assert (among_others in page) == (part == "sources")  # arms of other data are ranked apart
    if part == "sources":  # told of cells that are no part of the command, too
        (study / "stale.json").unlink()
        others = ("-m", SILENT, "method=constant", "task=regression/diabetes", *QUICK, "seeds=2")
        assert beyond(*others)[0] == 0
        assert load(study).stale == {folder.name: [name]}
    assert again("seeds=2", "rerun=stale")[0] == 0
    assert load(study).stale == {}
    assert "stale" not in Study(study).report().read_text()


def test_a_cell_that_failed_is_tried_again_when_asked(beyond):
    command = ("method=backprop", "task=regression/diabetes", *QUICK, "seeds=1")
    assert beyond(*command, "time_limit=1e-9")[0] == 1
    status, told, _ = beyond(*command)
    assert status == 1
    assert "failed before (time limit of 1e-09 s); rerun=failed tries it again" in told
    status, told, _ = beyond(*command, "rerun=failed")
    assert status == 0
    assert "finished, test r2_score" in told
    assert "finished before" in beyond(*command, "rerun=failed")[1]


def test_runs_of_an_earlier_version_are_not_compared(trained):
    folder, again = trained
    folder.rename(folder.parent / "0123456789ab")
    status, told, _ = again("seeds=2")
    assert status == 1
    assert "has runs of an earlier version" in told


@pytest.mark.parametrize(("launcher", "times"), [("basic", 2), ("joblib", 1)])
def test_equal_jobs_and_seeds_of_a_sweep_are_trained_once(launcher, times, beyond, arms):
    sweep = [
        "-m",
        "method=constant,constant",
        "seeds=2,3,[1,4]",
        f"hydra/launcher={launcher}",
        "rerun=all",
        SILENT,
    ]
    for _ in range(times):
        status, told, _ = beyond(*sweep)
        assert status == 0, told
        assert "before" not in told  # no job is left to find that another was quicker
        assert arms() == {("image/digits", "constant"): [0, 1, 2, 4]}


def test_a_sweep_extends_what_a_single_run_began_and_ends_in_a_report(beyond, arms, tmp_path):
    assert beyond("method=genetic", *QUICK, "seeds=2")[0] == 0
    sweep = [
        "-m",
        "method=backprop,genetic",
        "task=image/digits,regression/diabetes",
        *QUICK,
        "seeds=4",
    ]
    status, told, shown = beyond(*sweep)
    assert status == 0, told
    assert (
        "image/digits: genetic: finished before, seeds 0 to 1, in" in told
    )  # what all share is not told
    assert "report" in shown
    assert set(map(tuple, arms().values())) == {(0, 1, 2, 3)}
    assert len(arms()) == 4
    tables = {path: path.read_bytes() for path in tmp_path.rglob("runs/adhoc/*-*/*.parquet")}
    assert beyond(*sweep, SILENT)[1].count("finished before") == 5  # genetic on digits in two cells
    assert {
        path: path.read_bytes() for path in tmp_path.rglob("runs/adhoc/*-*/*.parquet")
    } == tables
