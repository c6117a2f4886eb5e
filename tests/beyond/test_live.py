"""What followers are told is what the tables have; one that fails does not end the run."""

from io import StringIO
from typing import ClassVar

import pandas as pd
import pytest
from rich.console import Console

from beyond import catalog
from beyond.errors import InputError
from beyond.run import live
from beyond.run.cell import Cell, prepare
from beyond.run.record import RunFolder
from beyond.run.runner import train_stack

FAULTS = [
    ("beyond/run/live.py", "left.remove(one)", "pass"),
    ("beyond/run/live.py", "named, not lacking)", "named, True)"),
    ("beyond/run/live.py", "ended.extend(progress.runs)", "pass"),
    ("beyond/run/live.py", "if isfinite(value):", "if True:"),
    ("beyond/run/live.py", "find_spec(found.PACKAGE) is None", "False"),
    (
        "beyond/run/runner.py",
        "            follow(progress)\n            if progress.curves",
        "            if progress.curves",
    ),
    ("beyond/run/cell.py", "    follower(cell.run.follow)", "    # follower(cell.run.follow)"),
    ("beyond/run/runner.py", "    follower(cell.run.follow)  #", "    #"),
]
HERE = "beyond.run.live."


class Recording(live.Live):
    """Keeps what it is told."""

    told: ClassVar[list] = []

    def begin(self, runs):
        self.told.append(("begin", list(runs)))

    def checkpoint(self, curves, layers):
        self.told.append(("checkpoint", list(curves), list(layers)))

    def end(self, runs):
        self.told.append(("end", list(runs)))


class Failing(Recording):
    def checkpoint(self, curves, layers):
        self.told.append(("failed",))
        raise ValueError("no room")


class Stillborn(Recording):
    def __init__(self, study):
        raise ValueError("no server")


class Half(live.Live):
    def begin(self, runs): ...


class Numbers(live.Means):
    """Means, as they would be drawn."""

    logged: ClassVar[dict] = {}

    def start(self, run):
        return run["run_id"]

    def log(self, opened, step, values):
        self.logged.update({(opened, step, name): value for name, value in values.items()})

    def finish(self, opened, values):
        self.logged.update({(opened, "end", name): value for name, value in values.items()})


@pytest.fixture
def follow(composed, monkeypatch):
    """Return what trains cells of these learning rates before a follower: cells, what it said."""
    Recording.told, Numbers.logged = [], {}

    def train(kind, *rates, named=""):
        monkeypatch.setattr(live, kind.__name__, kind, raising=False)
        kind.__module__ = "beyond.run.live"
        cells = [
            Cell.of(
                composed(
                    optimizer={**catalog.read("optimizer", "adam"), "learning_rate": rate},
                    budget={"steps": 3},
                    seeds=2,
                    follow=named or HERE + kind.__name__,
                ),
                "backprop",
            )
            for rate in rates
        ]
        for cell in cells:
            prepare(cell)
        console = Console(record=True, width=400, file=StringIO())
        statuses = train_stack(cells, False, console)
        assert statuses == ["finished"] * len(cells)
        return cells, console.export_text()

    return train


def recorded(cell, name):
    return pd.read_parquet(cell.folder / f"{name}.parquet")


def test_it_is_told_what_the_tables_have(follow):
    cells, _ = follow(Recording, 0.1, 0.2)
    (first, runs), *middle, (last, ended) = Recording.told
    assert (first, last) == ("begin", "end")
    assert [(run["run_id"], run["seed"]) for run in runs] == [
        (cell.run_id, seed) for cell in cells for seed in (0, 1)
    ]
    for name, rows in (
        ("curves", [row for _, curves, _ in middle for row in curves]),
        ("layers", [row for *_, layers in middle for row in layers]),
        ("runs", ended),
    ):
        for cell in cells:
            mine = pd.DataFrame([row for row in rows if row["run_id"] == cell.run_id])
            pd.testing.assert_frame_equal(mine, recorded(cell, name), check_dtype=False)


def test_means_are_of_a_cells_replicas(follow):
    cells, _ = follow(Numbers, 0.1, 0.2)
    for cell in cells:
        curves = recorded(cell, "curves").query("split != 'test'")
        for (steps, split, metric), part in curves.groupby(["steps", "split", "metric"]):
            logged = Numbers.logged[cell.run_id, steps, f"{split}/{metric}"]
            assert logged == pytest.approx(part["value"].mean())
        score = recorded(cell, "runs")["best_test_score"].mean()
        assert Numbers.logged[cell.run_id, "end", "test"] == pytest.approx(score)
    # an update has no direction before the first step
    assert (cells[0].run_id, 0, "update_cosine/network") not in Numbers.logged
    assert (cells[0].run_id, 3, "update_cosine/network") in Numbers.logged


def test_one_that_cannot_be_made_is_done_without(follow):
    cells, said = follow(Stillborn, 0.1)
    assert said.splitlines()[0].endswith("Stillborn does not follow: ValueError: no server")
    assert not Recording.told
    assert RunFolder(cells[0].folder).finished


def test_one_that_lacks_methods_is_refused(monkeypatch):
    monkeypatch.setattr(live, "Half", Half, raising=False)
    monkeypatch.setattr(Half, "__module__", "beyond.run.live")
    with pytest.raises(InputError, match="that has checkpoint, end too"):
        live.follower(f"{HERE}Half")


def test_one_that_fails_is_let_go_of_with_a_line(follow):
    cells, said = follow(Failing, 0.1)
    assert said.splitlines()[0].endswith("Failing no longer follows: ValueError: no room")
    assert [told[0] for told in Recording.told] == ["begin", "failed"]
    assert RunFolder(cells[0].folder).finished


def test_what_is_no_follower_is_refused_though_there_is_nothing_to_follow(beyond):
    done = ("method=constant", "budget=steps", "budget.steps=1", "seeds=1")
    assert beyond(*done)[0] == 0
    status, told, _ = beyond(*done, "follow=nonsense")
    assert status == 1
    assert told.startswith("beyond: follow must be ")


def test_a_sweep_refuses_it_before_anything_is_written(beyond, tmp_path):
    status, told, _ = beyond("-m", "method=constant,backprop", "seeds=1", "follow=nonsense")
    assert (status, told.count("\n")) == (1, 1)
    assert told.startswith("beyond: follow must be ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("named", "message"),
    [
        (HERE + "_means", "follow must be a class derived from beyond.run.live.Live, got "),
        (HERE + "Nobody", "follow must be package.module.name, got "),
        ("os.path.join", "follow must be in beyond, methods, tasks, analysis or a package "),
    ],
)
def test_what_is_no_follower_is_refused(named, message):
    with pytest.raises(InputError, match=f"^{message}"):
        live.follower(named)


@pytest.mark.parametrize("name", ["TensorBoard", "MLflow", "WandB"])
def test_a_missing_package_is_told_with_its_extra(name, monkeypatch):
    monkeypatch.setattr(live, "find_spec", lambda _: None)
    extra = getattr(live, name).EXTRA
    with pytest.raises(InputError, match=rf"needs the package .* 'beyond-backprop\[{extra}\]'$"):
        live.follower(extra)


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "wandb"])
def test_each_has_a_choice_and_an_extra(name):
    assert catalog.read("live", name)["follow"] == name
    assert name == live.KNOWN[name].EXTRA


def test_tensorboard_reads_the_numbers_back(follow):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (cell,), _ = follow(live.TensorBoard, 0.1, named="tensorboard")
    (written,) = (cell.study / "live").iterdir()
    events = EventAccumulator(str(written)).Reload()
    curves = recorded(cell, "curves").query("split == 'validation' and metric == 'accuracy_score'")
    expected = curves.groupby("steps")["value"].mean()
    found = {event.step: event.value for event in events.Scalars("validation/accuracy_score")}
    assert found == pytest.approx(expected.to_dict(), rel=1e-6)
